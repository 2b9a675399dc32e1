"""Opening images by name, with their backing files, and making new ones."""

from __future__ import annotations

import os
import re
from pathlib import Path

from x86emu.errors import UserInputError
from x86emu.storage.host_file import HostFile
from x86emu.storage.image import Image, SnapshotOverlay
from x86emu.storage.qcow2_format import MAGIC, read_header
from x86emu.storage.raw import RawImage

FORMATS = ("raw", "qcow2")
LONGEST_CHAIN = 200
# Formats that a person may well have, by their first bytes, to be named rather than taken for raw.
FOREIGN = {b"KDMV": "VMDK", b"conectix": "VHD", b"vhdxfile": "VHDX", b"<<< ": "VDI", b"QED\0": "QED"}


def probe(file: HostFile) -> str:
    """The format by the file's first bytes; UserInputError where it is one that is not read here."""
    first = file.read(0, min(file.size, 16))
    if first[:4] == MAGIC:
        return "qcow2"
    for magic, name in FOREIGN.items():
        if first.startswith(magic):
            raise UserInputError(
                f"The image {file.path} is of format {name}, which is not read here; qemu-img convert -O qcow2 "
                f"{file.path} disk.qcow2 makes one that is."
            )
    return "raw"


def open_image(
    path: str | os.PathLike[str],
    format: str | None = None,
    *,
    read_only: bool = False,
    snapshot: bool = False,
    sector_size: int = 512,
    lock: bool = True,
) -> Image:
    """Opens a disk image; without `format` ("raw", "qcow2") it is found out from the file's first bytes.

    With `snapshot` nothing is written to the file: changes live in memory.  UserInputError with a sentence where the
    file, or one that it is backed by, cannot be used.
    """
    if format is not None and format not in FORMATS:
        raise UserInputError(f"There is no image format {format!r} here; {' and '.join(FORMATS)} would do.")
    image = _open(Path(path), format, read_only or snapshot, sector_size, lock, [])
    return SnapshotOverlay(image) if snapshot else image


def _open(
    path: Path, format: str | None, read_only: bool, sector_size: int, lock: bool, chain: list[tuple[HostFile, Path]]
) -> Image:
    file = HostFile(path, read_only=read_only, lock=False)
    backing: Image | None = None
    try:
        for other, _ in chain:
            if other.identity == file.identity:
                loop = " -> ".join(str(name) for _, name in chain)
                raise UserInputError(
                    f"The image {chain[0][1]} is backed by itself: {loop} -> {path}; give an image whose backing files"
                    " come to an end (qemu-img rebase -u changes them)."
                )
        if len(chain) > LONGEST_CHAIN:
            raise UserInputError(f"The image {chain[0][1]} has more than {LONGEST_CHAIN} backing files; merge some.")
        if lock:
            file.lock()
        probed = format is None
        if (format or probe(file)) == "raw":
            return RawImage(path, read_only=read_only, sector_size=sector_size, probed=probed, file=file)
        from x86emu.storage.qcow2 import Qcow2Image, zstd_available  # NumPy, which raw images do without

        header = read_header(file)
        if header.backing_file is not None:
            backing = _open_backing(path, header.backing_file, header.backing_format, lock, [*chain, (file, path)])
        image = Qcow2Image(file, backing=backing, sector_size=sector_size)
        if image.compressed_by_zstd and not zstd_available():
            image.notes.append(
                f"{path} may hold clusters compressed by zstd, which cannot be read without the package zstandard or"
                " Python 3.14: the guest will see errors there."
            )
        if backing is not None:
            image.notes += backing.notes
            if backing.size > image.size:
                image.notes.append(
                    f"The backing file {backing.path} has {backing.size} bytes, {path} only {image.size}: the rest of"
                    " it is not seen."
                )
        return image
    except OSError as error:
        file.close()
        if backing is not None:
            backing.close()
        raise UserInputError(f"The image {path} cannot be read: {error.strerror or error}.") from None
    except BaseException:
        file.close()
        if backing is not None:
            backing.close()
        raise


def backing_path(image: Path, name: str) -> Path:
    """Where a backing file is: its name is relative to the directory of the image that names it."""
    if name.startswith("file:"):
        name = name[5:]
    elif re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+:", name):
        raise UserInputError(
            f"The image {image} is backed by {name!r}, which is no file; only files can be backing files here."
        )
    return image.parent / name


def _open_backing(
    image: Path, name: str, format: str | None, lock: bool, chain: list[tuple[HostFile, Path]]
) -> Image:
    path = backing_path(image, name)
    if not path.exists():
        raise UserInputError(
            f"The image {image} is backed by {path}, which does not exist; put that file there, or name another with"
            f" qemu-img rebase -u -b FILE {image}."
        )
    if format is not None and format not in FORMATS:
        raise UserInputError(
            f"The image {image} is backed by {path} of format {format!r}, which is not read here;"
            f" {' and '.join(FORMATS)} are."
        )
    return _open(path, format, True, 512, lock, chain)


def create_image(
    path: str | os.PathLike[str],
    size: int | None = None,
    format: str = "qcow2",
    *,
    backing_file: str | None = None,
    backing_format: str | None = None,
    cluster_size: int = 65536,
    version: int = 3,
    refcount_bits: int = 16,
    lazy_refcounts: bool = False,
) -> None:
    """Makes an empty image.  The size may be left out where a backing file has one.

    UserInputError where a value, the directory or the backing file cannot be used, and where the backing file is
    larger than the image, whose rest would silently be cut off.
    """
    path = Path(path)
    if format not in FORMATS:
        raise UserInputError(f"There is no image format {format!r} here; {' and '.join(FORMATS)} would do.")
    if backing_file is not None:
        if format == "raw":
            raise UserInputError("A raw image has no backing file; qcow2 has.")
        below_path = backing_path(path, backing_file)
        if below_path.exists() and path.exists() and below_path.samefile(path):
            raise UserInputError(f"The image {path} would be its own backing file; give it another name.")
        with_format = backing_format
        below = open_image(below_path, with_format, read_only=True)
        try:
            backing_format = below.format
            if size is None:
                size = below.size
            elif size < below.size:
                raise UserInputError(
                    f"The backing file {below_path} has {below.size} bytes, the image would have {size}: its end would"
                    " not be seen; give that size or a larger one."
                )
        finally:
            below.close()
    if size is None:
        raise UserInputError(f"The image {path} needs a size, 10G for example.")
    if format == "qcow2":
        from x86emu.storage.qcow2_create import create_qcow2

        create_qcow2(
            path, size, cluster_size=cluster_size, version=version, refcount_bits=refcount_bits,
            lazy_refcounts=lazy_refcounts, backing_file=backing_file, backing_format=backing_format,
        )  # fmt: skip
        return
    if size <= 0:
        raise UserInputError(f"The image {path} would have no sectors; give a size, 10G for example.")
    file = HostFile(path, read_only=False, create=True)
    try:
        file.resize(size + -size % 512)
        file.sync()
    except OSError as error:
        raise UserInputError(f"The image {path} cannot be written: {error.strerror or error}.") from None
    finally:
        file.close()
