"""Paging against the rules written down anew in Python (Intel SDM volume 3A, 4.3 to 4.8): random paging-structure
entries, control bits and accesses in each paging mode; and the TLB's promises (4.10)."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

import pytest
from bare_machine import CODE, GDT, IDT, STACK, STUBS, TSS, USER_STACK, BareMachine

P, W, U, A, D, PS, NX = 1, 2, 4, 0x20, 0x40, 0x80, 1 << 63
SYSTEM_PAGES = {GDT, IDT, STUBS, TSS, STACK - 0x1000, STACK}
TABLES = 0x100000  # identity map
LEVELS = 0x180000  # the structures under test, one page a level
FRAMES = 0x200000  # what they may point to
LINEAR = {
    "32-bit": 0x40000000 | 0x155AA8,
    "PAE": 0x40000000 | 0x155AA8,
    "4-level": 0x8000155AA8,
    "5-level": 0x1000000155AA8,
}
TOP = {"32-bit": 2, "PAE": 2, "4-level": 4, "5-level": 5}


@dataclass
class Case:
    mode: str
    entries: list[int]  # from the top level down
    access: str  # read, write, execute
    cpl: int
    wp: bool
    smep: bool
    smap: bool
    ac: bool
    nxe: bool
    pke: bool
    pkru: int
    pks: bool = False
    pkrs: int = 0


def expected(case: Case, physical_bits: int) -> tuple[int | None, int, int]:
    """(error code or None, physical address, how many levels were walked)."""
    linear = LINEAR[case.mode]
    error = (2 if case.access == "write" else 0) | (4 if case.cpl == 3 else 0)
    if case.access == "execute" and ((case.nxe and case.mode != "32-bit") or case.smep):
        error |= 16
    writable = user = True
    no_execute = False
    level = TOP[case.mode]
    address_mask = (1 << physical_bits) - 1
    for depth, entry in enumerate(case.entries):
        if not entry & P:
            return error, 0, depth + 1
        reserved = 0
        shift = (22 if level == 2 else 12) if case.mode == "32-bit" else 12 + 9 * (level - 1)
        large = level > 1 and bool(entry & PS)
        if case.mode == "32-bit":
            if large:
                reserved = 0x200000  # PSE-36: bits 20:13 are address bits 39:32
        else:
            reserved = ~address_mask & 0x000FFFFFFFFFF000
            if not case.nxe:
                reserved |= NX
            if case.mode == "PAE":
                reserved |= 0x7FF0000000000000
            if level >= 2 and entry & PS:
                reserved |= {2: 0x1FE000, 3: 0x3FFFE000}.get(level, PS)
        if entry & reserved:
            return error | 1 | 8, 0, depth + 1
        writable &= bool(entry & W)
        user &= bool(entry & U)
        no_execute |= bool(entry & NX) and case.nxe
        if level == 1 or large:
            break
        level -= 1
    frame = (entry & 0xFFFFF000 if case.mode == "32-bit" else entry & 0x000FFFFFFFFFF000) & -(1 << shift)
    if case.mode == "32-bit" and large:
        frame |= (entry & 0x1FE000) << 19
    physical = frame | linear & ((1 << shift) - 1)
    allowed = True
    if case.access == "execute":
        if case.cpl == 3:
            allowed = user
        elif user and case.smep:
            allowed = False
        allowed = allowed and not (no_execute and case.mode != "32-bit")
        if not allowed:
            return error | 1, physical, depth + 1
    else:
        if case.cpl == 3:
            allowed = user and (writable or case.access == "read")
        else:
            allowed = not (user and case.smap and not case.ac) and (writable or not case.wp or case.access == "read")
        if (case.pke if user else case.pks) and case.mode in ("4-level", "5-level"):
            rights = (case.pkru if user else case.pkrs) >> (2 * (entry >> 59 & 15)) & 3
            if rights & 1 or (rights & 2 and case.access == "write" and (case.cpl == 3 or case.wp)):
                error |= 32  # told whatever else is wrong (SDM 3A 4.7)
                allowed = False
        if not allowed:
            return error | 1, physical, depth + 1
    return None, physical, depth + 1


class PagedMachine(BareMachine):
    """BareMachine with 4-KiB identity pages, system pages for the supervisor only, and one branch under test."""

    def __init__(self, mode: str, cpl: int) -> None:
        super().__init__("long" if "level" in mode else "protected", cpl=cpl)
        self.paging = mode
        self.entry_size = 4 if mode == "32-bit" else 8
        user = U if cpl == 3 else 0
        per_table = 4096 // self.entry_size
        form = "<I" if mode == "32-bit" else "<Q"
        pages = [
            page | P | W | (0 if page in SYSTEM_PAGES or page >= TABLES else user) for page in range(0, 4 << 20, 4096)
        ]
        self.memory.write(TABLES, b"".join(struct.pack(form, page) for page in pages))
        tables = [TABLES + n * 4096 | P | W | U for n in range(len(pages) // per_table)]
        at = TABLES + 0x10000
        self.memory.write(at, b"".join(struct.pack(form, table) for table in tables))
        for _ in range(TOP[mode] - 2):
            self.memory.write(at + 0x1000, struct.pack(form, at | P | W | U))
            at += 0x1000
        if mode == "PAE":
            self.memory.write(at + 0x1000, struct.pack("<4Q", at | P, LEVELS | P, 0, 0))
            at += 0x1000
        self.root = at
        self.levels = [at] + [LEVELS + n * 4096 for n in range(1, TOP[mode])]
        if mode == "PAE":
            self.levels[0] = LEVELS

    def entry_address(self, depth: int) -> int:
        linear, level = LINEAR[self.paging], TOP[self.paging] - depth
        shift, bits = (12 + 10 * (level - 1), 10) if self.paging == "32-bit" else (12 + 9 * (level - 1), 9)
        return self.levels[depth] + (linear >> shift & (1 << bits) - 1) * self.entry_size

    def arrange(self, case: Case) -> None:
        for depth, entry in enumerate(case.entries):
            self.memory.write(self.entry_address(depth), entry.to_bytes(self.entry_size, "little"))
        cpu = self.cpu
        cpu.cr4 = (
            (0x10 if self.paging == "32-bit" else 0x20) | 0x600 | (1 << 12 if self.paging == "5-level" else 0)
            | (1 << 20 if case.smep else 0) | (1 << 21 if case.smap else 0) | (1 << 22 if case.pke else 0)
            | (1 << 24 if case.pks else 0)
        )  # fmt: skip
        cpu.efer = (0x501 if "level" in self.paging else 1) | (0x800 if case.nxe else 0)
        cpu.cr3 = self.root
        cpu.cr0 = 0x80000033 | (0x10000 if case.wp else 0)
        cpu.pkru, cpu.pkrs = case.pkru, case.pkrs
        cpu.rflags = 2 | (1 << 18 if case.ac and case.cpl == 0 else 0)

    def entry(self, depth: int) -> int:
        return int.from_bytes(self.memory.read(self.entry_address(depth), self.entry_size), "little")


def random_case(mode: str, cpl: int, rng: random.Random, physical_bits: int) -> Case:
    entries = []
    for depth in range(TOP[mode]):
        level = TOP[mode] - depth
        leaf = level == 1 or (level == 2 and rng.random() < 0.25)
        flags = P | W | U if rng.random() < 0.6 else rng.choice((P | U, P | W, P, P | W | U, W | U))
        if leaf:
            entry = (FRAMES + 4096 * rng.randrange(512)) if level == 1 else FRAMES
            if mode == "32-bit" and level == 2:
                entry = 0
            entry |= PS if level == 2 else 0
        else:
            entry = LEVELS + (depth + 1) * 4096
        if mode != "32-bit":
            if rng.random() < 0.2:
                entry |= NX
            if leaf and mode != "PAE":
                entry |= rng.randrange(16) << 59
            if rng.random() < 0.06:
                entry |= 1 << rng.randrange(physical_bits, 52)
        if level > 2 and rng.random() < 0.03:
            entry |= PS
        if level == 2 and leaf and rng.random() < 0.1:
            entry |= 1 << rng.choice((13, 21) if mode == "32-bit" else (13, 14, 20))
        entries.append(entry | flags | (0x200 if rng.random() < 0.5 else 0))
        if leaf:
            break
    return Case(
        mode, entries, rng.choice(("read", "write", "execute")), cpl, rng.random() < 0.5,
        rng.random() < 0.4, rng.random() < 0.4, rng.random() < 0.5, rng.random() < 0.7,
        "level" in mode and rng.random() < 0.5, rng.getrandbits(32) & rng.getrandbits(32),
        "level" in mode and rng.random() < 0.5, rng.getrandbits(32) & rng.getrandbits(32) & 0xFFFFFFFC,
    )  # fmt: skip


@pytest.mark.parametrize("cpl", [0, 3])
@pytest.mark.parametrize("mode", list(TOP))
def test_random_walks(mode: str, cpl: int) -> None:
    rng = random.Random(f"{mode} {cpl}")
    machine = PagedMachine(mode, cpl)
    bits = machine.engine.model.physical_bits
    kinds = set()
    for number in range(400):
        case = random_case(mode, cpl, rng, bits)
        error, physical, walked = expected(case, bits)
        machine.arrange(case)
        linear = LINEAR[mode]
        in_ram = error is None and FRAMES // 2 <= physical < 4 << 20
        if error is None and not in_ram:
            continue
        if error is None:
            machine.memory.write(physical, b"\xeb\xfe" if case.access == "execute" else b"\x11\x22\x33\x44")
        code = {"read": "8b03", "write": "8903", "execute": "ffe3"}[case.access]
        machine.memory.write(CODE, bytes.fromhex(code) + b"\xf4")
        cpu = machine.cpu
        cpu.rip, cpu.rbx, cpu.rax, cpu.rsp, cpu.activity = CODE, linear, 0x55667788, USER_STACK, 0
        if cpl == 3:
            for name, selector, attributes in (
                ("cs", 0x33 if machine.mode == "long" else 0x23, 0xFB),
                ("ss", 0x2B, 0xF3),
            ):
                attributes |= 0xA000 if name == "cs" and machine.mode == "long" else 0xC000
                getattr(cpu, name).set(selector, 0, 0xFFFFFFFF, attributes)
        else:
            cpu.cs.set(
                8 if machine.mode == "long" else 0x18, 0, 0xFFFFFFFF, 0xA09B if machine.mode == "long" else 0xC09B
            )
            cpu.ss.set(0x10, 0, 0xFFFFFFFF, 0xC093)
        cpu.cpl = cpl
        where = f"case {number}: {case}"
        before = list(case.entries)
        for _ in range(2 if case.access == "execute" else 1):
            machine.engine.step()
        kinds.add(error)
        if error is not None:
            if cpu.activity == 0:
                assert STUBS + 14 == cpu.rip, f"{where}: at {cpu.rip:#x}, wanted error {error:#x}"
            size = 8 if machine.mode == "long" else 4
            pushed = int.from_bytes(machine.memory.read(cpu.rsp, size), "little")
            assert pushed == error, f"{where}: error code {pushed:#x}, wanted {error:#x}"
            assert cpu.cr2 == linear, where
            continue
        if case.access == "execute":
            assert cpu.rip == linear, f"{where}: at {cpu.rip:#x}"
        elif case.access == "read":
            assert cpu.rax == 0x44332211, where
        else:
            assert machine.memory.read(physical, 4) == b"\x88\x77\x66\x55", where
        for depth in range(walked):
            wanted = before[depth] | A | (D if case.access == "write" and depth == walked - 1 else 0)
            assert machine.entry(depth) == wanted, f"{where}: entry {depth}"
    assert None in kinds and len(kinds) >= (5 if cpl else 4), kinds


def _plain(mode: str) -> PagedMachine:
    machine = PagedMachine(mode, 0)
    entries = [LEVELS + (n + 1) * 4096 | P | W | U for n in range(TOP[mode] - 1)] + [FRAMES | P | W | U]
    machine.arrange(Case(mode, entries, "read", 0, True, False, False, False, True, False, 0))
    machine.memory.write(FRAMES + (LINEAR[mode] & 0xFFF), b"\x01\0\0\0")
    machine.memory.write(FRAMES + 0x1000 + (LINEAR[mode] & 0xFFF), b"\x02\0\0\0")
    return machine


def test_a_cached_translation_lives_until_invlpg() -> None:
    machine = _plain("4-level")
    linear, leaf = LINEAR["4-level"], machine.entry_address(3)
    code = "8b0b 4c8902 0f013b 8b33"  # mov ecx,[rbx]; mov [rdx],r8; invlpg [rbx]; mov esi,[rbx]
    identity = TABLES + (LEVELS >> 12) * 8  # the supervisor reaches the structures by the identity map
    assert machine.memory.read(identity, 8) != bytes(8)
    machine.run(code, rbx=linear, rdx=leaf, r8=FRAMES + 0x1000 | P | W | U)
    assert (machine.cpu.rcx, machine.cpu.rsi) == (1, 2)


def test_cr3_load_drops_translations() -> None:
    machine = _plain("4-level")
    code = "8b0b 4c8902 0f22df 8b33"  # ...; mov cr3, rdi; ...
    machine.run(
        code, rbx=LINEAR["4-level"], rdx=machine.entry_address(3), r8=FRAMES + 0x1000 | P | W | U, rdi=machine.root
    )
    assert (machine.cpu.rcx, machine.cpu.rsi) == (1, 2)


def test_invlpg_of_any_address_in_a_large_page_drops_all_of_it() -> None:
    machine = _plain("4-level")
    linear = LINEAR["4-level"]
    directory = machine.entry_address(2)
    machine.memory.write(directory, struct.pack("<Q", FRAMES | P | W | U | PS))
    physical = FRAMES + (linear & 0x1FFFFF)
    machine.memory.write(physical, b"\x01\0\0\0")
    low = linear & 0xFFF
    machine.memory.write(
        machine.levels[3] + ((linear >> 12) & 0x1FF) * 8, struct.pack("<Q", FRAMES + 0x3000 | P | W | U)
    )
    machine.memory.write(FRAMES + 0x3000 + low, b"\x07\0\0\0")
    # mov ecx,[rbx]; mov [rdx],r8 (the directory entry now points to a table); invlpg [rdi], elsewhere in the page;
    # mov esi,[rbx]
    machine.run(
        "8b0b 4c8902 0f013f 8b33", rbx=linear, rdx=directory, r8=machine.levels[3] | P | W | U, rdi=linear ^ 0xF0000
    )
    assert (machine.cpu.rcx, machine.cpu.rsi) == (1, 7)


def test_store_through_a_second_mapping_is_seen_by_the_first() -> None:
    machine = _plain("4-level")
    linear = LINEAR["4-level"]
    machine.run("8b0b 4489060f1f00 8b13", rbx=linear, rsi=FRAMES + (linear & 0xFFF), r8=0x1234)
    assert (machine.cpu.rcx, machine.cpu.rdx) == (1, 0x1234)


def test_page_crossing_store_faults_before_it_writes() -> None:
    machine = _plain("4-level")
    linear = (LINEAR["4-level"] & -4096) + 4094
    machine.memory.write(FRAMES + 4094, b"\xaa\xbb")
    assert machine.fault("8903", rbx=linear, rax=0x11223344) == (14, 2)
    assert machine.memory.read(FRAMES + 4094, 2) == b"\xaa\xbb"
    assert machine.cpu.cr2 == linear + 2


def test_non_canonical_addresses() -> None:
    machine = _plain("4-level")
    assert machine.fault("8b03", rbx=0x800000000000) == (13, 0)
    assert machine.fault("8b4500", rbp=0x800000000000) == (12, 0)
    assert machine.fault("8b03", rbx=0x7FFFFFFFFFFE) == (13, 0)
    five = _plain("5-level")
    assert five.fault("8b03", rbx=0x800000000000) == (14, 0)
    assert five.fault("8b03", rbx=1 << 56) == (13, 0)


SAME_PLACE = 0x155000  # an identity page whose number has the low bits of LINEAR's: both want one entry of a TLB


def test_two_pages_of_one_place_are_both_cached() -> None:
    machine = _plain("4-level")
    # mov ecx,[rbx]; mov eax,[rdi] takes the place; mov [rdx],r8: the page is elsewhere now; mov esi,[rbx]
    machine.run(
        "8b0b 8b07 4c8902 8b33", rbx=LINEAR["4-level"], rdx=machine.entry_address(3),
        r8=FRAMES + 0x1000 | P | W | U, rdi=SAME_PLACE,
    )  # fmt: skip
    assert (machine.cpu.rcx, machine.cpu.rsi) == (1, 1)  # stale until it is invalidated: no second walk


@pytest.mark.parametrize("flush", ["0f013b", "410f22d9", "410f22e2"], ids=["INVLPG", "CR3", "CR4.PGE"])
def test_what_was_pushed_out_is_invalidated_as_well(flush: str) -> None:
    machine = _plain("4-level")
    # mov ecx,[rbx]; mov [rbx],ecx; the same at rdi; mov [rdx],r8; the flush; mov esi,[rbx]; mov dword [rbx],5
    machine.run(
        f"8b0b 890b 8b07 8907 4c8902 {flush} 8b33 c70305000000", rbx=LINEAR["4-level"], rdx=machine.entry_address(3),
        r8=FRAMES + 0x1000 | P | W | U, rdi=SAME_PLACE, r9=machine.root, r10=machine.cpu.cr4 | 0x80,
    )  # fmt: skip
    assert (machine.cpu.rcx, machine.cpu.rsi) == (1, 2)
    low = LINEAR["4-level"] & 0xFFF
    assert [machine.memory.read(FRAMES + page + low, 1)[0] for page in (0, 0x1000)] == [1, 5]


@pytest.mark.parametrize("call", ["ffd3", "41ff13"], ids=["CALL rbx", "CALL [r11]"])
@pytest.mark.parametrize("flush", ["0f013b", "410f22d9", "410f22e2"], ids=["INVLPG", "CR3", "CR4.PGE"])
def test_indirect_calls_follow_the_translation(flush: str, call: str) -> None:
    machine = _plain("4-level")
    low, slot = LINEAR["4-level"] & 0xFFF, FRAMES + 0x3000
    for page in (1, 2):
        # mov ecx, page; ret
        machine.memory.write(FRAMES + (page - 1) * 0x1000 + low, bytes([0xB9, page, 0, 0, 0, 0xC3]))
    machine.memory.write(slot, struct.pack("<Q", LINEAR["4-level"]))
    # twice, so that the branch knows its way; mov esi,ecx; mov [rdx],r8; once before the flush and once behind it
    machine.run(
        f"{call} {call} 89ce 4c8902 {call} 89cd {flush} {call}", rbx=LINEAR["4-level"], rdx=machine.entry_address(3),
        r8=FRAMES + 0x1000 | P | W | U, r9=machine.root, r10=machine.cpu.cr4 | 0x80, r11=slot,
    )  # fmt: skip
    assert (machine.cpu.rsi, machine.cpu.rbp, machine.cpu.rcx) == (1, 1, 2)


def test_store_by_a_pushed_out_translation_changes_decoded_code() -> None:
    machine = _plain("4-level")
    code = FRAMES + (LINEAR["4-level"] & 0xFFF)
    machine.memory.write(code, bytes.fromhex("be01000000c3"))  # mov esi,1; ret
    # mov [rbx],al; mov [rdi],al pushes the page out; call rdx decodes it; mov r12d,esi; mov byte [rbx+1],2; call rdx
    machine.run("8803 8807 ffd2 4189f4 c6430102 ffd2", rbx=LINEAR["4-level"], rdi=SAME_PLACE, rdx=code, rax=0xBE)
    assert (machine.cpu.r12, machine.cpu.rsi) == (1, 2)


@pytest.mark.parametrize("mode", list(TOP))
def test_setting_write_protect_counts_at_once(mode: str) -> None:
    machine = PagedMachine(mode, 0)
    entries = [LEVELS + (n + 1) * 4096 | P | W | U for n in range(TOP[mode] - 1)] + [FRAMES | P | U]
    machine.arrange(Case(mode, entries, "write", 0, False, False, False, False, True, False, 0))
    # mov [rbx],ecx; mov cr0,rdx with WP; mov [rbx],eax
    assert machine.fault("890b 0f22c2 8903", rbx=LINEAR[mode], rcx=7, rdx=0x80010033, rax=9) == (14, 3)
    assert machine.memory.read(FRAMES + (LINEAR[mode] & 0xFFF), 1) == b"\x07"


def test_toggling_write_protect_keeps_translations() -> None:
    machine = _plain("4-level")
    # mov [rbx],ecx; mov [rdx],r8; WP off and on again; mov [rbx],eax goes by the old translation
    machine.run(
        "890b 4c8902 410f22c1 410f22c2 8903", rbx=LINEAR["4-level"], rdx=machine.entry_address(3), rcx=7, rax=9,
        r8=FRAMES + 0x1000 | P | W | U, r9=0x80000033, r10=0x80010033,
    )  # fmt: skip
    assert machine.memory.read(FRAMES + (LINEAR["4-level"] & 0xFFF), 1) == b"\x09"
