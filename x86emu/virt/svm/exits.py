"""The exit codes of SVM (AMD APM volume 2, appendix C) and the control bits that ask for them (15.9 to 15.14).

Intercept vectors are counted in 32-bit words from the start of the control block: word 0 CR reads (15:0) and writes
(31:16), word 1 DR reads and writes, word 2 exceptions, words 3 to 5 the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from x86emu.isa.intercepts import KINDS

# code | name | word.bit or - | instruction kind of isa/intercepts.py or - | what happened
_TABLE = """
060 | INTR           | 3.0  | -       | physical maskable interrupt
061 | NMI            | 3.1  | -       | non-maskable interrupt
062 | SMI            | 3.2  | -       | system management interrupt
063 | INIT           | 3.3  | -       | INIT
064 | VINTR          | 3.4  | -       | the guest can take a virtual interrupt now
065 | CR0_SEL_WRITE  | 3.5  | -       | write of CR0 that changes more than TS and MP
066 | IDTR_READ      | 3.6  | SIDT    | SIDT
067 | GDTR_READ      | 3.7  | SGDT    | SGDT
068 | LDTR_READ      | 3.8  | SLDT    | SLDT
069 | TR_READ        | 3.9  | STR     | STR
06A | IDTR_WRITE     | 3.10 | LIDT    | LIDT
06B | GDTR_WRITE     | 3.11 | LGDT    | LGDT
06C | LDTR_WRITE     | 3.12 | LLDT    | LLDT
06D | TR_WRITE       | 3.13 | LTR     | LTR
06E | RDTSC          | 3.14 | RDTSC   | RDTSC
06F | RDPMC          | 3.15 | RDPMC   | RDPMC
070 | PUSHF          | 3.16 | PUSHF   | PUSHF
071 | POPF           | 3.17 | POPF    | POPF
072 | CPUID          | 3.18 | CPUID   | CPUID
073 | RSM            | 3.19 | RSM     | RSM
074 | IRET           | 3.20 | IRET    | IRET
075 | SWINT          | 3.21 | INT     | INT n
076 | INVD           | 3.22 | INVD    | INVD
077 | PAUSE          | 3.23 | PAUSE   | PAUSE
078 | HLT            | 3.24 | HLT     | HLT
079 | INVLPG         | 3.25 | INVLPG  | INVLPG
07A | INVLPGA        | 3.26 | INVLPGA | INVLPGA
07B | IOIO           | 3.27 | IO      | port access that the permission map intercepts
07C | MSR            | 3.28 | -       | RDMSR or WRMSR that the permission map intercepts
07D | TASK_SWITCH    | 3.29 | -       | task switch
07E | FERR_FREEZE    | 3.30 | -       | processor frozen for a legacy x87 error
07F | SHUTDOWN       | 3.31 | -       | shutdown
080 | VMRUN          | 4.0  | VMRUN   | VMRUN
081 | VMMCALL        | 4.1  | VMMCALL | VMMCALL
082 | VMLOAD         | 4.2  | VMLOAD  | VMLOAD
083 | VMSAVE         | 4.3  | VMSAVE  | VMSAVE
084 | STGI           | 4.4  | STGI    | STGI
085 | CLGI           | 4.5  | CLGI    | CLGI
086 | SKINIT         | 4.6  | SKINIT  | SKINIT
087 | RDTSCP         | 4.7  | RDTSCP  | RDTSCP
088 | ICEBP          | 4.8  | ICEBP   | INT1
089 | WBINVD         | 4.9  | WBINVD  | WBINVD
08A | MONITOR        | 4.10 | MONITOR | MONITOR
08B | MWAIT          | 4.11 | MWAIT   | MWAIT
08C | MWAIT_ARMED    | 4.12 | -       | MWAIT with the monitor armed
08D | XSETBV         | 4.13 | XSETBV  | XSETBV
08E | RDPRU          | 4.14 | -       | RDPRU
08F | EFER_WRITE_TRAP | 4.15 | -      | EFER was written
0A0 | INVLPGB        | 5.0  | INVLPGB | INVLPGB
0A1 | INVLPGB_ILLEGAL | 5.1 | -       | INVLPGB with what a guest may not ask for
0A2 | INVPCID        | 5.2  | INVPCID | INVPCID
0A3 | MCOMMIT        | 5.3  | -       | MCOMMIT
0A4 | TLBSYNC        | 5.4  | TLBSYNC | TLBSYNC
0A5 | BUSLOCK        | 5.5  | -       | split or uncacheable locked access
0A6 | IDLE_HLT       | 5.6  | -       | HLT with no virtual event waiting
400 | NPF            | -    | -       | nested page fault
401 | AVIC_INCOMPLETE_IPI | - | -      | AVIC: an IPI could not be delivered
402 | AVIC_NOACCEL   | -    | -       | AVIC: access that is not accelerated
"""

INVALID = 0xFFFFFFFFFFFFFFFF
"""Exit code of a VMRUN whose control block breaks a rule."""


@dataclass(frozen=True)
class Exit:
    """One exit code."""

    code: int
    name: str
    word: int
    """Intercept word, or -1."""
    bit: int
    kind: int
    """Instruction kind, or 0."""
    description: str


EXITS: dict[int, Exit] = {}
"""By code."""
for _n in range(16):
    EXITS[_n] = Exit(_n, f"CR{_n}_READ", 0, _n, 0, f"read of CR{_n}")
    EXITS[0x10 + _n] = Exit(0x10 + _n, f"CR{_n}_WRITE", 0, 16 + _n, 0, f"write of CR{_n}")
    EXITS[0x20 + _n] = Exit(0x20 + _n, f"DR{_n}_READ", 1, _n, 0, f"read of DR{_n}")
    EXITS[0x30 + _n] = Exit(0x30 + _n, f"DR{_n}_WRITE", 1, 16 + _n, 0, f"write of DR{_n}")
    EXITS[0x90 + _n] = Exit(0x90 + _n, f"CR{_n}_WRITE_TRAP", 4, 16 + _n, 0, f"CR{_n} was written")
for _n in range(32):
    EXITS[0x40 + _n] = Exit(0x40 + _n, f"EXCP{_n}", 2, _n, 0, f"exception vector {_n}")
for _line in _TABLE.strip().splitlines():
    _code, _name, _where, _kind, _description = (part.strip() for part in _line.split("|"))
    _word, _, _bit = _where.partition(".")
    EXITS[int(_code, 16)] = Exit(
        int(_code, 16),
        _name,
        -1 if _where == "-" else int(_word),
        int(_bit or 0),
        KINDS.get(_kind, 0),
        _description,
    )
EXITS[INVALID] = Exit(INVALID, "INVALID", -1, 0, 0, "the control block breaks a rule of VMRUN")

BY_NAME: dict[str, Exit] = {exit_.name: exit_ for exit_ in EXITS.values()}

# Kinds whose instruction checks the privilege level first: at another CPL the instruction's own fault comes before the
# intercept (APM 2, 15.7).
PRIVILEGED = frozenset(
    KINDS[name]
    for name in "LIDT LGDT LLDT LTR INVD WBINVD HLT INVLPG INVLPGA VMRUN VMLOAD VMSAVE STGI CLGI SKINIT MONITOR MWAIT "
    "XSETBV INVPCID INVLPGB TLBSYNC CR_READ CR_WRITE DR_READ DR_WRITE CLTS LMSW RDMSR WRMSR".split()
)


def exit_name(code: int) -> str:
    """The name of an exit code, or its number in hexadecimal."""
    return EXITS[code].name if code in EXITS else f"{code:#x}"


def instruction_table() -> bytes:
    """For the core: four bytes for each kind: word, bit, exit code, 1 where CPL 0 is checked first; word FFh: none."""
    table = bytearray(b"\xff\0\0\0" * 256)
    for exit_ in EXITS.values():
        if exit_.kind:
            table[4 * exit_.kind : 4 * exit_.kind + 3] = bytes([exit_.word, exit_.bit, exit_.code & 0xFF])
    for kind in PRIVILEGED:
        table[4 * kind + 3] = 1
    return bytes(table)
