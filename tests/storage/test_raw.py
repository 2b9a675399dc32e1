"""Raw images: contents, overlay, and sentences for images that cannot be used."""

import os

import pytest

from x86emu.errors import UserInputError
from x86emu.storage import open_image
from x86emu.storage.raw import RawImage


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(b"".join(bytes((number,)) * 512 for number in range(8)))
    return path


def test_reads_and_writes_sectors(path):
    image = RawImage(path)
    assert image.sectors == 8 and image.read(2, 2) == b"\2" * 512 + b"\3" * 512
    image.write(7, b"\xaa" * 512)
    image.flush()
    assert path.read_bytes()[7 * 512 :] == b"\xaa" * 512
    with pytest.raises(OSError, match="not all within"):
        image.read(7, 2)
    with pytest.raises(ValueError):
        image.write(0, b"x")


def test_snapshot_leaves_the_file_alone(path):
    before = path.read_bytes()
    image = open_image(path, snapshot=True)
    image.write(1, b"A" * 512 + b"B" * 512)
    image.flush()
    assert image.read(0, 4) == b"\0" * 512 + b"A" * 512 + b"B" * 512 + b"\3" * 512
    assert path.read_bytes() == before
    image.close()
    assert RawImage(path).read(1, 1) == b"\1" * 512


def test_read_only_refuses_writes(path):
    os.chmod(path, 0o444)
    image = RawImage(path, read_only=True)
    with pytest.raises(PermissionError):
        image.write(0, bytes(512))
    image.flush()


def test_sector_size_of_a_cd(path):
    image = RawImage(path, read_only=True, sector_size=2048)
    assert image.sectors == 2 and len(image.read(1, 1)) == 2048


@pytest.mark.parametrize(
    "size, sector_size, words",
    [(0, 512, "is empty"), (1000, 512, "488 more than a multiple of 512"), (2560, 2048, "512 more than a multiple")],
)
def test_unusable_sizes(tmp_path, size, sector_size, words):
    path = tmp_path / "odd.img"
    path.write_bytes(bytes(size))
    with pytest.raises(UserInputError, match=words):
        RawImage(path, sector_size=sector_size)


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(UserInputError, match="does not exist"):
        RawImage(tmp_path / "none.img")
    with pytest.raises(UserInputError, match="is a directory"):
        RawImage(tmp_path)
    with pytest.raises(UserInputError, match="is a directory"):
        RawImage(tmp_path, read_only=True)


def test_file_that_shrinks_is_an_input_error_of_the_host(path):
    image = RawImage(path)
    os.truncate(path, 512)
    with pytest.raises(OSError, match="shorter"):
        image.read(0, 2)
