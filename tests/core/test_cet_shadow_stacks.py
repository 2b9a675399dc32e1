"""Shadow stacks: near and far transfers, the instructions that manage them, and the pages they lie in (SDM 1, 17.2)."""

from __future__ import annotations

import struct

import pytest

from tests.core.bare_machine import CODE, DATA, USER_STACK, BareMachine
from tests.core.cet_machine import (
    CP,
    GP,
    PF,
    PLAIN,
    SH_STK,
    SHADOW,
    SUPERVISOR_ENTRY,
    TOP,
    UD,
    USER_ENTRY,
    USER_SHADOW,
    USER_TOP,
    WR_SHSTK,
    CetMachine,
)  # fmt: skip

CALL_RET = "e802000000eb01c3"  # call 1f; jmp 2f; 1: ret; 2:
ON = SH_STK | WR_SHSTK
RDSSPQ, RDSSPD = "f3480f1ec8", "f30f1ec8"  # of RAX, EAX
INCSSPQ, INCSSPD = "f3480faee8", "f30faee8"
WRSSQ, WRSSD, WRUSSQ = "480f38f603", "0f38f603", "66480f38f503"  # [rbx], rax
RSTORSSP, CLRSSBSY = "f30f012b", "f30fae33"  # [rbx]
SAVEPREVSSP, SETSSBSY = "f30f01ea", "f30f01e8"


def shadow() -> CetMachine:
    return CetMachine(s_cet=ON)


# ----- near transfers -----
def test_call_pushes_on_both_stacks_and_ret_pops() -> None:
    m = shadow()
    m.run(CALL_RET)
    assert (m.cpu.ssp, m.cpu.rsp) == (TOP, USER_STACK)
    assert m.word(TOP - 8) == m.word(USER_STACK - 8) == CODE + 5


@pytest.mark.parametrize("tampered", ["48ff0424c3", "48ff0424c20800"])
def test_ret_to_another_address(tampered: str) -> None:
    m = shadow()
    assert m.fault("e802000000eb00" + tampered) == (CP, 1)
    assert m.cpu.ssp == TOP - 8 - 24  # the RET has not popped; the handler's frame lies below
    assert m.word(TOP - 16) == 8 and m.word(TOP - 24) == CODE + 11 and m.word(TOP - 32) == TOP - 8


def test_call_of_the_next_instruction_leaves_the_shadow_stack_alone() -> None:
    m = shadow()
    m.run("e80000000058")
    assert m.cpu.rax == CODE + 5 and m.cpu.ssp == TOP


@pytest.mark.parametrize("code", ["ffd0eb01c3", "ff13eb01c3", "ffd0eb03c20000"])
def test_indirect_calls(code: str) -> None:
    m = shadow()
    m.put(DATA, CODE + 4)
    m.run(code, rax=CODE + 4, rbx=DATA)
    assert m.cpu.ssp == TOP and m.word(TOP - 8) == CODE + 2


def test_a_call_that_faults_on_the_shadow_stack_changes_nothing() -> None:
    m = shadow()
    m.map(SHADOW, SUPERVISOR_ENTRY | 2)  # writable: no shadow stack
    m.cpu.s_cet = SH_STK
    m.gate(PF, 0x6000 + PF)
    m.step(CALL_RET)
    # the page fault's own frame finds no shadow stack either: the processor shuts down
    assert m.cpu.activity == 2 and m.cpu.rsp == USER_STACK and m.cpu.ssp == TOP


def test_thirty_two_bit_code_pushes_four_bytes() -> None:
    m = BareMachine("protected")
    m.cpu.cr0 |= 0x10000
    m.cpu.cr4 |= 0x800000
    m.cpu.s_cet, m.cpu.ssp = SH_STK, 0x30000
    m.run(CALL_RET)
    assert m.memory.read(0x30000 - 8, 8) == struct.pack("<II", 0, CODE + 5)
    assert m.cpu.ssp == 0x30000
    assert m.fault("e802000000eb00ff0424c3") == (CP, 1)


def test_off_at_this_level_nothing_happens() -> None:
    m = CetMachine(u_cet=ON)
    m.run(CALL_RET)
    assert m.word(TOP - 8) == 0
    m.run(RDSSPQ, rax=5)
    assert m.cpu.rax == 5


# ----- far transfers -----
FAR = "ff1beb01cb"  # call far [rbx]; jmp 1f; retf; 1:


def far(m: CetMachine) -> None:
    m.memory.write(DATA, struct.pack("<IH", CODE + 4, 8))


@pytest.mark.parametrize("misaligned", [0, 4])
def test_far_call_and_return(misaligned: int) -> None:
    m = shadow()
    far(m)
    m.put(TOP - 8, 0xEEEEEEEEEEEEEEEE)
    m.cpu.ssp = TOP - misaligned
    m.run(FAR, rbx=DATA)
    assert m.cpu.ssp == TOP - misaligned
    base = TOP - 8 if misaligned else TOP
    assert (m.word(base - 8), m.word(base - 16), m.word(base - 24)) == (8, CODE + 2, TOP - misaligned)
    if misaligned:
        assert m.word(TOP - 8) == 0xEEEEEEEE00000000 & 0xFFFFFFFF00000000


