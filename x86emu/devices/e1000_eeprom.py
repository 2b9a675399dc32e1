"""EEPROM and PHY of the Intel 82540EM.

Microwire EEPROM of 64 words (93C46; the manual's chapter 5 has the words), by EERD or bit by bit by EECD; the PHY is
a Marvell 88E1011 at address 1 (chapter 13.4.7, IEEE 802.3 clause 22), always at 1000 Mb/s full duplex.
"""

from __future__ import annotations

from typing import Any, ClassVar

WORDS, ADDRESS_BITS = 64, 6
CHECKSUM_WORD, CHECKSUM = 0x3F, 0xBABA
VENDOR, DEVICE = 0x8086, 0x100E

READ, WRITE, ERASE, EXTENDED = 0b10, 0b01, 0b11, 0b00
WRITE_ENABLE, WRITE_DISABLE = 0b11, 0b00  # the upper two address bits of EXTENDED


def contents(mac: bytes) -> list[int]:
    """The words of a card with that address."""
    words = [0] * WORDS
    for index in range(3):
        words[index] = int.from_bytes(mac[2 * index : 2 * index + 2], "little")
    words[0x0A] = 0x4003  # signature; subsystem and device identifiers are loaded from here
    words[0x0B], words[0x0C], words[0x0D], words[0x0E] = DEVICE, VENDOR, DEVICE, VENDOR
    words[0x0F] = 0x3040
    words[CHECKSUM_WORD] = (CHECKSUM - sum(words)) & 0xFFFF
    return words


class Microwire:
    """The EEPROM's serial side: `clock(select, clock, data)` on every write of EECD; `output` is DO."""

    STATE: ClassVar[tuple[str, ...]] = ("words", "writable", "output", "_shift", "_count", "_out", "_clock")

    def __init__(self, words: list[int]) -> None:
        self.words = words
        self.writable = False
        self.output = True
        self._clock = False
        self._idle()

    def _idle(self) -> None:
        self._shift = self._count = 0
        self._out: list[int] = []  # bits to come
        self.output = True  # ready

    def clock(self, select: bool, clock: bool, data: bool) -> None:
        rising, self._clock = clock and not self._clock, clock
        if not select:
            self._idle()
            return
        if not rising:
            return
        if self._out:
            self.output = bool(self._out.pop(0))
            return
        if not self._count and not data:
            return  # waiting for the start bit
        self._shift = self._shift << 1 | data
        self._count += 1
        head = 3 + ADDRESS_BITS
        if self._count < head:
            return
        opcode = self._shift >> self._count - 3 & 3
        address = self._shift >> self._count - head & WORDS - 1
        if self._count == head:
            self._command(opcode, address)
        elif opcode == WRITE and self._count == head + 16:
            if self.writable:
                self.words[address] = self._shift & 0xFFFF
            self._shift = self._count = 0

    def _command(self, opcode: int, address: int) -> None:
        if opcode == WRITE:
            return  # 16 bits of data follow
        if opcode == READ:
            bits = "".join(f"{self.words[(address + index) % WORDS]:016b}" for index in range(WORDS))
            self._out = [int(bit) for bit in bits]
            self.output = False  # the dummy bit
        elif opcode == ERASE and self.writable:
            self.words[address] = 0xFFFF
        elif opcode == EXTENDED and address >> 4 in (WRITE_ENABLE, WRITE_DISABLE):
            self.writable = address >> 4 == WRITE_ENABLE
        self._shift = self._count = 0

    def save(self) -> dict[str, Any]:
        return {key: list(value) if isinstance(value := getattr(self, key), list) else value for key in self.STATE}

    def load(self, state: dict[str, Any]) -> None:
        for key in self.STATE:
            value = state[key]
            setattr(self, key, list(value) if isinstance(value, list) else value)


PHY_ADDRESS = 1
CONTROL, PHY_STATUS, PARTNER, GIGABIT_STATUS, SPECIFIC_STATUS = 0, 1, 5, 10, 17
CONTROL_RESET, CONTROL_RESTART = 1 << 15, 1 << 9
LINK, NEGOTIATED = 1 << 2, 1 << 5
# Register: (value after reset, bits that can be written)
PHY_REGISTERS = {
    0: (0x1140, 0xFDC0), 1: (0x7949, 0), 2: (0x0141, 0), 3: (0x0C20, 0), 4: (0x01E1, 0xFFFF), 5: (0, 0), 6: (0x0004, 0),
    7: (0x2001, 0xFFFF), 8: (0, 0), 9: (0x0300, 0xFF00), 10: (0, 0), 15: (0x3000, 0), 16: (0x0078, 0xFFFF),
    17: (0x0010, 0), 18: (0, 0xFFFF), 19: (0, 0), 20: (0x0CE8, 0xFFFF), 21: (0, 0), 24: (0x4100, 0xFFFF),
    29: (0, 0xFFFF), 30: (0, 0xFFFF),
}  # fmt: skip
WITH_LINK = {PHY_STATUS: LINK | NEGOTIATED, PARTNER: 0xC5E1, GIGABIT_STATUS: 0x3C00, SPECIFIC_STATUS: 0xAC00}


class Phy:
    """The transceiver's registers; `link` says whether the cable is in."""

    def __init__(self) -> None:
        self.link = True
        self.reset()

    def reset(self) -> None:
        self.registers = {number: value for number, (value, _) in PHY_REGISTERS.items()}

    def read(self, register: int) -> int:
        value = self.registers.get(register, 0)
        return value | WITH_LINK.get(register, 0) if self.link else value

    def write(self, register: int, value: int) -> None:
        if register == CONTROL and value & CONTROL_RESET:
            self.reset()
            return
        if register in PHY_REGISTERS:
            mask = PHY_REGISTERS[register][1]
            if register == CONTROL:
                mask &= ~CONTROL_RESTART  # it has been negotiated again at once
            self.registers[register] = self.registers[register] & ~mask | value & mask
