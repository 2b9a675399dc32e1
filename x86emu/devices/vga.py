"""VGA with Bochs VBE extensions as PCI function 1234:1111 (IBM PS/2 Hardware Interface Technical Reference, "Video
Subsystem", for ports 3B0h-3DFh; the Bochs dispi interface, ids B0C0h-B0C5h, at 1CEh/1CFh and in BAR 2).

BAR 0 is the linear frame buffer, BAR 2 has EDID (000h), the VGA ports (400h) and the dispi registers (500h), the ROM
BAR holds the video BIOS.  Retrace follows the CRT controller's timings on the virtual clock, with the dot clocks of the
VGA's two crystals.  Not modelled: the light pen, sense switches, interrupt on retrace, CGA emulation's odd banks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from x86emu.bus.pci import Bar, PciFunction
from x86emu.devices import vga_text
from x86emu.devices.edid import edid_block
from x86emu.devices.vga_memory import RomImage, VgaMemory

if TYPE_CHECKING:
    from x86emu.bus.clock import Clock

WINDOW_BASE = 0xA0000
WINDOW_LENGTH = 0x20000

# Offsets from port 3B0h.
CRTC_INDEX_MONO, CRTC_DATA_MONO, STATUS_1_MONO = 0x04, 0x05, 0x0A
ATTRIBUTE, ATTRIBUTE_READ, MISC_WRITE, VGA_ENABLE = 0x10, 0x11, 0x12, 0x13
SEQUENCER_INDEX, SEQUENCER_DATA = 0x14, 0x15
PEL_MASK, DAC_READ_INDEX, DAC_WRITE_INDEX, DAC_DATA = 0x16, 0x17, 0x18, 0x19
FEATURE_READ, MISC_READ = 0x1A, 0x1C
GRAPHICS_INDEX, GRAPHICS_DATA = 0x1E, 0x1F
CRTC_INDEX, CRTC_DATA, STATUS_1 = 0x24, 0x25, 0x2A

MISC_COLOUR = 0x01
MISC_MEMORY_ENABLE = 0x02
STATUS_DISPLAY_DISABLED = 0x01
STATUS_VERTICAL_RETRACE = 0x08
ATTRIBUTE_VIDEO_ENABLE = 0x20
ATTRIBUTE_BLINK = 0x08
GRAPHICS_MODE = 0x01

CRYSTALS_HZ = (25_175_000, 28_322_000, 25_175_000, 28_322_000)
SECOND_NS = 1_000_000_000

# Bits that exist; the rest read as zero.
SEQUENCER_BITS = (0x03, 0x3D, 0x0F, 0x3F, 0x0E, 0, 0, 0)
GRAPHICS_BITS = (0x0F, 0x0F, 0x0F, 0x1F, 0x03, 0x7B, 0x0F, 0x0F, 0xFF)
ATTRIBUTE_BITS = (*(0x3F,) * 16, 0xEF, 0xFF, 0x3F, 0x0F, 0x0F)

# Bochs dispi registers.
VBE_ID, VBE_WIDTH, VBE_HEIGHT, VBE_BPP, VBE_ENABLE, VBE_BANK = range(6)
VBE_VIRTUAL_WIDTH, VBE_VIRTUAL_HEIGHT, VBE_X_OFFSET, VBE_Y_OFFSET, VBE_MEMORY_64K = range(6, 11)
VBE_ID_0, VBE_ID_LATEST = 0xB0C0, 0xB0C5
VBE_ENABLED = 0x01
VBE_GET_CAPABILITIES = 0x02
VBE_8_BIT_DAC = 0x20
VBE_LINEAR = 0x40
VBE_KEEP_MEMORY = 0x80
VBE_LIMITS = {VBE_WIDTH: 2560, VBE_HEIGHT: 1600, VBE_BPP: 32}
VBE_DEPTHS = (4, 8, 15, 16, 24, 32)


class Vga(PciFunction):
    """The display. `rom` is the video BIOS image, `memory_bytes` the frame buffer's size.

    Map `read/write` at 3B0h, 30h ports, `sizes=(1,)`; `read_vbe/write_vbe` at 1CEh, 3 ports, `sizes=(2,)`; the 128 KiB
    at A0000h with `native=vga.memory.window`, `sizes=(1, 2, 4, 8)`.
    """

    STATE = (
        "_misc", "_feature", "_enabled", "_sequencer_index", "_sequencer", "_graphics_index", "_graphics",
        "_crtc_index", "_crtc", "_attribute_index", "_attribute", "_attribute_data_next", "_pel_mask", "_dac_read",
        "_dac_write", "_dac_component", "_dac_state", "_dac_latch", "_palette", "_vbe_index", "_vbe", "memory_contents",
        "memory_latch",
    )  # fmt: skip

    def __init__(
        self, clock: Clock, rom: bytes = b"", *, memory_bytes: int = 16 << 20, name: str = "VGA"
    ) -> None:
        self.clock = clock
        self.memory = VgaMemory(memory_bytes)
        self.edid = edid_block()
        bars = [
            Bar(0, memory_bytes, "memory", None, None, f"{name} frame buffer", sizes=(1, 2, 4, 8), prefetchable=True,
                native=self.memory.linear),
            Bar(2, 0x1000, "memory", self.read_mmio, self.write_mmio, f"{name} registers"),
        ]  # fmt: skip
        if rom:
            self.rom = RomImage(rom)
            size = max(2048, 1 << (len(rom) - 1).bit_length())
            bars.append(Bar(6, size, "rom", None, None, f"{name} ROM", sizes=(1, 2, 4, 8), native=self.rom.native))
        super().__init__(
            name, vendor_id=0x1234, device_id=0x1111, class_code=0x030000, revision=2, subsystem_vendor_id=0x1AF4,
            subsystem_id=0x1100, bars=bars,
        )  # fmt: skip
        self._vbe: list[int] = []
        self._reset_registers()

    def _reset_registers(self) -> None:
        self._misc = 0
        self._feature = 0
        self._enabled = 1
        self._sequencer_index = self._graphics_index = self._crtc_index = self._attribute_index = 0
        self._sequencer = bytearray(8)
        self._graphics = bytearray(16)
        self._crtc = bytearray(32)
        self._attribute = bytearray(32)
        self._attribute_data_next = False
        self._pel_mask = 0xFF
        self._dac_read = self._dac_write = self._dac_component = self._dac_state = 0
        self._dac_latch = [0, 0, 0]
        self._palette = bytearray(768)
        self._vbe_index = 0
        self._vbe = [VBE_ID_LATEST, 0, 0, 0, 0, 0, 0, 0, 0, 0, len(self.memory.contents) >> 16]
        self._push()

    def _push(self) -> None:
        """Brings the data path and the frame timing in line with the registers."""
        for index, value in enumerate(self._sequencer):
            self.memory.set_sequencer(index, value)
        for index, value in enumerate(self._graphics):
            self.memory.set_graphics(index, value)
        self.memory.set_enabled(bool(self._misc & MISC_MEMORY_ENABLE))
        self._update_linear()
        self._update_timing()

    def reset(self) -> None:
        """Registers and palette are cleared; display memory keeps what it has."""
        super().reset()
        self._reset_registers()

    # --- ports 3B0h-3DFh

    def read(self, offset: int, size: int) -> int:
        """A VGA port, as offset from 3B0h."""
        if offset in (STATUS_1, STATUS_1_MONO):
            if (offset == STATUS_1) != bool(self._misc & MISC_COLOUR):
                return 0xFF
            self._attribute_data_next = False
            return self._status()
        if offset in (CRTC_INDEX, CRTC_DATA, CRTC_INDEX_MONO, CRTC_DATA_MONO):
            if (offset >= CRTC_INDEX) != bool(self._misc & MISC_COLOUR):
                return 0xFF
            return self._crtc[self._crtc_index] if offset & 1 else self._crtc_index
        if offset == SEQUENCER_INDEX:
            return self._sequencer_index
        if offset == SEQUENCER_DATA:
            return self._sequencer[self._sequencer_index]
        if offset == GRAPHICS_INDEX:
            return self._graphics_index
        if offset == GRAPHICS_DATA:
            return self._graphics[self._graphics_index]
        if offset == ATTRIBUTE:
            return self._attribute_index
        if offset == ATTRIBUTE_READ:
            return self._attribute[self._attribute_index & 0x1F]
        if offset == MISC_READ:
            return self._misc
        if offset == MISC_WRITE:
            return 0x10  # input status 0: the sense line of a colour monitor, no interrupt
        if offset == VGA_ENABLE:
            return self._enabled
        if offset == FEATURE_READ:
            return self._feature
        if offset == PEL_MASK:
            return self._pel_mask
        if offset == DAC_READ_INDEX:
            return self._dac_state
        if offset == DAC_WRITE_INDEX:
            return self._dac_write
        if offset == DAC_DATA:
            value = self._palette[self._dac_read * 3 + self._dac_component]
            self._dac_component += 1
            if self._dac_component == 3:
                self._dac_component = 0
                self._dac_read = (self._dac_read + 1) & 0xFF
            return value
        return 0xFF

    def write(self, offset: int, size: int, value: int) -> None:
        """A VGA port, as offset from 3B0h."""
        if offset in (CRTC_INDEX, CRTC_INDEX_MONO, CRTC_DATA, CRTC_DATA_MONO):
            if (offset >= CRTC_INDEX) != bool(self._misc & MISC_COLOUR):
                return
            if offset & 1:
                self._write_crtc(value)
            else:
                self._crtc_index = value & 0x1F
        elif offset == SEQUENCER_INDEX:
            self._sequencer_index = value & 7
        elif offset == SEQUENCER_DATA:
            value &= SEQUENCER_BITS[self._sequencer_index]
            self._sequencer[self._sequencer_index] = value
            self.memory.set_sequencer(self._sequencer_index, value)
            if self._sequencer_index == 1:
                self._update_timing()
        elif offset == GRAPHICS_INDEX:
            self._graphics_index = value & 15
        elif offset == GRAPHICS_DATA:
            if self._graphics_index < len(GRAPHICS_BITS):
                value &= GRAPHICS_BITS[self._graphics_index]
                self._graphics[self._graphics_index] = value
                self.memory.set_graphics(self._graphics_index, value)
        elif offset == ATTRIBUTE:
            self._write_attribute(value)
        elif offset == MISC_WRITE:
            self._misc = value & 0xEF
            self.memory.set_enabled(bool(value & MISC_MEMORY_ENABLE))
            self._update_timing()
        elif offset == VGA_ENABLE:
            self._enabled = value & 1
        elif offset in (STATUS_1, STATUS_1_MONO):
            self._feature = value & 0x0B
        elif offset == PEL_MASK:
            self._pel_mask = value
        elif offset == DAC_READ_INDEX:
            self._dac_read, self._dac_component, self._dac_state = value, 0, 3
        elif offset == DAC_WRITE_INDEX:
            self._dac_write, self._dac_component, self._dac_state = value, 0, 0
        elif offset == DAC_DATA:
            self._dac_latch[self._dac_component] = value if self._vbe[VBE_ENABLE] & VBE_8_BIT_DAC else value & 0x3F
            self._dac_component += 1
            if self._dac_component == 3:
                self._dac_component = 0
                self._palette[self._dac_write * 3 : self._dac_write * 3 + 3] = bytes(self._dac_latch)
                self._dac_write = (self._dac_write + 1) & 0xFF

    def _write_crtc(self, value: int) -> None:
        index = self._crtc_index
        if index <= 7 and self._crtc[0x11] & 0x80:
            if index != 7:
                return
            value = self._crtc[7] & ~0x10 | value & 0x10  # of the protected ones only line compare bit 8 changes
        self._crtc[index] = value
        if index < 0x0A or 0x10 <= index <= 0x17:
            self._update_timing()

    def _write_attribute(self, value: int) -> None:
        if not self._attribute_data_next:
            self._attribute_index = value & 0x3F
        else:
            index = self._attribute_index & 0x1F
            # The palette's registers can be written only while it is taken off the display (index bit 5 clear).
            if index < len(ATTRIBUTE_BITS) and (index > 15 or not self._attribute_index & ATTRIBUTE_VIDEO_ENABLE):
                self._attribute[index] = value & ATTRIBUTE_BITS[index]
        self._attribute_data_next = not self._attribute_data_next

    # --- retrace

    def _update_timing(self) -> None:
        """Frame timing in dots of the pixel clock out of the CRT controller's horizontal and vertical registers."""
        crtc = self._crtc
        dots = 8 if self._sequencer[1] & 1 else 9
        overflow = crtc[0x07]
        self._line_dots = (crtc[0x00] + 5) * dots
        self._visible_dots = min((crtc[0x01] + 1) * dots, self._line_dots)
        self._lines = (crtc[0x06] | (overflow & 0x01) << 8 | (overflow & 0x20) << 4) + 2
        self._visible_lines = (crtc[0x12] | (overflow & 0x02) << 7 | (overflow & 0x40) << 3) + 1
        start = crtc[0x10] | (overflow & 0x04) << 6 | (overflow & 0x80) << 2
        self._retrace_start = start
        self._retrace_lines = (crtc[0x11] - start & 0x0F) or 16
        self._clock_hz = CRYSTALS_HZ[self._misc >> 2 & 3] >> (1 if self._sequencer[1] & 8 else 0)

    def _status(self) -> int:
        dot = self.clock.now() * self._clock_hz // SECOND_NS
        line, column = divmod(dot % (self._line_dots * self._lines), self._line_dots)
        status = 0
        if line >= self._visible_lines or column >= self._visible_dots:
            status |= STATUS_DISPLAY_DISABLED
        if (line - self._retrace_start) % self._lines < self._retrace_lines:
            status |= STATUS_VERTICAL_RETRACE
        return status

    # --- Bochs dispi

    def read_vbe(self, offset: int, size: int) -> int:
        """Ports 1CEh (index), 1CFh and 1D0h (data, 16 bits)."""
        return self._read_dispi(self._vbe_index) if offset else self._vbe_index

    def write_vbe(self, offset: int, size: int, value: int) -> None:
        """Ports 1CEh (index), 1CFh and 1D0h (data, 16 bits)."""
        if offset:
            self._write_dispi(self._vbe_index, value)
        else:
            self._vbe_index = value

    def _read_dispi(self, index: int) -> int:
        if index >= len(self._vbe):
            return 0
        if self._vbe[VBE_ENABLE] & VBE_GET_CAPABILITIES and index in VBE_LIMITS:
            return VBE_LIMITS[index]
        return self._vbe[index]

    def _write_dispi(self, index: int, value: int) -> None:
        vbe = self._vbe
        value &= 0xFFFF
        if index == VBE_ID:
            if VBE_ID_0 <= value <= VBE_ID_LATEST:
                vbe[VBE_ID] = value
        elif index in (VBE_WIDTH, VBE_HEIGHT, VBE_BPP):
            if not vbe[VBE_ENABLE] & VBE_ENABLED and value <= VBE_LIMITS[index]:
                if index != VBE_BPP or value in VBE_DEPTHS:
                    vbe[index] = value
        elif index == VBE_BANK:
            vbe[VBE_BANK] = value % vbe[VBE_MEMORY_64K]
            self._update_linear()
        elif index == VBE_ENABLE:
            self._enable_vbe(value)
        elif index == VBE_VIRTUAL_WIDTH:
            if value >= vbe[VBE_WIDTH] and self._fits(value):
                vbe[VBE_VIRTUAL_WIDTH] = value
                self._update_virtual_height()
        elif index == VBE_X_OFFSET:
            if value + vbe[VBE_WIDTH] <= vbe[VBE_VIRTUAL_WIDTH]:
                vbe[VBE_X_OFFSET] = value
        elif index == VBE_Y_OFFSET and value + vbe[VBE_HEIGHT] <= vbe[VBE_VIRTUAL_HEIGHT]:
            vbe[VBE_Y_OFFSET] = value

    def _pitch(self, width: int) -> int:
        """Bytes from one line to the next."""
        depth = self._vbe[VBE_BPP]
        return width >> 1 if depth == 4 else width * ((depth + 7) // 8)

    def _fits(self, width: int) -> bool:
        return 0 < self._pitch(width) * self._vbe[VBE_HEIGHT] <= len(self.memory.contents)

    def _update_virtual_height(self) -> None:
        pitch = self._pitch(self._vbe[VBE_VIRTUAL_WIDTH])
        self._vbe[VBE_VIRTUAL_HEIGHT] = min(len(self.memory.contents) // pitch, 0xFFFF) if pitch else 0

    def _enable_vbe(self, value: int) -> None:
        vbe = self._vbe
        starting = value & VBE_ENABLED and not vbe[VBE_ENABLE] & VBE_ENABLED
        if starting and not self._fits(vbe[VBE_WIDTH]):
            return  # no such mode: the display stays as it is
        vbe[VBE_ENABLE] = value & 0xE3
        if starting:
            vbe[VBE_VIRTUAL_WIDTH] = vbe[VBE_WIDTH]
            vbe[VBE_X_OFFSET] = vbe[VBE_Y_OFFSET] = 0
            self._update_virtual_height()
            if not value & VBE_KEEP_MEMORY:
                length = self._pitch(vbe[VBE_WIDTH]) * vbe[VBE_HEIGHT]
                self.memory.contents[:length] = bytes(length)
        elif not value & VBE_ENABLED:
            vbe[VBE_BANK] = 0
        self._update_linear()

    def _update_linear(self) -> None:
        enabled = bool(self._vbe[VBE_ENABLE] & VBE_ENABLED)
        self.memory.set_linear(enabled and self._vbe[VBE_BPP] > 4, self._vbe[VBE_BANK] << 16)

    # --- BAR 2

    def read_mmio(self, offset: int, size: int) -> int:
        """BAR 2: EDID, VGA ports from 3C0h on at 400h, dispi registers at 500h."""
        if offset < 0x400:
            return int.from_bytes(self.edid[offset : offset + size].ljust(size, b"\0"), "little")
        if 0x400 <= offset < 0x420:
            return sum(self.read(offset - 0x3F0 + lane, 1) << 8 * lane for lane in range(size))
        if 0x500 <= offset < 0x516:
            value = self._read_dispi(offset - 0x500 >> 1)
            if size == 4:
                value |= self._read_dispi((offset - 0x500 >> 1) + 1) << 16
            return value >> 8 * (offset & 1)
        return 0xFFFF_FFFF if offset >= 0x600 else 0

    def write_mmio(self, offset: int, size: int, value: int) -> None:
        """BAR 2: VGA ports from 3C0h on at 400h, dispi registers at 500h."""
        if 0x400 <= offset < 0x420:
            for lane in range(size):
                self.write(offset - 0x3F0 + lane, 1, value >> 8 * lane & 0xFF)
        elif 0x500 <= offset < 0x516 and size > 1:
            self._write_dispi(offset - 0x500 >> 1, value & 0xFFFF)
            if size == 4:
                self._write_dispi((offset - 0x500 >> 1) + 1, value >> 16)

    # --- what is on the screen

    @property
    def text_mode(self) -> bool:
        """Whether the screen shows characters."""
        return not self._graphics[6] & GRAPHICS_MODE and not self._vbe[VBE_ENABLE] & VBE_ENABLED

    @property
    def mode(self) -> tuple[int, int, int] | None:
        """Width, height and bits per pixel of the VBE mode that is on, or None."""
        if not self._vbe[VBE_ENABLE] & VBE_ENABLED:
            return None
        return self._vbe[VBE_WIDTH], self._vbe[VBE_HEIGHT], self._vbe[VBE_BPP]

    def text_geometry(self) -> vga_text.TextGeometry:
        """Columns, rows and cursor of the text mode."""
        return vga_text.geometry(self._crtc)

    def text_screen(self) -> list[str]:
        """The rows of a text mode without trailing blanks; empty in graphics modes."""
        if not self.text_mode:
            return []
        rows = vga_text.rows_of_plane(self.memory.contents, self.text_geometry(), 0)
        return [vga_text.to_text(row) for row in rows]

    def text_attributes(self) -> list[bytes]:
        """The attribute byte of every cell, row by row: background in bits 6-4, foreground in bits 3-0."""
        if not self.text_mode:
            return []
        return vga_text.rows_of_plane(self.memory.contents, self.text_geometry(), 1)

    def text_cells(self) -> tuple[list[str], list[bytes], tuple[int, int] | None, bool] | None:
        """Whole rows of characters and attributes, the cursor's (column, row), and whether attribute bit 7 blinks.

        None in graphics modes.
        """
        if not self.text_mode:
            return None
        shape = self.text_geometry()
        rows = [vga_text.rows_of_plane(self.memory.contents, shape, plane) for plane in (0, 1)]
        blink = bool(self._attribute[0x10] & ATTRIBUTE_BLINK)
        return [vga_text.characters(row) for row in rows[0]], rows[1], shape.cursor, blink

    def display_state(self) -> dict[str, Any]:
        """What a picture of the screen depends on, by the names of the register groups; `memory` is the live one.

        `vbe` is width, height, depth, virtual width and offsets of the VBE mode, or None; `frame` counts the pictures
        since power-on by the programmed timings.
        """
        vbe = self._vbe
        mode = None
        if vbe[VBE_ENABLE] & VBE_ENABLED:
            mode = (vbe[VBE_WIDTH], vbe[VBE_HEIGHT], vbe[VBE_BPP], vbe[VBE_VIRTUAL_WIDTH], vbe[VBE_X_OFFSET],
                    vbe[VBE_Y_OFFSET])  # fmt: skip
        dots = self._line_dots * self._lines
        return {
            "sequencer": bytes(self._sequencer),
            "graphics": bytes(self._graphics),
            "crtc": bytes(self._crtc),
            "attribute": bytes(self._attribute),
            "attribute_index": self._attribute_index,
            "palette": bytes(self._palette),
            "pel_mask": self._pel_mask,
            "dac_8_bits": bool(vbe[VBE_ENABLE] & VBE_8_BIT_DAC),
            "vbe": mode,
            "memory": self.memory.contents,
            "frame": self.clock.now() * self._clock_hz // (SECOND_NS * dots),
        }

    # --- state

    @property
    def memory_contents(self) -> bytes:
        """Display memory."""
        return bytes(self.memory.contents)

    @memory_contents.setter
    def memory_contents(self, contents: bytes) -> None:
        self.memory.load_contents(contents)

    @property
    def memory_latch(self) -> int:
        """The plane latches."""
        return self.memory.latch

    @memory_latch.setter
    def memory_latch(self, latch: int) -> None:
        self.memory.latch = latch

    def load(self, state: dict[str, Any]) -> None:
        super().load(state)
        self._push()
