"""Bundles: the files of an exported run as one file, a zip that compresses nothing and has the same bytes every time.

A bundle comes from strangers. It is read by names that are known beforehand and by sizes that are bounded, and nothing
in it decides where a file is written.
"""

import io
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

from ichformer.errors import InputError, one_line
from ichformer.files.writing import shown

SUFFIX = ".ichformer"
"""Of the name of a bundle."""

MAX_BYTES = 2**33
"""A larger bundle is refused before it is read; ``slice_vit_l`` in float32 takes 1.3 GB."""

_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold
_FIX = "fetch it again, or ask for it where it comes from"


def bundle_bytes(files: Mapping[str, bytes]) -> bytes:
    """A bundle of some files: the same files give the same bytes on every machine.

    Args:
      files: what each holds, by its name.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            member = zipfile.ZipInfo(name, _DATE)
            member.create_system, member.external_attr = 3, 0o100644 << 16
            archive.writestr(member, files[name])
    return packed.getvalue()


def unpack_bundle(bundle: Path, folder: Path, *, known: Collection[str]) -> None:
    """Writes the files of a bundle into a folder that is there and empty.

    Args:
      bundle: the file.
      folder: a private one, where nobody else writes.
      known: the names that a bundle may hold.

    Raises:
      InputError: it is no bundle, is damaged, is larger than ``MAX_BYTES``, or holds something else than ``known``.
    """
    try:
        size = bundle.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"is larger than {MAX_BYTES:,} bytes", where=bundle, fix=_FIX)
        with zipfile.ZipFile(bundle) as archive:
            members = archive.infolist()
            _check(members, size, bundle, known)
            for member in members:
                # By its known name, never as the zip would have it; zipfile checks size and CRC-32 as it reads.
                with archive.open(member) as packed, (folder / member.filename).open("xb") as file:
                    while piece := packed.read(1 << 20):
                        file.write(piece)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot be unpacked ({error.strerror or one_line(error)})", where=bundle, fix=_FIX) from None
    except Exception as error:  # zipfile raises all kinds of exceptions about a damaged file
        raise InputError(
            f"is no bundle, or is damaged ({type(error).__name__}: {one_line(error)})", where=bundle, fix=_FIX
        ) from None


def _check(members: list[zipfile.ZipInfo], size: int, bundle: Path, known: Collection[str]) -> None:
    """InputError for names that are unknown or come twice, and for members that are compressed or encrypted.

    What is stored cannot be larger than the file around it, so a bundle has no way to unpack to more than its size.
    """
    names = [member.filename for member in members]
    if strangers := [name for name in names if name not in known]:
        what = f"holds {one_line(strangers[0], max_chars=80)}, which no bundle of this ichformer has"
        raise InputError(what, where=bundle, fix="use the ichformer that wrote it, if you trust where it comes from")
    if len(set(names)) < len(names):
        raise InputError("holds a file twice", where=bundle, fix=_FIX)
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise InputError(f"{member.filename} in it is compressed or encrypted", where=bundle, fix=_FIX)
    if sum(member.file_size for member in members) > size:
        raise InputError("claims to hold more than its own size", where=bundle, fix=_FIX)


def is_bundle(path: Path) -> bool:
    """Whether a file begins as a zip does."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=shown(path), fix="name a bundle") from None
