"""What registers and memory hold when an instruction faults or is interrupted half-way (SDM 2B, REP; SDM 3A, 6.6)."""

from functools import cache

import pytest

from tests.conform_hw import DATA, KERNEL_STACK, LAYOUT, STACK, UserMachine

CODE, DATA_LINEAR, STACK_LINEAR = LAYOUT["code"], LAYOUT["data"], LAYOUT["stack"]
DATA_END = DATA_LINEAR + 0x4000
DF = 0x400


@cache
def shared(mode: int) -> UserMachine:
    return UserMachine(mode, LAYOUT)


def start(mode: int, code: str, **registers: int) -> UserMachine:
    """A machine at the first byte of code with the registers set."""
    machine = shared(mode)
    machine.load_code(bytes.fromhex(code))
    machine.cpu.rflags = 0x202
    machine.cpu.rsp = STACK_LINEAR + 0x1000
    for name, value in registers.items():
        setattr(machine.cpu, name, value)
    return machine


def data(machine: UserMachine, offset: int, length: int) -> bytes:
    return bytes(machine.memory.ram[DATA + offset : DATA + offset + length])


def saved_frame(machine: UserMachine) -> tuple[int, int]:
    """RIP and RSP that the delivery of a fault with an error code has pushed."""
    words = machine.memory.read(KERNEL_STACK - 48, 48)
    return int.from_bytes(words[8:16], "little"), int.from_bytes(words[32:40], "little")


