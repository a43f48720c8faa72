"""A follow-up as a structured report: Comprehensive 3D SR by template TID 1500 (PS3.16), with both studies."""

from collections.abc import Sequence

import highdicom as hd
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from ichformer.lesions.follow_up.followed import Followed
from ichformer.lesions.follow_up.growth import Growth
from ichformer.lesions.grid import Grid
from ichformer.lesions.measures import LabelMeasures
from ichformer.reporting.dicom.codes import ANYWHERE, ML, SIDES, SITES, finding, own_code
from ichformer.reporting.dicom.content import measured_as, research_only, said_as, volume_as
from ichformer.reporting.dicom.made import Kind, Made, quiet_highdicom
from ichformer.reporting.dicom.source import nearest_slices
from ichformer.reporting.follow_up.compared import CHANGE_NAMES, FATE_NAMES, Compared, ComparedScan, LabelGrowth

_GROWTH = own_code("growth", "Growth of the volume between two scans")
_GROWTH_LOW, _GROWTH_HIGH = (
    own_code(f"growth_{end}", f"{end.capitalize()} end of the interval of the growth") for end in ("low", "high")
)
_PERCENT = own_code("growth_percent", "Growth in percent of the earlier volume")
_CHANGE = own_code("change", "What the interval of the growth says")
_FATE = own_code("fate", "What became of a bleed between two scans")
_DEFINITION = own_code("expansion", "Measured growth exceeds 6 ml or 33 percent")
_EARLIER_ML, _LATER_ML = (own_code(f"{which}_volume", f"Volume in the {which} scan") for which in ("earlier", "later"))
_HOURS = own_code("hours_between", "Time between the scans")
_FIT = own_code("dice", "Overlap of the brains after registration (Dice)")


@quiet_highdicom()
def follow_up_report(earlier: Made, later: Made, compared: Compared) -> hd.sr.Comprehensive3DSR:
    """A document of the later study with groups (TID 1501) for each label at both times, its growth, and each bleed.

    Args:
      earlier, later: what objects about each scan have in common.
      compared: what was found out.
    """
    slices = [*later.source.slices, *earlier.source.slices]
    groups = [group for one in compared.labels for group in _of_label(earlier, later, compared, one)]
    groups += [_of_bleed(later, one) for one in compared.followed or ()]
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=later.device),
        procedure_reported=codes.LN.HeadCT,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
        referenced_images=slices,
    )
    return hd.sr.Comprehensive3DSR(
        evidence=slices, content=content, is_complete=True, is_final=False, **later.arguments(Kind.FOLLOW_UP)
    )


def _of_label(
    earlier: Made, later: Made, compared: Compared, one: LabelGrowth
) -> list[hd.sr.MeasurementsAndQualitativeEvaluations]:
    """The volume at each time, and the growth."""
    times = (("earlier", earlier, compared.earlier, one.earlier), ("later", later, compared.later, one.later))
    groups = [
        _group(
            later,
            one.label,
            f"{one.label}, {which}",
            measurements=volume_as(measures),
            time=hd.sr.TimePointContext(time_point=which, time_point_order=order),
            side=measures.side,
            images=_slices(made, scan, measures),
        )
        for order, (which, made, scan, measures) in enumerate(times, 1)
    ]
    measured = _growth(one.growth) + _of_pair(compared)
    groups.append(
        _group(later, one.label, f"{one.label}, growth", measurements=measured, evaluations=_said(one.growth))
    )
    return groups


def _of_bleed(later: Made, one: Followed) -> hd.sr.MeasurementsAndQualitativeEvaluations:
    measured = [
        measured_as(name, ml, ML)
        for name, ml, bleeds in ((_EARLIER_ML, one.earlier_ml, one.earlier), (_LATER_ML, one.later_ml, one.later))
        if bleeds
    ]
    is_in_both = bool(one.earlier and one.later)
    evaluations = [said_as(_FATE, own_code(one.fate, FATE_NAMES[one.fate]))]
    return _group(
        later,
        "any",
        f"bleed {one.number}",
        measurements=measured + (_growth(one.growth) if is_in_both else []),
        evaluations=evaluations + (_said(one.growth) if is_in_both else []),
        side=one.sides[0] if len(one.sides) == 1 else None,
    )


def _group(
    made: Made,
    label: str,
    name: str,
    *,
    measurements: list[hd.sr.Measurement],
    evaluations: Sequence[hd.sr.QualitativeEvaluation] = (),
    time: hd.sr.TimePointContext | None = None,
    side: str | None = None,
    images: Sequence[Dataset] = (),
) -> hd.sr.MeasurementsAndQualitativeEvaluations:
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=made.uid("follow-up", name), identifier=name[:64]),
        time_point_context=time,
        finding_type=finding(label),
        finding_sites=[hd.sr.FindingSite(SITES.get(label, ANYWHERE), laterality=SIDES.get(side or ""))],
        algorithm_id=made.identification(),
        measurements=measurements,
        qualitative_evaluations=[research_only(), *evaluations],
        source_images=[hd.sr.SourceImageForMeasurementGroup.from_source_image(one) for one in images] or None,
    )


def _growth(growth: Growth) -> list[hd.sr.Measurement]:
    found = [measured_as(_GROWTH, growth.ml, ML)]
    if growth.low_ml is not None and growth.high_ml is not None:
        found += [measured_as(_GROWTH_LOW, growth.low_ml, ML), measured_as(_GROWTH_HIGH, growth.high_ml, ML)]
    if growth.percent is not None:
        found.append(measured_as(_PERCENT, growth.percent, codes.UCUM.Percent))
    return found


def _said(growth: Growth) -> list[hd.sr.QualitativeEvaluation]:
    return [
        said_as(_CHANGE, own_code(growth.change, CHANGE_NAMES[growth.change])),
        said_as(_DEFINITION, codes.SCT.Yes if growth.exceeds_definition else codes.SCT.No),
    ]


def _of_pair(compared: Compared) -> list[hd.sr.Measurement]:
    """What belongs to no label: the time between the scans, and how well they lie over each other."""
    found = [measured_as(_FIT, compared.registration.dice, codes.UCUM.NoUnits)]
    if compared.hours is not None:
        found.append(measured_as(_HOURS, compared.hours, codes.UCUM.Hour))
    return found


def _slices(made: Made, scan: ComparedScan, measures: LabelMeasures) -> list[Dataset]:
    """The slices of the source that show the label."""
    shown = {s for one in measures.lesions for s in range(one.first_slice, one.last_slice + 1)}
    nearest = nearest_slices(Grid.of(scan.reading.volume), made.source).tolist()
    return [one for one, s in zip(made.source.slices, nearest, strict=True) if s in shown]
