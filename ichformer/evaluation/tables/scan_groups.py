"""The subgroups of a prepared scan, from its header and mask: vendor, thickness, age, sex, volume of the bleed."""

import math

import numpy as np

from ichformer.cohorts.index import GROUP_PREFIX
from ichformer.pipeline.store.records import Store, decode_record

VENDORS = ("Canon", "Fujifilm", "GE", "Hitachi", "NeuroLogica", "Neusoft", "Philips", "Siemens", "Toshiba", "UIH")
"""The first word of the DICOM tag Manufacturer, in capitals or not."""

GROUP_COLUMNS = tuple(f"{GROUP_PREFIX}{name}" for name in ("vendor", "thickness", "age", "sex", "bleed_volume"))


def scan_groups(store: Store, row: int) -> dict[str, str]:
    """The groups of one scan of a store, by ``GROUP_COLUMNS``; "" where they are not known.

    Thickness is the nominal one: thin slices to 1.5 mm, the usual 5 mm and what lies between. Age and sex are those of
    the header; ages are cut at 18, at 50 and at 65, and at 80 as in the ICH score. The bleed's volume is
    that of the mask, cut at 30 ml as in the ICH score (Hemphill et al., Stroke 2001;32:891-897) and at 5 ml.
    """
    audit = store.header(row).audit
    volume_ml = math.nan
    if store.index["has_mask"].iloc[row]:
        # The record itself, not ``read``: a store may change its scans as it reads them.
        scan = decode_record(store.record(row))
        assert scan.mask is not None
        volume_ml = np.count_nonzero(scan.mask) * math.prod(scan.volume.spacing_mm) / 1000
    values = (
        _vendor(audit.manufacturer),
        _class(audit.thickness_mm, {1.5: "up to 1.5 mm", 4.0: "1.5 to 4 mm", math.inf: "over 4 mm"}),
        _class(
            math.nan if audit.age_years is None else audit.age_years,
            {17.999: "under 18", 49.999: "18 to 49", 64.999: "50 to 64", 79.999: "65 to 79", math.inf: "80 or over"},
        ),
        {"F": "female", "M": "male", "O": "other"}.get(audit.sex, ""),
        _class(volume_ml, {0.0: "none", 5.0: "up to 5 ml", 30.0: "5 to 30 ml", math.inf: "over 30 ml"}),
    )
    return dict(zip(GROUP_COLUMNS, values, strict=True))


def _vendor(manufacturer: str) -> str:
    known = [vendor for vendor in VENDORS if f"{manufacturer.upper()} ".startswith(f"{vendor.upper()} ")]
    return known[0] if known else "other" if manufacturer else ""


def _class(value: float, names: dict[float, str]) -> str:
    return "" if math.isnan(value) else next(name for most, name in names.items() if value <= most)
