"""INT n, faults and IRET between flat 32-bit segments, by the quick path and by the general one (SDM 2A: INT n, IRET).

The quick path takes descriptors of flat segments alone; bit 53 of a descriptor, which nobody looks at outside IA-32e
mode (SDM 3A 3.4.5), makes a descriptor another one for it, so that two guests that differ in nothing but that bit go
the two ways.
"""

from __future__ import annotations

import random

import pytest
from bare_guest import (
    CODE,
    CODE0,
    CODE3,
    CODE_ACCESS,
    DATA0,
    DATA3,
    DATA_ACCESS,
    GDT,
    HANDLERS,
    IDT,
    STACK0,
    STACK3,
    TSS,
    Guest,
    descriptor,
)

PLAIN, GENERAL = 0xC, 0xE  # G D/B, and with the bit that does not count
BIT_53 = 0x2000
FLAGS = (0, 1, 0x200, 0x400, 0x800, 0x1000, 0x3000, 0x4000, 0x40000, 0x80000, 0x100000, 0x200000, 0x20000)
REGISTERS = ("rax", "rbx", "rsp", "rip", "rflags", "cpl", "cr2", "activity")
# Reads GDT, IDT and TSS and writes both stacks, so that all of it is in the TLB.
WARM = b"".join(
    [
        *(b"\xa1" + address.to_bytes(4, "little") for address in (GDT, IDT, TSS, STACK0 - 0x100, STACK3 - 0x100)),
        *(b"\xa3" + address.to_bytes(4, "little") for address in (STACK0 - 0x100, STACK3 - 0x100)),
    ]
)


def flags_of(dice: random.Random) -> int:
    """Some flags; mostly not NT and VM, which lead elsewhere at once."""
    value = 2
    for flag in FLAGS:
        if dice.random() < (0.05 if flag in (0x4000, 0x20000) else 0.4):
            value |= flag
    return value


def state(guest: Guest) -> dict[str, object]:
    cpu = guest.cpu
    found: dict[str, object] = {name: getattr(cpu, name) for name in REGISTERS}
    for name in ("cs", "ss", "ds", "es", "fs", "gs"):
        segment = getattr(cpu, name)
        found[name] = (segment.selector, segment.base, segment.limit, segment.attributes & ~BIT_53)
    found["faults"] = list(cpu.faults())
    found["stacks"] = guest.memory.read(STACK0 - 0x200, 0x200) + guest.memory.read(STACK3 - 0x200, 0x200)
    return found


def prepared(nibble: int, model: str) -> Guest:
    guest = Guest(model)
    guest.protected()
    for selector, access in ((CODE0, CODE_ACCESS), (DATA0, DATA_ACCESS), (CODE3, CODE_ACCESS | 0x60), (DATA3, 0xF3)):
        guest.entry(selector & ~3, descriptor(0, 0xFFFFF, access, nibble))
    guest.code(WARM)
    assert guest.run() == "halted"
    return guest


def go(guest: Guest, cpl: int, code: bytes, sp: int, flags: int, data: int) -> list[dict[str, object]]:
    """The state behind one instruction, and behind what follows: code that uses the stack up to a handler's HLT."""
    nibble = 0xC093
    guest.cpu.rflags = flags & ~0x20000
    guest._flat(CODE3 if cpl else CODE0, DATA3 if cpl else DATA0, cpl, 0xC09B)
    for name in ("ds", "es", "fs", "gs"):
        getattr(guest.cpu, name).set(data, 0, 0xFFFFFFFF if data else 0, nibble | (data & 3) << 5 if data else 0x10000)
    guest.put(CODE, code)
    guest.cpu.rip, guest.cpu.rsp, guest.cpu.activity = CODE, sp, 0
    guest.step()
    first = state(guest)
    guest.run(20)
    return [first, state(guest)]


def entering(dice: random.Random, guest: Guest) -> list[dict[str, object]]:
    cpl = dice.choice((0, 3, 3))
    guest.interrupt_gate(
        0x30, dice.choice((0x8E, 0xEE, 0xEE, 0xEE, 0xEF, 0xEF, 0x6E, 0xE6)),
        selector=dice.choice((CODE0, CODE0, CODE0, CODE0 | 3, CODE3, DATA0, 0, 0x3F8)),
    )  # fmt: skip
    guest.put(HANDLERS + 0x300, b"\x58\x50\x50\x5b\xcf\xf4")  # pop eax; push eax; push eax; pop ebx; iretd; hlt
    guest.put(TSS + 4, dice.choice((STACK0, STACK0, STACK0, 0x10, 0x13, 0x1FFE)).to_bytes(4, "little"))
    guest.put(TSS + 8, dice.choice((DATA0, DATA0, DATA0, DATA0 | 3, DATA3, 0, CODE0, 0x3F8)).to_bytes(4, "little"))
    if dice.random() < 0.1:
        guest.cpu.tr.set(0x28, TSS, dice.choice((0x9, 0xA, 0xB)), dice.choice((0x8B, 0x83)))
    code = dice.choice((b"\xcd\x30", b"\xcd\x30", b"\xcd\x30", b"\xcc", b"\x0f\x0b", b"\x8e\xd8"))
    guest.cpu.rax = 0x1234
    return go(guest, cpl, code + b"\x50\x59\x90", STACK3 if cpl else STACK0, flags_of(dice), dice.choice((0, DATA3)))


def returning(dice: random.Random, guest: Guest) -> list[dict[str, object]]:
    cpl = dice.choice((0, 0, 0, 3))
    sp = (STACK3 if cpl else STACK0) - 0x40
    code = dice.choice((CODE0, CODE0, CODE3, CODE3, CODE3, 0, CODE0 | 3, CODE3 & ~3, DATA0, 0x3F8))
    frame = (
        CODE + 8, code, flags_of(dice), dice.choice((STACK3, STACK3 - 2)),
        dice.choice((DATA3, DATA3, DATA3, DATA3, DATA0, DATA0 | 3, 0, CODE3, 0x3FB)), 0, 0, 0, 0,
    )  # fmt: skip
    guest.put(sp, b"".join(word.to_bytes(4, "little") for word in frame))
    code_behind = b"\xcf" + b"\x90" * 7 + b"\x50\x59\x9c\x90\xf4"  # iretd; ... push eax; pop ecx; pushfd; nop; hlt
    return go(guest, cpl, code_behind, sp, flags_of(dice), dice.choice((0, DATA3, DATA0)))


@pytest.mark.parametrize("model", ["default", "i80386", "pentium"])
@pytest.mark.parametrize("kind", [entering, returning])
def test_both_ways_end_alike(kind: object, model: str) -> None:
    assert callable(kind)
    for seed in range(250):
        quick, general = (kind(random.Random(seed), prepared(nibble, model)) for nibble in (PLAIN, GENERAL))
        for one, other in zip(quick, general, strict=True):
            assert one == other, f"seed {seed}"
