"""The VGA from its ports, its memory window and its BARs."""

import random

import pytest

from x86emu.bus.pci import PciBus
from x86emu.bus.spaces import MmioSpace, PortSpace
from x86emu.devices.edid import edid_block
from x86emu.devices.vga import Vga

# The 80x25 colour text mode, as the standard parameter tables have it (sequencer 1-4, miscellaneous, CRTC, graphics).
SEQUENCER = (0x03, 0x00, 0x03, 0x00, 0x02)
MISC = 0x67
CRTC = bytes.fromhex("5f4f50825581bf1f004f0d0e000000009c8e8f281f96b9a3ff")
GRAPHICS = bytes.fromhex("00000000001" + "00e0fff")
LFB, REGISTERS, ROM = 0xE000_0000, 0xE100_0000, 0xE200_0000


class Display:
    """The VGA on a bus, mapped as a machine does it."""

    def __init__(self, clock, rom=b"\x55\xaa" + bytes(range(200))):
        self.vga = Vga(clock, rom, memory_bytes=1 << 20)
        self.ports, self.mmio = PortSpace(), MmioSpace()
        bus = PciBus(self.ports, self.mmio)
        bus.add(self.vga, 2)
        self.ports.map(0x3B0, 0x30, self.vga.read, self.vga.write, "vga", sizes=(1,))
        self.ports.map(0x1CE, 3, self.vga.read_vbe, self.vga.write_vbe, "vbe", sizes=(2,))
        self.mmio.map(0xA0000, 0x20000, None, None, "vga window", sizes=(1, 2, 4, 8), native=self.vga.memory.window)

    def out(self, port, value):
        self.ports.write(port, 1, value)

    def inb(self, port):
        return self.ports.read(port, 1)

    def indexed(self, port, index, value=None):
        if value is None:
            self.out(port, index)
            return self.inb(port + 1)
        return self.ports.write(port, 2, index | value << 8)  # as firmware does it: one word

    def vbe(self, index, value=None):
        self.ports.write(0x1CE, 2, index)
        return self.ports.read(0x1CF, 2) if value is None else self.ports.write(0x1CF, 2, value)

    def text_mode(self):
        self.out(0x3C2, MISC)
        for index, value in enumerate(SEQUENCER):
            self.indexed(0x3C4, index, value)
        self.indexed(0x3D4, 0x11, 0)
        for index, value in enumerate(CRTC):
            self.indexed(0x3D4, index, value)
        for index, value in enumerate(GRAPHICS):
            self.indexed(0x3CE, index, value)

    def planar_mode(self):
        self.text_mode()
        self.indexed(0x3C4, 2, 0x0F)
        self.indexed(0x3C4, 4, 0x06)
        for index, value in enumerate((0, 0, 0, 0, 0, 0, 0x05, 0x0F, 0xFF)):
            self.indexed(0x3CE, index, value)

    def plane(self, number, offset):
        return self.vga.memory.contents[4 * offset + number]


@pytest.fixture
def display(clock):
    return Display(clock)


def test_text_screen_with_attributes_and_cursor(display):
    display.text_mode()
    for index, character in enumerate(b"SeaBIOS (version 1.16)"):
        display.mmio.write(0xB8000 + 2 * index, 2, character | 0x1F00)
    display.mmio.write(0xB8000 + 160 * 24, 4, 0x4E02_4E01)
    screen = display.vga.text_screen()
    assert len(screen) == 25 and screen[0] == "SeaBIOS (version 1.16)" and screen[24] == "☺☻"
    assert display.vga.text_attributes()[24][:3] == b"\x4e\x4e\x00"
    assert display.mmio.read(0xB8000, 4) == 0x1F651F53
    display.indexed(0x3D4, 0x0E, 0)
    display.indexed(0x3D4, 0x0F, 85)
    assert display.vga.text_geometry().cursor == (5, 1)


def test_text_scrolls_by_start_address_and_splits_at_line_compare(display):
    display.text_mode()
    for row in range(60):
        display.mmio.write(0xB8000 + 160 * row, 2, 0x0700 | ord("A") + row)
    display.indexed(0x3D4, 0x0C, 80 * 10 >> 8)
    display.indexed(0x3D4, 0x0D, 80 * 10 & 0xFF)
    assert [row[:1] for row in display.vga.text_screen()][:3] == ["K", "L", "M"]
    display.indexed(0x3D4, 0x18, 16 * 20 - 1 & 0xFF)  # the last five rows show the memory's beginning
    display.indexed(0x3D4, 0x07, 0x1F)
    display.indexed(0x3D4, 0x09, 0x0F)
    assert [row[:1] for row in display.vga.text_screen()][19:22] == ["^", "A", "B"]


