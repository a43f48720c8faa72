"""Which codec the store's slices get: ratio and speed of reading, one slice a frame, one core.

Claim: byte planes in Zstandard are at least 2.5 times smaller than HU in memory and are read at about 1 GB/s a core.
Cost: one minute on one CPU core.
Command: pip install imagecodecs; taskset -c 0 python experiments/bench/slice_codecs.py [--data FOLDER_OF_REAL_FILES]
Expected: the table of ``experiments/studies/2026-11-28-store-codecs.md``. Speeds are of HU in memory (2 bytes
a voxel), medians of the thread's own time; compare them within one run.
"""

import argparse
import functools
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import imagecodecs  # type: ignore[import-not-found]
import nibabel as nib
import numpy as np
import zstandard

from ichformer import LABELS
from ichformer.cohorts.adapters import phantom
from ichformer.ct.audit import Audit
from ichformer.ct.io.scans import read_volume
from ichformer.ct.phantom.cohort import write_phantom_cohort
from ichformer.ct.volume import Volume
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.recipe import prepare_volume
from ichformer.pipeline.store.records import PreparedScan, decode_record, encode_record

REPEATS = 9
_ZSTD_LEVEL = 1


@dataclass(frozen=True, kw_only=True)
class Codec:
    """A slice of HU (as uint16, modulo 2**16) to bytes and back."""

    name: str
    encode: Callable[[np.ndarray], bytes]
    decode: Callable[[bytes, tuple[int, int]], np.ndarray]


def _zigzag(delta: np.ndarray) -> np.ndarray:
    return (delta << 1) ^ (delta.view(np.int16) >> 15).view(np.uint16)


def _unzigzag(coded: np.ndarray) -> np.ndarray:
    return (coded >> 1) ^ -(coded & 1)


def _along(axis: int) -> Codec:
    """Differences to the neighbour, zigzag, byte planes, Zstandard; along the row: the store's first codec."""

    def encode(stored: np.ndarray) -> bytes:
        coded = _zigzag(np.diff(stored, axis=axis, prepend=np.uint16(0)))
        planes = np.stack([coded & 0xFF, coded >> 8]).astype(np.uint8)
        return zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compress(planes.tobytes())

    def decode(frame: bytes, shape: tuple[int, int]) -> np.ndarray:
        planes = np.frombuffer(zstandard.ZstdDecompressor().decompress(frame), np.uint8)
        low, high = planes.reshape(2, *shape)
        delta = _unzigzag((high.astype(np.uint16) << 8) | low)
        if axis == 1:
            return np.add.accumulate(delta, axis=1, dtype=np.uint16, out=delta)
        for above, row in itertools.pairwise(delta):
            row += above
        return delta

    return Codec(name=f"difference along the {('column', 'row')[axis]}, planes, zstd 1", encode=encode, decode=decode)


def _lifted() -> Codec:
    """Every other row as the difference to the mean of its neighbours, twice over, low bytes only, modulo 256."""

    def mean(rows: np.ndarray, count: int) -> np.ndarray:
        below = np.concatenate([rows[1:], rows[-1:]])
        return ((rows & below) + ((rows ^ below) >> 1))[:count]

    def encode(stored: np.ndarray) -> bytes:
        rows, parts = (stored & 0xFF).astype(np.uint8), []
        for _ in range(2):
            rows, odd = rows[::2], rows[1::2]
            parts.append(odd - mean(rows, len(odd)))
        planes = [(stored >> 8).astype(np.uint8), rows, *reversed(parts)]
        compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True)
        return compressor.compress(b"".join(p.tobytes() for p in planes))

    def decode(frame: bytes, shape: tuple[int, int]) -> np.ndarray:
        planes = np.frombuffer(zstandard.ZstdDecompressor().decompress(frame), np.uint8)
        high, parts = planes.reshape(2, *shape)
        low = np.empty(shape, np.uint8)
        done = len(low[::4])
        low[::4] = parts[:done]
        for step in (2, 1):
            odd = low[step :: 2 * step]
            np.add(mean(low[:: 2 * step], len(odd)), parts[done : done + len(odd)], out=odd)
            done += len(odd)
        return (high.astype(np.uint16) << 8) | low

    return Codec(name="rows lifted twice, planes, zstd 1", encode=encode, decode=decode)


def _plane_codec(name: str, compress: Callable[[bytes], bytes], decompress: Callable[[bytes, int], bytes]) -> Codec:
    def encode(stored: np.ndarray) -> bytes:
        return compress(np.stack([stored >> 8, stored & 0xFF]).astype(np.uint8).tobytes())

    def decode(frame: bytes, shape: tuple[int, int]) -> np.ndarray:
        planes = decompress(frame, 2 * shape[0] * shape[1])
        high, low = np.frombuffer(planes, np.uint8).reshape(2, *shape)
        stored = high.astype(np.uint16)
        stored <<= 8
        stored |= low
        return stored

    return Codec(name=name, encode=encode, decode=decode)


def _planes_zstd(level: int) -> Codec:
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
    decompressor = zstandard.ZstdDecompressor()
    return _plane_codec(f"planes, zstd {level}", compressor.compress, lambda frame, _: decompressor.decompress(frame))


def _planes_lz4() -> Codec:
    return _plane_codec(
        "planes, lz4hc 5",
        lambda data: imagecodecs.lz4_encode(data, 5, hc=True),
        lambda frame, size: imagecodecs.lz4_decode(frame, out=size),
    )


