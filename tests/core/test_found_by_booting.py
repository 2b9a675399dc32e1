"""Details that real firmware and kernels fell over."""

from __future__ import annotations

import struct

from tests.core.bare_guest import PAGES, Guest
from tests.core.bare_machine import DATA, BareMachine
from x86emu.bus.platform import CpuSignals


def test_cmpxchg8b_stores_ecx_ebx() -> None:
    """SDM 2A CMPXCHG8B: on equality the operand becomes ECX:EBX, ECX being the high half."""
    m = BareMachine("protected")
    m.memory.write(DATA, struct.pack("<II", 0x11111111, 0x22222222))
    m.run("0fc70f", rdi=DATA, rax=0x11111111, rdx=0x22222222, rbx=0xBBBBBBBB, rcx=0xCCCCCCCC)
    assert struct.unpack("<II", m.memory.read(DATA, 8)) == (0xBBBBBBBB, 0xCCCCCCCC)
    assert m.cpu.rflags & 0x40


def test_page_of_1_gib() -> None:
    """SDM 3A 4.5: a page-directory-pointer entry with PS set maps 1 GiB where the model has it."""
    guest = Guest("default")
    guest.long_mode()
    guest.put(PAGES + 0x1008, (0x8000_0000_0000_00E3 & ~(1 << 63)).to_bytes(8, "little"))
    guest.put(0x20000, b"\x5a")
    guest.cpu.cr3 = PAGES
    guest.cpu.rbx = 0x4002_0000
    guest.code(bytes.fromhex("8a03"))  # mov al, [rbx]
    assert guest.run() == "halted"
    assert guest.cpu.rax & 0xFF == 0x5A


def test_start_up_ipi_right_behind_init_starts_the_processor() -> None:
    """Both arrive within one slice of the other processor (SDM 3A 9.4.4: the BSP need not wait in between here)."""
    signals = CpuSignals(1)
    signals.pulse_init()
    signals.send_sipi(0x10)
    assert signals.init and signals.sipi_vector == 0x10
    signals.pulse_init()
    assert signals.sipi_vector is None


def test_counter_msrs_and_rdpmc_go_together() -> None:
    """Linux that can write AMD's K7 event selects reads the counters with RDPMC; Intel's models have neither."""
    machine = BareMachine("long", "default")
    machine.run("0f30", rcx=0xC0010000, rax=0, rdx=0)
    machine.run("0f33", rcx=0)
    machine = BareMachine("long", "nehalem_ept")
    assert machine.fault("0f30", rcx=0xC0010000, rax=0, rdx=0) == (13, 0)
    assert machine.fault("0f33", rcx=0) == (13, 0)
