"""The qcow2 format on disk: header, header extensions, snapshot table, and the bits of table entries.

"QCOW2 image format" (QEMU's docs/interop/qcow2.txt), versions 2 and 3.  All numbers are big-endian.  Refused with a
sentence: encryption, external data files, extended L2 entries, and unknown incompatible features.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

from x86emu.errors import UserInputError
from x86emu.storage.host_file import HostFile

MAGIC = b"QFI\xfb"
HEADER_V2 = struct.Struct(">4sIQIIQIIQQIIQ")  # 72 bytes
HEADER_V3 = struct.Struct(">QQQII")  # 32 more
HEADER_BYTES = {2: 72, 3: 104}

# Incompatible, compatible and autoclear feature bits (section "Header", bytes 72-95).
DIRTY, CORRUPT, EXTERNAL_DATA, COMPRESSION_TYPE, EXTENDED_L2 = 1, 2, 4, 8, 16
LAZY_REFCOUNTS = 1
BITMAPS_CONSISTENT = 1
ZLIB, ZSTD = 0, 1

EXTENSION_END, EXTENSION_BACKING_FORMAT, EXTENSION_FEATURE_NAMES = 0, 0xE2792ACA, 0x6803F857
EXTENSION_BITMAPS = 0x23852875

# L1 and L2 table entries.
COPIED, COMPRESSED, ZERO = 1 << 63, 1 << 62, 1
OFFSET_MASK = 0x00FF_FFFF_FFFF_FE00
REFTABLE_OFFSET_MASK = 0xFFFF_FFFF_FFFF_FE00

LARGEST_L1 = 32 << 20  # bytes; QEMU's limits, so that a corrupt header does not take the host's memory
LARGEST_REFTABLE = 8 << 20
LARGEST_SNAPSHOTS = 65536
SECTOR = 512

FEATURE_NAMES = (
    (0, 0, b"dirty bit"), (0, 1, b"corrupt bit"), (0, 2, b"external data file"), (0, 3, b"compression type"),
    (0, 4, b"extended L2 entries"), (1, 0, b"lazy refcounts"), (2, 0, b"bitmaps"), (2, 1, b"raw external data"),
)  # fmt: skip


def bad(path: Path, what: str, remedy: str = "qemu-img check or x86emu image check says more") -> UserInputError:
    """The error for an image that cannot be used."""
    return UserInputError(f"The image {path} is not usable as qcow2: {what}; {remedy}.")


@dataclass
class SnapshotEntry:
    """An internal snapshot: where its L1 table lies.  Sizes in bytes but for `l1_size`, in entries."""

    identifier: str
    name: str
    l1_offset: int
    l1_size: int
    vm_state_bytes: int


@dataclass
class Header:
    """The header's fields under the names of the specification, and what was read behind it."""

    version: int
    size: int
    cluster_bits: int
    l1_size: int = 0
    l1_table_offset: int = 0
    refcount_table_offset: int = 0
    refcount_table_clusters: int = 0
    nb_snapshots: int = 0
    snapshots_offset: int = 0
    incompatible_features: int = 0
    compatible_features: int = 0
    autoclear_features: int = 0
    refcount_order: int = 4
    header_length: int = 104
    compression_type: int = ZLIB
    backing_file: str | None = None
    backing_format: str | None = None
    extensions: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def cluster_size(self) -> int:
        return 1 << self.cluster_bits

    @property
    def l2_entries(self) -> int:
        """Entries of an L2 table, one cluster each."""
        return self.cluster_size // 8

    @property
    def refcounts_per_block(self) -> int:
        return self.cluster_size * 8 >> self.refcount_order

    @property
    def l1_entries_needed(self) -> int:
        """L1 entries that the disk's size asks for."""
        return -(-self.size // (self.cluster_size * self.l2_entries))

    def pack(self) -> bytes:
        """The header for a new image: fields, extensions, backing file name."""
        backing = (self.backing_file or "").encode()
        length = HEADER_BYTES[self.version]
        if self.version >= 3 and self.compression_type:
            length = 112
        tail = b""
        if self.backing_format is not None:
            tail += extension(EXTENSION_BACKING_FORMAT, self.backing_format.encode())
        if self.version >= 3:
            table = b"".join(struct.pack("BB46s", kind, bit, name) for kind, bit, name in FEATURE_NAMES)
            tail += extension(EXTENSION_FEATURE_NAMES, table)
        tail += extension(EXTENSION_END, b"")
        packed = HEADER_V2.pack(
            MAGIC, self.version, length + len(tail) if backing else 0, len(backing), self.cluster_bits, self.size, 0,
            self.l1_size, self.l1_table_offset, self.refcount_table_offset, self.refcount_table_clusters,
            self.nb_snapshots, self.snapshots_offset,
        )  # fmt: skip
        if self.version >= 3:
            packed += HEADER_V3.pack(
                self.incompatible_features, self.compatible_features, self.autoclear_features, self.refcount_order,
                length,
            )  # fmt: skip
        return packed + bytes(length - len(packed)) + tail + backing


def extension(kind: int, data: bytes) -> bytes:
    """A header extension, padded to 8 bytes."""
    return struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)


