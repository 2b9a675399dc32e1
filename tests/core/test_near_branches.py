"""Near branches: limits, operand and address sizes, what a refused branch leaves (SDM 2A: Jcc, JMP, CALL, LOOP)."""

import pytest
from bare_guest import CODE, Guest


def limited(size: int, limit: int) -> Guest:
    """Protected mode with a 16- or 32-bit code segment based at CODE."""
    guest = Guest()
    guest.protected()
    guest.cpu.cs.set(8, CODE, limit, 0x409B if size == 32 else 0x9B)
    return guest


@pytest.mark.parametrize("code", ["eb7e", "e9fb000000", "e8fb000000", "b8000100009090ffe0", "b800010000ffd0"])
def test_target_beyond_the_limit_faults_at_the_branch(code: str) -> None:
    guest = limited(32, 0x7F)
    stack = guest.cpu.rsp
    guest.put(stack - 4, b"\x55\xaa\x55\xaa")
    raw = bytes.fromhex(code)
    guest.code(raw)
    assert guest.run() == "halted"
    assert guest.vector() == 13
    frame = guest.words(guest.cpu.rsp, 3)
    assert frame[0] == 0
    assert frame[1] == len(raw) - (5 if raw[0] in (0xE8, 0xE9) else 2)
    assert guest.cpu.rsp == stack - 16  # error code, EIP, CS, EFLAGS: nothing was pushed by the branch itself


def test_conditional_branch_beyond_the_limit_faults_only_when_taken() -> None:
    guest = limited(32, 0x3F)
    guest.code(bytes.fromhex("31c0" "7570" "85c0" "7470"))
    assert guest.run() == "halted"
    assert guest.vector() == 13
    assert guest.word(guest.cpu.rsp + 4) == 6


def test_return_beyond_the_limit_leaves_the_stack() -> None:
    guest = limited(32, 0x3F)
    guest.cpu.rsp -= 4
    stack = guest.cpu.rsp
    guest.put(stack, (0x1000).to_bytes(4, "little"))
    guest.code(bytes.fromhex("c3"))
    assert guest.run() == "halted"
    assert (guest.vector(), guest.cpu.rsp) == (13, stack - 16)


def test_running_past_the_limit_faults_behind_the_last_instruction() -> None:
    guest = limited(32, 0x3)
    guest.code(bytes.fromhex("40404040"))
    assert guest.run() == "halted"
    assert guest.vector() == 13
    assert guest.word(guest.cpu.rsp + 4) == 4
    assert guest.cpu.rax == 4


def test_sixteen_bit_operand_size_truncates_eip() -> None:
    guest = Guest()
    guest.protected()
    guest.put(0x0013, b"\xf4")
    guest.code(bytes.fromhex("66eb10"))  # at 1_0000h, next 1_0003h: IP becomes 0013h
    assert guest.run() == "halted"
    assert guest.cpu.rip == 0x14


def test_sixteen_bit_call_pushes_two_bytes_and_return_takes_them() -> None:
    guest = limited(16, 0xFFFF)
    stack = guest.cpu.rsp
    guest.code(bytes.fromhex("e80100" "f4" "c20400"))
    guest.step()
    assert (guest.cpu.rip, guest.cpu.rsp, guest.word(stack - 2, 2)) == (4, stack - 2, 3)
    guest.step()
    assert (guest.cpu.rip, guest.cpu.rsp) == (3, stack + 4)


@pytest.mark.parametrize("prefix,counter,left", [("", 0x10001, 0x10000), ("67", 0x10001, 0)])
def test_loop_and_jcxz_use_the_address_size(prefix: str, counter: int, left: int) -> None:
    """In 32-bit code ECX counts, with 67h only CX."""
    guest = Guest()
    guest.protected()
    guest.cpu.rcx = counter
    raw = bytes.fromhex(prefix + "e2" + "7e")
    guest.code(raw)
    guest.step()
    taken = guest.cpu.rip == CODE + len(raw) + 0x7E
    assert guest.cpu.rcx == 0x10000
    assert taken == (prefix == "")
    guest.cpu.rcx = 0x10000
    raw = bytes.fromhex(prefix + "e3" + "7e")
    guest.code(raw)
    guest.step()
    assert (guest.cpu.rip == CODE + len(raw) + 0x7E) == (prefix == "67")


