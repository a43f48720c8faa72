"""Runs on the Hugging Face Hub: the one file that knows huggingface_hub."""

import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ichformer.errors import InputError, one_line
from ichformer.files.bundles import MAX_BYTES
from ichformer.process.said import say_once


@dataclass(frozen=True, kw_only=True)
class HubAddress:
    """A repository on the hub.

    Attributes:
      name: "OWNER/NAME".
      revision: a branch, a tag or a commit; None for the newest of the main branch.
    """

    name: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> "HubAddress":
        """From "OWNER/NAME" or "OWNER/NAME@REVISION"; InputError where it is neither.

        >>> HubAddress.parse("owner/heads@v1")
        HubAddress(name='owner/heads', revision='v1')
        """
        found = re.fullmatch(r"([\w.-]{1,96}/[\w.-]{1,96})(?:@([\w./-]{1,200}))?", text, re.ASCII)
        if found is None or ".." in text:
            where = f"hf://{one_line(text)}"
            raise InputError("is no address on the hub", where=where, fix="write hf://OWNER/NAME or .../NAME@REVISION")
        return cls(name=found[1], revision=found[2])

    def __str__(self) -> str:
        return f"hf://{self.name}" + (f"@{self.revision}" if self.revision else "")


def copy_from_hub(address: HubAddress, folder: Path, *, names: Collection[str]) -> None:
    """Fetches a run from the hub, or takes it from the hub's cache on this machine, and copies it into a folder.

    The commit is told on standard error. Environment variables of huggingface_hub hold: ``HF_HUB_OFFLINE=1`` fetches
    nothing, and ``HF_HOME`` says where the cache is.

    Args:
      address: of the repository.
      folder: a private one that is empty.
      names: of the files that are fetched.

    Raises:
      InputError: huggingface_hub is not installed, there is no such repository, or it holds no run.
    """
    try:
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError:
        fix = "pip install 'ichformer[hub]'"
        raise InputError("needs the library huggingface_hub", where=address, fix=fix) from None
    try:
        cached = huggingface_hub.snapshot_download(address.name, revision=address.revision, allow_patterns=[*names])
    except (OSError, ValueError, HfHubHTTPError) as error:
        _refuse(address, f"cannot be fetched ({type(error).__name__}: {one_line(error)})")
    found = Path(cached)
    if not (found / "config.json").is_file():
        _refuse(address, "holds no run: it has no config.json")
    for file in (found / name for name in names if (found / name).is_file()):
        if file.stat().st_size > MAX_BYTES:
            _refuse(address, f"{file.name} is larger than {MAX_BYTES:,} bytes")
        shutil.copyfile(file, folder / file.name)
    say_once(f"{address} is at commit {one_line(found.name)}")


def _refuse(address: HubAddress, what: str) -> NoReturn:
    raise InputError(what, where=address, fix="check the name and the revision, or log in with `hf auth login`")
