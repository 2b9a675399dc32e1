"""qcow2 images against a byte array, and the sentences for those that cannot be used."""

from __future__ import annotations

import random
import resource
import struct
from pathlib import Path

import pytest

from x86emu.errors import UserInputError
from x86emu.storage import Image, create_image, open_image
from x86emu.storage.host_file import HostFile
from x86emu.storage.qcow2 import Qcow2Image
from x86emu.storage.qcow2_check import CheckResult, check, repair
from x86emu.storage.qcow2_format import CORRUPT, DIRTY

MIB = 1 << 20
SHAPES = [
    {"cluster_size": 65536},
    {"cluster_size": 512, "refcount_bits": 1},
    {"cluster_size": 512},
    {"cluster_size": 4096, "version": 2},
    {"cluster_size": 1024, "refcount_bits": 64, "lazy_refcounts": True},
    {"cluster_size": 2 * MIB, "refcount_bits": 4},
]


def checked(path: Path) -> CheckResult:
    image = open_image(path, read_only=True)
    assert isinstance(image, Qcow2Image)
    result = check(image)
    image.close()
    return result


def traffic(image: Image, mirror: bytearray, seed: int, operations: int = 150) -> None:
    """Random writes, zeroes, discards, flushes and reads; discarded sectors take on what the image gives for them."""
    dice = random.Random(seed)
    for _ in range(operations):
        kind = dice.choices(("write", "zero", "discard", "flush", "read"), (8, 2, 2, 1, 4))[0]
        count = dice.choice((1, 7, 64, 300))
        first = dice.randrange(image.sectors - count + 1)
        low, high = first * 512, (first + count) * 512
        if kind == "write":
            mirror[low:high] = data = dice.randbytes(high - low)
            image.write(first, data)
        elif kind == "zero":
            mirror[low:high] = bytes(high - low)
            image.write_zeroes(first, count, unmap=dice.random() < 0.5)
        elif kind == "discard":
            image.discard(first, count)
            after = image.read(first, count)
            for sector in range(count):
                part = after[sector * 512 : sector * 512 + 512]
                assert part in (bytes(512), mirror[low + sector * 512 : low + sector * 512 + 512])
            mirror[low:high] = after
        elif kind == "flush":
            image.flush()
        elif dice.random() < 0.5:
            assert image.read(first, count) == mirror[low:high]
        else:
            into = bytearray(high - low)
            cuts = sorted({0, len(into), *(dice.randrange(len(into)) for _ in range(dice.randrange(4)))})
            image.read_into(first, [memoryview(into)[a:b] for a, b in zip(cuts, cuts[1:], strict=False)])
            assert into == mirror[low:high]
    assert image.read(0, image.sectors) == mirror


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_random_traffic(shape: dict[str, int], tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    create_image(path, 4 * MIB + 512 * 3, **shape)
    mirror = bytearray(4 * MIB + 512 * 3)
    for seed in (1, 2):
        image = open_image(path)
        traffic(image, mirror, seed)
        image.close()
        assert checked(path).clean


@pytest.mark.parametrize("version", [2, 3])
def test_backing_file_shows_and_is_never_written(version: int, tmp_path: Path) -> None:
    base, top = tmp_path / "base.raw", tmp_path / "top.qcow2"
    contents = random.Random(3).randbytes(MIB)
    base.write_bytes(contents)
    create_image(top, 2 * MIB, backing_file="base.raw", version=version, cluster_size=4096)
    image = open_image(top)
    mirror = bytearray(contents + bytes(MIB))
    traffic(image, mirror, 5)
    image.close()
    assert base.read_bytes() == contents and checked(top).clean
    again = open_image(top, read_only=True)
    assert again.read(0, again.sectors) == mirror
    again.close()


def test_snapshot_overlay_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    create_image(path, MIB)
    before = path.read_bytes()
    image = open_image(path, snapshot=True)
    traffic(image, bytearray(MIB), 4)
    image.flush()
    image.close()
    assert path.read_bytes() == before


def test_small_refcounts_grow_their_table(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    create_image(path, 5 * MIB, cluster_size=512, refcount_bits=64)  # 64 clusters to a block, 64 blocks to a cluster
    image = open_image(path)
    image.write(0, b"\xa5" * 4 * MIB)
    image.close()
    image = open_image(path)
    assert image.read(0, 8192) == b"\xa5" * 4 * MIB
    assert isinstance(image, Qcow2Image) and image.header.refcount_table_clusters > 1
    image.close()
    assert checked(path).clean


def test_dirty_image_is_counted_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    create_image(path, MIB, lazy_refcounts=True)
    image = open_image(path)
    assert isinstance(image, Qcow2Image)
    image.write(0, b"x" * MIB)
    image.flush()
    image.abandon()  # as if the process had died
    stale = open_image(path, read_only=True)
    assert isinstance(stale, Qcow2Image) and stale.header.incompatible_features & DIRTY
    assert "refcount 0 and 1 references" in check(stale).corruptions[0]
    stale.close()
    image = open_image(path)
    assert any("counted anew" in note for note in image.notes)
    assert image.read(0, 1) == b"x" * 512
    image.close()
    assert checked(path).clean


def field(path: Path, offset: int, form: str, value: int) -> None:
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, offset, value)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("offset", "form", "value", "words"),
    [
        (4, ">I", 7, "its version is 7"),
        (20, ">I", 40, r"clusters of 2\^40 bytes"),
        (32, ">I", 1, "it is encrypted"),
        (36, ">I", 1 << 31, "L1 table claims"),
        (36, ">I", 0, "L1 table has 0 entries and its size needs 1"),
        (40, ">Q", 3, "not at the beginning of a cluster"),
        (40, ">Q", 1 << 40, "lies beyond its end"),
        (48, ">Q", 0, "refcount table at 0x0"),
        (56, ">I", 0, "has no refcount table"),
        (24, ">Q", 1000, "no whole number of sectors"),
        (24, ">Q", 1 << 62, "more than its clusters can hold"),
        (60, ">I", 1 << 30, "snapshot table claims"),
        (72, ">Q", 1 << 40, "features that are unknown here"),
        (72, ">Q", 4, "data are in another file"),
        (72, ">Q", 16, "extended L2 entries"),
        (72, ">Q", CORRUPT, "marked corrupt"),
        (96, ">I", 9, r"refcounts of 2\^9 bits"),
        (100, ">I", 96, "header claims 96 bytes"),
        (104, ">I", 0xE2792ACA, "header extension 0xe2792aca of .* does not fit"),
        (16, ">I", 5000, "name of 5000 bytes"),
    ],
)
def test_corrupt_header(offset: int, form: str, value: int, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    create_image(path, MIB)
    field(path, offset, form, value)
    if offset == 104:
        field(path, 108, ">I", 70000)
    if offset == 16:
        field(path, 8, ">Q", 64)
    with pytest.raises(UserInputError, match=words) as caught:
        open_image(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_every_truncation_has_a_sentence_or_an_io_error(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    create_image(path, MIB, cluster_size=512)
    image = open_image(path)
    image.write(0, b"z" * MIB)
    image.close()
    whole = path.read_bytes()
    for length in [*range(1, 8192, 97), len(whole) // 2]:
        path.write_bytes(whole[:length])
        try:
            image = open_image(path, "qcow2")
        except UserInputError as error:
            assert "\n" not in str(error)
            continue
        for sector in range(0, image.sectors, 61):
            try:
                image.write(sector, image.read(sector, 1))
            except OSError as error:
                assert "corrupt" in str(error)
        try:
            image.close()
        except OSError as error:
            assert "corrupt" in str(error)


def test_random_corruption_never_escapes(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    create_image(path, MIB, cluster_size=512)
    image = open_image(path)
    traffic(image, bytearray(MIB), 9, 60)
    image.close()
    whole = path.read_bytes()
    for seed in range(60):
        dice = random.Random(seed)
        data = bytearray(whole)
        for _ in range(dice.choice((1, 3, 30))):
            at = dice.choice((dice.randrange(112), dice.randrange(512, len(data)))) & ~7
            data[at : at + 8] = dice.choice((dice.randbytes(8), bytes(8), data[at + 512 : at + 520].ljust(8, b"\xff")))
        path.write_bytes(data)
        try:
            image = open_image(path, "qcow2")
        except UserInputError as error:
            assert "\n" not in str(error)
            continue
        for _ in range(20):
            first = dice.randrange(image.sectors)
            try:
                image.read(first, 1)
                image.write(first, b"w" * 512)
                image.flush()
            except OSError:
                pass
        try:
            image.close()
        except OSError:
            pass


def test_entry_into_a_table_marks_the_image_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    create_image(path, MIB)
    image = open_image(path)
    assert isinstance(image, Qcow2Image)
    image.write(0, b"x" * 512)
    image.flush()
    l1_table, l2_table = image.header.l1_table_offset, int(image.l1[0]) & ~(1 << 63)
    image.close()
    field(path, l2_table, ">Q", 1 << 63 | l1_table)
    image = open_image(path)
    with pytest.raises(OSError, match="corrupt"):
        image.write(0, b"y" * 512)
    with pytest.raises(OSError, match="corrupt"):
        image.write(1000, b"y" * 512)
    with pytest.raises(OSError, match="corrupt"):
        image.flush()
    image.close()
    with pytest.raises(UserInputError, match="marked corrupt"):
        open_image(path)
    assert open_image(path, read_only=True).read(1000, 1) == bytes(512)


def test_repair(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    create_image(path, MIB)
    image = open_image(path)
    assert isinstance(image, Qcow2Image)
    image.write(0, b"x" * 512)
    image.flush()
    image.refcounts.set(3, 0)  # the L1 table's cluster
    image.refcounts.set(200, 1)  # nobody's
    image.close()
    result = checked(path)
    assert len(result.leaks) == 1 and any("cluster 0x3 has refcount 0" in line for line in result.corruptions)
    damaged = Qcow2Image(HostFile(path, read_only=False), for_repair=True)
    partly = repair(damaged, leaks_only=True)
    assert not partly.leaks and partly.corruptions
    assert repair(damaged).clean
    damaged.abandon()
    assert checked(path).clean
    assert open_image(path).read(0, 1) == b"x" * 512


def test_backing_file_missing_loop_larger_or_no_file(tmp_path: Path) -> None:
    base, top = tmp_path / "base.qcow2", tmp_path / "top.qcow2"
    create_image(base, MIB)
    create_image(top, MIB, backing_file="base.qcow2", backing_format="qcow2")
    base.unlink()
    with pytest.raises(UserInputError, match="backed by .*base.qcow2, which does not exist"):
        open_image(top)
    create_image(base, MIB, backing_file="top.qcow2", backing_format="raw")
    field(base, base.read_bytes().index(b"raw"), ">I", 0x71636F77)
    with pytest.raises(UserInputError, match="is backed by"):
        open_image(top)
    base.unlink()
    base.symlink_to(top)
    with pytest.raises(UserInputError, match="is backed by itself: .*top.qcow2 -> .*base.qcow2"):
        open_image(top)
    base.unlink()
    create_image(base, 4 * MIB)
    image = open_image(top)
    assert image.size == MIB and any("the rest of it is not seen" in note for note in image.notes)
    image.close()
    with pytest.raises(UserInputError, match="its end would not be seen"):
        create_image(tmp_path / "small.qcow2", MIB, backing_file="base.qcow2")
    with pytest.raises(UserInputError, match="which is no file"):
        create_image(tmp_path / "net.qcow2", MIB, backing_file="nbd://localhost/x")


def test_full_host_disk_is_an_io_error_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    create_image(path, 4 * MIB, cluster_size=4096)
    image = open_image(path)
    image.write(0, b"k" * 4096)
    image.flush()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 8192, limits[1]))
    try:
        with pytest.raises(OSError):
            for sector in range(8, 4096, 8):
                image.write(sector, b"n" * 4096)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    image.write(800, b"m" * 4096)
    image.close()
    assert checked(path).clean
    image = open_image(path)
    assert image.read(0, 8) == b"k" * 4096 and image.read(800, 8) == b"m" * 4096
    image.close()


def test_locks(tmp_path: Path) -> None:
    for format in ("raw", "qcow2"):
        path = tmp_path / f"a.{format}"
        create_image(path, MIB, format)
        readers = [open_image(path, read_only=True), open_image(path, snapshot=True)]
        with pytest.raises(UserInputError, match="cannot be locked for writing"):
            open_image(path)
        for reader in readers:
            reader.close()
        writer = open_image(path)
        for read_only in (False, True):
            with pytest.raises(UserInputError, match="another program or machine uses it"):
                open_image(path, read_only=read_only)
        with pytest.raises(UserInputError, match="another program or machine uses it"):
            create_image(path, MIB, format)
        writer.close()
        open_image(path).close()


def test_guessed_raw_image_may_not_become_another_format(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    create_image(path, MIB, "raw")
    image = open_image(path)
    with pytest.raises(OSError, match="may not become qcow2"):
        image.write(0, b"QFI\xfb".ljust(512, b"\0"))
    image.close()
    image = open_image(path, "raw")
    image.write(0, b"QFI\xfb".ljust(512, b"\0"))
    image.close()
    for magic, name in ((b"KDMV", "VMDK"), (b"conectix", "VHD"), (b"vhdxfile", "VHDX")):
        path.write_bytes(magic.ljust(512, b"\0"))
        with pytest.raises(UserInputError, match=f"of format {name}, .* qemu-img convert"):
            open_image(path)
