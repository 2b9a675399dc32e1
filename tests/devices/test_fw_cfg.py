"""fw_cfg: selector, data port, directory and DMA, as QEMU's specification of the device says."""

from __future__ import annotations

import struct

import pytest

from x86emu.devices import fw_cfg
from x86emu.devices.fw_cfg import FwCfg


class Ram:
    requester_id = 0

    def __init__(self) -> None:
        self.bytes = bytearray(0x4000)

    def read(self, address: int, length: int) -> bytes:
        return bytes(self.bytes[address : address + length])

    def write(self, address: int, data: bytes) -> None:
        self.bytes[address : address + len(data)] = data


@pytest.fixture
def ram() -> Ram:
    return Ram()


@pytest.fixture
def device(ram: Ram) -> FwCfg:
    device = FwCfg(ram)
    device.add_integer(fw_cfg.KEY_NB_CPUS, 4)
    device.add_file("etc/z-last", b"the last file")
    device.add_file("etc/a-first", bytes(range(10)))
    device.add_file("etc/writable", bytes(4), writable=True)
    return device


def read_item(device: FwCfg, key: int, count: int) -> bytes:
    device.write(0, 2, key)
    return bytes(device.read(1, 1) for _ in range(count))


def start_dma(device: FwCfg, ram: Ram, control: int, length: int, address: int, at: int = 0x100) -> int:
    ram.write(at, struct.pack(">IIQ", control, length, address))
    device.dma_write(0, 4, 0)
    device.dma_write(4, 4, int.from_bytes(struct.pack(">I", at), "little"))
    return int(struct.unpack(">I", ram.read(at, 4))[0])


def test_signature_and_id(device: FwCfg) -> None:
    assert read_item(device, fw_cfg.KEY_SIGNATURE, 4) == b"QEMU"
    assert read_item(device, fw_cfg.KEY_ID, 4) == b"\x03\0\0\0"
    assert device.dma_read(0, 4) == int.from_bytes(b"QEMU", "little")
    assert device.dma_read(4, 4) == int.from_bytes(b" CFG", "little")
    assert device.dma_read(1, 1) == ord("E")


def test_beyond_the_end_and_undefined_keys_read_as_zeros(device: FwCfg) -> None:
    assert read_item(device, fw_cfg.KEY_NB_CPUS, 4) == b"\4\0\0\0"
    assert read_item(device, 0x7777 & ~0x4000, 3) == bytes(3)


def test_selecting_again_restarts_the_item(device: FwCfg) -> None:
    assert read_item(device, 0, 2) == b"QE"
    assert read_item(device, 0, 4) == b"QEMU"


def test_only_a_16_bit_write_at_the_selector_selects(device: FwCfg) -> None:
    device.write(0, 2, fw_cfg.KEY_NB_CPUS)
    device.write(0, 1, 0)
    device.write(1, 1, 0)
    assert device.read(1, 1) == 4
    assert device.read(0, 2) == 0xFFFF


def test_directory_lists_the_files_by_name(device: FwCfg) -> None:
    directory = read_item(device, fw_cfg.KEY_FILE_DIR, 4 + 3 * 64)
    assert directory[:4] == struct.pack(">I", 3)
    entries = [struct.unpack_from(">IHH56s", directory, 4 + 64 * i) for i in range(3)]
    assert [(size, key, name.rstrip(b"\0")) for size, key, _, name in entries] == [
        (10, 0x20, b"etc/a-first"),
        (4, 0x21, b"etc/writable"),
        (13, 0x22, b"etc/z-last"),
    ]
    assert read_item(device, 0x22, 13) == b"the last file"


def test_block_read_moves_on_like_single_reads(device: FwCfg) -> None:
    device.select(device.key_of("etc/a-first"))
    assert device.read_block(1, 1, 4) == bytes(range(4))
    assert device.read(1, 1) == 4
    assert device.read_block(1, 1, 7) == bytes(range(5, 10)) + bytes(2)


def test_dma_select_skip_and_read(device: FwCfg, ram: Ram) -> None:
    key = device.key_of("etc/a-first")
    ram.write(0x1000, b"\xee" * 16)
    assert start_dma(device, ram, key << 16 | fw_cfg.DMA_SELECT | fw_cfg.DMA_SKIP, 3, 0) == 0
    assert start_dma(device, ram, fw_cfg.DMA_READ, 10, 0x1000) == 0
    assert ram.read(0x1000, 11) == bytes(range(3, 10)) + bytes(3) + b"\xee"


def test_dma_write_changes_a_writable_file_only(device: FwCfg, ram: Ram) -> None:
    ram.write(0x1000, b"abcdef")
    write = fw_cfg.DMA_SELECT | fw_cfg.DMA_WRITE
    assert start_dma(device, ram, device.key_of("etc/writable") << 16 | write, 4, 0x1000) == 0
    assert device.file("etc/writable") == b"abcd"
    assert start_dma(device, ram, device.key_of("etc/writable") << 16 | write, 5, 0x1000) == fw_cfg.DMA_ERROR
    assert start_dma(device, ram, device.key_of("etc/a-first") << 16 | write, 4, 0x1000) == fw_cfg.DMA_ERROR
    assert device.file("etc/a-first") == bytes(range(10))


def test_written_file_is_reported(ram: Ram) -> None:
    seen: list[bytes] = []
    device = FwCfg(ram)
    device.add_file("etc/vmgenid", bytes(2), writable=True, on_write=seen.append)
    ram.write(0x1000, b"ok")
    start_dma(device, ram, 0x20 << 16 | fw_cfg.DMA_SELECT | fw_cfg.DMA_WRITE, 2, 0x1000)
    assert seen == [b"ok"]


def test_descriptor_above_4_gib_uses_the_high_half(ram: Ram) -> None:
    asked: list[int] = []

    class High(Ram):
        def read(self, address: int, length: int) -> bytes:
            asked.append(address)
            return bytes(length)

    device = FwCfg(High())
    device.dma_write(0, 4, int.from_bytes(struct.pack(">I", 2), "little"))
    device.dma_write(4, 4, int.from_bytes(struct.pack(">I", 0x1234), "little"))
    assert asked == [0x2_0000_1234]


def test_state_round_trip(device: FwCfg, ram: Ram) -> None:
    device.select(device.key_of("etc/a-first"))
    device.read(1, 1)
    state = device.save()
    device.reset()
    assert device.read(1, 1) == ord("Q")
    device.load(state)
    assert device.read(1, 1) == 1


def test_names_that_do_not_fit_are_refused(device: FwCfg) -> None:
    with pytest.raises(ValueError, match="longer than 55"):
        device.add_file("x" * 56, b"")
    with pytest.raises(ValueError, match="already has a file"):
        device.add_file("etc/z-last", b"")
