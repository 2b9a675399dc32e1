"""Dropped and lazy flags against an independent processor model: random straight-line code, then a conditional branch.

Only flags that the manual defines are compared, and only they are read inside.
"""

import random

import pytest

from tests.conform_hw import LAYOUT, UserMachine

unicorn = pytest.importorskip("unicorn")
from unicorn import x86_const  # noqa: E402

CODE = LAYOUT["code"]
DEFINED = 0x8C5  # all arithmetic flags but AF, which logic instructions leave undefined
REGISTERS = ("rax", "rcx", "rdx", "rbx", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))


def random_instruction(rng: random.Random) -> bytes:
    """One register-only instruction with defined flags, in any operand size."""
    rex = 0x40 | rng.choice((0, 8)) | rng.choice((0, 5, 4, 1))
    prefix = (b"\x66" if rng.random() < 0.2 else b"") + bytes([rex])
    avoid_rsp = [n for n in range(8) if n != 4]
    modrm = 0xC0 | rng.choice(avoid_rsp) << 3 | rng.choice(avoid_rsp)
    kind = rng.randrange(8)
    if kind <= 2:
        return prefix + bytes([rng.randrange(8) * 8 + rng.randrange(4), modrm])
    if kind == 3:
        return prefix + bytes([0x83, 0xC0 | rng.randrange(8) << 3 | rng.choice(avoid_rsp), rng.randrange(256)])
    if kind == 4:
        return prefix + bytes([0xFF, 0xC0 | rng.randrange(2) << 3 | rng.choice(avoid_rsp)])
    if kind == 5:
        return prefix + bytes([0xD1, 0xC0 | rng.randrange(8) << 3 | rng.choice(avoid_rsp)])
    if kind == 6:
        return prefix + bytes([0x0F, 0x40 | rng.randrange(16), modrm])
    return prefix + bytes([0x0F, 0x90 | rng.randrange(16), 0xC0 | rng.choice(avoid_rsp)])


def random_pair(rng: random.Random) -> bytes:
    """Two instructions that one handler may do: a copy, shift or product and what is done to it, or a comparison."""
    rex = bytes([rng.choice((0x40, 0x48))])
    target, other, third = (rng.choice((0, 1, 2, 3, 5, 6, 7)) for _ in range(3))
    two = 0xC0 | other << 3 | target
    constant = rng.randrange(256)
    operation = rex + rng.choice((
        bytes([0x83, 0xC0 | rng.choice((0, 1, 4, 5, 6)) << 3 | target, constant]),
        bytes([rng.choice((0x01, 0x09, 0x21, 0x29, 0x31)), 0xC0 | rng.choice((third, other, target)) << 3 | target]),
        bytes([0xC1, 0xC0 | rng.choice((4, 5, 7)) << 3 | target, constant & rng.choice((0, 1, 63))]),
        bytes([0xD1, 0xC0 | rng.choice((4, 5, 7)) << 3 | target]),
    ))  # fmt: skip
    add_or_and = rex + bytes([0x83, 0xC0 | rng.choice((0, 4)) << 3 | target, constant])
    kind = rng.randrange(4)
    if kind == 0:
        return rex + bytes([0x89, two]) + operation
    if kind == 1:
        return rex + bytes([0xC1, 0xC0 | rng.choice((4, 5, 7)) << 3 | target, constant & 63]) + add_or_and
    if kind == 2:
        return rex + bytes([0x6B, 0xC0 | target << 3 | other, constant ^ 0x55]) + add_or_and
    compared = rex + rng.choice((
        bytes([rng.choice((0x39, 0x85)), two]), bytes([0x83, 0xF8 | target, constant]),
        bytes([0xF7, 0xC0 | target, constant, 1, 0, 0x80]),
    ))  # fmt: skip
    used = rng.choice((bytes([0x40, 0x0F, 0x90 | rng.randrange(16), 0xC0 | third]),
                       rng.choice((b"\x40", b"\x48")) + bytes([0x0F, 0x40 | rng.randrange(16), two])))  # fmt: skip
    return compared + used