def test_host_window_follows_the_memory_map_bits(display):
    display.text_mode()
    display.mmio.write(0xB0000, 1, 0x55)
    assert display.mmio.read(0xB0000, 1) == 0xFF
    display.indexed(0x3CE, 6, 0x0A)
    display.mmio.write(0xB0000, 1, 0x55)
    assert display.mmio.read(0xB0000, 1) == 0x55 and display.mmio.read(0xB8000, 2) == 0xFFFF
    display.out(0x3C2, MISC & ~2)
    assert display.mmio.read(0xB0000, 1) == 0xFF


def model_write(planes, latch, gc, value, mask):
    """The graphics controller's data path, plane by plane and bit by bit (independent of the one under test)."""
    out = list(planes)
    rotated = (value >> (gc[3] & 7) | value << (8 - (gc[3] & 7))) & 0xFF
    for plane in range(4):
        if not mask >> plane & 1:
            continue
        result = 0
        for bit in range(8):
            kept = latch[plane] >> bit & 1
            mode = gc[5] & 3
            if mode == 1:
                result |= kept << bit
                continue
            enabled = gc[8] >> bit & 1
            if mode == 0:
                source = gc[0] >> plane & 1 if gc[1] >> plane & 1 else rotated >> bit & 1
            elif mode == 2:
                source = value >> plane & 1
            else:
                source = gc[0] >> plane & 1
                enabled &= rotated >> bit & 1
            source = [source, source & kept, source | kept, source ^ kept][gc[3] >> 3 & 3]
            result |= (source if enabled else kept) << bit
        out[plane] = result
    return out


def test_planar_writes_against_a_bitwise_model(display):
    display.planar_mode()
    rng = random.Random(1)
    for _ in range(600):
        gc = [rng.randrange(16), rng.randrange(16), 0, rng.randrange(32), rng.randrange(4), rng.randrange(4), 5, 15,
              rng.randrange(256)]  # fmt: skip
        for index, value in enumerate(gc):
            display.indexed(0x3CE, index, value)
        mask = rng.randrange(16)
        display.indexed(0x3C4, 2, mask)
        source, target, value = rng.randrange(64), rng.randrange(64), rng.randrange(256)
        latch = [display.plane(plane, source) for plane in range(4)]
        assert display.mmio.read(0xA0000 + source, 1) == latch[gc[4]]
        expected = model_write([display.plane(plane, target) for plane in range(4)], latch, gc, value, mask)
        display.mmio.write(0xA0000 + target, 1, value)
        assert [display.plane(plane, target) for plane in range(4)] == expected


def test_read_mode_1_compares_colours(display):
    display.planar_mode()
    for plane, value in enumerate((0b11110000, 0b11001100, 0b10101010, 0)):
        display.indexed(0x3C4, 2, 1 << plane)
        display.mmio.write(0xA0000, 1, value)
    display.indexed(0x3CE, 5, 0x08)
    display.indexed(0x3CE, 2, 0b0011)
    assert display.mmio.read(0xA0000, 1) == 0b01000000
    display.indexed(0x3CE, 7, 0b0011)  # plane 2 does not matter
    assert display.mmio.read(0xA0000, 1) == 0b11000000


def test_chain_4_spreads_pixels_over_planes(display):
    display.planar_mode()
    display.indexed(0x3C4, 4, 0x0E)
    display.mmio.write(0xA0000 + 320, 4, 0x04030201)
    assert [display.plane(plane, 320) for plane in range(4)] == [1, 2, 3, 4]
    assert display.mmio.read(0xA0000 + 322, 2) == 0x0403


def test_attribute_flip_flop_and_palette_protection(display):
    display.text_mode()
    display.inb(0x3DA)
    display.out(0x3C0, 0x05)
    display.out(0x3C0, 0x2A)
    display.out(0x3C0, 0x30)  # index again, video on
    display.out(0x3C0, 0x0C)
    assert display.inb(0x3C0) == 0x30 and display.inb(0x3C1) == 0x0C
    display.out(0x3C0, 0x25)
    display.out(0x3C0, 0x11)  # the palette is on the display: not written
    assert display.inb(0x3C1) == 0x2A
    display.out(0x3C0, 0x07)
    display.inb(0x3DA)  # the flip-flop is back at the index
    display.out(0x3C0, 0x10)
    assert display.inb(0x3C0) == 0x10


def test_dac_reads_back_triplets(display):
    display.out(0x3C8, 10)
    for value in (1, 2, 3, 0x7F, 5, 6):
        display.out(0x3C9, value)
    assert display.inb(0x3C8) == 12
    display.out(0x3C7, 10)
    assert display.inb(0x3C7) == 3
    assert [display.inb(0x3C9) for _ in range(6)] == [1, 2, 3, 0x3F, 5, 6]


