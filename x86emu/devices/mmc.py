"""SCSI multimedia answers of a CD or DVD drive with one data track (MMC-3, T10/1363-D; INF-8020i for mode pages)."""

from __future__ import annotations

SECTOR = 2048
# Beyond the largest CD (99 minutes) a medium is a DVD.
CD_LIMIT = 400_000

REQUEST_SENSE = 0x03

NOT_READY, MEDIUM_ERROR, ILLEGAL_REQUEST, UNIT_ATTENTION = 0x2, 0x3, 0x5, 0x6

# Sense key, additional sense code, qualifier.
NO_SENSE = (0x0, 0x00, 0x00)
NO_MEDIUM = (NOT_READY, 0x3A, 0x01)
NO_MEDIUM_TRAY_OPEN = (NOT_READY, 0x3A, 0x02)
READ_ERROR = (MEDIUM_ERROR, 0x11, 0x00)
INVALID_COMMAND = (ILLEGAL_REQUEST, 0x20, 0x00)
ADDRESS_OUT_OF_RANGE = (ILLEGAL_REQUEST, 0x21, 0x00)
INVALID_FIELD = (ILLEGAL_REQUEST, 0x24, 0x00)
SAVING_NOT_SUPPORTED = (ILLEGAL_REQUEST, 0x39, 0x00)
REMOVAL_PREVENTED = (ILLEGAL_REQUEST, 0x53, 0x02)
MEDIUM_CHANGED = (UNIT_ATTENTION, 0x28, 0x00)
POWER_ON = (UNIT_ATTENTION, 0x29, 0x00)

# Packets that a pending unit attention does not stop: REQUEST SENSE, INQUIRY, GET CONFIGURATION, GET EVENT STATUS.
ANSWERED_ALWAYS = frozenset((0x03, 0x12, 0x46, 0x4A))
NEEDS_MEDIUM = frozenset((0x00, 0x25, 0x28, 0x2B, 0x42, 0x43, 0x51, 0x52, 0xA8, 0xAD, 0xBE))

# GET EVENT STATUS NOTIFICATION, media class (chapter 6.7.2.4).
CLASS_MEDIA = 4
CLASS_MEDIA_BIT = 1 << CLASS_MEDIA
EVENT_NONE, EVENT_EJECT_REQUEST, EVENT_NEW_MEDIA, EVENT_MEDIA_REMOVAL = range(4)

PROFILE_CD_ROM = 0x0008
PROFILE_DVD_ROM = 0x0010

LEAD_OUT = 0xAA
MSF_OFFSET = 150


def sense_data(sense: tuple[int, int, int]) -> bytes:
    """Fixed-format sense data of 18 bytes, current error."""
    key, code, qualifier = sense
    return bytes((0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, code, qualifier, 0, 0, 0, 0))


def inquiry_data(model: str, firmware: str) -> bytes:
    """Standard inquiry data of 36 bytes: a removable CD-ROM device; the model is split into vendor and product."""
    vendor, _, product = model.partition(" ")
    text = vendor[:8].ljust(8) + product[:16].ljust(16) + firmware[:4].ljust(4)
    return bytes((0x05, 0x80, 0x00, 0x21, 31, 0, 0, 0)) + text.encode("ascii", "replace")


def mode_pages(page: int, locked: bool) -> bytes | None:
    """Mode pages 01h, 0Dh, 0Eh and 2Ah, or all by 3Fh; None for one that the drive does not have."""
    pages = {
        0x01: bytes((0x01, 6, 0, 5, 0, 0, 0, 0)),  # read error recovery: five retries
        0x0D: bytes((0x0D, 6, 0, 0, 0, 60, 0, 75)),  # seconds in a minute, frames in a second
        0x0E: bytes((0x0E, 14, 4, 0, 0, 0, 0, 75, 1, 255, 2, 255, 0, 0, 0, 0)),
        # Reads CD-R, CD-RW and DVD-ROM; tray, lock, eject; 4x = 706 kB/s; 512 KiB of buffer.
        0x2A: bytes((0x2A, 18, 0x0B, 0x00, 0x00, 0x00, 0x29 | locked << 1, 0x00))
        + (706).to_bytes(2, "big")
        + bytes((0, 2))
        + (512).to_bytes(2, "big")
        + (706).to_bytes(2, "big")
        + bytes(4),
    }
    if page == 0x3F:
        return b"".join(pages.values())
    return pages.get(page)


