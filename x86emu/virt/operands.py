"""What the guest's instruction was about, in words: the MSR, the port's data, the field of VMREAD, the address of a
memory operand (Intel SDM volume 3C, 28.2.1 and 28.2.5; AMD APM volume 2, appendix C).

The guest's registers are in an exit's record where it was looked at when it happened (collect.last_exit()); what only
they tell is left out of other records.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from x86emu.isa.msrs import MSRS
from x86emu.virt.vmx.fields import BY_ENCODING

EXCEPTIONS = "#DE #DB NMI #BP #OF #BR #UD #NM #DF 9 #TS #NP #SS #GP #PF 15 #MF #AC #MC #XM #VE #CP".split()
REGISTERS = tuple("rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split())
RAX, RCX, RDX, RBX, RSI, RDI = 0, 1, 2, 3, 6, 7
SVM = 1
MODE_64 = 2
FS, GS = 4, 5
VMCLEAR, VMLAUNCH, VMPTRLD, VMPTRST, VMREAD, VMRESUME, VMWRITE, VMXON = 19, 20, 21, 22, 23, 24, 25, 27
INVEPT, INVVPID, INVPCID = 50, 53, 58
_INVALIDATIONS = {
    INVEPT: ("", "one EPT pointer", "all"),
    INVVPID: ("one address", "one VPID", "all", "one VPID but global pages"),
    INVPCID: ("one address", "one PCID", "all", "all but global pages"),
}
_APIC_ACCESS = ("read", "write", "fetch", "event delivery")


def msr_name(number: int) -> str:
    """An MSR as `EFER (0xc0000080)`."""
    for msr in MSRS:
        if msr.first <= number <= msr.last:
            return f"{msr.name} ({number:#x})"
    return f"MSR {number:#x}"


def field_name(encoding: int) -> str:
    """A VMCS field as its name, and `high half of NAME` where bit 0 of the encoding is set."""
    field = BY_ENCODING.get(encoding & ~1)
    if field is None:
        return f"no known field, encoding {encoding:#x}"
    return f"high half of {field.name}" if encoding & 1 else field.name


def vector_name(vector: int) -> str:
    """An exception as `#PF`, another vector as its number."""
    return EXCEPTIONS[vector] if vector < len(EXCEPTIONS) else f"vector {vector:#x}"


def _interruption(information: int, qualification: int) -> str:
    """Interruption information with the error code above it (28.2.2)."""
    if not information >> 31 & 1:
        return ""
    vector = information & 0xFF
    if information >> 8 & 7 == 0:
        return f"vector {vector:#x}"
    words = vector_name(vector)
    if information >> 11 & 1:
        words += f", error code {information >> 32:#x}"
    if vector == 14:
        words += f", address {qualification:#x}"
    return words + (f", DR6 bits {qualification:#x}" if vector == 1 else "")


def _pair(registers: list[int]) -> int:
    return (registers[RDX] & 0xFFFFFFFF) << 32 | registers[RAX] & 0xFFFFFFFF


def _msr(registers: list[int], write: bool) -> str:
    name = msr_name(registers[RCX] & 0xFFFFFFFF)
    return f"WRMSR {name} = {_pair(registers):#x}" if write else f"RDMSR {name}"


def _cpuid(registers: list[int]) -> str:
    return f"leaf {registers[RAX] & 0xFFFFFFFF:#x}, {registers[RCX] & 0xFFFFFFFF:#x}"


def _data(registers: list[int], size: int) -> str:
    return f"data {registers[RAX] & (1 << 8 * size) - 1:#x}"


def _svm(record: Mapping[str, Any]) -> str:
    code, info1, registers = record["code"], record["info1"], record["registers"]
    if code == 0x7C:
        return _msr(registers, bool(info1 & 1))
    if code == 0x72:
        return _cpuid(registers)
    if code == 0x7B and not info1 & 5:
        return _data(registers, info1 >> 4 & 7)
    if 0x10 <= code <= 0x1F and info1 >> 63:
        return f"CR{code & 15} = {registers[info1 & 15]:#x}"
    if code in (0x80, 0x82, 0x83):
        return f"control block at guest-physical {registers[RAX]:#x}"
    if code == 0x7A:
        return f"address {registers[RAX]:#x}, ASID {registers[RCX] & 0xFFFFFFFF:#x}"
    return f"RAX {registers[RAX]:#x}" if code == 0x81 else ""


def _vmx_qualification(record: Mapping[str, Any]) -> str:
    qualification, information = record["info1"], record["info2"]
    basic = record["code"] & 0xFFFF
    if basic in (0, 1):
        return _interruption(information, qualification)
    if basic == 28 and qualification >> 4 & 3 == 3:
        return f"source {qualification >> 16 & 0xFFFF:#x}"
    if basic == 44:
        kind = qualification >> 12 & 15
        access = _APIC_ACCESS[kind] if kind < 4 else "guest-physical access"
        return f"{access} of APIC register {qualification & 0xFF0:#x}"
    if basic == 56:
        return f"APIC register {qualification & 0xFF0:#x}"
    if basic == 45:
        return f"vector {qualification & 0xFF:#x}"
    return f"guest-physical {record['guest_physical']:#x}" if basic in (48, 49, 62, 66) else ""


def _vmx(record: Mapping[str, Any]) -> str:
    qualification, information, registers = record["info1"], record["info2"], record["registers"]
    basic = record["code"] & 0xFFFF
    if basic in (31, 32):
        return _msr(registers, basic == 32)
    if basic == 10:
        return _cpuid(registers)
    if basic == 18:
        return f"RAX {registers[RAX]:#x}"
    if basic == 28 and not qualification >> 4 & 3:
        return f"CR{qualification & 15} = {registers[qualification >> 8 & 15]:#x}"
    if basic == 29 and not qualification & 16:
        return f"DR{qualification & 7} = {registers[qualification >> 8 & 15]:#x}"
    if basic == 30 and not qualification & 24:
        return _data(registers, (qualification & 7) + 1)
    if basic in (VMREAD, VMWRITE):
        words = f"field {field_name(registers[information >> 28 & 15] & 0xFFFFFFFF)}"
        if basic == VMWRITE and information >> 10 & 1:
            words += f" = {registers[information >> 3 & 15]:#x}"
        return words
    if basic in _INVALIDATIONS:
        kinds, kind = _INVALIDATIONS[basic], registers[information >> 28 & 15]
        return f"type {kind:#x}" + (f" ({kinds[kind]})" if kind < len(kinds) and kinds[kind] else "")
    return ""


def operand_words(record: Mapping[str, Any]) -> str:
    """The operands that an exit had, or the address that it is about; empty where nothing is known."""
    words = "" if record["guest_mode"] == SVM else _vmx_qualification(record)
    if words or "registers" not in record:
        return words
    return _svm(record) if record["guest_mode"] == SVM else _vmx(record)


def memory_operand(record: Mapping[str, Any]) -> int | None:
    """Linear address of the memory operand of an instruction that left a VMX guest in 64-bit mode (28.2.5).

    None where there is none, or where a register or a segment base counts that the record does not have."""
    if record["guest_mode"] == SVM or record["mode"] & 3 != MODE_64 or "registers" not in record:
        return None
    basic, information, registers = record["code"] & 0xFFFF, record["info2"], record["registers"]
    if basic == 30 and record["info1"] & 16:
        return int(registers[RDI if record["info1"] & 8 else RSI])
    known = (VMCLEAR, VMPTRLD, VMPTRST, VMXON, INVEPT, INVVPID, INVPCID, 46)
    if basic not in known and not (basic in (VMREAD, VMWRITE, 47) and not information >> 10 & 1):
        return None
    if information >> 15 & 7 in (FS, GS):
        return None
    address = record["info1"]
    if not information >> 27 & 1:
        address += registers[information >> 23 & 15]
    if not information >> 22 & 1:
        address += registers[information >> 18 & 15] << (information & 3)
    bits = (16, 32, 64)[min(information >> 7 & 7, 2)]
    return int(address & (1 << bits) - 1)