def read_header(file: HostFile) -> Header:
    """Parses and checks the header.  UserInputError says what is wrong or not supported."""
    path = file.path
    first = file.read(0, min(file.size, 4096))
    if first[:4] != MAGIC:
        raise bad(path, "it does not begin with QFI\\xfb", "give its format, raw perhaps")
    if len(first) < HEADER_BYTES[2]:
        raise bad(path, f"it ends after {file.size} bytes, inside its header", "give a whole image")
    (_, version, backing_offset, backing_length, cluster_bits, size, crypt, l1_size, l1_offset, table_offset,
     table_clusters, nb_snapshots, snapshots_offset) = HEADER_V2.unpack_from(first)  # fmt: skip
    if version not in (2, 3):
        raise bad(path, f"its version is {version}", "versions 2 and 3 would do: qemu-img convert makes one")
    if not 9 <= cluster_bits <= 21:
        raise bad(path, f"its clusters of 2^{cluster_bits} bytes are outside 512 bytes to 2 MiB")
    if crypt:
        raise bad(path, "it is encrypted", "qemu-img convert makes one that is not")
    header = Header(
        version=version, size=size, cluster_bits=cluster_bits, l1_size=l1_size, l1_table_offset=l1_offset,
        refcount_table_offset=table_offset, refcount_table_clusters=table_clusters, nb_snapshots=nb_snapshots,
        snapshots_offset=snapshots_offset, header_length=HEADER_BYTES[2],
    )  # fmt: skip
    if version >= 3:
        if len(first) < HEADER_BYTES[3]:
            raise bad(path, f"it ends after {file.size} bytes, inside its header", "give a whole image")
        (header.incompatible_features, header.compatible_features, header.autoclear_features, header.refcount_order,
         header.header_length) = HEADER_V3.unpack_from(first, 72)  # fmt: skip
        if not HEADER_BYTES[3] <= header.header_length <= header.cluster_size or header.header_length % 8:
            raise bad(path, f"its header claims {header.header_length} bytes")
        if header.refcount_order > 6:
            raise bad(path, f"its refcounts of 2^{header.refcount_order} bits are wider than 64")
        if header.header_length > 104:
            header.compression_type = first[104] if len(first) > 104 else 0
    _check_features(path, header)
    _check_tables(file, header)
    header.extensions = _read_extensions(file, header, backing_offset)
    for kind, data in header.extensions:
        if kind == EXTENSION_BACKING_FORMAT:
            header.backing_format = data.decode("utf-8", "replace")
    if backing_offset:
        if backing_length > 1023 or backing_offset + backing_length > header.cluster_size:
            raise bad(path, f"its backing file's name of {backing_length} bytes does not fit its first cluster")
        name = file.read(backing_offset, backing_length, beyond_end=True)
        header.backing_file = name.decode("utf-8", "surrogateescape") or None
    return header


def _check_features(path: Path, header: Header) -> None:
    features = header.incompatible_features
    for bit, what in ((EXTERNAL_DATA, "its data are in another file"), (EXTENDED_L2, "it has extended L2 entries")):
        if features & bit:
            raise bad(path, what, "which is not supported here; qemu-img convert makes one without")
    unknown = features & ~(DIRTY | CORRUPT | COMPRESSION_TYPE)
    if unknown:
        raise bad(path, f"it needs features that are unknown here (bits {unknown:#x})", "qemu-img convert may help")
    if header.compression_type not in (ZLIB, ZSTD):
        raise bad(path, f"its compression type {header.compression_type} is neither zlib nor zstd")
    if bool(features & COMPRESSION_TYPE) != (header.compression_type != ZLIB):
        raise bad(path, "its compression type and the feature bit for it disagree")


