"""The settings of a preparation, apart from ``prepare`` so that training does not import what reads scans."""

from dataclasses import dataclass, fields
from typing import Any, Literal

from ichformer.ct.geometry.missing import Missing
from ichformer.errors import InputError, one_line
from ichformer.files.json_files import convert
from ichformer.settings import check_settings

Keep = Literal["head", "brain"]

RECIPE_VERSION = 3
"""Of ``recipe``: counted up whenever the same files give other voxels.

No shard of an earlier recipe is kept, and no run is used on scans of another one than its own.
"""


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """The settings that bring scans to one form.

    Attributes:
      size: rows and columns of every slice.
      field_of_view_mm: side of the square round the head's centre, the same for all; the head's own box where None.
      remove_tilt: undo the shear of a tilted gantry.
      missing: what becomes of slices that the positions say are missing.
      slice_spacing_mm: resample the slices to this distance along the normal; as they are where None.
      keep: "head" for all there is; with "brain" everything outside the skull's inside becomes air, the face with it.
    """

    size: int = 256
    field_of_view_mm: float | None = 256.0
    remove_tilt: bool = True
    missing: Missing = "keep"
    slice_spacing_mm: float | None = None
    keep: Keep = "head"

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "")
        if not 16 <= self.size <= 1024:
            raise InputError(f"found {self.size}", where="size", fix="give 16 to 1024 rows and columns")
        if self.field_of_view_mm is not None and not 50 <= self.field_of_view_mm <= 1000:
            raise InputError(f"found {self.field_of_view_mm}", where="field_of_view_mm", fix="give 50 to 1000 mm")
        if self.slice_spacing_mm is not None:
            if not 0.3 <= self.slice_spacing_mm <= 20:
                raise InputError(f"found {self.slice_spacing_mm}", where="slice_spacing_mm", fix="give 0.3 to 20 mm")
            if not self.remove_tilt:
                raise InputError("needs remove_tilt", where="slice_spacing_mm", fix="leave the tilt's removal on")


def check_prepare(values: dict[str, Any], *, where: object, fix: str) -> PrepareConfig:
    """Reads the configuration in a run or a store; InputError for a setting of another type or an unknown one.

    A setting that this version does not know would be left out, and scans would be prepared in another way.
    """
    known = {field.name for field in fields(PrepareConfig)}
    for name in values:
        if name not in known:
            raise InputError(f"PrepareConfig has no setting {one_line(name)!r}", where=where, fix=fix)
    return convert(values, PrepareConfig, where=where, fix=fix)
