"""Making empty qcow2 images: header, refcount table and block, L1 table; nothing else is allocated."""

from __future__ import annotations

import os
from pathlib import Path

import numpy

from x86emu.errors import UserInputError
from x86emu.storage.host_file import HostFile
from x86emu.storage.qcow2_format import LARGEST_L1, LAZY_REFCOUNTS, SECTOR, Header
from x86emu.storage.qcow2_refcounts import Refcounts, pack


def create_qcow2(
    path: str | os.PathLike[str],
    size: int,
    *,
    cluster_size: int = 65536,
    version: int = 3,
    refcount_bits: int = 16,
    lazy_refcounts: bool = False,
    backing_file: str | None = None,
    backing_format: str | None = None,
) -> None:
    """Makes a qcow2 image of `size` bytes (rounded up to sectors).  UserInputError for values that no image has."""
    size += -size % SECTOR
    if size <= 0:
        raise UserInputError(f"The image {path} would have no sectors; give a size, 10G for example.")
    if cluster_size & (cluster_size - 1) or not 512 <= cluster_size <= 2 << 20:
        raise UserInputError(f"Clusters of {cluster_size} bytes do not exist; a power of two from 512 to 2M would do.")
    if version not in (2, 3):
        raise UserInputError(f"There is no version {version} of qcow2; 2 and 3 would do.")
    if refcount_bits not in (1, 2, 4, 8, 16, 32, 64) or version == 2 and refcount_bits != 16:
        raise UserInputError(
            f"Refcounts of {refcount_bits} bits do not exist in version {version}; 16 would do"
            f"{' (3 has 1, 2, 4, 8, 32 and 64 too)' if version == 2 else ', and 1, 2, 4, 8, 32 and 64'}."
        )
    if lazy_refcounts and version == 2:
        raise UserInputError("Version 2 has no lazy refcounts; version 3 has.")
    if backing_file is not None and len(backing_file.encode()) > 1023:
        raise UserInputError("The name of the backing file is longer than 1023 bytes; a shorter path would do.")
    header = Header(
        version=version,
        size=size,
        cluster_bits=cluster_size.bit_length() - 1,
        refcount_order=refcount_bits.bit_length() - 1,
        compatible_features=LAZY_REFCOUNTS if lazy_refcounts else 0,
        backing_file=backing_file,
        backing_format=backing_format,
    )
    if header.l1_entries_needed * 8 > LARGEST_L1:
        raise UserInputError(
            f"{size} bytes are too many for clusters of {cluster_size}; larger clusters would do (cluster_size=2M)."
        )
    if len(header.pack()) > cluster_size:
        raise UserInputError(f"The header does not fit a cluster of {cluster_size} bytes; larger clusters would do.")
    file = HostFile(Path(path), read_only=False, create=True)
    try:
        _write(file, header)
    except OSError as error:
        raise UserInputError(f"The image {path} cannot be written: {error.strerror or error}.") from None
    finally:
        file.close()


def _write(file: HostFile, header: Header) -> None:
    cluster = header.cluster_size
    table, block = cluster, 2 * cluster
    header.refcount_table_offset, header.refcount_table_clusters = table, 1
    counts = numpy.zeros(header.refcounts_per_block, numpy.uint64)
    counts[:3] = 1
    file.write(table, block.to_bytes(8, "big").ljust(cluster, b"\0"))
    file.write(block, pack(counts, header.refcount_order))
    refcounts = Refcounts(file, header, OSError)
    header.l1_size = header.l1_entries_needed
    clusters = -(-header.l1_size * 8 // cluster)
    header.l1_table_offset = refcounts.allocate(clusters) << header.cluster_bits
    for old in refcounts.place_table():
        refcounts.release(old)
    refcounts.store()
    file.resize(max(file.size, header.l1_table_offset + clusters * cluster))
    file.write(0, header.pack())
    file.sync()
