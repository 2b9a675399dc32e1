"""qcow2 images, versions 2 and 3: reading, writing, discarding ("QCOW2 image format", QEMU's docs/interop/qcow2.txt).

Writes reach the file at once where their cluster is already this image's own, else a new cluster.  Tables are changed
in memory and go out with `flush()` in the order in which a crash does no harm: data and refcounts, then L2 tables,
then L1 entries; a cluster that is no longer used is freed after that, so that nothing on disk refers to it any more.
With lazy refcounts the counts go out when the image is closed, under the dirty bit.  Internal snapshots are not made,
applied or deleted here; their clusters are copied before they are changed.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import importlib
import struct
import weakref
import zlib
from collections.abc import Iterator, Sequence

import numpy

from x86emu.errors import UserInputError
from x86emu.storage.host_file import HostFile, leading, remaining
from x86emu.storage.image import Image
from x86emu.storage.qcow2_format import (
    BITMAPS_CONSISTENT,
    COMPRESSED,
    COPIED,
    CORRUPT,
    DIRTY,
    EXTENSION_BITMAPS,
    LAZY_REFCOUNTS,
    OFFSET_MASK,
    ZERO,
    ZSTD,
    bad,
    read_header,
    read_snapshots,
)
from x86emu.storage.qcow2_refcounts import Counts, Refcounts

L2_CACHE_TABLES = 256
DIRTY_TABLES = 64  # so many changed tables and the image flushes by itself

_open_images: weakref.WeakSet[Qcow2Image] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for image in list(_open_images):
        with contextlib.suppress(OSError):
            image.close()


class L2Table:
    """One L2 table in memory; `low` to `high` (exclusive) are the entries that changed."""

    __slots__ = ("offset", "entries", "low", "high")

    def __init__(self, offset: int, entries: Counts) -> None:
        self.offset = offset
        self.entries = entries
        self.low, self.high = len(entries), 0

    @property
    def dirty(self) -> bool:
        return self.high > self.low

    def set(self, index: int, entry: int) -> None:
        self.entries[index] = entry
        self.low, self.high = min(self.low, index), max(self.high, index + 1)


class Qcow2Image(Image):
    """A qcow2 image on `file`; `backing` is what unallocated clusters show, opened by `x86emu.storage.open_image`.

    `for_repair` opens it whatever its dirty and corrupt bits say; only `qcow2_check.repair` may change it then.

    UserInputError where the tables cannot be used.  An inconsistency that is found later is an OSError, and, if the
    image is open for writing, sets its corrupt bit and refuses writes from then on, as QEMU does.
    """

    format = "qcow2"

    def __init__(
        self, file: HostFile, *, backing: Image | None = None, sector_size: int = 512, for_repair: bool = False
    ) -> None:
        super().__init__(file.path, read_only=file.read_only, sector_size=sector_size)
        self.file = file
        self.header = header = read_header(file)
        self.size = header.size
        self.backing = backing
        self.compressed_by_zstd = header.compression_type == ZSTD
        self._bits = header.cluster_bits
        self._cluster = header.cluster_size
        self._zero_bit = ZERO if header.version >= 3 else 0
        self._compressed_shift = 62 - (self._bits - 8)
        self._longest_run = max(header.refcounts_per_block - 1, 1)  # of new clusters: see Refcounts.allocate
        self._broken = False
        self._header_dirty = False
        self._uncounted = False  # whether the dirty bit is set and refcounts wait for close()
        if not self.read_only and not for_repair and header.incompatible_features & CORRUPT:
            raise bad(
                self.path, "it is marked corrupt", "repair it with x86emu image check --repair, or use it read-only"
            )
        l1 = numpy.frombuffer(file.read(header.l1_table_offset, header.l1_size * 8), ">u8")
        self.l1: Counts = l1.astype(numpy.uint64)
        self._l1_dirty: set[int] = set()
        self._l2: dict[int, L2Table] = {}
        self._dirty_l2: set[int] = set()
        self._pending: list[int] = []
        self._last_compressed: tuple[int, bytes] | None = None
        self.snapshots, snapshot_bytes = read_snapshots(file, header)
        self.refcounts = Refcounts(file, header, self._corrupt)
        self._metadata = self._metadata_clusters(snapshot_bytes)
        if not self.read_only and not for_repair:
            self._begin_writing()
        _open_images.add(self)

    def _metadata_clusters(self, snapshot_bytes: int) -> set[int]:
        """Clusters that must never be written as data: a corrupt entry could point at them."""
        header, size = self.header, self._cluster
        clusters = {0} | self.refcounts.clusters()
        ranges = [(header.l1_table_offset, header.l1_size * 8), (header.snapshots_offset, snapshot_bytes)]
        ranges += [(snapshot.l1_offset, snapshot.l1_size * 8) for snapshot in self.snapshots]
        for offset, length in ranges:
            clusters.update(range(offset // size, (offset + length + size - 1) // size))
        clusters.update(int(entry & numpy.uint64(OFFSET_MASK)) >> self._bits for entry in self.l1[self.l1 != 0])
        return clusters

    def _begin_writing(self) -> None:
        header = self.header
        if header.incompatible_features & DIRTY:
            # The writer did not get to store the refcounts: count anew before anything is allocated.
            from x86emu.storage.qcow2_check import repair

            repair(self)
            self.notes.append(f"{self.path} was not closed properly; its refcounts have been counted anew.")
        if header.autoclear_features:
            if header.autoclear_features & BITMAPS_CONSISTENT and dict(header.extensions).get(EXTENSION_BITMAPS):
                self.notes.append(f"{self.path} has dirty bitmaps, which are no longer valid after this run.")
            header.autoclear_features = 0
            self._write_features()
            self.file.sync()

    # --- the header's changing fields

    def _write_features(self) -> None:
        header = self.header
        if header.version >= 3:
            self.file.write(
                72, struct.pack(">QQQ", header.incompatible_features, header.compatible_features,
                                header.autoclear_features)
            )  # fmt: skip

    def _set_incompatible(self, bit: int, on: bool) -> None:
        features = self.header.incompatible_features
        self.header.incompatible_features = features | bit if on else features & ~bit
        self._write_features()

    def _corrupt(self, what: str) -> OSError:
        """Marks the image corrupt and gives the error to raise."""
        if not self.read_only and not self._broken:
            self._broken = True
            with contextlib.suppress(OSError):
                self._set_incompatible(CORRUPT, True)
        return OSError(errno.EIO, f"The image {self.path} is corrupt: {what}; x86emu image check says more")

    # --- tables

    def _table(self, index: int) -> L2Table | None:
        """The L2 table of an L1 entry; None where there is none."""
        table = self._l2.get(index)
        if table is not None:
            return table
        entry = int(self.l1[index])
        offset = entry & OFFSET_MASK
        if not offset:
            return None
        if offset % self._cluster or offset + self._cluster > self.file.size:
            raise self._corrupt(f"L1 entry {index}, {entry:#x}, names no cluster of the file")
        data = self.file.read(offset, self._cluster)
        table = L2Table(offset, numpy.frombuffer(data, ">u8").astype(numpy.uint64))
        if len(self._l2) >= L2_CACHE_TABLES:
            for other in [other for other, kept in self._l2.items() if not kept.dirty][: L2_CACHE_TABLES // 2]:
                del self._l2[other]
        self._l2[index] = table
        return table

    def _allocate(self, count: int = 1) -> int:
        """`count` free clusters in a row; the first one's number."""
        first = self.refcounts.allocate(count)
        for cluster in range(first, first + count):
            if cluster in self._metadata:
                raise self._corrupt(f"cluster {cluster:#x} holds a table and its refcount is 0")
        return first

    def _writable_table(self, index: int) -> L2Table:
        """The L2 table of an L1 entry, made, or copied where a snapshot has it too, so that it may be changed."""
        if len(self._dirty_l2) >= DIRTY_TABLES and index not in self._dirty_l2:
            self.flush()
        table = self._table(index)
        if table is None or not int(self.l1[index]) & COPIED:
            entries = numpy.zeros(self.header.l2_entries, numpy.uint64) if table is None else table.entries.copy()
            cluster = self._allocate()
            if table is not None:
                self._pending.append(table.offset >> self._bits)
            self._metadata.add(cluster)
            table = self._l2[index] = L2Table(cluster << self._bits, entries)
            table.low, table.high = 0, len(entries)
            self.l1[index] = cluster << self._bits | COPIED
            self._l1_dirty.add(index)
        self._dirty_l2.add(index)
        return table

    def entry(self, cluster: int) -> int:
        """The L2 entry of a guest cluster; 0 where there is no table."""
        index, within = divmod(cluster, self.header.l2_entries)
        table = self._table(index)
        return int(table.entries[within]) if table is not None else 0

    def data_offset(self, entry: int) -> int:
        """Where an entry's data lie in the file, 0 if nowhere; the entry is no compressed one."""
        offset = entry & OFFSET_MASK
        if offset % self._cluster:
            raise self._corrupt(f"an L2 entry, {entry:#x}, names no cluster")
        return offset

    def compressed_range(self, entry: int) -> tuple[int, int]:
        """Offset and length in bytes of a compressed cluster ("Compressed Clusters Descriptor")."""
        offset = entry & (1 << self._compressed_shift) - 1
        sectors = (entry >> self._compressed_shift & (1 << self._bits - 8) - 1) + 1
        return offset, sectors * 512 - (offset & 511)

    def entry_clusters(self, entry: int) -> Iterator[int]:
        """The host clusters that an L2 entry refers to."""
        if entry & COMPRESSED:
            offset, length = self.compressed_range(entry)
            yield from range(offset >> self._bits, (offset + length - 1 >> self._bits) + 1)
        elif entry & OFFSET_MASK:
            yield (entry & OFFSET_MASK) >> self._bits

    # --- reading

    def read_bytes(self, offset: int, length: int) -> bytes:
        parts: list[bytes] = []
        run_start = run_length = 0  # data clusters that follow each other in the file are read at once
        while length > 0:
            cluster, within = divmod(offset, self._cluster)
            part = min(self._cluster - within, length)
            entry = self.entry(cluster)
            host = 0
            if not entry & COMPRESSED and not entry & self._zero_bit:
                host = self.data_offset(entry)
            if host and run_length and run_start + run_length == host + within:
                run_length += part
            else:
                if run_length:
                    parts.append(self.file.read(run_start, run_length, beyond_end=True))
                run_start, run_length = host + within, part if host else 0
                if not host:
                    parts.append(self._read_elsewhere(entry, offset, within, part))
            offset, length = offset + part, length - part
        if run_length:
            parts.append(self.file.read(run_start, run_length, beyond_end=True))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_bytes_into(self, offset: int, views: Sequence[memoryview]) -> None:
        left = list(views)
        run_start = run_length = 0

        def finish_run() -> None:
            nonlocal left
            if run_length:
                self.file.read_into(run_start, leading(left, run_length), beyond_end=True)
                left = remaining(left, run_length)

        length = sum(map(len, views))
        while length > 0:
            cluster, within = divmod(offset, self._cluster)
            part = min(self._cluster - within, length)
            entry = self.entry(cluster)
            host = 0 if entry & COMPRESSED or entry & self._zero_bit else self.data_offset(entry)
            if host and run_length and run_start + run_length == host + within:
                run_length += part
            else:
                finish_run()
                run_start, run_length = host + within, part if host else 0
                if not host:
                    data = memoryview(self._read_elsewhere(entry, offset, within, part))
                    for view in leading(left, part):
                        view[:] = data[: len(view)]
                        data = data[len(view) :]
                    left = remaining(left, part)
            offset, length = offset + part, length - part
        finish_run()

    def _read_elsewhere(self, entry: int, offset: int, within: int, length: int) -> bytes:
        """A cluster's bytes that are compressed, zero, or the backing file's."""
        if entry & COMPRESSED:
            return self._decompress(entry)[within : within + length]
        if entry & self._zero_bit or self.backing is None or offset >= self.backing.size:
            return bytes(length)
        there = min(length, self.backing.size - offset)
        return self.backing.read_bytes(offset, there) + bytes(length - there)

    def _decompress(self, entry: int) -> bytes:
        if self._last_compressed is not None and self._last_compressed[0] == entry:
            return self._last_compressed[1]
        offset, length = self.compressed_range(entry)
        packed = self.file.read(offset, min(length, max(self.file.size - offset, 0)))
        try:
            if self.compressed_by_zstd:
                data = _zstd_decompress(packed, self._cluster)
            else:
                data = zlib.decompressobj(-15).decompress(packed, self._cluster)
        except ZstdMissingError as error:
            raise OSError(errno.ENOTSUP, str(error)) from None
        except Exception as error:  # each decompressor has its own error classes
            raise self._corrupt(f"its compressed cluster at {offset:#x} cannot be unpacked ({error})") from None
        if len(data) != self._cluster:
            raise self._corrupt(f"its compressed cluster at {offset:#x} unpacks to {len(data)} bytes")
        self._last_compressed = (entry, data)
        return data

    def is_hole(self, offset: int, length: int) -> bool:
        for cluster in range(offset // self._cluster, -(-(offset + length) // self._cluster)):
            entry = self.entry(cluster)
            if entry & COMPRESSED:
                return False
            if entry & self._zero_bit:
                continue
            if entry & OFFSET_MASK:
                return False
            if self.backing is not None:
                start = cluster * self._cluster
                there = min(self._cluster, self.backing.size - start)
                if there > 0 and not self.backing.is_hole(start, there):
                    return False
        return True

    # --- writing

    def _in_place(self, entry: int) -> int:
        """The host offset at which an entry's cluster may be overwritten; 0 where it needs a new one."""
        if not entry & COPIED or entry & COMPRESSED or entry & self._zero_bit:
            return 0
        host = self.data_offset(entry)
        if host >> self._bits in self._metadata:
            raise self._corrupt(f"an L2 entry, {entry:#x}, refers to a cluster that holds a table")
        return host

    def _check_intact(self) -> None:
        self._check_writable()
        if self._broken:
            raise OSError(errno.EIO, f"The image {self.path} is corrupt; x86emu image check says more")

    def write_bytes(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self._check_intact()
        view = memoryview(data).cast("B")
        per_table = self.header.l2_entries
        while view:
            cluster, within = divmod(offset, self._cluster)
            last = (offset + len(view) - 1) // self._cluster
            last = min(last, cluster // per_table * per_table + per_table - 1, cluster + self._longest_run - 1)
            host = self._in_place(self.entry(cluster))
            count = 1
            while cluster + count <= last:
                following = self._in_place(self.entry(cluster + count))
                if following != (host + count * self._cluster if host else 0):
                    break
                count += 1
            part = min(len(view), count * self._cluster - within)
            if host:
                self.file.write(host + within, view[:part])
            else:
                self._write_new(cluster, count, within, view[:part])
            view = view[part:]
            offset += part

    def _write_new(self, cluster: int, count: int, within: int, data: memoryview) -> None:
        """Writes into new clusters, with what was around the data before; all in one L2 table."""
        start = cluster * self._cluster
        after = start + within + len(data)
        end = start + count * self._cluster
        table = self._writable_table(cluster // self.header.l2_entries)
        head = self.read_bytes(start, within)
        kept = min(end, self.size)
        tail = self.read_bytes(after, kept - after).ljust(end - after, b"\0") if after < end else b""
        first = self._allocate(count)
        host = first << self._bits
        try:
            if host >= self.file.size and not any(head) and not any(tail):
                self.file.write(host + within, data)  # beyond the file's end all is zero already
            else:
                self.file.write(host, head + bytes(data) + tail)
        except OSError:
            for allocated in range(first, first + count):
                self.refcounts.set(allocated, 0)
            raise
        slot = cluster % self.header.l2_entries
        for number in range(count):
            self._pending.extend(self.entry_clusters(int(table.entries[slot + number])))
            table.set(slot + number, host + (number << self._bits) | COPIED)

    def _change_entry(self, cluster: int, entry: int) -> None:
        """Gives a guest cluster another L2 entry and lets go of what the old one alone referred to."""
        table = self._writable_table(cluster // self.header.l2_entries)
        slot = cluster % self.header.l2_entries
        gone = set(self.entry_clusters(int(table.entries[slot]))) - set(self.entry_clusters(entry))
        self._pending.extend(gone)
        table.set(slot, entry)

    def zero_bytes(self, offset: int, length: int, *, unmap: bool) -> None:
        self._check_intact()
        while length > 0:
            cluster, within = divmod(offset, self._cluster)
            part = min(self._cluster - within, length)
            whole = not within and (part == self._cluster or offset + part == self.size)
            entry = self.entry(cluster)
            nothing = not entry and (self.backing is None or offset >= self.backing.size)
            if nothing or entry & self._zero_bit and not entry & COMPRESSED:
                pass
            elif whole and unmap and self.backing is None:
                self._change_entry(cluster, 0)
            elif whole and self._zero_bit:
                kept = entry & (OFFSET_MASK | COPIED) if self._in_place(entry) and not unmap else 0
                self._change_entry(cluster, kept | ZERO)
            else:
                self.write_bytes(offset, bytes(part))
            offset, length = offset + part, length - part

    def discard_bytes(self, offset: int, length: int) -> None:
        self._check_intact()
        end = offset + length
        first = -(-offset // self._cluster)
        stop = -(-end // self._cluster) if end == self.size else end // self._cluster
        for cluster in range(first, stop):
            entry = self.entry(cluster)
            if not entry or entry == ZERO and self._zero_bit:
                continue
            if self.backing is None:
                self._change_entry(cluster, 0)
            elif self._zero_bit:  # in version 2 the backing file's data would show
                self._change_entry(cluster, ZERO)

    # --- durability

    def flush(self) -> None:
        if self.read_only or self.file.descriptor < 0:
            return
        if self._broken:
            raise OSError(errno.EIO, f"The image {self.path} is corrupt; x86emu image check says more")
        if not self._dirty_l2 and not self._l1_dirty and not self._header_dirty:
            self.file.sync()
            return
        old_table: list[int] = []
        if self.header.compatible_features & LAZY_REFCOUNTS:
            if not self._uncounted:
                self._uncounted = True
                self._set_incompatible(DIRTY, True)
        else:
            old_table = self._store_refcounts()
        self.file.sync()
        if self._header_dirty and not self._uncounted:
            self._write_table_place()
        for index in self._dirty_l2:
            table = self._l2[index]
            if table.dirty:
                changed = table.entries[table.low : table.high].astype(">u8").tobytes()
                self.file.write(table.offset + 8 * table.low, changed)
        if self._l1_dirty:
            self.file.sync()
            for index in self._l1_dirty:
                self.file.write(self.header.l1_table_offset + 8 * index, struct.pack(">Q", int(self.l1[index])))
        self.file.sync()
        for index in self._dirty_l2:
            table = self._l2[index]
            table.low, table.high = len(table.entries), 0
        self._dirty_l2.clear()
        self._l1_dirty.clear()
        self._free(self._pending + old_table)
        self._pending = []

    def _store_refcounts(self) -> list[int]:
        old_table = self.refcounts.place_table()
        self._header_dirty |= bool(old_table)
        self.refcounts.store()
        return old_table

    def _write_table_place(self) -> None:
        header = self.header
        self.file.write(48, struct.pack(">QI", header.refcount_table_offset, header.refcount_table_clusters))
        self._header_dirty = False

    def _free(self, clusters: list[int]) -> None:
        """Takes references back, once nothing on disk uses them."""
        for cluster in clusters:
            if self.refcounts.release(cluster):
                self._metadata.discard(cluster)
                self.file.punch(cluster << self._bits, min(self._cluster, self.file.size - (cluster << self._bits)))
        self._last_compressed = None

    def _finish(self) -> None:
        """All to stable storage, the refcounts too."""
        self.flush()
        while self.refcounts.dirty:
            old_table = self._store_refcounts()
            self.file.sync()
            if self._header_dirty:
                self._write_table_place()
                self.file.sync()
            self._free(old_table)
        if self._uncounted:
            self._set_incompatible(DIRTY, False)
            self._uncounted = False
            self.file.sync()

    def close(self) -> None:
        if self.file.descriptor < 0:
            return
        try:
            if not self.read_only and not self._broken:
                self._finish()
        finally:
            _open_images.discard(self)
            self.file.close()
            if self.backing is not None:
                self.backing.close()

    def abandon(self) -> None:
        """Closes the files and leaves them as they are."""
        self._broken = True
        self.close()

    def __del__(self) -> None:
        if getattr(self, "file", None) is not None and self.file.descriptor >= 0 and hasattr(self, "refcounts"):
            with contextlib.suppress(OSError):
                self.close()


class ZstdMissingError(UserInputError):
    """No module of this Python unpacks zstd."""


def zstd_available() -> bool:
    """Whether clusters compressed by zstd can be read: Python 3.14's compression.zstd, or the zstandard package."""
    return _zstd_module() is not None


def _zstd_module() -> object | None:
    for name in ("compression.zstd", "zstandard"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return None


def _zstd_decompress(packed: bytes, length: int) -> bytes:
    """The first `length` bytes of a zstd frame; what follows it up to the sector's end is ignored."""
    module = _zstd_module()
    if module is None:
        raise ZstdMissingError("zstd-compressed clusters need the package zstandard, or Python 3.14")
    make = getattr(module, "ZstdDecompressor")  # noqa: B009 - two modules, one name
    worker = make() if hasattr(make(), "unused_data") else make().decompressobj()
    data: bytes = worker.decompress(packed)
    return data[:length]
