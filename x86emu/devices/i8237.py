"""Two cascaded 8237A DMA controllers with page registers (Intel 8237A data sheet; 82371SB data sheet 2.5.1).

Channels 0-3 move bytes (registers at 00h-0Fh), channels 5-7 words (C0h-DFh, every register on an even port), channel
4 is the cascade.  The page registers at 80h-8Fh give address bits 23-16.  A device asks for a transfer by `give` and
`take`; it moves at once and in whole, so single, demand and block mode do not differ.  Memory-to-memory transfers,
rotating priority and the signal polarities of the command register are stored and do nothing.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from x86emu.bus.device import Device

if TYPE_CHECKING:
    from x86emu.bus.dma import Dma

COMMAND_STATUS, REQUEST, MASK_ONE, MODE, CLEAR_FLIP_FLOP, MASTER_CLEAR, CLEAR_MASK, MASK_ALL = range(8, 16)

COMMAND_DISABLED = 0x04
MODE_AUTO_INITIALIZE = 0x10
MODE_DECREMENT = 0x20
MODE_DIRECTION = 0x0C
MODE_DEVICE_TO_MEMORY = 0x04
MODE_MEMORY_TO_DEVICE = 0x08

# Page register (port 80h + offset) to channel; the others are scratch, 80h itself takes POST codes.
PAGE_CHANNEL = {0x7: 0, 0x3: 1, 0x1: 2, 0x2: 3, 0xF: 4, 0xB: 5, 0x9: 6, 0xA: 7}


@dataclass
class Channel:
    """One channel: base and current registers, mode, mask and page."""

    base_address: int = 0
    base_count: int = 0
    address: int = 0
    count: int = 0
    mode: int = 0
    masked: bool = True


class _Controller:
    def __init__(self, word: int) -> None:
        self.word = word
        self.channels = [Channel() for _ in range(4)]
        self.master_clear()

    def master_clear(self) -> None:
        self.command = 0
        self.status = 0
        self.request = 0
        self.temporary = 0
        self.flip_flop = False
        for channel in self.channels:
            channel.masked = True

    def read(self, register: int) -> int:
        if register < 8:
            channel = self.channels[register >> 1]
            value = channel.count if register & 1 else channel.address
            self.flip_flop = not self.flip_flop
            return value & 0xFF if self.flip_flop else value >> 8
        if register == COMMAND_STATUS:
            value = self.status | self.request << 4
            self.status = 0
            return value
        if register == MASTER_CLEAR:
            return self.temporary
        if register == MASK_ALL:
            return sum(channel.masked << number for number, channel in enumerate(self.channels)) | 0xF0
        return 0xFF

    def write(self, register: int, value: int) -> None:
        if register < 8:
            channel = self.channels[register >> 1]
            present = channel.base_count if register & 1 else channel.base_address
            new = present & 0x00FF | value << 8 if self.flip_flop else present & 0xFF00 | value
            self.flip_flop = not self.flip_flop
            if register & 1:
                channel.base_count = channel.count = new
            else:
                channel.base_address = channel.address = new
        elif register == COMMAND_STATUS:
            self.command = value
        elif register == REQUEST:
            bit = 1 << (value & 3)
            self.request = self.request | bit if value & 4 else self.request & ~bit
        elif register == MASK_ONE:
            self.channels[value & 3].masked = bool(value & 4)
        elif register == MODE:
            self.channels[value & 3].mode = value & 0xFC
        elif register == CLEAR_FLIP_FLOP:
            self.flip_flop = False
        elif register == MASTER_CLEAR:
            self.master_clear()
        elif register == CLEAR_MASK:
            for channel in self.channels:
                channel.masked = False
        elif register == MASK_ALL:
            for number, channel in enumerate(self.channels):
                channel.masked = bool(value >> number & 1)


class I8237Pair(Device):
    """Both controllers. `dma` reaches the low 16 MiB of memory; None leaves the registers only."""

    STATE = ("registers", "_pages")

    def __init__(self, dma: Dma | None = None, *, name: str = "8237A pair") -> None:
        super().__init__(name)
        self.dma = dma
        self._controllers = [_Controller(1), _Controller(2)]
        self._pages = bytearray(16)

    def reset(self) -> None:
        """Master clear of both controllers; addresses, counts and pages are left as they are."""
        for controller in self._controllers:
            controller.master_clear()

    # --- ports

    def read_first(self, offset: int, size: int) -> int:
        """Ports 00h-0Fh: channels 0-3."""
        return self._controllers[0].read(offset)

    def write_first(self, offset: int, size: int, value: int) -> None:
        """Ports 00h-0Fh: channels 0-3."""
        self._controllers[0].write(offset, value)

    def read_second(self, offset: int, size: int) -> int:
        """Ports C0h-DFh: channels 4-7."""
        return self._controllers[1].read(offset >> 1)

    def write_second(self, offset: int, size: int, value: int) -> None:
        """Ports C0h-DFh: channels 4-7."""
        self._controllers[1].write(offset >> 1, value)

    def read_page(self, offset: int, size: int) -> int:
        """Ports 80h-8Fh: page and scratch registers."""
        return self._pages[offset]

    def write_page(self, offset: int, size: int, value: int) -> None:
        """Ports 80h-8Fh: page and scratch registers."""
        self._pages[offset] = value

    @property
    def post_code(self) -> int:
        """What was last written to port 80h."""
        return self._pages[0]

    @property
    def registers(self) -> list[list[object]]:
        """What both controllers hold: channels first, then command, status, request, temporary and flip-flop."""
        return [
            [[astuple(channel) for channel in c.channels], c.command, c.status, c.request, c.temporary, c.flip_flop]
            for c in self._controllers
        ]

    @registers.setter
    def registers(self, registers: list[list[Any]]) -> None:
        for c, (channels, *rest) in zip(self._controllers, registers, strict=True):
            c.channels = [Channel(*values) for values in channels]
            c.command, c.status, c.request, c.temporary, c.flip_flop = rest

    # --- devices' side

    def ready(self, channel: int) -> bool:
        """Whether a request on a channel (0-3, 5-7) would be granted."""
        controller, own = self._of(channel)
        cascade = self._controllers[1]
        if channel < 4 and (cascade.channels[0].masked or cascade.command & COMMAND_DISABLED):
            return False
        return not own.masked and not controller.command & COMMAND_DISABLED and self.dma is not None

    def give(self, channel: int, data: bytes) -> tuple[int, bool]:
        """Device to memory: returns how many bytes were taken and whether terminal count was reached."""
        return self._move(channel, MODE_DEVICE_TO_MEMORY, data, len(data))[1:]

    def take(self, channel: int, length: int) -> tuple[bytes, bool]:
        """Memory to device: returns at most `length` bytes and whether terminal count was reached."""
        data, _, terminal_count = self._move(channel, MODE_MEMORY_TO_DEVICE, b"", length)
        return data, terminal_count

    def _of(self, channel: int) -> tuple[_Controller, Channel]:
        controller = self._controllers[channel >> 2]
        return controller, controller.channels[channel & 3]

    def _move(self, number: int, direction: int, data: bytes, length: int) -> tuple[bytes, int, bool]:
        controller, channel = self._of(number)
        if not self.ready(number) or self.dma is None:
            return b"", 0, False
        word = controller.word
        page = next(self._pages[register] for register, of in PAGE_CHANNEL.items() if of == number)
        taken = bytearray()
        moved = 0
        while moved + word <= length:
            # Up to the end of the block or of the 64 Ki addresses, whichever comes first: addresses wrap in a page.
            if channel.mode & MODE_DECREMENT:
                units = 1
            else:
                units = min((length - moved) // word, channel.count + 1, 0x10000 - channel.address)
            at = (page << 16 | channel.address) if word == 1 else (page & 0xFE) << 16 | channel.address << 1
            if channel.mode & MODE_DIRECTION == direction:
                if direction == MODE_DEVICE_TO_MEMORY:
                    self.dma.write(at, data[moved : moved + units * word])
                else:
                    taken += self.dma.read(at, units * word)
            else:
                taken += bytes(units * word)  # verify mode: cycles without a transfer
            moved += units * word
            step = -units if channel.mode & MODE_DECREMENT else units
            channel.address = (channel.address + step) & 0xFFFF
            if units > channel.count:
                controller.status |= 1 << (number & 3)
                if channel.mode & MODE_AUTO_INITIALIZE:
                    channel.address, channel.count = channel.base_address, channel.base_count
                else:
                    channel.count = 0xFFFF
                    channel.masked = True
                return bytes(taken), moved, True
            channel.count -= units
        return bytes(taken), moved, False