def test_far_return_to_another_address() -> None:
    m = shadow()
    far(m)
    assert m.fault("ff1beb00ff0424cb", rbx=DATA) == (CP, 2)


def test_far_return_to_user_mode_takes_its_stack_and_frees_the_token() -> None:
    m = CetMachine(s_cet=ON, u_cet=ON)
    m.put(TOP, TOP | 1)
    m.cpu.pl_ssp = (TOP, 0, 0, USER_TOP)
    m.put(0xE000, CODE + 0x100, 0x33, 0xD000, 0x2B)
    m.step("48cb", rsp=0xE000)
    assert (m.cpu.cpl, m.cpu.ssp, m.word(TOP)) == (3, USER_TOP, TOP)


# ----- instructions -----
def test_reading_the_pointer() -> None:
    m = shadow()
    m.cpu.ssp = 0x1_2345_6780
    m.run(RDSSPQ)
    assert m.cpu.rax == 0x123456780
    m.run(RDSSPD, rax=1 << 40)
    assert m.cpu.rax == 0x23456780


def test_incssp() -> None:
    m = shadow()
    m.run(INCSSPQ, rax=0x103)  # bits 7:0 count
    assert m.cpu.ssp == TOP + 24
    m.run(INCSSPD, rax=1)
    assert m.cpu.ssp == TOP + 28
    m.run(INCSSPD, rax=0)
    assert m.cpu.ssp == TOP + 28
    m.cpu.ssp = SHADOW + 0xFF0
    assert m.fault(INCSSPQ, rax=3) == (PF, 0x40)  # the last element lies in the next page, which is not present
    assert m.cpu.cr2 == SHADOW + 0x1000


def test_wrss() -> None:
    m = shadow()
    m.run(WRSSQ, rbx=SHADOW + 0x100, rax=0x1122334455667788)
    assert m.word(SHADOW + 0x100) == 0x1122334455667788
    m.run(WRSSD, rbx=SHADOW + 0x104, rax=7)
    assert m.word(SHADOW + 0x100) == 7 << 32 | 0x55667788
    assert m.fault(WRSSQ, rbx=SHADOW + 4) == (GP, 0)
    m.cpu.s_cet = SH_STK
    assert m.fault(WRSSQ, rbx=SHADOW) == (UD, None)


def test_wruss_writes_as_user_mode() -> None:
    m = CetMachine(u_cet=SH_STK)
    m.run(WRUSSQ, rbx=USER_SHADOW, rax=99)
    assert m.word(USER_SHADOW) == 99
    assert m.fault(WRUSSQ, rbx=SHADOW) == (PF, 0x47)


def test_switching_stacks_with_tokens() -> None:
    m = shadow()
    other = SHADOW + 0x400
    m.put(other, other + 8 | 1)  # restore token
    m.run(RSTORSSP, rbx=other, rflags=0x8D7)
    assert m.cpu.ssp == other and m.word(other) == TOP | 3 and m.cpu.rflags & 0x8D5 == 0
    m.run(SAVEPREVSSP)
    assert m.cpu.ssp == other + 8
    assert m.word(TOP - 8) == TOP | 1  # the token to come back with
    m.run(RSTORSSP, rbx=TOP - 8)
    assert m.cpu.ssp == TOP - 8


def test_a_stack_aligned_to_four_leaves_a_hole() -> None:
    m = shadow()
    other = SHADOW + 0x400
    m.put(other, other + 12 | 1, 0)
    m.run(RSTORSSP + SAVEPREVSSP, rbx=other)
    assert m.cpu.ssp == other + 12
    m.put(other, other + 12 | 1, 5)  # what is in the hole must be zero
    m.cpu.ssp = TOP
    assert m.fault(RSTORSSP + SAVEPREVSSP, rbx=other) == (GP, 0)


@pytest.mark.parametrize("token", [0, SHADOW + 0x408, SHADOW + 0x418 | 1, SHADOW + 0x408 | 3])
def test_rstorssp_refuses_other_tokens(token: int) -> None:
    m = shadow()
    m.put(SHADOW + 0x400, token)
    assert m.fault(RSTORSSP, rbx=SHADOW + 0x400) == (CP, 4)
    assert m.word(SHADOW + 0x400) == token
    assert m.fault(RSTORSSP, rbx=SHADOW + 0x404) == (GP, 0)


