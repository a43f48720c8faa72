"""A page that we wrote, shown in a notebook."""

import html
import os
from dataclasses import dataclass
from pathlib import Path

from ichformer.errors import InputError
from ichformer.settings import as_path


@dataclass(frozen=True, kw_only=True)
class InlinePage:
    """A page in a frame of its own, which a notebook shows as the value of a cell.

    Attributes:
      path: of the page.
      height_px: of the frame.
    """

    path: Path
    height_px: int

    def _repr_html_(self) -> str:
        """What Jupyter and Colab ask an object for. The frame holds the whole page: no server has to give it."""
        page = html.escape(self.path.read_text(encoding="utf-8"))
        return f'<iframe srcdoc="{page}" style="width:100%;height:{self.height_px}px;border:0"></iframe>'


def show_page(path: str | os.PathLike[str], *, height_px: int = 720) -> InlinePage:
    """A page of ours, such as ``report.html``, in a notebook: with its viewer, its wheel and its keys.

    Args:
      path: of the page, or a folder that holds one page.
      height_px: of the frame, in pixels.

    Raises:
      InputError: there is no page, or the folder holds several.

    Example:
      >>> import tempfile
      >>> report = Path(tempfile.mkdtemp()) / "report.html"
      >>> _ = report.write_text("<p>Report</p>", encoding="utf-8")
      >>> show_page(report).height_px
      720
    """
    page = as_path(path, where="path", fix="give a page such as report.html")
    if page.is_dir():
        found = sorted(page.glob("*.html"))
        if len(found) != 1:
            names = ", ".join(file.name for file in found) or "none"
            raise InputError(f"holds not one page but {names}", where=page, fix="name one")
        (page,) = found
    if page.suffix != ".html" or not page.is_file():
        raise InputError("there is no page here", where=page, fix="give a page such as report.html")
    return InlinePage(path=page, height_px=height_px)