def random_setter(rng: random.Random) -> bytes:
    """What stands before the branch: arithmetic on registers, or a comparison with bytes of the code itself."""
    rex = bytes([rng.choice((0x40, 0x48))])
    avoid_rsp = [n for n in range(8) if n != 4]
    kind = rng.randrange(5)
    if kind == 0:
        modrm = 0xC0 | rng.choice(avoid_rsp) << 3 | rng.choice(avoid_rsp)
        return rex + bytes([rng.choice((0x01, 0x09, 0x21, 0x29, 0x31)), modrm])
    if kind == 1:
        return rex + bytes([0x83, 0xC0 | rng.choice((0, 1, 4, 5, 6)) << 3 | rng.choice(avoid_rsp), rng.randrange(256)])
    if kind == 2:
        return rex + bytes([0xFF, 0xC0 | rng.randrange(2) << 3 | rng.choice(avoid_rsp)])
    place = (-rng.randrange(10, 40)).to_bytes(4, "little", signed=True)
    if kind == 3:
        return rex + bytes([rng.choice((0x38, 0x39, 0x3A, 0x3B, 0x84, 0x85)), 5 | rng.choice(avoid_rsp) << 3]) + place
    opcode, modrm, size = rng.choice(((0x80, 0x3D, 1), (0x81, 0x3D, 4), (0x83, 0x3D, 1), (0xF6, 5, 1), (0xF7, 5, 4)))
    return rex + bytes([opcode, modrm]) + place + rng.randbytes(size)


def random_block(rng: random.Random) -> bytes:
    """Twenty instructions, a comparison or an operation, a branch over one MOV."""
    code = b"".join(random_pair(rng) if rng.random() < 0.5 else random_instruction(rng) + random_instruction(rng)
                    for _ in range(10))  # fmt: skip
    comparison = rng.choice((b"\x48\x39\xd8", b"\x39\xd8", b"\x38\xd8", b"\x66\x39\xd8", b"\x85\xd2", b"\x83\xf9\x05",
                             b"\x48\x85\xf6", b"\xa8\x80", b"\x66\x83\xfa\xff"))  # fmt: skip
    if rng.random() < 0.7:
        comparison = random_setter(rng)
    return code + comparison + bytes([0x70 | rng.randrange(16), 5]) + b"\xbd\x44\x33\x22\x11"


@pytest.mark.parametrize("seed", range(20))
def test_random_blocks_leave_the_same_state(seed: int) -> None:
    rng = random.Random(seed)
    machine = UserMachine(64, LAYOUT)
    reference = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
    reference.mem_map(CODE, 0x10000)
    values = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0x7FFFFFFF, 0x80000000, 1 << 63, (1 << 64) - 1)
    for block in range(25):
        place = CODE + block * 0x400  # a fresh address each time: the reference caches what it has translated
        code = random_block(rng)
        end = CODE + len(code)
        machine.load_code(code)
        reference.mem_write(place, code + b"\xcc" * 16)
        for name in REGISTERS:
            value = rng.choice(values) if rng.random() < 0.6 else rng.getrandbits(64)
            setattr(machine.cpu, name, value)
            reference.reg_write(getattr(x86_const, f"UC_X86_REG_{name.upper()}"), value)
        machine.cpu.rflags = 0x202
        reference.reg_write(x86_const.UC_X86_REG_RFLAGS, 0x202)
        machine.engine.run(22)
        if machine.cpu.rip != end:
            machine.engine.run(1)
        reference.emu_start(place, place + len(code))
        assert machine.cpu.rip == end, code.hex()
        for name in REGISTERS:
            expected = reference.reg_read(getattr(x86_const, f"UC_X86_REG_{name.upper()}"))
            assert getattr(machine.cpu, name) == expected, (name, code.hex())
        flags = reference.reg_read(x86_const.UC_X86_REG_RFLAGS)
        assert (machine.cpu.rflags ^ flags) & DEFINED == 0, (hex(flags), hex(machine.cpu.rflags), code.hex())
