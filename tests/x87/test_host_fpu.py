"""Random x87 states through the engine and through this host's own FPU, where it has one: everything must agree.

Transcendental results may be one unit in the last place apart, and their C1 may differ: the manual asks no more.
"""

from __future__ import annotations

import random

import pytest

from tests.x87.host_fpu import FpuState, HostFpu, available
from tests.x87.machine import DATA, FpuMachine
from tests.x87.operands import J, any_operand, neighbour

F80 = tuple[int, int]

pytestmark = pytest.mark.skipif(not available(), reason="needs an Intel host under Linux to compare with its FPU")

REGISTER_FORMS = [0xD8C0 + 8 * n for n in range(8)] + [0xDCC0, 0xDCC8, 0xDCE0, 0xDCE8, 0xDCF0, 0xDCF8] + [
    0xDEC0, 0xDEC8, 0xDEE0, 0xDEE8, 0xDEF0, 0xDEF8, 0xD9C0, 0xD9C8, 0xDDC0, 0xDDD0, 0xDDD8, 0xDDE0, 0xDDE8,
    0xDAC0, 0xDAC8, 0xDAD0, 0xDAD8, 0xDBC0, 0xDBC8, 0xDBD0, 0xDBD8, 0xDBE8, 0xDBF0, 0xDFE8, 0xDFF0,
]  # fmt: skip
PLAIN = [0xD9D0, 0xD9E0, 0xD9E1, 0xD9E4, 0xD9E5, *range(0xD9E8, 0xD9EF), *range(0xD9F4, 0xD9F9), 0xD9FA, 0xD9FC,
         0xD9FD, 0xDAE9, 0xDBE2, 0xDBE3, 0xDED9]  # fmt: skip
TRANSCENDENTAL = [0xD9F0, 0xD9F1, 0xD9F2, 0xD9F3, 0xD9F9, 0xD9FB, 0xD9FE, 0xD9FF]
MEMORY_FORMS = [
    *((o, n, size) for o, size in ((0xD8, 4), (0xDC, 8), (0xDA, 4), (0xDE, 2)) for n in range(8)),
    (0xD9, 0, 4), (0xD9, 2, 4), (0xD9, 3, 4), (0xD9, 5, 2), (0xD9, 7, 2), (0xDB, 0, 4), (0xDB, 1, 4), (0xDB, 2, 4),
    (0xDB, 3, 4), (0xDB, 5, 10), (0xDB, 7, 10), (0xDD, 0, 8), (0xDD, 1, 8), (0xDD, 2, 8), (0xDD, 3, 8), (0xDD, 7, 2),
    (0xDF, 0, 2), (0xDF, 1, 2), (0xDF, 2, 2), (0xDF, 3, 2), (0xDF, 4, 10), (0xDF, 5, 8), (0xDF, 6, 10), (0xDF, 7, 8),
]  # fmt: skip


