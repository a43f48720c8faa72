"""A page of tables and pictures as one HTML file: its template, with styles and script inside and nothing fetched."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ichformer import __version__
from ichformer.errors import one_line


def render_styled(
    template: Path, *, styles: Sequence[Path], title: str, scripts: Sequence[Path] = (), **shown: Any
) -> str:
    """The text of the page.

    The template gets ``style`` and ``script`` with the hashes that its content security policy names, ``version``,
    ``title`` and ``shown``.

    Args:
      template: the file; everything that it shows is escaped.
      styles: files of style sheets, which are joined.
      title: made printable.
      scripts: files of scripts, which are joined in their order; none for a page that runs none.
      shown: what else the template shows.
    """
    style = "".join(path.read_text(encoding="utf-8") for path in styles)
    code = "".join(path.read_text(encoding="utf-8") for path in scripts)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "allow_nan": False}
    return environment.get_template(template.name).render(
        style=Markup(style),
        style_hash=_sha256(style),
        script=Markup(code),
        script_hash=_sha256(code),
        version=__version__,
        title=one_line(title),
        **shown,
    )


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
