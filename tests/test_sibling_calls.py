"""Handlers go on to the next record by an indirect jump, as the disassembled extensions show.

core/state.pxd, chain(): the call of the next handler stands in tail position, which gcc -O2 turns into a jump.  A local
variable whose address escapes, or an argument on the stack, would quietly make a call of it.
tests/core/test_chaining.py runs every row for that; this test looks at the code of the hot forms.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

HOT = """
ADD_Rd_Rd ADD_Rq_I ADD_Rq_Rq_nf SUB_Rq_I CMP_Rq_Rq CMP_Rd_I CMP_Mb_I TEST_Rq_Rq TEST_Rb_I TEST_Mb_I XOR_Rd_Rd
AND_Rd_I OR_Rq_Rq ADC_Rd_Rd SBB_Rd_Rd INC_Rd DEC_Rq NEG_Rq MOV_Rq_Rq MOV_Rd_I MOV_Rq_Mq MOV_Mq_Rq MOV_Md_I
MOVZX_Rd_Mb MOVZX_Rd_Rb MOVSX_Rq_Mw LEA_Rq_M PUSH_Rq POP_Rq JZ_Jd JNZ_Jd JMP_Jd CALL_Jd RET_q JB_Jd JNL_Jd
CMP_Rb_I__JB_Jq SHL_Rq_I SHR_Rd_I SAR_Rq_I SHL_Rd_CL ROL_Rd_I IMUL_Rq_Rq CMOVZ_Rq_Rq SETZ_Rb BT_Rq_I BSF_Rd_Rd
XCHG_Rq_Rq MOVAPS_V_V MOVAPS_V_Mx MOVAPS_Mx_V PADDD_V_V PXOR_V_V ADDSD_V_V MULPD_V_V LOAD_d LOAD_q FLD_Md
FADD_ST0_STi MOVSXD_Rq_Rd ANDN_Rq_Rq_Rq SHLX_Rd_Rd_Rd VMOVDQU_Y_My VMOVDQU_My_Y VMOVAPS_V_Mx VPADDB_Y_Y_Y VPXOR_Y_Y_Y
VPCMPEQB_Y_Y_Y PMOVMSKB_Rd_Y VZEROUPPER VADDPS_Y_Y_Y VMULSD_V_V_V VPSHUFB_Y_Y_Y VPBROADCASTB_Y_V
""".split()
LONGEST = 4096
INDIRECT_JUMP = re.compile(r"\bjmp +\*(?!.*\(%rip\))")
INDIRECT_CALL = re.compile(r"\bcall +\*(?!.*\(%rip\))")
DIRECT_JUMP = re.compile(r"^j\w+ +(?:0x)?([0-9a-f]+)\b")
END = re.compile(r"^(jmp|ret)\b")

pytestmark = [
    pytest.mark.skipif(platform.machine() != "x86_64", reason="reads x86-64 machine code"),
    pytest.mark.skipif(shutil.which("objdump") is None, reason="needs objdump; apt-get install binutils"),
]


@cache
def mappings() -> list[tuple[int, int, int, Path]]:
    """(start, end, file offset, file) of the extensions in this process."""
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        fields = line.split()
        if len(fields) == 6 and fields[5].endswith(".so") and "/x86emu/" in fields[5]:
            start, end = (int(text, 16) for text in fields[0].split("-"))
            found.append((start, end, int(fields[2], 16), Path(fields[5])))
    return found


@cache
def load_addresses(library: Path) -> list[tuple[int, int, int]]:
    """(file offset, size, address) of the segments of a library."""
    text = subprocess.run(["objdump", "-p", str(library)], capture_output=True, text=True, check=True).stdout
    pattern = re.compile(r"LOAD off +0x(\w+) vaddr 0x(\w+) .*\n +filesz 0x(\w+)")
    return [(int(offset, 16), int(size, 16), int(vaddr, 16)) for offset, vaddr, size in pattern.findall(text)]


def locate(address: int) -> tuple[Path, int]:
    """The library that an address of this process belongs to, and the address in the library's own terms."""
    for start, end, offset, library in mappings():
        if start <= address < end:
            in_file = address - start + offset
            for first, size, vaddr in load_addresses(library):
                if first <= in_file < first + size:
                    return library, in_file - first + vaddr
    raise LookupError(f"{address:#x} is in no extension of the package")


def instructions(library: Path, start: int, end: int) -> list[str]:
    """The disassembly between two addresses, without addresses and bytes."""
    command = ["objdump", "-d", "--no-show-raw-insn", f"--start-address={start}", f"--stop-address={end}", str(library)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.split(":", 1)[1].strip() for line in text.splitlines() if re.match(r"^ +[0-9a-f]+:", line)]


@cache
def starts() -> dict[Path, list[int]]:
    """Where handlers begin, by library."""
    import x86emu._core  # noqa: F401 - loads every handler
    from x86emu.core.registry import handler_address, handler_names

    by_library: dict[Path, set[int]] = {}
    for name in handler_names():
        library, address = locate(handler_address(name))
        by_library.setdefault(library, set()).add(address)
    return {library: sorted(found) for library, found in by_library.items()}


def code_of(name: str) -> list[str]:
    """The instructions of a handler, up to where the next one begins, and of the code outside that it jumps to.

    gcc moves unlikely parts away, and lets handlers that end alike share their ends.
    """
    from x86emu.core.registry import handler_address

    handlers = starts()
    library, address = locate(handler_address(name))
    beginnings = handlers[library]
    end = min([other for other in beginnings if other > address] + [address + LONGEST])
    code = instructions(library, address, end)
    seen: set[int] = set()
    for line in code:  # grows while it is walked
        jump = DIRECT_JUMP.match(line)
        target = int(jump[1], 16) if jump else address
        if not address <= target < end and target not in seen:
            seen.add(target)
            away = instructions(library, target, target + LONGEST)
            length = next((n for n, found in enumerate(away) if END.match(found)), len(away) - 1)
            code += away[: length + 1]
    return code


@pytest.mark.parametrize("name", HOT)
def test_hot_handler_ends_in_a_jump(name: str) -> None:
    code = code_of(name)
    assert any(INDIRECT_JUMP.search(line) for line in code), "\n".join(code)
    assert not any(INDIRECT_CALL.search(line) for line in code), "\n".join(code)


def test_the_patterns() -> None:
    assert INDIRECT_JUMP.search("jmp    *0x40(%rsi)") and INDIRECT_JUMP.search("jmp    *%rax")
    assert not INDIRECT_JUMP.search("jmp    *0x2fe2(%rip)        # 4ff8") and not INDIRECT_JUMP.search("jmp    4a10")
    assert INDIRECT_CALL.search("call   *0x40(%rsi)") and not INDIRECT_CALL.search("call   *0x2fb2(%rip)        # 3f")
