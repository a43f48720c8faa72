"""A page of tables and pictures as one HTML file: its template, with the styles inside and nothing fetched."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ichformer import __version__
from ichformer.errors import one_line


def render_styled(template: Path, *, styles: Sequence[Path], title: str, **shown: Any) -> str:
    """The text of the page. The template gets the styles with their hash, the version and ``title``, and ``shown``.

    Args:
      template: the file; everything that it shows is escaped.
      styles: files of style sheets, which are joined.
      title: made printable.
      shown: what else the template shows.
    """
    style = "".join(path.read_text(encoding="utf-8") for path in styles)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template.name).render(
        style=Markup(style),
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii"),
        version=__version__,
        title=one_line(title),
        **shown,
    )
