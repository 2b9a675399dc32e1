"""SCSI multimedia answers of a CD or DVD drive with data tracks (MMC-3, T10/1363-D; INF-8020i for mode pages)."""

from __future__ import annotations

from dataclasses import dataclass

SECTOR = 2048
# Beyond the largest CD (99 minutes) a medium is a DVD.
CD_LIMIT = 400_000

# GET EVENT STATUS NOTIFICATION, media class (chapter 6.7.2.4).
CLASS_MEDIA = 4
CLASS_MEDIA_BIT = 1 << CLASS_MEDIA
EVENT_NONE, EVENT_EJECT_REQUEST, EVENT_NEW_MEDIA, EVENT_MEDIA_REMOVAL = range(4)

PROFILE_CD_ROM = 0x0008
PROFILE_DVD_ROM = 0x0010

LEAD_OUT = 0xAA
# Sectors between the last of a session and the first of the next: lead-out, lead-in, pre-gap.
FIRST_GAP, FURTHER_GAP = 11400, 6900
MSF_OFFSET = 150


@dataclass(frozen=True)
class Disc:
    """What lies where on a disc: sectors in all, and the first sector of each session, which has one data track."""

    sectors: int
    sessions: tuple[int, ...] = (0,)

    @property
    def tracks(self) -> list[tuple[int, int]]:
        """First sector and length of each track: up to the lead-out of its session."""
        tracks = []
        for number, start in enumerate(self.sessions):
            last = number == len(self.sessions) - 1
            end = self.sectors if last else self.sessions[number + 1]
            gap = 0 if last else FIRST_GAP if not number else FURTHER_GAP
            tracks.append((start, end - start - gap if end - start > gap else end - start))
        return tracks


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


def table_of_contents(toc_format: int, msf: bool, start: int, disc: Disc) -> bytes | None:
    """READ TOC/PMA/ATIP formats 0 (tracks), 1 (sessions) and 2 (raw); None for others or a track beyond the last."""
    count = len(disc.sessions)
    if toc_format == 0:
        if start > count and start != LEAD_OUT:
            return None
        entries = b""
        for number, (first, _) in enumerate(disc.tracks, 1):
            if number >= start:
                entries += bytes((0, 0x14, number, 0)) + address(first, msf)
        entries += bytes((0, 0x14, LEAD_OUT, 0)) + address(disc.sectors, msf)
        return (len(entries) + 2).to_bytes(2, "big") + bytes((1, count)) + entries
    if toc_format == 1:
        return bytes((0, 10, 1, count, 0, 0x14, count, 0)) + address(disc.sessions[-1], msf)
    if toc_format == 2:
        entries = b""
        for number, (first, length) in enumerate(disc.tracks, 1):
            if number < start:
                continue
            track = bytes((0, number, 0, 0))
            for point, pmin in ((0xA0, track), (0xA1, track), (0xA2, address(first + length, True)),
                                (number, address(first, True))):  # fmt: skip
                entries += bytes((number, 0x14, 0, point, 0, 0, 0)) + pmin
        return (len(entries) + 2).to_bytes(2, "big") + bytes((1, count)) + entries
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


def disc_information(disc: Disc) -> bytes:
    """READ DISC INFORMATION: finalized, a track in each session, unrestricted use."""
    count = len(disc.sessions)
    return bytes((0, 32, 0x0E, 1, count, count, count, 0x20)) + bytes(26)


def track_information(disc: Disc, kind: int, number: int) -> bytes | None:
    """READ TRACK INFORMATION by address (0), track (1) or session (2); None where there is none."""
    if kind == 0:
        number = sum(start <= number for start in disc.sessions) if number < disc.sectors else 0
    if not 1 <= number <= len(disc.sessions) or kind > 2:
        return None
    first, length = disc.tracks[number - 1]
    block = bytearray(36)
    block[0:7] = bytes((0, 34, number, number, 0, 0x04, 0x01))
    block[8:12] = first.to_bytes(4, "big")
    block[24:28] = length.to_bytes(4, "big")
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
