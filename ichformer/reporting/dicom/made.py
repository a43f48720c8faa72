"""What all objects about a series have in common: who made them, from which slices, under which UIDs."""

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import highdicom as hd
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from ichformer import __version__
from ichformer.process.quiet import silent_log
from ichformer.reporting.dicom.codes import RESEARCH_ONLY, SCHEME, SCHEME_NAME
from ichformer.reporting.dicom.source import Source
from ichformer.reporting.dicom.uids import uid_of

MANUFACTURER = "ichformer"
_LONGEST = 64


class Kind(Enum):
    """An object: the number of its series, and what a list of series calls it."""

    REPORT = 9001, "report"
    SEGMENTATION = 9002, "bleeds"
    PROBABILITIES = 9003, "probabilities of bleeds"
    EXPLANATION = 9004, "explanation"
    KEY_IMAGES = 9005, "key images"
    CAPTURES = 9006, "pictures of key images"
    PRESENTATION = 9007, "window for blood"
    FOLLOW_UP = 9008, "follow-up"


@dataclass(frozen=True, kw_only=True, eq=False)
class Made:
    """What all objects about a series have in common.

    Attributes:
      source: the slices that they are about.
      made_from: a hash of the slices, the model and the options: the same again gives the same UIDs.
      model: name of the model.
      fingerprint: hash of the model's parameters.
    """

    source: Source
    made_from: str
    model: str
    fingerprint: str

    def uid(self, *said: object) -> str:
        """A UID for something about the series, the same whenever it is made from the same."""
        first = self.source.slices[0]
        return uid_of(self.made_from, first.SeriesInstanceUID, *said)

    def arguments(self, kind: Kind, number: int = 1) -> dict[str, Any]:
        """What highdicom asks of every object."""
        series_number, description = kind.value
        return {
            "series_instance_uid": self.uid(kind.name, "series"),
            "series_number": series_number,
            "sop_instance_uid": self.uid(kind.name, number),
            "instance_number": number,
            "manufacturer": MANUFACTURER,
            "series_description": f"ichformer {description}, research use only",
            "transfer_syntax_uid": "1.2.840.10008.1.2.1",
            "contributing_equipment": [self.contributor],
            "coding_schemes": [CodingSchemeIdentificationItem(SCHEME, name=SCHEME_NAME)],
        } | dict(self.equipment)

    @property
    def equipment(self) -> Mapping[str, str]:
        """The software as the equipment."""
        return {
            "manufacturer_model_name": self.model[:_LONGEST] or MANUFACTURER,
            "software_versions": __version__[:_LONGEST],
            "device_serial_number": self.fingerprint[:_LONGEST] or "unknown",
        }

    @property
    def contributor(self) -> hd.ContributingEquipment:
        """The model as what the results come from (IHE RAD TF-3, 6.5.3.1); another model has another UID."""
        item = hd.ContributingEquipment(
            MANUFACTURER, codes.DCM.ProcessingEquipment, contribution_description=RESEARCH_ONLY, **self.equipment
        )
        item.DeviceUID = self.device_uid
        return item

    @property
    def device_uid(self) -> str:
        """A UID for the model, one for all scans."""
        return uid_of("device", __version__, self.fingerprint)

    @property
    def version(self) -> str:
        """That of the software and the first digits of the model's hash."""
        return f"{__version__} {self.fingerprint[:16]}".strip()

    @property
    def device(self) -> hd.sr.ObserverContext:
        """The software as the device that observed what a document says."""
        attributes = hd.sr.DeviceObserverIdentifyingAttributes(
            uid=self.device_uid,
            name=MANUFACTURER,
            manufacturer_name=MANUFACTURER,
            model_name=self.equipment["manufacturer_model_name"],
            serial_number=self.equipment["device_serial_number"],
        )
        return hd.sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=attributes)

    def identification(self, parameters: Sequence[str] | None = None) -> hd.sr.AlgorithmIdentification:
        """The model as the algorithm that a group of a document names, with what it was set to."""
        return hd.sr.AlgorithmIdentification(
            name=self.equipment["manufacturer_model_name"],
            version=self.version,
            parameters=parameters,
            family=codes.DCM.ArtificialIntelligence,
            manufacturer=MANUFACTURER,
        )

    @property
    def algorithm(self) -> hd.AlgorithmIdentificationSequence:
        """The model as the algorithm that a segmentation names."""
        return hd.AlgorithmIdentificationSequence(
            name=self.equipment["manufacturer_model_name"],
            family=codes.DCM.ArtificialIntelligence,
            version=self.version,
            source=MANUFACTURER,
        )


def steady_uids(made: Dataset, seed: str) -> None:
    """Puts UIDs that follow from ``seed`` into an object where a library drew them at random."""
    drawn = {one.value for one in made.iterall() if one.keyword == "DimensionOrganizationUID"}
    steady = {uid: uid_of(seed, "dimensions", at) for at, uid in enumerate(sorted(drawn))}
    for element in made.iterall():
        if element.keyword == "DimensionOrganizationUID":
            element.value = steady[element.value]


@contextlib.contextmanager
def quiet_highdicom() -> Iterator[None]:
    """Silence what libraries say of odd values: it would name the patient."""
    with silent_log("highdicom"), silent_log("pydicom"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
