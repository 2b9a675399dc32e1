"""Consistency of a qcow2 image: every reference is counted and compared with the refcounts; and repair.

What is found is sorted as qemu-img check does: corruptions (a cluster in use whose count is too low, entries that name
no cluster, a wrong copied flag) can lose data; leaks (a count too high) only waste space.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy

from x86emu.errors import UserInputError
from x86emu.storage.qcow2_format import (
    BITMAPS_CONSISTENT,
    COMPRESSED,
    COPIED,
    CORRUPT,
    DIRTY,
    EXTENSION_BITMAPS,
    OFFSET_MASK,
    ZERO,
)

if TYPE_CHECKING:
    from x86emu.storage.qcow2 import Qcow2Image
    from x86emu.storage.qcow2_refcounts import Counts

SHOWN = 20


@dataclass
class CheckResult:
    """What a check found, in sentences; `repaired` says that the image was changed."""

    corruptions: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    allocated_clusters: int = 0
    compressed_clusters: int = 0
    total_clusters: int = 0
    repaired: bool = False

    @property
    def clean(self) -> bool:
        return not self.corruptions and not self.leaks


class _Walk:
    """Follows every table of an image and counts references to clusters."""

    def __init__(self, image: Qcow2Image, result: CheckResult) -> None:
        self.image = image
        self.result = result
        self.bits = image.header.cluster_bits
        self.cluster = image.header.cluster_size
        self.file_clusters = -(-image.file.size // self.cluster)
        self.references: dict[int, int] = {}
        self.entries: list[tuple[str, int, int, int]] = []  # whose, file offset of the entry, entry, cluster

    def count(self, cluster: int, times: int = 1) -> None:
        self.references[cluster] = self.references.get(cluster, 0) + times

    def count_range(self, offset: int, length: int) -> None:
        for cluster in range(offset >> self.bits, (offset + length + self.cluster - 1) >> self.bits):
            self.count(cluster)

    def wrong(self, sentence: str) -> None:
        self.result.corruptions.append(sentence)

    def tables(self) -> None:
        """Header, refcount table and blocks, snapshot table."""
        image, header = self.image, self.image.header
        self.count(0)
        self.count_range(header.refcount_table_offset, header.refcount_table_clusters * self.cluster)
        for index, entry in enumerate(image.refcounts.table.tolist()):
            if not entry:
                continue
            if entry % self.cluster or entry >= image.file.size:
                self.wrong(f"entry {index} of the refcount table, {entry:#x}, names no cluster of the file")
            else:
                self.count(entry >> self.bits)
        if header.nb_snapshots:
            from x86emu.storage.qcow2_format import read_snapshots

            snapshots, length = read_snapshots(image.file, header)
            self.count_range(header.snapshots_offset, length)
            for snapshot in snapshots:
                packed = image.file.read(snapshot.l1_offset, snapshot.l1_size * 8)
                l1 = numpy.frombuffer(packed, ">u8").astype(numpy.uint64)
                self.l1(f"snapshot {snapshot.name}", snapshot.l1_offset, l1, active=False)
        self.l1("the disk", header.l1_table_offset, image.l1, active=True)

    def l1(self, whose: str, offset: int, l1: Counts, *, active: bool) -> None:
        self.count_range(offset, len(l1) * 8)
        for index, entry in enumerate(l1.tolist()):
            if not entry:
                continue
            table = entry & OFFSET_MASK
            if table % self.cluster or table + self.cluster > self.image.file.size:
                self.wrong(f"L1 entry {index} of {whose}, {entry:#x}, names no cluster of the file")
                continue
            self.count(table >> self.bits)
            if active:
                self.entries.append((f"L1 entry {index}", offset + 8 * index, entry, table >> self.bits))
            self.l2(f"{whose}, L2 table {index}", table, active)

    def l2(self, whose: str, offset: int, active: bool) -> None:
        data = numpy.frombuffer(self.image.file.read(offset, self.cluster), ">u8").astype(numpy.uint64)
        for index in numpy.flatnonzero(data).tolist():
            entry = int(data[index])
            name = f"{whose}, entry {index} ({entry:#x})"
            if entry & COMPRESSED:
                self.result.compressed_clusters += active
                if entry & COPIED:
                    self.wrong(f"{name}: a compressed cluster has the copied flag")
                if self.image.compressed_range(entry)[0] >= self.image.file.size:
                    self.wrong(f"{name}: lies beyond the end of the file")
                    continue
            elif not entry & OFFSET_MASK:
                continue
            elif (entry & OFFSET_MASK) % self.cluster:
                self.wrong(f"{name}: names no cluster")
                continue
            elif entry & ZERO and self.image.header.version < 3:
                self.wrong(f"{name}: version 2 has no zero clusters")
            self.result.allocated_clusters += active
            for cluster in self.image.entry_clusters(entry):
                self.count(cluster)
                if active and not entry & COMPRESSED:
                    self.entries.append((name, offset + 8 * index, entry, cluster))


def _counts(image: Qcow2Image) -> Iterator[tuple[int, int]]:
    """Every cluster whose refcount is not 0, with it."""
    per_block = image.header.refcounts_per_block
    for index, entry in enumerate(image.refcounts.table.tolist()):
        if not entry or entry % image.header.cluster_size or entry >= image.file.size:
            continue
        block = image.refcounts._block(index)
        if block is not None:
            for within in numpy.flatnonzero(block).tolist():
                yield index * per_block + within, int(block[within])


def _walk(image: Qcow2Image, result: CheckResult) -> _Walk:
    header = image.header
    if header.autoclear_features & BITMAPS_CONSISTENT and EXTENSION_BITMAPS in dict(header.extensions):
        raise UserInputError(
            f"The image {image.path} has persistent bitmaps, whose clusters are not counted here; use qemu-img check."
        )
    walk = _Walk(image, result)
    walk.tables()
    result.total_clusters = -(-header.size // header.cluster_size)
    return walk


def check(image: Qcow2Image) -> CheckResult:
    """Counts all references and compares.  The image must have been flushed; UserInputError where it has bitmaps."""
    result = CheckResult()
    walk = _walk(image, result)
    counted = dict(_counts(image))
    for cluster in sorted(walk.references.keys() | counted.keys()):
        wanted, found = walk.references.get(cluster, 0), counted.get(cluster, 0)
        if found < wanted:
            result.corruptions.append(f"cluster {cluster:#x} has refcount {found} and {wanted} references")
        elif found > wanted:
            result.leaks.append(f"cluster {cluster:#x} has refcount {found} and {wanted} references")
    for name, _, entry, cluster in walk.entries:
        if bool(entry & COPIED) != (counted.get(cluster, 0) == 1):
            result.corruptions.append(
                f"{name}: its copied flag is {bool(entry & COPIED):d} and its refcount {counted.get(cluster, 0)}"
            )
    return result


def repair(image: Qcow2Image, *, leaks_only: bool = False) -> CheckResult:
    """Sets every refcount to what was counted, then the copied flags; clears the dirty and corrupt bits.

    Entries that name no cluster stay as they are and are reported.  `leaks_only` lowers refcounts and raises none.
    """
    refcounts = image.refcounts
    result = CheckResult()
    walk = _walk(image, result)
    lost = len(result.corruptions)
    counted = dict(_counts(image))
    for cluster in sorted(walk.references.keys() | counted.keys()):
        wanted, found = walk.references.get(cluster, 0), counted.get(cluster, 0)
        if wanted < found or wanted > found and not leaks_only:
            refcounts.set(cluster, min(wanted, refcounts.largest))
    image._store_refcounts()
    image.file.sync()
    if image._header_dirty:
        image._write_table_place()
    if not leaks_only:
        for _, offset, entry, cluster in walk.entries:
            fixed = entry | COPIED if refcounts.get(cluster) == 1 else entry & ~COPIED
            if fixed != entry:
                image.file.write(offset, fixed.to_bytes(8, "big"))
        header = image.header
        packed = image.file.read(header.l1_table_offset, header.l1_size * 8)
        image.l1 = numpy.frombuffer(packed, ">u8").astype(numpy.uint64)
        image._l2.clear()
        if not lost:
            image.file.sync()
            image._set_incompatible(DIRTY | CORRUPT, False)
    image.file.sync()
    after = check(image)
    after.repaired = True
    return after
