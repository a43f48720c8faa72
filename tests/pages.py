"""What pages show to be copied: commands, snippets and files, in the order of the page."""

import pathlib
import re
import shlex
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").rglob("*.md"))
ELSEWHERE = {
    "beside-a-pacs": "tests/serving/test_page.py",
    "extending": "tests/test_docs.py",
    "index": "the README's, as that of the demo",
}
"""Pages that ``test_pages.py`` does not follow step by step, and where they are tried."""
WALKED = [page for page in DOCS if page.stem not in ELSEWHERE or page.parent.name == "reference"]

_BLOCK = r"^(?P<indent> *)```(?P<language>python|toml)\n(?P<block>(?:.*\n)*?)(?P=indent)```$"
_LINE = r"^ {4,}(?:ichformer (?P<command>.*?)|(?P<program>python -m pynetdicom .*?))(?: +#.*)?$"
_SHOWN = re.compile(f"{_BLOCK}|{_LINE}", re.MULTILINE)


class Shown(NamedTuple):
    """One thing to be copied.

    Attributes:
      kind: "python", "toml", "command" for one of ichformer, or "program" for one of pynetdicom.
      text: the block, the words after ``ichformer``, or the line of the program.
      file: what the first line of a block says that it is kept as, such as ``# my_model.py``; "" otherwise.
    """

    kind: str
    text: str
    file: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)


def named(page: pathlib.Path) -> str:
    return str(page.relative_to(ROOT))


def shown(page: pathlib.Path) -> list[Shown]:
    """All of a page but commands that are abbreviated ("...")."""
    found = []
    for match in _SHOWN.finditer(page.read_text(encoding="utf-8")):
        if match["program"]:
            found.append(Shown("program", match["program"], ""))
        elif match["command"] is None:
            block = re.sub(f"^{match['indent']}", "", match["block"], flags=re.MULTILINE)
            file = re.match(r"# (\w+\.\w+)\n", block)
            found.append(Shown(match["language"], block, file[1] if file else ""))
        elif "..." not in match["command"]:
            found.append(Shown("command", match["command"], ""))
    return found


def snippets(page: pathlib.Path) -> list[str]:
    """The Python of a page."""
    return [one.text for one in shown(page) if one.kind == "python"]
