"""A dump of frames in the libpcap format (draft-ietf-opsawg-pcap), with nanoseconds, as Wireshark and tcpdump read it.

Time stamps are virtual time counted from the guest's date at power-on, so the same run gives the same file.
"""

from __future__ import annotations

import struct
import sys
from datetime import UTC, datetime
from pathlib import Path

from x86emu.errors import UserInputError

MAGIC_NANOSECONDS = 0xA1B23C4D
LINKTYPE_ETHERNET = 1
SNAPLEN = 262144
SECOND = 1_000_000_000


class PcapFile:
    """The file.  UserInputError where it cannot be written.  Several networks may share one."""

    def __init__(self, path: Path, start: datetime) -> None:
        self._path = path
        try:
            self._file = path.open("wb", buffering=1 << 16)
        except OSError as error:
            raise UserInputError(
                f"--pcap {path}: cannot be written ({error.strerror}); give a file in a directory that can be"
            ) from None
        self._start = int(start.replace(tzinfo=UTC).timestamp()) * SECOND
        self._file.write(struct.pack("<IHHiIII", MAGIC_NANOSECONDS, 2, 4, 0, 0, SNAPLEN, LINKTYPE_ETHERNET))

    def record(self, frame: bytes, now: int) -> None:
        """Appends a frame seen at virtual nanosecond `now`.  UserInputError where the host cannot store it."""
        if not self._file.closed:
            seconds, nanoseconds = divmod(self._start + now, SECOND)
            head = struct.pack("<IIII", seconds & 0xFFFF_FFFF, nanoseconds, len(frame), len(frame))
            try:
                self._file.write(head + frame)
            except OSError as error:
                raise UserInputError(self._failure(error)) from None

    def _failure(self, error: OSError) -> str:
        return f"--pcap {self._path}: could not be written to its end ({error.strerror}); make room on the host"

    def close(self) -> None:
        """Writes out what is buffered; may be called twice.  What cannot be stored then is said on standard error."""
        try:
            self._file.close()
        except OSError as error:
            print(f"x86emu: {self._failure(error)}", file=sys.stderr)
