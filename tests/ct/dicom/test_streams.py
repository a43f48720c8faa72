"""Code streams that are damaged or disagree with their header: the right HU, or one line that says what is wrong."""

import io

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from ichformer.ct.io.pixels.codestream import check_rle, check_stream
from ichformer.ct.io.pixels.fragments import frame_stream
from ichformer.ct.io.scans import read_volume
from ichformer.errors import InputError
from tests.ct.builders import dataset, head_hu
from tests.ct.dicom.streams import SYNTAXES, compress, put_stream, stream_of, write_compressed
from tests.ct.dicom.test_enhanced import PLANE, at, write_enhanced

HEAD = head_hu(slices=3)
STORED = (HEAD.astype(int) + 1024).astype(np.uint16)


def write_with(tmp_path, coding, change, **tags):
    """A series whose middle slice has another code stream."""
    files = write_compressed(tmp_path / "scan", STORED, coding)
    broken = pydicom.dcmread(files[1])
    pydicom.dcmwrite(files[1], put_stream(broken, change(stream_of(broken)), **tags))
    return tmp_path / "scan"


@pytest.mark.parametrize("coding", SYNTAXES)
def test_whole_streams_give_the_right_hu(tmp_path, coding):
    write_compressed(tmp_path, STORED, coding)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.hu, HEAD)
    assert volume.audit.notes == ()


