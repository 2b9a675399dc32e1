"""ATA disks from the ports of the PIIX3's IDE function."""

import pytest
from ide_fixtures import Ide, MemoryImage

from x86emu.devices.ata_disk import AtaDisk

SECTORS = 100_000


@pytest.fixture
def image():
    return MemoryImage(SECTORS)


@pytest.fixture
def ide(edges, memory, image):
    return Ide(edges, memory, AtaDisk(image))


def word(block, index):
    return int.from_bytes(block[2 * index : 2 * index + 2], "little")


def test_signature_after_reset_and_absent_devices(ide):
    assert [ide.inb(register) for register in range(1, 8)] == [0x01, 1, 1, 0, 0, 0xA0, 0x50]
    ide.out(6, 0xB0)  # device 1 is not there: device 0 answers for it, with status zero
    assert ide.status == 0 and ide.alternate == 0 and ide.inb(6) == 0xB0
    ide.out(7, 0xEC)
    assert ide.status == 0 and not ide.irq
    ide.base, ide.control = 0x170, 0x376
    assert ide.status == 0xFF and ide.alternate == 0xFF and ide.inb(2) == 0xFF


def test_ports_float_until_decoding_is_on(edges, memory, image):
    ide = Ide(edges, memory, AtaDisk(image))
    ide.function.config_write(0x40, 2, 0)
    assert ide.status == 0xFF and ide.alternate == 0xFF and ide.words(1) == b"\xff\xff"
    ide.function.config_write(0x40, 2, 0x8000)
    assert ide.status == 0x50
    ide.function.config_write(4, 2, 0)
    assert ide.status == 0xFF


