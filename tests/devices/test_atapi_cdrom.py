"""The ATAPI drive from the ports of the PIIX3's IDE function."""

import pytest
from ide_fixtures import Ide, MemoryImage

from x86emu.devices.ata_disk import AtaDisk
from x86emu.devices.atapi_cdrom import AtapiCdrom

SECTORS = 1000


@pytest.fixture
def image():
    return MemoryImage(SECTORS, 2048, read_only=True)


@pytest.fixture
def drive(image):
    return AtapiCdrom(image)


@pytest.fixture
def ide(edges, memory, drive):
    ide = Ide(edges, memory, drive)
    ide.packet(b"\0")
    assert sense(ide) == (6, 0x29, 0)  # power-on is reported once
    ide.status  # noqa: B018 - acknowledges
    return ide


def answer(ide):
    """Takes a packet's data by its blocks; returns the data and the sizes of the blocks."""
    data, sizes = b"", []
    while True:
        assert ide.irq
        status = ide.status
        reason = ide.inb(2)
        if not status & 0x08:
            assert reason == 3
            return (data, sizes) if not status & 1 else (None, ide.inb(1) >> 4)
        assert reason == 2
        size = ide.inb(4) | ide.inb(5) << 8
        data += ide.ports.read_block(ide.base, 2, (size + 1) // 2)[:size]
        sizes.append(size)


def sense(ide):
    ide.status  # noqa: B018 - acknowledges
    ide.packet((0x03, 0, 0, 0, 18))
    data, _ = answer(ide)
    assert len(data) == 18 and data[0] == 0x70
    return data[2], data[12], data[13]


def run(ide, *packet, limit=0xFFFE):
    ide.packet(packet, limit)
    return answer(ide)[0]


def test_signature_and_identify(edges, memory, drive):
    ide = Ide(edges, memory, None, drive)
    ide.out(6, 0x10)
    assert [ide.inb(register) for register in range(1, 8)] == [0x01, 1, 1, 0x14, 0xEB, 0xB0, 0x00]
    ide.command(0xEC, device=0x10)
    assert ide.status == 0x41 and ide.inb(1) == 0x04 and (ide.inb(4), ide.inb(5)) == (0x14, 0xEB)
    ide.command(0xA1, device=0x10)
    block = ide.words(256)
    assert block[0:2] == b"\xc0\x85" and sum(block) & 0xFF == 0


def test_inquiry_and_allocation_length(ide):
    data = run(ide, 0x12, 0, 0, 0, 36)
    assert len(data) == 36 and data[0] == 5 and data[1] == 0x80 and data[8:32] == b"X86EMU  DVD-ROM         "
    assert run(ide, 0x12, 0, 0, 0, 5) == data[:5]
    assert run(ide, 0x12, 1, 0, 0, 36) is None and sense(ide) == (5, 0x24, 0)


def test_read_capacity_and_read_10(ide, image):
    assert run(ide, 0x25) == (SECTORS - 1).to_bytes(4, "big") + (2048).to_bytes(4, "big")
    assert run(ide, 0x28, 0, 0, 0, 0, 16, 0, 0, 2) == image.read(16, 2)
    assert run(ide, 0xA8, 0, 0, 0, 0, 100, 0, 0, 0, 1) == image.read(100, 1)
    assert run(ide, 0xBE, 0, 0, 0, 0, 5, 0, 0, 1, 0x10) == image.read(5, 1)
    assert run(ide, 0x28, 0, 0, 0, 0, 16, 0, 0, 0) == b""
    assert run(ide, 0x28, 0, 0, 0, 3, 0xE7, 0, 0, 2) is None and sense(ide) == (5, 0x21, 0)


@pytest.mark.parametrize("limit, blocks", [(2048, [2048] * 5), (4096, [4096, 4096, 2048]), (0xFFFE, [10240]),
                                           (3001, [3000, 3000, 3000, 1240])])  # fmt: skip
def test_byte_count_limit(ide, image, limit, blocks):
    ide.packet((0x28, 0, 0, 0, 0, 16, 0, 0, 5), limit)
    data, sizes = answer(ide)
    assert sizes == blocks and data == image.read(16, 5)


def test_long_reads_are_fetched_in_parts(ide, image):
    ide.packet((0x28, 0, 0, 0, 0, 0, 0, 0, 100), 63488)
    data, sizes = answer(ide)
    assert data == image.read(0, 100) and sizes == [63488] * 3 + [204800 - 3 * 63488]


def test_read_error(ide, image):
    image.broken = {20}
    assert run(ide, 0x28, 0, 0, 0, 0, 20, 0, 0, 1) is None and sense(ide) == (3, 0x11, 0)


def test_table_of_contents(ide):
    assert run(ide, 0x43, 0, 0, 0, 0, 0, 0, 0, 255).hex() == "00120101" + "0014010000000000" + "0014aa00000003e8"
    assert run(ide, 0x43, 2, 0, 0, 0, 0, 0xAA, 0, 255).hex() == "000a0101" + "0014aa00" + "00000f19"
    assert run(ide, 0x43, 0, 1, 0, 0, 0, 0, 0, 255).hex() == "000a0101" + "0014010000000000"
    assert len(run(ide, 0x43, 2, 2, 0, 0, 0, 0, 0, 255)) == 48
    assert run(ide, 0x43, 0, 0, 0, 0, 0, 5, 0, 255) is None and sense(ide) == (5, 0x24, 0)


def test_mode_sense_and_select(ide):
    data = run(ide, 0x5A, 0, 0x2A, 0, 0, 0, 0, 0, 128)
    assert data[:3] == b"\x00\x1a\x01" and data[8:10] == b"\x2a\x12"
    assert run(ide, 0x1A, 0, 0x01, 0, 255)[4:6] == b"\x01\x06"
    assert run(ide, 0x5A, 0, 0x05, 0, 0, 0, 0, 0, 128) is None
    ide.packet((0x55, 0x10, 0, 0, 0, 0, 0, 0, 16))
    assert ide.irq and ide.status & 0x08 and ide.inb(2) == 0
    ide.put_words(bytes(16))
    assert ide.irq and ide.status == 0x40 and ide.inb(2) == 3


def test_configuration_events_and_information(ide):
    data = run(ide, 0x46, 0, 0, 0, 0, 0, 0, 0, 255)
    assert data[6:8] == b"\x00\x08" and int.from_bytes(data[0:4], "big") == len(data) - 4
    assert run(ide, 0x46, 2, 0, 0x10, 0, 0, 0, 0, 255)[8:12].hex() == "00100108"
    assert run(ide, 0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8) == bytes((0, 6, 4, 0x10, 0, 2, 0, 0))
    assert run(ide, 0xBD, 0, 0, 0, 0, 0, 0, 0, 0, 8) == bytes(8)
    assert len(run(ide, 0x51, 0, 0, 0, 0, 0, 0, 0, 255)) == 34
    assert run(ide, 0x52, 1, 0, 0, 0, 1, 0, 0, 255)[24:28] == SECTORS.to_bytes(4, "big")
    assert run(ide, 0xAD, 0, 0, 0, 0, 0, 0, 0, 0, 8) is None  # a CD has no DVD structure


def test_eject_and_insert(ide, drive, image):
    assert run(ide, 0x1E, 0, 0, 0, 1) == b""
    assert run(ide, 0x1B, 0, 0, 0, 2) is None and sense(ide) == (5, 0x53, 2)
    assert not drive.eject()
    assert run(ide, 0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8)[4] == 1  # the button was pressed
    assert run(ide, 0x1E, 0, 0, 0, 0) == b"" and run(ide, 0x1B, 0, 0, 0, 2) == b""
    assert run(ide, 0x00) is None and sense(ide) == (2, 0x3A, 2)
    assert run(ide, 0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8)[4:6] == b"\x03\x01"
    assert run(ide, 0x1B, 0, 0, 0, 3) == b""  # close the tray: the medium is back
    assert run(ide, 0x00) is None and sense(ide) == (6, 0x28, 0)
    assert run(ide, 0x00) == b""
    drive.eject()
    drive.insert(MemoryImage(500_000, 2048))
    assert run(ide, 0x00) is None and sense(ide) == (6, 0x28, 0)
    assert run(ide, 0x46, 0, 0, 0, 0, 0, 0, 0, 8)[6:8] == b"\x00\x10"
    assert len(run(ide, 0xAD, 0, 0, 0, 0, 0, 0, 0, 255, 255)) == 2052


def test_empty_drive(edges, memory):
    ide = Ide(edges, memory, AtapiCdrom())
    assert sense(ide) == (6, 0x29, 0)
    assert run(ide, 0x25) is None and sense(ide) == (2, 0x3A, 1)
    assert sense(ide) == (0, 0, 0)


def test_unknown_packet_and_device_reset(ide):
    assert run(ide, 0xFF) is None and sense(ide) == (5, 0x20, 0)
    ide.command(0x08, device=0)
    assert ide.status == 0 and (ide.inb(4), ide.inb(5)) == (0x14, 0xEB)


def test_bus_master_packet(ide, image, memory):
    ide.prd_table(0x1000, (0x20000, 0x1000), (0x30000, 0x3000))
    ide.packet((0x28, 0, 0, 0, 0, 50, 0, 0, 8), features=1)
    assert not ide.irq
    ide.bus_master(0, 0x09)
    assert ide.irq and ide.bus_master(2) == 0x04 and ide.status == 0x40 and ide.inb(2) == 3
    assert memory.read(0x20000, 0x1000) + memory.read(0x30000, 0x3000) == image.read(50, 8)


def test_beside_a_disk(edges, memory, image):
    ide = Ide(edges, memory, AtaDisk(MemoryImage(64)), AtapiCdrom(image))
    ide.ports.write(0x3F6, 1, 4)
    ide.ports.write(0x3F6, 1, 0)
    assert (ide.inb(4), ide.inb(5)) == (0, 0)
    ide.out(6, 0x10)
    assert (ide.inb(4), ide.inb(5)) == (0x14, 0xEB)