@pytest.mark.parametrize("mode", [64, 32])
@pytest.mark.parametrize("size,opcode", [(1, "f3a4"), (2, "66f3a5"), (4, "f3a5")])
def test_rep_movs_faults_where_memory_ends(mode: int, size: int, opcode: str) -> None:
    machine = start(mode, opcode, rsi=DATA_LINEAR, rdi=DATA_END - 0x1010, rcx=0x2000 // size)
    machine.memory.ram[DATA : DATA + 0x1010] = 0x5A
    machine.engine.run(0x4000)
    cpu = machine.cpu
    assert machine.vector == 14
    assert cpu.cr2 == DATA_END
    assert cpu.rcx == (0x2000 - 0x1010) // size
    assert cpu.rsi == DATA_LINEAR + 0x1010
    assert cpu.rdi == DATA_END
    assert data(machine, 0x4000 - 0x1010, 0x1010) == b"\x5a" * 0x1010
    assert saved_frame(machine)[0] == CODE


@pytest.mark.parametrize("step", [1, 3, 4])
@pytest.mark.parametrize("down", [False, True])
def test_overlapping_rep_movs_propagates_like_single_steps(step: int, down: bool) -> None:
    """Both against the same copy done in Python, one doubleword at a time."""
    machine = start(64, "f3a5")
    pattern = bytes(range(1, 200))
    machine.memory.ram[DATA + 0x400 : DATA + 0x400 + len(pattern)] = memoryview(pattern)
    expected = bytearray(data(machine, 0, 0x1000))
    source, to = (0x480, 0x480 - step) if down else (0x400, 0x400 + step)
    cpu = machine.cpu
    cpu.rsi, cpu.rdi, cpu.rcx = DATA_LINEAR + source, DATA_LINEAR + to, 30
    cpu.rflags = 0x202 | (DF if down else 0)
    for _ in range(30):
        expected[to : to + 4] = expected[source : source + 4]
        source, to = (source - 4, to - 4) if down else (source + 4, to + 4)
    machine.engine.run(30)
    assert data(machine, 0, 0x1000) == bytes(expected)
    assert (cpu.rsi, cpu.rdi, cpu.rcx) == (DATA_LINEAR + source, DATA_LINEAR + to, 0)


def test_rep_counts_every_iteration_and_its_final_test_and_stops_with_the_budget() -> None:
    machine = start(64, "f348ab9090", rdi=DATA_LINEAR, rcx=100, rax=0x1122334455667788)
    cpu = machine.cpu
    before = cpu.instructions
    machine.engine.run(10)
    assert (cpu.rip, cpu.rcx, cpu.rdi) == (CODE, 90, DATA_LINEAR + 80)
    assert cpu.instructions - before == 10
    machine.engine.run(90)
    assert (cpu.rip, cpu.rcx, cpu.instructions - before) == (CODE, 0, 100)
    machine.engine.run(1)
    assert (cpu.rip, cpu.rcx, cpu.instructions - before) == (CODE + 3, 0, 101)
    assert data(machine, 0, 808) == bytes.fromhex("8877665544332211") * 100 + bytes(8)


def test_rep_with_count_zero_is_one_instruction_and_touches_nothing() -> None:
    machine = start(64, "f3a4", rsi=0x1234, rdi=0x5678, rcx=0)
    machine.engine.run(1)
    assert machine.cpu.rip == CODE + 2
    assert (machine.cpu.rsi, machine.cpu.rdi) == (0x1234, 0x5678)


def test_repe_cmps_stops_at_the_first_difference() -> None:
    machine = start(64, "f3a6", rsi=DATA_LINEAR, rdi=DATA_LINEAR + 0x1800, rcx=0x1000)
    machine.memory.ram[DATA + 0x1800 + 0x900] = 7
    machine.engine.run(0x2000)
    cpu = machine.cpu
    assert machine.vector == 3  # went on to the INT3 behind it
    assert (cpu.rsi, cpu.rdi, cpu.rcx) == (DATA_LINEAR + 0x901, DATA_LINEAR + 0x1800 + 0x901, 0x1000 - 0x901)
    assert cpu.rflags & 0x8D5 == 0x1 | 0x4 | 0x10 | 0x80  # 0 - 7


def test_repne_scas_downwards_finds_its_byte() -> None:
    machine = start(64, "f2ae", rdi=DATA_LINEAR + 0x2FFF, rcx=0x3000, rax=0x42)
    machine.cpu.rflags = 0x202 | DF
    machine.memory.ram[DATA + 0x123] = 0x42
    machine.engine.run(0x2FFF - 0x123 + 1)
    cpu = machine.cpu
    assert (cpu.rip, cpu.rdi, cpu.rcx) == (CODE + 2, DATA_LINEAR + 0x122, 0x123)
    assert cpu.rflags & 0x40


def test_rep_with_32_bit_addresses_in_64_bit_mode_clears_upper_halves() -> None:
    machine = start(64, "67f3aa", rdi=DATA_LINEAR | 0xABCD << 32, rcx=4 | 1 << 32, rax=0x99)
    machine.engine.run(5)
    cpu = machine.cpu
    assert (cpu.rip, cpu.rdi, cpu.rcx) == (CODE + 3, DATA_LINEAR + 4, 0)
    assert data(machine, 0, 5) == b"\x99" * 4 + b"\0"


def test_pusha_below_the_stack_leaves_esp() -> None:
    machine = start(32, "60", rsp=STACK_LINEAR + 0x10, rax=1)
    machine.engine.run(2)
    assert machine.vector == 14
    assert machine.cpu.cr2 == STACK_LINEAR - 4
    assert saved_frame(machine) == (CODE, STACK_LINEAR + 0x10)


def test_push_beyond_the_stack_segment_limit_is_a_stack_fault() -> None:
    machine = start(32, "50", rsp=STACK_LINEAR + 0x1000)
    machine.cpu.ss.set(0x2B, 0, STACK_LINEAR + 0xFFE, 0x40F3)
    machine.engine.run(2)
    assert machine.vector == 12
    assert machine.cpu.last_fault[1] == 0
    assert saved_frame(machine) == (CODE, STACK_LINEAR + 0x1000)


def test_pop_to_unmapped_memory_restores_rsp() -> None:
    machine = start(64, "8f00", rax=0x40000000)
    machine.engine.run(2)
    assert machine.vector == 14
    assert saved_frame(machine) == (CODE, STACK_LINEAR + 0x1000)


def test_pop_with_rsp_base_uses_the_incremented_rsp() -> None:
    machine = start(64, "8f0424")  # pop qword [rsp]
    machine.memory.ram[STACK + 0x1000] = 0x77
    machine.engine.run(1)
    assert machine.cpu.rsp == STACK_LINEAR + 0x1008
    assert machine.memory.ram[STACK + 0x1008] == 0x77


def test_enter_whose_new_frame_is_unmapped_changes_no_register() -> None:
    machine = start(64, "c8001000", rsp=STACK_LINEAR + 0x800, rbp=0x1234)  # enter 1000h, 0
    machine.engine.run(2)
    assert machine.vector == 14
    assert machine.cpu.rbp == 0x1234
    assert saved_frame(machine) == (CODE, STACK_LINEAR + 0x800)


def test_return_to_a_non_canonical_address_leaves_the_stack() -> None:
    machine = start(64, "c3")
    machine.memory.write(STACK + 0x1000, (1 << 60).to_bytes(8, "little"))
    machine.engine.run(2)
    assert machine.vector == 13
    assert saved_frame(machine) == (CODE, STACK_LINEAR + 0x1000)


def test_push_to_a_non_canonical_stack_is_a_stack_fault() -> None:
    machine = start(64, "50", rsp=1 << 50)
    machine.engine.run(2)
    assert machine.vector == 12
    assert saved_frame(machine) == (CODE, 1 << 50)


def test_popf_in_user_mode_changes_neither_iopl_nor_interrupt_flag() -> None:
    machine = start(64, "9d")
    machine.memory.write(STACK + 0x1000, (0x3FFFFF & ~0x300).to_bytes(8, "little"))
    machine.cpu.rflags = 0x202
    machine.engine.run(1)
    assert machine.cpu.rip == CODE + 1
    assert machine.cpu.rflags == 0x202 | 0x8D5 | 0x400 | 0x4000 | 0x40000 | 0x200000


@pytest.mark.parametrize("mode", [64, 32])
def test_loop_runs_as_often_as_the_counter_says(mode: int) -> None:
    machine = start(mode, "40e2fd" if mode == 32 else "90ffc0e2fb", rcx=1000, rax=0)
    machine.engine.run(2000 if mode == 32 else 3000)
    assert machine.cpu.rax == 1000
    assert machine.cpu.rcx == 0
    assert machine.cpu.rip == CODE + (3 if mode == 32 else 5)