@pytest.mark.parametrize("coding", SYNTAXES)
@pytest.mark.parametrize(
    "change",
    [
        lambda stream: bytes(2),
        lambda stream: bytes(len(stream)),
        lambda stream: stream[: len(stream) // 2],
        lambda stream: stream[: len(stream) // 2] + b"\xff\xd9",
        lambda stream: stream[: len(stream) // 2] + stream[len(stream) // 2 + 300 :],
        lambda stream: stream[:-60] + b"\xff\xd9",
    ],
    ids=["empty", "zeros", "half", "half with an end", "a hole", "the last bytes lost"],
)
def test_streams_that_are_cut_short_are_refused(tmp_path, coding, change):
    folder = write_with(tmp_path, coding, change)
    with pytest.raises(
        InputError, match=r"001\.dcm: PixelData \(7FE0,0010\), coded as .*(damaged|cut short|begin with|0 RLE segments)"
    ):
        read_volume(folder)


def test_a_truncated_baseline_jpeg_is_no_grey_picture(tmp_path):
    packed = io.BytesIO()
    Image.fromarray((STORED[0] >> 4).astype(np.uint8)).save(packed, "JPEG", quality=95)
    stream, syntax = packed.getvalue(), pydicom.uid.JPEGBaseline8Bit
    for name, own in (("whole", stream), ("half", stream[: len(stream) // 2] + b"\xff\xd9")):
        (tmp_path / name).mkdir()
        for i in range(3):
            made = dataset(STORED[0], (0, 0, 5.0 * i), sop_uid=f"1.{i}", BitsAllocated=8, BitsStored=8, HighBit=7)
            made.file_meta.TransferSyntaxUID = syntax
            put_stream(made, own, RescaleSlope=16, PixelRepresentation=0)
            pydicom.dcmwrite(tmp_path / name / f"{i}.dcm", made)
    assert np.abs(read_volume(tmp_path / "whole").hu - HEAD[0]).mean() < 30  # 8 bits, with loss
    with pytest.raises(InputError, match="Corrupt JPEG data: premature end"):
        read_volume(tmp_path / "half")


@pytest.mark.parametrize("coding", ["JPEG", "JPEG-LS", "JPEG 2000"])
def test_a_stream_with_more_bits_than_the_header_has_room_for(tmp_path, coding):
    write_compressed(tmp_path, STORED, coding)
    for file in tmp_path.iterdir():
        slice_ = pydicom.dcmread(file)
        pydicom.dcmwrite(file, put_stream(slice_, stream_of(slice_), BitsAllocated=8, BitsStored=8, HighBit=7))
    with pytest.raises(InputError, match="has 16 bits a sample, which do not fit the 8 of BitsAllocated"):
        read_volume(tmp_path)


def test_an_rle_stream_with_other_segments_than_the_header_needs(tmp_path):
    folder = write_with(tmp_path, "RLE", lambda stream: b"\x01\0\0\0" + stream[4:])
    with pytest.raises(InputError, match=r"it has 1 RLE segments, where BitsAllocated \(0028,0100\) needs 2"):
        read_volume(folder)


@pytest.mark.parametrize("coding", ["JPEG", "JPEG-LS", "JPEG 2000"])
def test_a_stream_of_another_size(tmp_path, coding):
    other = stream_of(compress(dataset(STORED[0, :32]), coding))
    with pytest.raises(InputError, match="its code stream says 32 x 64 x 1"):
        read_volume(write_with(tmp_path, coding, lambda _: other))


@pytest.mark.parametrize("coding", ["JPEG", "RLE"])
def test_fewer_bits_stored_than_there_are_is_noted(tmp_path, coding):
    files = write_compressed(tmp_path, STORED, coding)
    for file in files:
        slice_ = pydicom.dcmread(file)
        slice_.BitsStored, slice_.HighBit = 11, 10
        pydicom.dcmwrite(file, slice_)
    notes = {note.code: note.text for note in read_volume(tmp_path).audit.notes}
    assert notes["unused_bits_set"] == "bits above the 11 stored"


@pytest.mark.parametrize("coding", SYNTAXES)
def test_a_header_with_the_wrong_sign(tmp_path, coding):
    """Signed values that are called unsigned: air below 0 shows it."""
    for file in write_compressed(tmp_path, HEAD, coding, RescaleIntercept=0):
        slice_ = pydicom.dcmread(file)
        slice_.PixelRepresentation = 0
        pydicom.dcmwrite(file, slice_)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.hu, HEAD)
    assert "sign_repaired" in {note.code for note in volume.audit.notes}


def test_a_bomb_of_many_slices_is_refused_before_memory_is_taken(tmp_path):
    for i in range(17):
        made = dataset(STORED[0], (0, 0, 2.0 * i), sop_uid=f"1.{i}", Rows=4096, Columns=4096, PixelSpacing=[0.1, 0.1])
        made.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
        pydicom.dcmwrite(tmp_path / f"{i}.dcm", put_stream(made, bytes(200)))
    with pytest.raises(InputError, match="its 17 slices would unpack to 544 MiB, which is over 200 times"):
        read_volume(tmp_path)


def rle(*segments: bytes) -> bytes:
    starts = np.cumsum([64, *(len(segment) for segment in segments[:-1])])
    header = b"".join(int(n).to_bytes(4, "little") for n in (len(segments), *starts))
    return header.ljust(64, b"\0") + b"".join(segments)


def test_runs_have_to_fill_the_picture_exactly():
    for sound in (rle(b"\x03abcd"), rle(b"\xfda"), rle(b"\x01ab\x80\xffc\0"), rle(b"\xffa\xffb\0\0")):
        check_rle(sound, pixels=4, bytes_a_pixel=1)
    for wrong in (b"\x02abc", b"\x04abcde", b"\x03abcd\xffz", b"\x03abc", b"\xfd", b""):
        with pytest.raises(ValueError, match="its RLE segment 2 does not unpack to 4 bytes"):
            check_rle(rle(b"\xfda", wrong), pixels=4, bytes_a_pixel=2)
    with pytest.raises(ValueError, match="its RLE segment 1"):
        check_rle(rle(b"\xfda").replace(b"\x40\0\0\0", b"\xff\xff\xff\x7f"), pixels=4, bytes_a_pixel=1)


def test_padding_behind_the_end_of_a_stream_is_no_damage(tmp_path):
    folder = write_with(tmp_path, "JPEG", lambda stream: stream.rstrip(b"\0") + bytes(100))
    np.testing.assert_array_equal(read_volume(folder).hu, HEAD)
    with pytest.raises(ValueError, match="it has no end"):
        check_stream(
            stream_of(pydicom.dcmread(folder / "001.dcm")) + bytes(2000), rows=64, columns=64, bits_allocated=16
        )


FRAMES = [b"\xff\xd8\xffa\xff\xd9", b"\xff\xd8\xffbb2\xff\xd9", b"\xff\xd8\xffc3\xff\xd9"]


def packed(fragments, table=()):
    offsets = b"".join(offset.to_bytes(4, "little") for offset in table)
    items = (b"\xfe\xff\x00\xe0" + len(one).to_bytes(4, "little") + one for one in (offsets, *fragments))
    return b"".join(items) + b"\xfe\xff\xdd\xe0\0\0\0\0"


@pytest.mark.parametrize("table", [(), (0, 14, 30), (30, 14, 0), (0, 0, 0), (5, 7, 10**9)])
def test_a_table_of_offsets_is_not_needed_where_each_frame_is_a_fragment(table):
    assert [frame_stream(packed(FRAMES, table), i, 3) for i in range(3)] == FRAMES
    assert [frame_stream(packed(FRAMES), i, 3, [7, 7, 2**63]) for i in range(3)] == FRAMES


def test_frames_of_several_fragments():
    parts = [part for frame in FRAMES for part in (frame[:4], frame[4:])]
    starts = np.cumsum([0, *(8 + len(part) for part in parts)])[:-1:2].tolist()
    for data, offsets in ((packed(parts, starts), ()), (packed(parts), starts), (packed(parts), ())):
        assert [frame_stream(data, i, 3, offsets) for i in range(3)] == FRAMES
    for wrong in (starts[::-1], [0, 1, 2], [0, starts[1]], [starts[1], starts[2], starts[2]]):
        with pytest.raises(ValueError, match="its table of offsets does not fit its 6 fragments"):
            frame_stream(packed(parts, wrong), 0, 3)
    with pytest.raises(ValueError, match="nothing tells which of its 4 fragments"):
        frame_stream(packed(parts[:4]), 0, 3)


def test_fragments_that_are_missing_or_broken():
    assert frame_stream(packed([FRAMES[0][:4], FRAMES[0][4:]], (0, 12)), 0, 1) == FRAMES[0]
    for data, frames, words in (
        (packed(FRAMES), 4, "it holds 3 fragments, too few for 4 frames"),
        (packed(FRAMES), 10**9, "too few for 1000000000 frames"),
        (packed(FRAMES), 1, "it holds 3 pictures, where NumberOfFrames"),
        (packed(FRAMES)[:-20], 3, "cut short or damaged"),
        (packed([]), 1, "it holds no fragments"),
        (b"", 1, "it holds no fragments"),
        (bytes(100), 1, "cut short or damaged"),
    ):
        with pytest.raises(ValueError, match=words):
            frame_stream(data, 0, frames)


def test_frames_stay_in_their_order_whatever_the_table_says(tmp_path):
    made = write_enhanced(tmp_path / "e.dcm", STORED.astype(np.int16), [at(5.0 * i) for i in range(3)], PLANE)
    streams = [stream_of(compress(dataset(picture), "RLE")) for picture in STORED.astype(np.int16)]
    made.file_meta.TransferSyntaxUID = pydicom.uid.RLELossless
    made.PixelData = encapsulate(streams)
    lengths = [8 + len(stream) + len(stream) % 2 for stream in streams]
    wrong = [lengths[0] + lengths[1], lengths[0], 0]
    data = b"".join(offset.to_bytes(4, "little") for offset in wrong)
    made.PixelData = made.PixelData[:8] + data + made.PixelData[20:]
    made["PixelData"].VR = "OB"
    pydicom.dcmwrite(tmp_path / "e.dcm", made)
    np.testing.assert_array_equal(read_volume(tmp_path).hu, HEAD)


def test_a_billion_frames(tmp_path):
    made = write_enhanced(tmp_path / "e.dcm", STORED.astype(np.int16), [at(5.0 * i) for i in range(3)], PLANE)
    assert isinstance(made, Dataset)
    made.NumberOfFrames = 10**9
    pydicom.dcmwrite(tmp_path / "e.dcm", made)
    with pytest.raises(InputError, match=r"NumberOfFrames is 1000000000, but .* has 3 items"):
        read_volume(tmp_path)


def test_functional_groups_of_endless_empty_items(tmp_path, monkeypatch):
    write_enhanced(tmp_path / "e.dcm", STORED.astype(np.int16), [at(5.0 * i) for i in range(3)], PLANE)
    data = (tmp_path / "e.dcm").read_bytes()
    start = data.index(b"\x00\x52\x30\x92SQ") + 8
    length = int.from_bytes(data[start : start + 4], "little")
    items, behind = (
        data[start + 4 : start + 4 + length] + b"\xfe\xff\x00\xe0\0\0\0\0" * 1000,
        data[start + 4 + length :],
    )
    (tmp_path / "e.dcm").write_bytes(data[:start] + len(items).to_bytes(4, "little") + items + behind)
    with pytest.raises(InputError, match=r"NumberOfFrames is 3, but PerFrame.* has 10\d\d items"):
        read_volume(tmp_path)
    end = b"\xfe\xff\xdd\xe0\0\0\0\0"
    (tmp_path / "e.dcm").write_bytes(data[:start] + b"\xff" * 4 + items + end + behind)
    monkeypatch.setattr("ichformer.ct.io.dicom.dicom_file.MAX_READS", 2000)
    with pytest.raises(InputError, match="has a broken DICOM header"):  # pydicom says it in other words
        read_volume(tmp_path)
