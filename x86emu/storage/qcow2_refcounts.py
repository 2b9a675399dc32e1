"""Reference counts of a qcow2 image's clusters ("QCOW2 image format", section "Host cluster management").

Counts are held unpacked, one 64-bit number each, block by block as they are needed, and written back by `store()`.
A block that is missing is put at the beginning of the range that it counts, all of which is free then.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

import numpy
import numpy.typing

from x86emu.storage.host_file import HostFile
from x86emu.storage.qcow2_format import LARGEST_REFTABLE, REFTABLE_OFFSET_MASK, Header

Counts = numpy.typing.NDArray[numpy.uint64]


def unpack(data: bytes, order: int) -> Counts:
    """The counts of a refcount block with entries of 2^order bits; below 8 bits the first is in the low bits."""
    if order >= 3:
        return numpy.frombuffer(data, f">u{1 << order - 3}").astype(numpy.uint64)
    width = 1 << order
    raw = numpy.frombuffer(data, numpy.uint8)
    parts = [(raw >> shift) & ((1 << width) - 1) for shift in range(0, 8, width)]
    return numpy.stack(parts, axis=1).reshape(-1).astype(numpy.uint64)


def pack(counts: Counts, order: int) -> bytes:
    """The reverse of unpack()."""
    if order >= 3:
        return counts.astype(f">u{1 << order - 3}").tobytes()
    width = 1 << order
    columns = counts.astype(numpy.uint8).reshape(-1, 8 // width)
    raw = numpy.zeros(len(columns), numpy.uint8)
    for index in range(8 // width):
        raw |= columns[:, index] << (index * width)
    return raw.tobytes()


class Refcounts:
    """The counts of one image.  `corrupt` is called with a sentence where the tables contradict themselves."""

    def __init__(self, file: HostFile, header: Header, corrupt: Callable[[str], OSError]) -> None:
        self.file = file
        self.header = header
        self.corrupt = corrupt
        self.largest = (1 << (1 << header.refcount_order)) - 1
        length = header.refcount_table_clusters * header.cluster_size
        table = file.read(header.refcount_table_offset, length, beyond_end=True)
        self.table: Counts = numpy.frombuffer(table, ">u8").astype(numpy.uint64)
        self._blocks: dict[int, Counts] = {}
        self._dirty: set[int] = set()
        self._table_dirty = False
        self._moved = False  # whether the table has to go to a new place, which the header then has to name
        self._hint = 0

    @property
    def dirty(self) -> bool:
        return bool(self._dirty or self._table_dirty)

    def clusters(self) -> set[int]:
        """Clusters that hold the table and the blocks."""
        shift = self.header.cluster_bits
        first = self.header.refcount_table_offset >> shift
        found = set(range(first, first + self.header.refcount_table_clusters))
        found.update(int(entry) >> shift for entry in self.table[self.table != 0])
        return found

    def _block(self, index: int, *, create: bool = False) -> Counts | None:
        block = self._blocks.get(index)
        if block is not None:
            return block
        if index < len(self.table) and self.table[index]:
            offset = int(self.table[index])
            if offset & ~REFTABLE_OFFSET_MASK or offset % self.header.cluster_size:
                raise self.corrupt(f"entry {index} of the refcount table, {offset:#x}, is no cluster's offset")
            if offset >= self.file.size:
                raise self.corrupt(f"refcount block {index} at {offset:#x} lies beyond the end of the file")
            data = self.file.read(offset, self.header.cluster_size, beyond_end=True)
            block = self._blocks[index] = unpack(data, self.header.refcount_order)
            return block
        if not create:
            return None
        if index >= len(self.table):
            self._grow(index + 1)
        first = index * self.header.refcounts_per_block
        if not first:
            raise self.corrupt("there is no refcount block for the header's cluster")
        block = self._blocks[index] = numpy.zeros(self.header.refcounts_per_block, numpy.uint64)
        block[0] = 1  # counts itself
        self.table[index] = first << self.header.cluster_bits
        self._dirty.add(index)
        self._table_dirty = True
        return block

    def _grow(self, entries: int) -> None:
        """Makes the table longer in memory; store() finds it a place."""
        per_cluster = self.header.cluster_size // 8
        wanted = max(entries, len(self.table) + (len(self.table) >> 1) + per_cluster)
        wanted += -wanted % per_cluster
        if wanted * 8 > LARGEST_REFTABLE:
            wanted = entries + -entries % per_cluster
        if wanted * 8 > LARGEST_REFTABLE:
            raise OSError(errno.EFBIG, f"{self.file.path} cannot grow further: its refcount table is at its limit")
        self.table = numpy.concatenate([self.table, numpy.zeros(wanted - len(self.table), numpy.uint64)])
        self._table_dirty = self._moved = True

    def get(self, cluster: int) -> int:
        """A cluster's count; 0 where no block covers it."""
        index, within = divmod(cluster, self.header.refcounts_per_block)
        block = self._block(index)
        return int(block[within]) if block is not None else 0

    def set(self, cluster: int, count: int) -> None:
        """Sets a cluster's count in memory."""
        if not 0 <= count <= self.largest:
            raise OSError(errno.EINVAL, f"{self.file.path}: a refcount of {count} does not fit its refcounts")
        index, within = divmod(cluster, self.header.refcounts_per_block)
        block = self._block(index, create=True)
        assert block is not None
        block[within] = count
        self._dirty.add(index)
        if not count:
            self._hint = min(self._hint, cluster)

    def release(self, cluster: int) -> bool:
        """One reference less; whether the cluster is free now."""
        count = self.get(cluster)
        if not count:
            raise self.corrupt(f"cluster {cluster:#x} is in use and its refcount is 0")
        self.set(cluster, count - 1)
        return count == 1

    def allocate(self, count: int = 1) -> int:
        """The first of `count` free clusters in a row, with refcount 1 from now on."""
        per_block = self.header.refcounts_per_block
        if count >= per_block:
            return self._allocate_long(count)
        start = self._hint
        found = 0
        only_passed_used = True
        while found < count:
            index, within = divmod(start + found, per_block)
            block = self._block(index, create=True)
            assert block is not None
            if not found:
                free = numpy.flatnonzero(block[within:] == 0)
                if not len(free):
                    start = (index + 1) * per_block
                    if only_passed_used:
                        self._hint = start
                    continue
                start = index * per_block + within + int(free[0])
                if only_passed_used:
                    self._hint = start
                within = start % per_block
            run = block[within : within + count - found]
            used = numpy.flatnonzero(run)
            if len(used):
                start, found = start + found + int(used[0]) + 1, 0
                only_passed_used = False
            else:
                found += len(run)
        for cluster in range(start, start + count):
            self.set(cluster, 1)
        if self._hint == start:
            self._hint = start + count
        return start

    def _allocate_long(self, count: int) -> int:
        """A row that is too long to lie between new blocks, each of which takes the first cluster of its range.

        It goes behind everything, with all blocks that count it in front of it.
        """
        per_block, shift = self.header.refcounts_per_block, self.header.cluster_bits
        index = int(numpy.flatnonzero(self.table)[-1]) + 1
        blocks = -(-count // (per_block - 1))
        if index + blocks > len(self.table):
            self._grow(index + blocks)
        base = index * per_block
        for number in range(blocks):
            self._blocks[index + number] = numpy.zeros(per_block, numpy.uint64)
            self.table[index + number] = (base + number) << shift
        self._table_dirty = True
        for cluster in range(base, base + blocks + count):
            self.set(cluster, 1)
        return base + blocks

    def place_table(self) -> list[int]:
        """Gives a table that has grown its new place; the clusters of the old one, to be freed after the switch."""
        if not self._moved:
            return []
        shift = self.header.cluster_bits
        first, count = self.header.refcount_table_offset >> shift, self.header.refcount_table_clusters
        old = list(range(first, first + count))
        while True:
            clusters = len(self.table) * 8 >> shift
            place = self.allocate(clusters)
            if len(self.table) * 8 >> shift == clusters:
                break
            for cluster in range(place, place + clusters):  # it grew again for its own place
                self.set(cluster, 0)
        self.header.refcount_table_offset, self.header.refcount_table_clusters = place << shift, clusters
        self._moved = False
        return old

    def store(self) -> None:
        """Writes what has changed; the caller orders it (the blocks before those entries that use the clusters)."""
        for index in sorted(self._dirty):
            self.file.write(int(self.table[index]), pack(self._blocks[index], self.header.refcount_order))
        self._dirty.clear()
        if self._table_dirty:
            self.file.write(self.header.refcount_table_offset, self.table.astype(">u8").tobytes())
            self._table_dirty = False
