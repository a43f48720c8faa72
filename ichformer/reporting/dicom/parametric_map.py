"""Where a score comes from, as a parametric map (PS3.3, A.75)."""

import highdicom as hd
import numpy as np
from jaxtyping import Float32
from pydicom.sr.codedict import codes

from ichformer.reporting.dicom.codes import RESEARCH_ONLY, own_code
from ichformer.reporting.dicom.made import Kind, Made, steady_uids


def parametric_map(made: Made, values: Float32[np.ndarray, "n rows columns"], *, label: str) -> hd.pm.ParametricMap:
    """A heat map on the pixels of the source.

    Args:
      made: what all objects have in common.
      values: in [0, 1]: the largest of the scan is 1.
      label: whose score the map explains.
    """
    mapping = hd.pm.RealWorldValueMapping(
        lut_label=label[:16],
        lut_explanation=f"Share of what raised the score of {label}; the largest of the scan is 1"[:64],
        unit=codes.UCUM.NoUnits,
        value_range=(0.0, 1.0),
        slope=1.0,
        intercept=0.0,
        quantity_definition=own_code("explanation", "Part of a place in the score of a model"),
    )
    found = hd.pm.ParametricMap(
        source_images=made.source.images,
        pixel_array=made.source.as_stored(values).astype(np.float32),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[hd.VOILUTTransformation(window_center=0.5, window_width=1.0)],
        content_label="EXPLANATION",
        content_description=RESEARCH_ONLY,
        **made.arguments(Kind.EXPLANATION),
    )
    steady_uids(found, made.uid("EXPLANATION"))
    return found