def test_crtc_protection_and_colour_select(display):
    display.text_mode()  # register 11h ends with its protect bit set
    assert display.indexed(0x3D4, 0x11) == 0x8E
    display.indexed(0x3D4, 0x00, 0x00)
    assert display.indexed(0x3D4, 0x00) == 0x5F
    display.indexed(0x3D4, 0x07, 0x00)
    assert display.indexed(0x3D4, 0x07) == 0x0F  # only line compare bit 8 changed
    assert display.inb(0x3B5) == 0xFF and display.inb(0x3BA) == 0xFF
    display.out(0x3C2, MISC & ~1)
    assert display.inb(0x3B5) == 0x0F and display.inb(0x3D5) == 0xFF


def test_retrace_follows_the_clock(display, clock):
    display.text_mode()
    frame = 900 * 449 * 1_000_000_000 // 28_322_000
    samples = []
    for _ in range(2000):
        samples.append(display.inb(0x3DA))
        clock.advance(frame // 1000)
    retraces = sum(1 for before, after in zip(samples, samples[1:], strict=False) if after & 8 and not before & 8)
    assert retraces == 2 and all(sample & 1 for sample in samples if sample & 8)
    share = sum(sample & 1 for sample in samples) / len(samples)
    assert abs(share - (1 - 400 * 720 / (449 * 900))) < 0.02


def test_vbe_mode_banks_and_frame_buffer(display):
    assert display.vbe(0) == 0xB0C5 and display.vbe(10) == (1 << 20) >> 16
    display.vga.config_write(0x10, 4, LFB)
    display.vga.config_write(0x18, 4, REGISTERS)
    display.vga.config_write(4, 2, 2)
    display.vbe(4, 2)
    assert display.vbe(1) == 2560 and display.vbe(3) == 32
    display.vbe(4, 0)
    for index, value in ((1, 640), (2, 400), (3, 8)):
        display.vbe(index, value)
    display.mmio.write(LFB, 4, 0x12345678)
    display.vbe(4, 0x41)
    assert display.vga.mode == (640, 400, 8) and display.vbe(6) == 640 and not display.vga.text_mode
    assert display.mmio.read(LFB, 4) == 0  # cleared on entry
    display.vbe(5, 1)
    display.text_mode()
    display.indexed(0x3CE, 6, 5)
    display.mmio.write(0xA0000, 4, 0xCAFEBABE)
    assert display.mmio.read(LFB + 0x10000, 8) == 0xCAFEBABE
    display.vbe(6, 1024)
    assert display.vbe(6) == 1024 and display.vbe(7) == 1024
    display.vbe(9, 100)
    assert display.vbe(9) == 100
    assert display.mmio.read(REGISTERS + 0x502, 2) == 640
    assert display.mmio.read(REGISTERS + 0x500, 4) == 640 << 16 | 0xB0C5
    display.mmio.write(REGISTERS + 0x508, 2, 0)
    assert display.vga.mode is None and display.vga.text_mode is False
    display.indexed(0x3CE, 6, 0x0E)
    assert display.vga.text_mode


def test_vbe_refuses_modes_that_do_not_fit(display):
    for index, value in ((1, 2560), (2, 1600), (3, 32)):
        display.vbe(index, value)
    display.vbe(4, 1)
    assert display.vga.mode is None
    display.vbe(3, 17)
    assert display.vbe(3) == 32


def test_rom_and_registers_by_bars(display):
    assert display.vga.config_read(0, 4) == 0x1111_1234 and display.vga.config_read(8, 4) >> 8 == 0x030000
    display.vga.config_write(0x30, 4, ROM | 1)
    display.vga.config_write(0x18, 4, REGISTERS)
    display.vga.config_write(4, 2, 2)
    assert display.mmio.read(ROM, 4) == 0x0100AA55 and display.mmio.read(ROM + 2000, 1) == 0xFF
    display.mmio.write(ROM, 1, 0)
    assert display.mmio.read(ROM, 1) == 0x55
    assert display.mmio.read(REGISTERS, 8) == 0x00FFFFFF_FFFFFF00
    display.mmio.write(REGISTERS + 0x404, 2, 0x0F02)
    assert display.indexed(0x3C4, 2) == 0x0F


def test_edid_is_consistent():
    block = edid_block()
    assert len(block) == 128 and sum(block) & 0xFF == 0
    assert block[54:57] == bytes((0x64, 0x19, 0x00))  # 65 MHz
    assert block[56] | (block[58] & 0xF0) << 4 == 1024 and block[59] | (block[61] & 0xF0) << 4 == 768


def test_reset_and_state_round_trip(display, clock):
    display.text_mode()
    display.mmio.write(0xB8000, 2, 0x0741)
    state = display.vga.save()
    other = Display(clock)
    other.vga.load(state)
    assert other.vga.text_screen()[0] == "A" and other.mmio.read(0xB8000, 2) == 0x0741
    display.vga.reset()
    assert display.mmio.read(0xB8000, 2) == 0xFFFF