def _check_tables(file: HostFile, header: Header) -> None:
    path, cluster = file.path, header.cluster_size
    tables = (
        ("L1 table", header.l1_table_offset, header.l1_size * 8, LARGEST_L1),
        ("refcount table", header.refcount_table_offset, header.refcount_table_clusters * cluster, LARGEST_REFTABLE),
        ("snapshot table", header.snapshots_offset, header.nb_snapshots * 40, LARGEST_SNAPSHOTS * 1024),
    )
    for name, offset, length, limit in tables:
        if not length:
            continue
        if length > limit:
            raise bad(path, f"its {name} claims {length} bytes, more than {limit}")
        if offset % cluster or not offset:
            raise bad(path, f"its {name} at {offset:#x} is not at the beginning of a cluster")
        if offset + length > file.size and not name.startswith("refcount"):
            raise bad(
                path, f"its {name} at {offset:#x}..{offset + length - 1:#x} lies beyond its end at {file.size:#x}",
                "it is truncated; give a whole image",
            )  # fmt: skip
        if offset >= file.size:
            raise bad(path, f"its {name} at {offset:#x} lies beyond its end at {file.size:#x}",
                      "it is truncated; give a whole image")  # fmt: skip
    if not header.refcount_table_clusters:
        raise bad(path, "it has no refcount table")
    if header.l1_entries_needed * 8 > LARGEST_L1:
        raise bad(path, f"a disk of {header.size} bytes is more than its clusters can hold")
    if header.l1_size < header.l1_entries_needed:
        raise bad(path, f"its L1 table has {header.l1_size} entries and its size needs {header.l1_entries_needed}")
    if header.size % SECTOR:
        raise bad(path, f"its {header.size} bytes are no whole number of sectors", "qemu-img resize makes it one")
    if not header.size:
        raise bad(path, "its disk has no sectors", "qemu-img resize gives it some")


def _read_extensions(file: HostFile, header: Header, backing_offset: int) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    at = header.header_length
    end = min(backing_offset or header.cluster_size, header.cluster_size)
    area = file.read(0, header.cluster_size, beyond_end=True)
    while at + 8 <= end:
        kind, length = struct.unpack_from(">II", area, at)
        at += 8
        if kind == EXTENSION_END:
            break
        if at + length > end:
            raise bad(file.path, f"its header extension {kind:#x} of {length} bytes does not fit its first cluster")
        found.append((kind, area[at : at + length]))
        at += length + -length % 8
    return found


def read_snapshots(file: HostFile, header: Header) -> tuple[list[SnapshotEntry], int]:
    """The snapshot table and its length in bytes (section "Snapshots")."""
    snapshots: list[SnapshotEntry] = []
    at = start = header.snapshots_offset
    if header.nb_snapshots > LARGEST_SNAPSHOTS:
        raise bad(file.path, f"it claims {header.nb_snapshots} snapshots")
    for number in range(header.nb_snapshots):
        if at + 40 > file.size:
            raise bad(file.path, f"its snapshot table ends inside entry {number}", "give a whole image")
        l1_offset, l1_size, id_bytes, name_bytes, _, _, _, vm_bytes, extra = struct.unpack(
            ">QIHHIIQII", file.read(at, 40)
        )
        strings = file.read(at + 40 + extra, id_bytes + name_bytes, beyond_end=True)
        if l1_size * 8 > LARGEST_L1 or l1_offset % header.cluster_size or l1_offset + l1_size * 8 > file.size:
            raise bad(file.path, f"the L1 table of its snapshot {number} lies at {l1_offset:#x}, {l1_size} entries")
        identifier, name = strings[:id_bytes], strings[id_bytes:]
        snapshots.append(
            SnapshotEntry(
                identifier.decode("utf-8", "replace"), name.decode("utf-8", "replace"), l1_offset, l1_size, vm_bytes
            )
        )
        at += 40 + extra + id_bytes + name_bytes
        at += -at % 8
    return snapshots, at - start