def _blosc2(compressor: str, level: int, shuffle: str) -> Codec:
    def encode(stored: np.ndarray) -> bytes:
        return imagecodecs.blosc2_encode(
            stored.tobytes(), level, compressor=compressor, shuffle=shuffle, typesize=2, numthreads=1
        )

    def decode(frame: bytes, shape: tuple[int, int]) -> np.ndarray:
        return np.frombuffer(imagecodecs.blosc2_decode(frame, numthreads=1), np.uint16).reshape(shape)

    return Codec(name=f"blosc2 {shuffle}, {compressor} {level}", encode=encode, decode=decode)


def _picture(name: str, encode: Callable[[np.ndarray], bytes], decode: Callable[[bytes], np.ndarray]) -> Codec:
    """A codec of pictures, which wants small unsigned numbers; the shift is undone in place."""

    def shifted(stored: np.ndarray) -> bytes:
        return encode(stored + np.uint16(4096))

    def back(frame: bytes, _: tuple[int, int]) -> np.ndarray:
        pixels = decode(frame)
        pixels -= np.uint16(4096)
        return pixels

    return Codec(name=name, encode=shifted, decode=back)


def codecs() -> list[Codec]:
    """All that were tried."""
    return [
        *(_planes_zstd(level) for level in (1, 3, 5, 9)),
        _planes_lz4(),
        _blosc2("lz4", 1, "bitshuffle"),
        _blosc2("lz4hc", 5, "shuffle"),
        _blosc2("zstd", 5, "shuffle"),
        _blosc2("zstd", 5, "bitshuffle"),
        _lifted(),
        _along(0),
        _along(1),
        _picture("JPEG-LS", imagecodecs.jpegls_encode, imagecodecs.jpegls_decode),
        _picture("HTJ2K", lambda p: imagecodecs.htj2k_encode(p, reversible=True), imagecodecs.htj2k_decode),
        _picture("JPEG 2000", lambda p: imagecodecs.jpeg2k_encode(p, reversible=True), imagecodecs.jpeg2k_decode),
    ]


def volumes(data: Path) -> Iterator[tuple[str, Volume]]:
    """Names and scans: real heads as read and as stored, an average head, a phantom."""
    head = read_volume(data / "dcm_qa_ct" / "GE")
    yield "GE head 512", head
    yield "GE head prepared, 256", prepare_volume(head, PrepareConfig())
    cormack = np.asanyarray(nib.load(data / "ct_template" / "scct.nii").dataobj).astype(np.float64)
    # Cormack units: see https://github.com/neurolabusc/Clinical and the README beside the file.
    hu = np.where(cormack < 900, cormack - 1000, np.where(cormack < 2900, (cormack - 900) / 10 - 100, cormack - 2800))
    average = np.ascontiguousarray(np.moveaxis(np.rint(hu).astype(np.int16), -1, 0))
    yield "average head 109", replace(head, hu=average, source=("",) * len(average), audit=Audit())
    with tempfile.TemporaryDirectory() as folder:
        cohort = write_phantom_cohort(Path(folder) / "cohort", scans=1, seed=0, workers=1, progress=False)
        index = phantom.load(cohort, cache=Path(folder) / "cache")
        yield "phantom 256", read_volume(index["path"].iloc[0])


def measure_slices(codec: Codec, volume: Volume) -> tuple[float, float, float]:
    """Ratio, GB/s read, MB/s written; ValueError where a codec is not lossless."""
    hu = volume.hu
    slices = [np.ascontiguousarray(pixels).view(np.uint16) for pixels in hu]
    start = time.thread_time()
    frames = [codec.encode(stored) for stored in slices]
    written_s = time.thread_time() - start
    if any(not np.array_equal(codec.decode(f, s.shape), s) for f, s in zip(frames, slices, strict=True)):
        raise ValueError(f"{codec.name} is not lossless")
    read_s = median_s(lambda: [codec.decode(frame, hu.shape[1:]) for frame in frames])
    return hu.nbytes / sum(map(len, frames)), hu.nbytes / read_s / 1e9, hu.nbytes / written_s / 1e6


def measure_record(volume: Volume) -> tuple[float, float, float]:
    """The same of a whole record of the store, header, checks and fresh memory included."""
    unknown = np.full((len(volume.hu), len(LABELS)), np.nan, np.float32)
    scan = PreparedScan(volume=volume, slice_labels=unknown, scan_labels=unknown[0])
    start = time.thread_time()
    record = encode_record(scan)
    written_s = time.thread_time() - start
    size = volume.hu.nbytes
    return size / len(record), size / median_s(lambda: decode_record(record)) / 1e9, size / written_s / 1e6


def median_s(read: Callable[[], object]) -> float:
    """Seconds of this thread's own time."""
    read_s = []
    for _ in range(REPEATS):
        start = time.thread_time()
        read()
        read_s.append(time.thread_time() - start)
    return statistics.median(read_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    scans = dict(volumes(parser.parse_args().data))
    print("ratio, GB/s read, MB/s written\n")
    print("| codec | " + " | ".join(scans) + " |\n|---" + "|---" * len(scans) + "|")
    measured: dict[str, Callable[[Volume], tuple[float, float, float]]] = {"**a record of the store**": measure_record}
    measured |= {codec.name: functools.partial(measure_slices, codec) for codec in codecs()}
    for name, figures in measured.items():
        cells = ["{:.2f}, {:.2f}, {:.0f}".format(*figures(volume)) for volume in scans.values()]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