@pytest.mark.parametrize(
    "code,zero,taken", [("e1", 0, False), ("e1", 0x40, True), ("e0", 0, True), ("e0", 0x40, False)]
)
def test_loope_and_loopne_look_at_zf(code: str, zero: int, taken: bool) -> None:
    guest = Guest()
    guest.protected()
    guest.cpu.rflags = 2 | zero
    guest.cpu.rcx = 5
    guest.code(bytes.fromhex(code + "10"))
    guest.step()
    assert guest.cpu.rcx == 4
    assert guest.cpu.rip == CODE + 2 + (0x10 if taken else 0)
    assert guest.cpu.rflags & 0x40 == zero


def test_66h_before_a_near_branch_makes_it_16_bits_wide_on_amd() -> None:
    guest = Guest()
    guest.long_mode()
    stack = guest.cpu.rsp
    guest.code(bytes.fromhex("66e80100"))
    guest.step()
    assert (guest.cpu.rip, guest.cpu.rsp, guest.word(stack - 2, 2)) == (CODE + 5 & 0xFFFF, stack - 2, CODE + 4 & 0xFFFF)


def test_66h_before_a_near_branch_is_ignored_in_64_bit_mode_on_intel() -> None:
    guest = Guest("default,-branch16")
    guest.long_mode()
    stack = guest.cpu.rsp
    guest.code(bytes.fromhex("66e801000000" "f4" "66c3"))
    guest.step()
    assert (guest.cpu.rip, guest.cpu.rsp, guest.word(stack - 8, 8)) == (CODE + 7, stack - 8, CODE + 6)
    guest.step()
    assert (guest.cpu.rip, guest.cpu.rsp) == (CODE + 6, stack)


def test_branches_between_pages_follow_a_remapping() -> None:
    """A loop over a page boundary keeps going to where the page tables say after they changed."""
    guest = Guest()
    guest.long_mode()
    table = 0x60000
    for k in range(512):
        guest.put(table + 8 * k, (k << 12 | 7).to_bytes(8, "little"))
    guest.put(0x42000, (table | 7).to_bytes(8, "little"))
    guest.cpu.cr3 = guest.cpu.cr3
    guest.put(0x21000, bytes.fromhex("ffc3" "e9f9efffff"))  # inc ebx; jmp 20000h (from 21007h)
    guest.put(0x31000, bytes.fromhex("ffc6" "e9f9efffff"))  # inc esi instead
    guest.put(0x20000, bytes.fromhex("e9fb0f0000"))  # jmp 21000h
    guest.cpu.rip, guest.cpu.rbx, guest.cpu.rsi = 0x20000, 0, 0
    guest.run(300)
    assert (guest.cpu.rbx, guest.cpu.rsi) == (100, 0)
    guest.put(table + 8 * 0x21, (0x31 << 12 | 7).to_bytes(8, "little"))
    guest.cpu.cr3 = guest.cpu.cr3
    guest.run(300)
    assert (guest.cpu.rbx, guest.cpu.rsi) == (100, 100)


def test_code_that_rewrites_its_own_loop_is_seen() -> None:
    """The loop body is replaced by another instruction from inside the loop."""
    guest = Guest()
    guest.protected()
    # inc eax; mov byte [loop], 43h (inc ebx); dec ecx; jnz loop
    guest.code(bytes.fromhex("40" "c60500000100" "43" "49" "75f5"))
    guest.cpu.rax, guest.cpu.rbx, guest.cpu.rcx = 0, 0, 10
    assert guest.run() == "halted"
    assert (guest.cpu.rax, guest.cpu.rbx, guest.cpu.rcx) == (1, 9, 0)