class Comparison:
    """The engine and the host on the same state."""

    def __init__(self) -> None:
        self.host = HostFpu()
        self.machine = FpuMachine()

    def state(self, rng: random.Random) -> tuple[FpuState, int]:
        """A random FPU state, and its not-empty bits by ST number."""
        control = 0x40 | (0x3F if rng.random() < 0.6 else rng.getrandbits(6)) | rng.randrange(16) << 8
        status = rng.randrange(8) << 11 | rng.choice((0, 0x4700, 0x4200, 0x100)) | rng.choice((0, 0x7F)) & control
        st = [any_operand(rng) for _ in range(8)]
        if rng.random() < 0.3 and st[0][1] & 0x7FFF not in (0, 0x7FFF):
            st[1] = neighbour(rng, st[0])
        valid = rng.choice((0x7F, 0x7F, 0x7F, 0xFF, rng.getrandbits(8)))
        tag = 0
        for n in range(8):
            if not valid >> n & 1:
                tag |= 3 << 2 * ((n + (status >> 11)) & 7)
        return FpuState(control, status, tag, st), valid

    def differences(self, code: bytes, state: FpuState, valid: int, flags: int, data: bytes, ulps: int) -> list[str]:
        # The host's thunk loads EFLAGS from [rdi+32] and stores them to [rdi+16].
        state.memory = data.ljust(32, b"\0") + (flags | 0x202).to_bytes(8, "little")
        host = self.host.run(b"\xff\x77\x20\x9d" + code + b"\x9c\x8f\x47\x10", state)
        machine = self.machine
        machine.set_fpu(list(state.st), state.control, state.status, valid)
        machine.cpu.rflags = flags | 2
        machine.memory.write(DATA, data.ljust(16, b"\0"))
        fault = machine.run(code)
        got = machine.cpu.fpu()
        host_valid = sum(1 << n for n in range(8) if host.tag >> 2 * n & 3 != 3)
        c1 = 0x200 if ulps else 0
        found = [f"vector {fault}"] if fault is not None else []
        for name, mine, theirs in (
            ("control", got["control"], host.control),
            ("status", got["status"] | c1, host.status | c1),
            ("valid", got["valid"], host_valid),
            ("flags", machine.cpu.rflags & 0x8D5, int.from_bytes(host.memory[16:18], "little") & 0x8D5),
            ("memory", machine.data(len(data)), host.memory[: len(data)]),
        ):
            if mine != theirs:
                found.append(f"{name} {mine!r}, host {theirs!r}")
        for n, (mine_st, host_st) in enumerate(zip(got["st"], host.st, strict=True)):
            if mine_st != host_st and abs(ordinal(mine_st) - ordinal(host_st)) > ulps:
                found.append(f"st{n} {mine_st}, host {host_st}")
        return found


def ordinal(value: F80) -> int:
    position = ((value[1] & 0x7FFF) << 63) + (value[0] & J - 1)
    return 2 * (-position if value[1] & 0x8000 else position) if value[1] & 0x7FFF != 0x7FFF else value[1] << 90


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return Comparison()


def run_all(comparison: Comparison, forms: list[int], count: int, seed: int, ulps: int = 0) -> None:
    rng = random.Random(seed)
    for _ in range(count):
        for opcode in forms:
            code = (opcode | (rng.randrange(8) if opcode in REGISTER_FORMS else 0)).to_bytes(2, "big")
            state, valid = comparison.state(rng)
            if ulps:
                state.st[0] = (J | rng.getrandbits(63), 0x3FFF + rng.randrange(-20, 20) | rng.choice((0, 0x8000)))
            found = comparison.differences(code, state, valid, rng.getrandbits(12) & 0x8D5, b"", ulps)
            assert not found, (code.hex(), state, found)


def test_register_forms(comparison: Comparison) -> None:
    run_all(comparison, REGISTER_FORMS, 25, 1)


def test_plain_forms(comparison: Comparison) -> None:
    run_all(comparison, PLAIN, 30, 2)


def test_transcendental_forms(comparison: Comparison) -> None:
    run_all(comparison, TRANSCENDENTAL, 60, 3, ulps=2)


def test_memory_forms(comparison: Comparison) -> None:
    rng = random.Random(4)
    for _ in range(20):
        for opcode, extension, size in MEMORY_FORMS:
            state, valid = comparison.state(rng)
            pattern = rng.choice(
                (rng.getrandbits(64), rng.getrandbits(51), 0x7FF0 << 48 | rng.getrandbits(52), 0x3FF0 << 48, 0,
                 0x7F800000 | rng.getrandbits(23), 0x80000000 | rng.getrandbits(22), 0x3F800000)
            )  # fmt: skip
            data = pattern.to_bytes(8, "little")[:size]
            if size == 10:
                mantissa, exponent = any_operand(rng)
                data = mantissa.to_bytes(8, "little") + exponent.to_bytes(2, "little")
                if (opcode, extension) == (0xDF, 4):  # FBLD of digits above nine is undefined
                    data = bytes(rng.randrange(10) << 4 | rng.randrange(10) for _ in range(9)) + b"\x80"
            code = bytes([opcode, extension << 3 | 7])
            found = comparison.differences(code, state, valid, 0, data, 0)
            assert not found, (code.hex(), data.hex(), state, found)