def address(lba: int, msf: bool) -> bytes:
    """A four-byte address field, as a block number or as minutes, seconds and frames."""
    if not msf:
        return lba.to_bytes(4, "big")
    lba += MSF_OFFSET
    return bytes((0, lba // (75 * 60) & 0xFF, lba // 75 % 60, lba % 75))


def table_of_contents(toc_format: int, msf: bool, start: int, sectors: int) -> bytes | None:
    """READ TOC/PMA/ATIP formats 0 (tracks), 1 (sessions) and 2 (raw); None for others or a track beyond the last."""
    if toc_format == 0:
        if start > 1 and start != LEAD_OUT:
            return None
        entries = b""
        if start <= 1:
            entries += bytes((0, 0x14, 1, 0)) + address(0, msf)
        entries += bytes((0, 0x14, LEAD_OUT, 0)) + address(sectors, msf)
        return (len(entries) + 2).to_bytes(2, "big") + bytes((1, 1)) + entries
    if toc_format == 1:
        return bytes((0, 10, 1, 1, 0, 0x14, 1, 0)) + address(0, msf)
    if toc_format == 2:
        entries = b""
        for point, pmin in ((0xA0, bytes((0, 1, 0, 0))), (0xA1, bytes((0, 1, 0, 0))),
                            (0xA2, address(sectors, True)), (0x01, address(0, True))):  # fmt: skip
            entries += bytes((1, 0x14, 0, point, 0, 0, 0)) + pmin
        return (len(entries) + 2).to_bytes(2, "big") + bytes((1, 1)) + entries
    return None


def configuration(kind: int, start: int, sectors: int, locked: bool) -> bytes:
    """GET CONFIGURATION: the current profile and the features of a read-only drive (chapter 5.3)."""
    current = 0 if not sectors else PROFILE_DVD_ROM if sectors > CD_LIMIT else PROFILE_CD_ROM
    dvd, cd = current == PROFILE_DVD_ROM, current == PROFILE_CD_ROM
    profiles = b"".join(
        profile.to_bytes(2, "big") + bytes((profile == current, 0)) for profile in (PROFILE_DVD_ROM, PROFILE_CD_ROM)
    )
    # Code, version, persistent, current, data
    features = [
        (0x0000, 0, True, True, profiles),
        (0x0001, 0, True, True, (2).to_bytes(4, "big")),  # core: ATAPI
        (0x0002, 0, True, True, bytes(4)),  # morphing: polled events only
        (0x0003, 0, True, True, bytes((0x29 | locked << 1, 0, 0, 0))),  # tray, eject, lock
        (0x0010, 0, False, bool(sectors), SECTOR.to_bytes(4, "big") + bytes((0, 1, 1, 0))),  # random readable
        (0x001E, 0, False, cd, bytes(4)),
        (0x001F, 0, False, dvd, b""),
    ]
    if kind == 2:
        features = [feature for feature in features if feature[0] == start]
    else:
        features = [feature for feature in features if feature[0] >= start and (kind == 0 or feature[3])]
    body = b"".join(
        code.to_bytes(2, "big") + bytes((version << 2 | persistent << 1 | current_now, len(data))) + data
        for code, version, persistent, current_now, data in features
    )
    return (len(body) + 4).to_bytes(4, "big") + bytes((0, 0)) + current.to_bytes(2, "big") + body


def disc_information() -> bytes:
    """READ DISC INFORMATION: finalized, one session, one track, unrestricted use."""
    return bytes((0, 32, 0x0E, 1, 1, 1, 1, 0x20)) + bytes(26)


def track_information(sectors: int) -> bytes:
    """READ TRACK INFORMATION of the one data track."""
    block = bytearray(36)
    block[0:7] = bytes((0, 34, 1, 1, 0, 0x04, 0x01))
    block[24:28] = sectors.to_bytes(4, "big")
    return bytes(block)


def disc_structure(structure_format: int, sectors: int) -> bytes | None:
    """READ DVD STRUCTURE formats 0 (physical) and 1 (no copyright protection); None on a CD or for other formats."""
    if sectors <= CD_LIMIT:
        return None
    if structure_format == 0:
        layer = bytearray(2048)
        layer[0:4] = bytes((0x01, 0x02, 0x01, 0x00))  # DVD-ROM part version 1, 120 mm, one layer
        layer[4:8] = (0x30000).to_bytes(4, "big")
        layer[8:12] = (0x30000 + sectors - 1).to_bytes(4, "big")
        return (2050).to_bytes(2, "big") + bytes(2) + bytes(layer)
    if structure_format == 1:
        return (6).to_bytes(2, "big") + bytes(6)
    return None