def test_identify(ide):
    ide.command(0xEC)
    assert ide.irq and ide.alternate == 0x58
    assert ide.status == 0x58 and not ide.irq
    block = ide.words(256)
    assert ide.status == 0x50 and not ide.irq
    assert sum(block) & 0xFF == 0 and block[510] == 0xA5
    assert (word(block, 1), word(block, 3), word(block, 6)) == (SECTORS // (16 * 63), 16, 63)
    assert word(block, 60) | word(block, 61) << 16 == SECTORS == word(block, 100) | word(block, 101) << 16
    assert word(block, 49) & 0x0300 == 0x0300 and word(block, 83) & 0x0400
    assert bytes(block[54 + (index ^ 1)] for index in range(40)).decode().rstrip() == "X86EMU HARDDISK"


@pytest.mark.parametrize("size", [1, 2, 4])
def test_data_register_by_dwords_and_blocks(ide, image, size):
    ide.command(0x20, lba=7, count=2)
    if size == 4:
        data = b"".join(ide.ports.read(0x1F0, 4).to_bytes(4, "little") for _ in range(256))
    elif size == 2:
        data = ide.ports.read_block(0x1F0, 2, 512)
    else:
        data = ide.words(512)
    assert data == image.read(7, 2) and ide.status == 0x50


def test_read_interrupts_for_each_sector(ide, image, edges):
    ide.command(0x20, lba=0x123, count=3)
    for number in range(3):
        assert ide.irq
        assert ide.status == 0x58
        assert ide.words(256) == image.sector(0x123 + number)
    assert not ide.irq and edges.rises == {14: 3}


def test_chs_and_initialize_parameters(ide, image):
    ide.command(0x20, count=1, lba=5 | 2 << 8, device=0x03)  # cylinder 2, head 3, sector 5
    assert ide.words(256) == image.sector((2 * 16 + 3) * 63 + 4)
    ide.command(0x91, count=32, device=0x07)
    assert ide.status == 0x50
    ide.command(0x20, count=1, lba=5 | 2 << 8, device=0x03)
    assert ide.words(256) == image.sector((2 * 8 + 3) * 32 + 4)
    ide.command(0xEC)
    block = ide.words(256)
    assert (word(block, 55), word(block, 56)) == (8, 32)
    for device, lba in ((0x08, 1), (0x00, 0), (0x00, 33)):
        ide.command(0x20, count=1, lba=lba, device=device)
        assert ide.status == 0x51 and ide.inb(1) == 0x10


def test_lba48_and_high_order_readback(edges, memory):
    image = MemoryImage(1 << 33)
    ide = Ide(edges, memory, AtaDisk(image))
    lba = 0x1_2345_6789
    ide.command_ext(0x24, lba, 2)
    assert ide.ports.read_block(0x1F0, 2, 512) == lba.to_bytes(8, "little") * 64 + (lba + 1).to_bytes(8, "little") * 64
    assert ide.inb(3) == 0x89
    ide.ports.write(0x3F6, 1, 0x80)
    assert (ide.inb(3), ide.inb(4)) == (0x23, 0x01)
    ide.ports.write(0x3F6, 1, 0x00)
    assert ide.inb(3) == 0x89


def test_write_interrupts_after_each_sector_but_the_request(ide, image, edges):
    ide.command(0x30, lba=40, count=2)
    assert ide.alternate == 0x58 and not ide.irq
    ide.put_words(b"a" * 512)
    assert ide.irq and ide.status == 0x58
    assert ide.ports.write_block(0x1F0, 2, b"b" * 512) == 256
    assert ide.irq and ide.status == 0x50
    assert image.written == {40: b"a" * 512, 41: b"b" * 512}
    ide.command(0xE7)
    assert image.flushes == 1 and ide.status == 0x50


def test_multiple_mode(ide, image, edges):
    ide.command(0xC4, count=4)
    assert ide.status == 0x51 and ide.inb(1) == 0x04  # not set up
    ide.command(0xC6, count=3)
    assert ide.status == 0x51
    ide.command(0xC6, count=16)
    assert ide.status == 0x50
    edges.rises.clear()
    ide.command(0xC4, lba=100, count=20)
    assert ide.ports.read_block(0x1F0, 2, 20 * 256) == image.read(100, 20)
    ide.command(0xC5, lba=200, count=17)
    assert ide.ports.write_block(0x1F0, 4, b"z" * 512 * 17) == 17 * 128
    assert ide.status == 0x50 and len(image.written) == 17


def test_errors_name_the_sector(ide, image):
    image.broken = {52}
    ide.command(0x20, lba=50, count=4)
    ide.ports.read_block(0x1F0, 2, 512)
    assert ide.status == 0x51 and ide.inb(1) == 0x40 and ide.inb(3) == 52
    ide.command(0x40, lba=52, count=1)
    assert ide.status == 0x51 and ide.inb(1) == 0x40
    ide.command(0x30, lba=52, count=1)
    ide.put_words(bytes(512))
    assert ide.status & 0x21 == 0x21
    ide.command(0x20, lba=SECTORS - 1, count=2)
    assert ide.status == 0x51 and ide.inb(1) == 0x10
    ide.command(0x40, lba=SECTORS - 1, count=1)
    assert ide.status == 0x50


def test_read_only_image_aborts_writes(edges, memory):
    ide = Ide(edges, memory, AtaDisk(MemoryImage(10, read_only=True)))
    ide.command(0x30, lba=0, count=1)
    assert ide.status == 0x51 and ide.inb(1) == 0x04


def test_software_reset_and_no_interrupt_bit(ide):
    ide.command(0xEC)
    ide.ports.write(0x3F6, 1, 0x06)
    assert ide.alternate == 0x80 and not ide.irq
    ide.ports.write(0x3F6, 1, 0x02)
    assert [ide.inb(register) for register in range(1, 8)] == [0x01, 1, 1, 0, 0, 0xA0, 0x50]
    ide.command(0xEC)
    assert not ide.irq
    ide.ports.write(0x3F6, 1, 0x00)
    assert ide.irq


def test_diagnostic_reports_device_0(ide, edges):
    ide.out(6, 0xB0)
    ide.out(7, 0x90)
    assert ide.irq and ide.status == 0x50 and ide.inb(1) == 0x01 and ide.inb(6) == 0xA0


def test_power_smart_features_and_unknown_commands(ide):
    ide.command(0xE0)
    ide.command(0xE5)
    assert ide.inb(2) == 0x00 and ide.status == 0x50
    ide.command(0xE1)
    ide.command(0xE5)
    assert ide.inb(2) == 0x80
    ide.command(0x10)
    ide.command(0xE5)
    assert ide.inb(2) == 0xFF
    ide.command(0xB0, lba=0xC24F00, features=0xDA)
    assert ide.status == 0x50 and (ide.inb(4), ide.inb(5)) == (0x4F, 0xC2)
    ide.command(0xB0, lba=0xC24F00, features=0xD0)
    assert sum(ide.words(256)) & 0xFF == 0
    ide.command(0xB0, lba=0xC24F00, features=0xD9)
    ide.command(0xB0, lba=0xC24F00, features=0xDA)
    assert ide.status == 0x51
    ide.command(0xEF, count=0x22, features=0x03)
    ide.command(0xEC)
    assert word(ide.words(256), 63) == 0x0407
    ide.command(0xEF, features=0x99)
    assert ide.status == 0x51
    for command in (0x00, 0xA0, 0xA1, 0xF0, 0x08):
        ide.command(command)
        assert ide.status == 0x51 and ide.inb(1) == 0x04


def test_two_devices_share_registers_and_each_has_its_interrupt(edges, memory):
    first, second = MemoryImage(64), MemoryImage(128)
    ide = Ide(edges, memory, AtaDisk(first), AtaDisk(second))
    ide.command(0xEC, device=0x10)
    assert ide.irq
    ide.out(6, 0x00)
    assert not ide.irq and ide.status == 0x50
    ide.out(6, 0x10)
    assert ide.irq and word(ide.words(256), 60) == 128


def test_bus_master_read_and_write(ide, image, memory, edges):
    ide.prd_table(0x1000, (0x20000, 0x800), (0x30000, 0x400))
    ide.bus_master(2, 0x06)
    ide.command(0xC8, lba=9, count=6)
    assert ide.alternate == 0x58 and not ide.irq
    ide.bus_master(0, 0x09)
    assert ide.irq and ide.bus_master(2) & 0x07 == 0x04
    assert memory.read(0x20000, 0x800) + memory.read(0x30000, 0x400) == image.read(9, 6)
    assert ide.status == 0x50
    ide.bus_master(0, 0x00)
    ide.bus_master(2, 0x04)
    assert ide.bus_master(2) == 0
    memory.write(0x40000, b"w" * 1024)
    ide.prd_table(0x2000, (0x40000, 1024))
    ide.bus_master(0, 0x01)  # started before the command
    assert ide.bus_master(2) == 0x01
    ide.command_ext(0x35, 77, 2)
    assert ide.bus_master(2) == 0x04 and image.written == {77: b"w" * 512, 78: b"w" * 512}


def test_bus_master_tables_too_long_and_too_short(ide, image, memory):
    ide.prd_table(0x1000, (0x20000, 0x1000))
    ide.command(0xC8, lba=9, count=1)
    ide.bus_master(0, 0x09)
    assert ide.bus_master(2) == 0x05  # interrupt and still active: the table has room left
    ide.status  # noqa: B018 - acknowledges
    ide.bus_master(0, 0)
    ide.bus_master(2, 4)
    ide.prd_table(0x1000, (0x20000, 0x200))
    ide.command(0xC8, lba=9, count=2)
    ide.bus_master(0, 0x09)
    assert ide.bus_master(2) == 0x00 and ide.alternate == 0x58 and not ide.irq


def test_state_in_the_middle_of_a_read(ide, image, edges, memory):
    ide.command(0x20, lba=3, count=2)
    first = ide.words(100)
    state = ide.function.save()
    other = Ide(edges, memory, AtaDisk(image))
    other.function.load(state)
    assert first + other.words(412) == image.read(3, 2) and other.status == 0x50


def test_configuration_space_identity(ide):
    assert ide.function.config_read(0, 4) == 0x7010_8086
    assert ide.function.config_read(8, 4) >> 8 == 0x010180
    ide.function.config_write(0x20, 4, 0xFFFF_FFFF)
    assert ide.function.config_read(0x20, 4) == 0xFFFF_FFF1


def password(words, text=b"secret", revision=0):
    block = words.to_bytes(2, "little") + text.ljust(32, b"\0") + revision.to_bytes(2, "little")
    return block.ljust(512, b"\0")


def security(ide, command, block):
    ide.command(command)
    assert ide.status == 0x58
    ide.put_words(block)
    return ide.status


def test_security_password_locks_at_reset_and_unlock_opens(ide, image):
    assert security(ide, 0xF1, password(0x0000)) == 0x50
    ide.command(0xEC)
    data = ide.words(256)
    assert word(data, 128) == 0x23 and word(data, 85) & 2
    ide.function.reset()
    for register in (0x40, 0x42):
        ide.function.config_write(register, 2, 0x8000)
    ide.function.config_write(4, 2, 0x0005)
    for command in (0x20, 0x30, 0xC8, 0xE7, 0xF6):
        ide.command(command, count=1)
        assert ide.status == 0x51 and ide.inb(1) == 0x04, hex(command)
    ide.command(0xEC)
    assert word(ide.words(256), 128) == 0x27
    assert security(ide, 0xF2, password(0, b"wrong")) == 0x51
    assert security(ide, 0xF2, password(0)) == 0x50
    ide.command(0x20, lba=5, count=1)
    assert ide.words(256) == image.sector(5)
    assert security(ide, 0xF6, password(0)) == 0x50
    ide.command(0xEC)
    assert word(ide.words(256), 128) == 0x21


def test_security_counts_attempts_and_the_master_password_erases(ide, image):
    assert security(ide, 0xF1, password(0x0001, b"master", 0x1234)) == 0x50
    assert security(ide, 0xF1, password(0x0100)) == 0x50  # user password, level maximum
    ide.function.channels[0].drives[0].reset()
    for _ in range(5):
        assert security(ide, 0xF2, password(1, b"master")) == 0x51
    ide.command(0xF2)
    assert ide.status == 0x51  # the count has expired
    ide.command(0xEC)
    data = ide.words(256)
    assert word(data, 128) == 0x137 and word(data, 92) == 0x1234
    ide.function.channels[0].drives[0].reset()
    ide.command(0xF4)
    assert ide.status == 0x51  # without ERASE PREPARE
    ide.command(0xF3)
    assert security(ide, 0xF4, password(1, b"master")) == 0x50
    ide.command(0x20, lba=5, count=1)
    assert ide.words(256) == bytes(512)


def test_security_freeze_lock(ide):
    ide.command(0xF5)
    assert ide.status == 0x50
    ide.command(0xF1)
    assert ide.status == 0x51
    ide.command(0xEC)
    assert word(ide.words(256), 128) == 0x29


def test_host_protected_area(ide, image):
    last = image.sectors - 1
    ide.command(0xF9, lba=100)
    assert ide.status == 0x51  # only behind READ NATIVE MAX ADDRESS
    ide.command(0xF8)
    assert ide.status == 0x50 and ide.inb(3) | ide.inb(4) << 8 | ide.inb(5) << 16 == last
    ide.command(0xF9, lba=100)
    assert ide.status == 0x50
    ide.command(0x20, lba=101, count=1)
    assert ide.status == 0x51 and ide.inb(1) == 0x10
    ide.command(0xEC)
    assert word(ide.words(256), 60) == 101
    ide.function.channels[0].drives[0].reset()
    ide.command(0x20, lba=101, count=1)
    assert ide.words(256) == image.sector(101)
    ide.command(0x27)
    ide.command_ext(0x37, 200, 1)  # kept over resets
    assert ide.status == 0x50
    ide.function.channels[0].drives[0].reset()
    ide.command(0x20, lba=201, count=1)
    assert ide.status == 0x51


def test_set_max_password_lock_and_freeze(ide, image):
    ide.command(0xF9, features=1)
    assert ide.status == 0x58
    ide.put_words(password(0))
    ide.command(0xF9, features=2)
    assert ide.status == 0x50
    ide.command(0xF8)
    ide.command(0xF9, lba=50)
    assert ide.status == 0x51
    ide.command(0xF9, features=3)
    ide.put_words(password(0, b"wrong"))
    assert ide.status == 0x51
    ide.command(0xF9, features=3)
    ide.put_words(password(0))
    assert ide.status == 0x50
    ide.command(0xF8)
    ide.command(0xF9, lba=50)
    assert ide.status == 0x50
    ide.command(0xF9, features=4)
    ide.command(0xF9, features=3)
    assert ide.status == 0x51


def test_smart_attributes_thresholds_self_test_and_logs(ide):
    for feature, at in ((0xD0, 2), (0xD1, 2)):
        ide.command(0xB0, lba=0xC24F00, features=feature)
        block = ide.words(256)
        assert not sum(block) & 0xFF and block[at] == 1 and block[at + 12] == 5
    ide.command(0xB0, lba=0xC24F01, features=0xD4)
    assert ide.status == 0x50
    ide.command(0xB0, lba=0xC24F06, count=1, features=0xD5)
    block = ide.words(256)
    assert block[2] == 1 and block[508] == 1 and not sum(block) & 0xFF
    ide.command_ext(0x2F, 0x00, 1)
    assert ide.words(256)[0x20] == 1
    ide.command_ext(0x2F, 0x10, 1)
    assert ide.words(256)[0] == 0x80
    ide.command_ext(0x2F, 0x11, 1)
    assert ide.status == 0x51


class TrimImage(MemoryImage):
    """Remembers what was discarded."""

    def __init__(self, sectors):
        super().__init__(sectors)
        self.discarded = []

    def discard(self, lba, count):
        self.discarded.append((lba, count))


def test_trim(edges, memory):
    image = TrimImage(1000)
    ide = Ide(edges, memory, AtaDisk(image))
    ide.command(0xEC)
    data = ide.words(256)
    assert word(data, 169) == 1 and word(data, 105) == 8
    entries = [10 | 20 << 48, 900 | 100 << 48, 0]
    memory.write(0x8000, b"".join(entry.to_bytes(8, "little") for entry in entries).ljust(512, b"\0"))
    ide.prd_table(0x4000, (0x8000, 512))
    ide.command(0x06, count=1, features=1)
    ide.bus_master(0, 1)
    assert ide.status == 0x50 and image.discarded == [(10, 20), (900, 100)]
    memory.write(0x8000, (990 | 11 << 48).to_bytes(8, "little").ljust(512, b"\0"))
    ide.command(0x06, count=1, features=1)
    ide.bus_master(0, 0)
    ide.bus_master(0, 1)
    assert ide.status == 0x51 and len(image.discarded) == 2
    ide.command(0x06, count=1, features=0)
    assert ide.status == 0x51


def test_forced_unit_access_and_write_cache_off_flush(ide, image, memory):
    ide.prd_table(0x4000, (0x8000, 512))
    ide.command_ext(0x35, 7, 1)
    ide.bus_master(0, 1)
    assert image.flushes == 0
    ide.bus_master(0, 0)
    ide.command_ext(0x3D, 7, 1)
    ide.bus_master(0, 1)
    assert ide.status == 0x50 and image.flushes == 1
    ide.command(0xEF, features=0x82)
    ide.command(0x30, lba=8, count=1)
    ide.put_words(bytes(512))
    assert image.flushes == 2


def test_dma_goes_straight_to_memory(tmp_path, edges, memory):
    path = tmp_path / "disk.raw"
    path.write_bytes(bytes(range(256)) * 2 * 200)
    from x86emu.storage import open_image

    with_image = open_image(path)
    ide = Ide(edges, memory, AtaDisk(with_image))
    ide.prd_table(0x4000, (0x8000, 0x1000), (0x20000, 0x2000), (0xA000, 0x1000))
    ide.command_ext(0x25, 0, 32)
    ide.bus_master(2, 6)
    ide.bus_master(0, 9)
    assert ide.status == 0x50 and ide.bus_master(2) & 7 == 4
    assert memory.read(0x20000, 0x2000) == path.read_bytes()[0x1000:0x3000]
    assert (0x20000, 0x2000) in memory.changes
    memory.write(0x8000, b"\x5a" * 0x1000)
    ide.bus_master(0, 0)
    ide.prd_table(0x4000, (0x8000, 0x1000))
    ide.command_ext(0x35, 100, 8)
    ide.bus_master(2, 6)
    ide.bus_master(0, 1)
    assert ide.status == 0x50 and path.read_bytes()[100 * 512 : 108 * 512] == b"\x5a" * 0x1000
    with_image.close()
