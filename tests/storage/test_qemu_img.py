"""Debian's qemu-img reads what we write, we read what it writes, and its check finds nothing."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from x86emu.storage import create_image, open_image
from x86emu.storage.convert import convert
from x86emu.storage.qcow2 import Qcow2Image, zstd_available
from x86emu.storage.qcow2_check import check

MIB = 1 << 20
pytestmark = pytest.mark.skipif(
    shutil.which("qemu-img") is None, reason="qemu-img is not installed; the package qemu-utils has it"
)


def qemu_img(*arguments: str | Path, code: int = 0) -> str:
    done = subprocess.run(["qemu-img", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def contents(tmp_path: Path) -> Path:
    """3 MiB of which a third is text, a third noise and a third nothing."""
    path = tmp_path / "contents.raw"
    path.write_bytes(b"".join(b"%15d\n" % n for n in range(65536)) + random.Random(1).randbytes(MIB) + bytes(MIB))
    return path


@pytest.mark.parametrize("options", ["compat=0.10", "cluster_size=512", "lazy_refcounts=on", "refcount_bits=1"])
@pytest.mark.parametrize("compress", [False, True])
def test_reads_what_qemu_img_writes_and_changes_it(options: str, compress: bool, contents: Path) -> None:
    path = contents.with_name("theirs.qcow2")
    if compress and "refcount_bits=1" in options:
        options += "6"  # compressed clusters share host clusters
    qemu_img("convert", *(["-c"] if compress else []), "-O", "qcow2", "-o", options, contents, path)
    image = open_image(path)
    expected = bytearray(contents.read_bytes())
    assert image.read(0, image.sectors) == expected
    for first, count in ((0, 1), (127, 3), (3000, 200), (6000, 1)):
        image.write(first, b"+" * 512 * count)
        expected[first * 512 : (first + count) * 512] = b"+" * 512 * count
    image.write_zeroes(1000, 700)
    expected[1000 * 512 : 1700 * 512] = bytes(700 * 512)
    image.close()
    qemu_img("check", path)
    contents.write_bytes(expected)
    qemu_img("compare", "-F", "raw", path, contents)
    image = open_image(path, read_only=True)
    assert isinstance(image, Qcow2Image) and check(image).clean
    image.close()


@pytest.mark.parametrize(("cluster_size", "version"), [(65536, 3), (512, 3), (4096, 2)])
def test_qemu_img_reads_what_we_write(cluster_size: int, version: int, contents: Path) -> None:
    path, back = contents.with_name("ours.qcow2"), contents.with_name("back.raw")
    convert(contents, path, target_format="qcow2", cluster_size=cluster_size, version=version)
    qemu_img("check", path)
    qemu_img("compare", "-F", "raw", path, contents)
    qemu_img("convert", "-O", "raw", path, back)
    assert back.read_bytes() == contents.read_bytes()


def test_internal_snapshots_stay_intact(contents: Path) -> None:
    path, before = contents.with_name("a.qcow2"), contents.with_name("before.raw")
    qemu_img("convert", "-c", "-O", "qcow2", contents, path)
    image = open_image(path)
    image.write(100, b"1" * 51200)
    image.close()
    qemu_img("snapshot", "-c", "first", path)
    convert(path, before)
    image = open_image(path)
    assert isinstance(image, Qcow2Image) and [entry.name for entry in image.snapshots] == ["first"]
    image.write(0, b"2" * 512 * 900)
    image.discard(2000, 1000)
    image.close()
    qemu_img("check", path)
    qemu_img("snapshot", "-a", "first", path)
    qemu_img("compare", "-F", "raw", path, before)
    image = open_image(path)
    image.write(50, b"3" * 512)
    image.close()
    qemu_img("snapshot", "-d", "first", path)
    qemu_img("check", path)


def test_backing_chains_both_ways(contents: Path) -> None:
    middle, top = contents.with_name("middle.qcow2"), contents.with_name("top.qcow2")
    qemu_img("create", "-f", "qcow2", "-b", contents.name, "-F", "raw", middle, "4M")
    create_image(top, 8 * MIB, backing_file="middle.qcow2")
    image = open_image(top)
    image.write(1, b"t" * 512)
    image.write_zeroes(2048, 2048)
    expected = image.read(0, image.sectors)
    image.close()
    flat = contents.with_name("flat.raw")
    qemu_img("convert", "-O", "raw", top, flat)
    assert flat.read_bytes() == expected and expected[:512] == contents.read_bytes()[:512]
    assert "backing file: middle.qcow2" in qemu_img("info", top)
    qemu_img("check", top)


def test_each_honours_the_others_lock(contents: Path) -> None:
    path = contents.with_name("a.qcow2")
    create_image(path, MIB)
    image = open_image(path)
    assert 'Failed to get' in qemu_img("info", path, code=1)
    image.close()
    qemu_img("info", path)


def test_qemu_img_repairs_our_dirty_image(contents: Path) -> None:
    path = contents.with_name("a.qcow2")
    create_image(path, MIB, lazy_refcounts=True)
    image = open_image(path)
    assert isinstance(image, Qcow2Image)
    image.write(0, b"x" * 70144)
    image.flush()
    image.abandon()
    qemu_img("check", "-r", "all", path)
    image = open_image(path)
    assert image.notes == [] and image.read(0, 1) == b"x" * 512
    image.close()


def test_zstd(contents: Path) -> None:
    path = contents.with_name("z.qcow2")
    qemu_img("convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", contents, path)
    image = open_image(path, read_only=True)
    if zstd_available():
        assert image.read(0, image.sectors) == contents.read_bytes()
    else:
        assert "package zstandard" in image.notes[0]
        with pytest.raises(OSError, match="package zstandard"):
            image.read(0, 1)
    image.close()