def test_setssbsy_and_clrssbsy() -> None:
    m = shadow()
    m.cpu.pl_ssp = (SHADOW + 0x200, 0, 0, 0)
    assert m.fault(SETSSBSY) == (CP, 5)
    m = shadow()
    m.cpu.pl_ssp = (SHADOW + 0x200, 0, 0, 0)
    m.put(SHADOW + 0x200, SHADOW + 0x200)
    m.run(SETSSBSY)
    assert m.cpu.ssp == SHADOW + 0x200 and m.word(SHADOW + 0x200) == SHADOW + 0x201
    m.run(CLRSSBSY, rbx=SHADOW + 0x200, rflags=0x8D7)
    assert m.cpu.ssp == 0 and m.word(SHADOW + 0x200) == SHADOW + 0x200 and m.cpu.rflags & 0x8D5 == 0
    m.run(CLRSSBSY, rbx=SHADOW + 0x200)
    assert m.cpu.rflags & 1


@pytest.mark.parametrize("code", [INCSSPQ, INCSSPD, WRSSQ, WRSSD, RSTORSSP, SAVEPREVSSP, SETSSBSY, CLRSSBSY])
def test_without_a_shadow_stack(code: str) -> None:
    assert CetMachine().fault(code, rbx=SHADOW) == (UD, None)
    assert BareMachine("long", "default").fault(code, rbx=DATA) == (UD, None)


def test_supervisor_instructions_in_user_mode() -> None:
    for code in (WRUSSQ, SETSSBSY, CLRSSBSY):
        m = CetMachine(cpl=3, u_cet=ON)
        m.cpu.s_cet = WR_SHSTK if code == WRUSSQ else SH_STK
        m.put(TOP, TOP)
        m.cpu.pl_ssp = (TOP, 0, 0, 0)
        assert m.fault(code, rbx=USER_SHADOW) == (GP, 0)


def test_a_processor_without_the_feature_runs_nops() -> None:
    m = BareMachine("long", "haswell")
    m.run(RDSSPQ + "f30f1efa", rax=5)
    assert m.cpu.rax == 5


# ----- pages -----
READ_IT = INCSSPQ  # with a count of 0 it reads the top


@pytest.mark.parametrize(
    ("entry", "error"),
    [(SUPERVISOR_ENTRY | 2, 0x41), (SUPERVISOR_ENTRY & ~0x40, 0x41), (USER_ENTRY, 0x41), (0, 0x40)],
)
def test_what_is_no_supervisor_shadow_stack(entry: int, error: int) -> None:
    m = shadow()
    m.map(SHADOW + 0x1000, entry)
    m.cpu.ssp = SHADOW + 0x1800
    m.step(READ_IT, rax=0)
    assert m.cpu.activity == 2 and m.cpu.cr2 in range(SHADOW + 0x17D0, SHADOW + 0x1801)
    m = shadow()
    m.map(SHADOW + 0x1000, entry)
    assert m.fault(WRSSQ, rbx=SHADOW + 0x1800) == (PF, error | 2)
    assert m.cpu.cr2 == SHADOW + 0x1800


def test_the_entries_above_must_be_writable() -> None:
    m = CetMachine(s_cet=ON)
    m.memory.write(0x3008, struct.pack("<Q", 0x20000 | 5))
    m.cpu.cr3 = m.cpu.cr3
    m.step(CALL_RET)
    assert m.cpu.activity == 2


def test_user_accesses_and_supervisor_pages() -> None:
    m = CetMachine(cpl=3, u_cet=ON)
    m.run(WRSSQ, rbx=USER_SHADOW, rax=3)
    assert m.word(USER_SHADOW) == 3
    assert m.fault(WRSSQ, rbx=SHADOW) == (PF, 0x47)


def test_ordinary_writes_find_a_read_only_page() -> None:
    m = shadow()
    m.run("488b03", rbx=SHADOW)  # reads are as of any page
    assert m.fault("488903", rbx=SHADOW) == (PF, 3)
    m = CetMachine(u_cet=ON)
    assert m.fault("488903", rbx=USER_SHADOW) == (PF, 3)
    m.run("488903", rbx=PLAIN, rax=8)
    assert m.word(PLAIN) == 8


def test_translations_are_kept_apart_and_flushed() -> None:
    m = shadow()
    m.run("488b03", rbx=SHADOW)  # cached for ordinary reads only
    m.run(WRSSQ, rbx=SHADOW, rax=1)
    m.run(WRSSQ, rbx=SHADOW, rax=2)  # by the cached translation
    assert m.word(SHADOW) == 2
    m.memory.write(0x20000, struct.pack("<Q", SHADOW | SUPERVISOR_ENTRY | 2))
    m.run("0f013b", rbx=SHADOW)  # INVLPG
    m.cpu.ssp = USER_SHADOW
    m.map(USER_SHADOW, SUPERVISOR_ENTRY)
    m.cpu.ssp = USER_SHADOW + 0x100
    assert m.fault(WRSSQ, rbx=SHADOW) == (PF, 0x43)


def test_eight_bytes_across_two_pages() -> None:
    m = shadow()
    m.map(SHADOW + 0x1000, SUPERVISOR_ENTRY)
    m.cpu.ssp = SHADOW + 0x1004
    m.run(CALL_RET)
    assert m.word(SHADOW + 0xFFC) == CODE + 5 and m.cpu.ssp == SHADOW + 0x1004
