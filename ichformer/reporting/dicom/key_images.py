"""The slices that say most: a selection of them, pictures for viewers without more, and a window for blood."""

from collections.abc import Sequence

import highdicom as hd
import numpy as np
from jaxtyping import Int16
from PIL import Image, ImageDraw, ImageFont
from pydicom.sr.codedict import codes

from ichformer.ct.windows import WINDOWS, apply_windows
from ichformer.reporting.dicom.codes import RESEARCH_ONLY
from ichformer.reporting.dicom.made import Kind, Made
from ichformer.reporting.dicom.multi_frame import number_frames

_WINDOW = WINDOWS["subdural"]
"""As wide as blood beside bone needs it."""

_WIDTH_PX, _LETTERS = 512, 28
"""Least width of a picture, and its width over the height of its letters."""


def key_objects(made: Made, at: Sequence[int], *, said: str) -> hd.ko.KeyObjectSelectionDocument:
    """A key object selection (PS3.3, A.35.4) of some slices of the source.

    Args:
      made: what all objects have in common.
      at: which slices, from 0.
      said: why they were selected.
    """
    slices = [made.source.slices[s] for s in at]
    content = hd.ko.KeyObjectSelection(
        document_title=codes.DCM.OfInterest,
        referenced_objects=slices,
        observer_device_context=made.device,
        description=f"{said} {RESEARCH_ONLY}",
    )
    images = (item for item in content[0].ContentSequence if item.ValueType == "IMAGE")
    number_frames(images, made.source.frames_at(at))
    return hd.ko.KeyObjectSelectionDocument(evidence=slices, content=content, **made.arguments(Kind.KEY_IMAGES))


def captures(
    made: Made, at: Sequence[int], hu: Int16[np.ndarray, "n rows columns"], texts: Sequence[str]
) -> list[hd.sc.SCImage]:
    """Secondary captures (PS3.3, A.8) of slices in a window for blood, with words burned in.

    Args:
      made: what all objects have in common.
      at: which slices, from 0.
      hu: these slices, in the orientation of the source.
      texts: what is written below each.
    """
    found = []
    for number, (s, picture, text) in enumerate(zip(at, hu, texts, strict=True), 1):
        reference = made.source.slices[s]
        pixels = _burned(picture, (f"ichformer  {text}", RESEARCH_ONLY))
        found.append(
            hd.sc.SCImage.from_ref_dataset(
                reference,
                pixels,
                photometric_interpretation="MONOCHROME2",
                bits_allocated=8,
                coordinate_system="PATIENT",
                patient_orientation=_orientation(reference.ImageOrientationPatient),
                **made.arguments(Kind.CAPTURES, number),
            )
        )
        found[-1].BurnedInAnnotation = "YES"
    return found


def presentation_state(made: Made) -> hd.pr.GrayscaleSoftcopyPresentationState:
    """A presentation state (PS3.3, A.33.1) that shows all slices in a window for blood."""
    return hd.pr.GrayscaleSoftcopyPresentationState(
        referenced_images=made.source.images,
        content_label="BLOOD",
        content_description=RESEARCH_ONLY,
        voi_lut_transformations=[
            hd.pr.SoftcopyVOILUTTransformation(
                window_center=_WINDOW.center_hu, window_width=_WINDOW.width_hu, window_explanation="Blood beside bone"
            )
        ],
        modality_lut_transformation=hd.content.ModalityLUTTransformation(
            rescale_slope=float(made.source.slices[0].RescaleSlope),
            rescale_intercept=float(made.source.slices[0].RescaleIntercept),
            rescale_type="HU",
        ),
        **made.arguments(Kind.PRESENTATION),
    )


def _burned(hu: Int16[np.ndarray, "rows columns"], lines: tuple[str, ...]) -> np.ndarray:
    """The slice in grey, a small one enlarged so that words can be read, with lines of text below it."""
    grey = np.rint(255 * apply_windows(hu, (_WINDOW,), np)[..., 0]).astype(np.uint8)
    times = -(-_WIDTH_PX // grey.shape[1])
    grey = grey.repeat(times, 0).repeat(times, 1)
    font = ImageFont.load_default(grey.shape[1] / _LETTERS)
    widest = max(font.getlength(line) for line in lines)
    font = ImageFont.load_default(min(1.0, 0.96 * grey.shape[1] / widest) * grey.shape[1] / _LETTERS)
    below, line_px = grey.shape[0], round(1.5 * grey.shape[1] / _LETTERS)
    picture = Image.new("L", (grey.shape[1], below + line_px * len(lines)))
    picture.paste(Image.fromarray(grey))
    for at, line in enumerate(lines):
        ImageDraw.Draw(picture).text((line_px // 3, below + line_px * at), line, fill=255, font=font)
    return np.asarray(picture)


def _orientation(cosines: Sequence[float]) -> tuple[str, str]:
    """PatientOrientation: where rows and columns lead to, by the main axis of each."""

    def letter(direction: np.ndarray) -> str:
        axis = int(np.abs(direction).argmax())
        return ("LPH" if direction[axis] > 0 else "RAF")[axis]

    along_columns, along_rows = np.reshape(np.array(cosines, float), (2, 3))
    return letter(along_columns), letter(along_rows)
