"""Security feature set of an ATA disk (ATA/ATAPI-6, T13/1410D, chapters 6.13 and 8.32 to 8.37).

Passwords live as long as the machine, not in the image.  Locking hides data from the guest, not from the host.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from x86emu.devices.ata_drive import AtaDrive

if TYPE_CHECKING:
    from x86emu.devices.block import BlockBackend

SET_PASSWORD, UNLOCK, ERASE_PREPARE, ERASE_UNIT, FREEZE_LOCK, DISABLE_PASSWORD = range(0xF1, 0xF7)
PASSWORD_LENGTH = 32
ATTEMPTS = 5
ERASE_BLOCK = 2048  # sectors
ERASE_MINUTES_HALVED = 1  # words 89 and 90, in units of two minutes

# Commands that a locked device aborts (table 9): all that reach the medium or change who may.
REFUSED_WHILE_LOCKED = frozenset((
    0x06, 0x20, 0x21, 0x24, 0x25, 0x29, 0x30, 0x31, 0x34, 0x35, 0x37, 0x39, 0x3D, 0x40, 0x41, 0x42, 0x60, 0x61, 0xC4,
    0xC5, 0xC8, 0xC9, 0xCA, 0xCB, 0xCE, 0xE7, 0xEA, 0xF9, SET_PASSWORD, FREEZE_LOCK, DISABLE_PASSWORD,
))  # fmt: skip
REFUSED_WHILE_FROZEN = frozenset((SET_PASSWORD, UNLOCK, ERASE_PREPARE, ERASE_UNIT, DISABLE_PASSWORD))


class AtaSecurity(AtaDrive):
    """The commands F1h-F6h.  `refuses(command)` says what the present state forbids."""

    SECURITY_STATE: ClassVar[tuple[str, ...]] = (
        "_user_password", "_master_password", "_master_revision", "_maximum", "_locked", "_frozen", "_attempts",
        "_prepared", "_security_command",
    )  # fmt: skip
    backend: BlockBackend
    native_sectors: int

    def _security_power_on(self) -> None:
        self._user_password: bytes | None = None
        self._master_password = bytes(PASSWORD_LENGTH)
        self._master_revision = 0xFFFE
        self._maximum = False  # security level: with maximum the master password only erases
        self._security_reset()

    def _security_reset(self) -> None:
        """Power-on and hardware reset: a disk with a user password locks itself."""
        self._locked = self._user_password is not None
        self._frozen = False
        self._attempts = ATTEMPTS
        self._prepared = False
        self._security_command = 0

    def refuses(self, command: int) -> bool:
        """Whether the security state forbids a command."""
        return (
            self._locked
            and command in REFUSED_WHILE_LOCKED
            or self._frozen
            and command in REFUSED_WHILE_FROZEN
            or command in (UNLOCK, ERASE_UNIT)
            and not self._attempts
        )

    @property
    def security_status(self) -> int:
        """Identify word 128: supported, enabled, locked, frozen, count expired, enhanced erase, level."""
        enabled = self._user_password is not None
        return (
            0x21 | enabled << 1 | self._locked << 2 | self._frozen << 3 | (not self._attempts) << 4 | self._maximum << 8
        )

    def _security(self, command: int) -> None:
        prepared, self._prepared = self._prepared, command == ERASE_PREPARE
        if command == ERASE_PREPARE:
            self.complete()
        elif command == FREEZE_LOCK:
            self._frozen = True
            self.complete()
        elif command == ERASE_UNIT and not prepared:
            self.fail()
        else:
            self._security_command = command
            self.data_out(512, "security_data", interrupt=False)

    def security_data(self) -> None:
        """The 512 bytes with the password are there."""
        words = int.from_bytes(self._buffer[0:2], "little")
        password = bytes(self._buffer[2 : 2 + PASSWORD_LENGTH])
        master = bool(words & 1)
        handlers: dict[int, Callable[[bool, bytes], bool]] = {
            UNLOCK: self._unlock, DISABLE_PASSWORD: self._disable, ERASE_UNIT: self._erase,
        }  # fmt: skip
        if self._security_command == SET_PASSWORD:
            if master:
                revision = int.from_bytes(self._buffer[34:36], "little")
                self._master_password = password
                if revision not in (0x0000, 0xFFFF):
                    self._master_revision = revision
            else:
                self._user_password, self._maximum = password, bool(words >> 8 & 1)
            self.complete()
        elif handlers[self._security_command](master, password):
            self.complete()
        else:
            self.fail()

    def _matches(self, master: bool, password: bytes) -> bool:
        return password == (self._master_password if master else self._user_password)

    def _unlock(self, master: bool, password: bytes) -> bool:
        if self._user_password is None:
            return True
        if master and self._maximum or not self._matches(master, password):
            if self._locked:
                self._attempts -= 1
            return False
        self._locked = False
        self._attempts = ATTEMPTS
        return True

    def _disable(self, master: bool, password: bytes) -> bool:
        if self._user_password is not None and (master and self._maximum or not self._matches(master, password)):
            return False
        self._user_password, self._maximum = None, False
        return True

    def _erase(self, master: bool, password: bytes) -> bool:
        if not self._matches(master, password) and not (self._user_password is None and not master):
            return False
        try:
            for lba in range(0, self.native_sectors, ERASE_BLOCK):
                self.backend.write(lba, bytes(512 * min(ERASE_BLOCK, self.native_sectors - lba)))
        except OSError:
            return False
        self._user_password, self._maximum, self._locked = None, False, False
        return True
