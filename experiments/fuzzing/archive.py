"""Zips and tars of scans, packed in every way."""

import bz2
import functools
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from experiments.fuzzing.dicom import read_scans
from experiments.fuzzing.kind import Kind, Source
from experiments.fuzzing.mutations import ANY, Mutation, choose, special_or_any
from experiments.fuzzing.tars import TAR
from experiments.fuzzing.zips import ZIP, zip_of
from ichformer.ct.io.dicom.series import find_series
from ichformer.ct.io.scans import find_scans


class _Pipe(io.RawIOBase):
    """What cannot be sought in: sizes then stand behind each member, in a data descriptor."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.data += data
        return len(data)


def _streamed(members: Mapping[str, bytes]) -> bytes:
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(name), data)
    return bytes(pipe.data)


def _zip64(members: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for name, data in members.items():
            with file.open(name, "w", force_zip64=True) as member:
                member.write(data)
    return made.getvalue()


def _tar_of(members: Mapping[str, bytes], how: int = tarfile.PAX_FORMAT) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=how) as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
        for kind, target in ((tarfile.SYMTYPE, "../series/0.dcm"), (tarfile.LNKTYPE, "series/0.dcm")):
            info = tarfile.TarInfo(f"links/{kind.decode()}.dcm")
            info.type, info.linkname = kind, target
            file.addfile(info)
    return made.getvalue()


def write_bases(folder: Path, source: Source) -> None:
    """A series of four slices in archives of every make."""
    files = find_series(source.index["path"].iloc[0]).series[0].files[3:7]
    members = {f"series/{i}.dcm": file.read_bytes() for i, file in enumerate(files)}
    fork = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(60)
    mac = {f"./{name}": data for name, data in members.items()} | {"__MACOSX/series/._0.dcm": fork, ".DS_Store": fork}
    long = {f"{'folder ' * 30}/{name}": data for name, data in members.items()}
    tar = _tar_of(members)
    made = {
        "stored.zip": zip_of(members, zipfile.ZIP_STORED),
        "deflated.zip": zip_of(members),
        "bzip2.zip": zip_of(members, zipfile.ZIP_BZIP2),
        "lzma.zip": zip_of(members, zipfile.ZIP_LZMA),
        "mac.zip": zip_of(mac),
        "streamed.zip": _streamed(members),
        "zip64.zip": _zip64(members),
        "in a zip.zip": zip_of({**members, "inner.zip": zip_of(members)}),
        "plain.tar": tar,
        "gnu.tar": _tar_of(long, tarfile.GNU_FORMAT),
        "pax.tar": _tar_of(long),
        "packed.tar.gz": gzip.compress(tar, mtime=0),
        "packed.tar.bz2": bz2.compress(tar),
        "packed.tar.xz": lzma.compress(tar),
        "pieces.tar.gz": gzip.compress(tar[:5120], mtime=0) + gzip.compress(tar[5120:], mtime=0),
    }
    for name, data in made.items():
        (folder / name).mkdir(parents=True)
        (folder / name / name).write_bytes(data)


_PACKERS: tuple[tuple[bytes, Callable[[bytes], bytes], Callable[[bytes], bytes]], ...] = (
    (b"\x1f\x8b", gzip.decompress, functools.partial(gzip.compress, compresslevel=1, mtime=0)),
    (b"BZh", bz2.decompress, functools.partial(bz2.compress, compresslevel=1)),
    (b"\xfd7zXZ", lzma.decompress, functools.partial(lzma.compress, preset=0)),
)


def break_archive(rng: np.random.Generator, folder: Path) -> str:
    """The archive; of a packed tar as often what is inside."""
    (file,) = folder.iterdir()
    data = file.read_bytes()
    packed = [(unpack, pack) for start, unpack, pack in _PACKERS if data.startswith(start)]
    kind: dict[str, Mutation] = ZIP if data.startswith(b"PK") else TAR
    if packed and rng.random() < 0.3:
        name, mutation = choose(rng, ANY)
        file.write_bytes(mutation(rng, bytearray(data)))
        return f"packed {name}"
    name, mutation = special_or_any(rng, kind)
    for unpack, pack in packed:
        file.write_bytes(pack(bytes(mutation(rng, bytearray(unpack(data))))))
    if not packed:
        file.write_bytes(mutation(rng, bytearray(data)))
    return name


def read_archive(folder: Path) -> None:
    """Found in its folder, where it is set aside, and read when it is named."""
    (file,) = folder.iterdir()
    find_scans(folder)
    read_scans(file)


KIND = Kind(name="archive", share=0.15, write=write_bases, damage=break_archive, read=read_archive)
