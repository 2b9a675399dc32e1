"""Which instructions a hypervisor can intercept: kinds of instructions, for SVM and VMX alike.

AMD APM volume 2, 15.9 (instruction intercepts) and 15.10, 15.11; Intel SDM volume 3C, 26.1.  The kinds say what an
instruction is, not which control intercepts it; that is in virt/svm/exits.py and its VMX counterpart.  In guest mode
the trace builder puts an INTERCEPT record before every instruction that has a kind (core/builder.pyx).
"""

from __future__ import annotations

from x86emu.isa.table import Row

# number | kind | mnemonics | what it is
_TABLE = """
1  | CR_READ    | -         | MOV from a control register
2  | CR_WRITE   | -         | MOV to a control register
3  | DR_READ    | -         | MOV from a debug register
4  | DR_WRITE   | -         | MOV to a debug register
5  | SMSW       | SMSW      | store machine status word
6  | LMSW       | LMSW      | load machine status word
7  | CLTS       | CLTS      | clear task switched flag
8  | SIDT       | SIDT      | store IDTR
9  | SGDT       | SGDT      | store GDTR
10 | SLDT       | SLDT      | store LDTR
11 | STR        | STR       | store task register
12 | LIDT       | LIDT      | load IDTR
13 | LGDT       | LGDT      | load GDTR
14 | LLDT       | LLDT      | load LDTR
15 | LTR        | LTR       | load task register
16 | RDTSC      | RDTSC     | read time stamp counter
17 | RDTSCP     | RDTSCP    | read time stamp counter and processor number
18 | RDPMC      | RDPMC     | read performance counter
19 | PUSHF      | PUSHF     | push flags
20 | POPF       | POPF      | pop flags
21 | CPUID      | CPUID     | processor identification
22 | RSM        | RSM       | leave system management mode
23 | IRET       | IRET      | interrupt return
24 | INT        | INT       | software interrupt
25 | INVD       | INVD      | invalidate caches
26 | WBINVD     | WBINVD,WBNOINVD | write back and invalidate caches
27 | PAUSE      | PAUSE     | spin loop hint
28 | HLT        | HLT       | halt
29 | INVLPG     | INVLPG    | invalidate a page's translation
30 | INVLPGA    | INVLPGA   | invalidate a page's translation in an ASID
31 | IO         | IN,OUT,INS,OUTS,REP_INS,REP_OUTS | port input and output
32 | RDMSR      | RDMSR     | read MSR
33 | WRMSR      | WRMSR     | write MSR
34 | VMRUN      | VMRUN     | run a guest
35 | VMMCALL    | VMMCALL   | call the hypervisor (AMD)
36 | VMLOAD     | VMLOAD    | load further state from a control block
37 | VMSAVE     | VMSAVE    | save further state to a control block
38 | STGI       | STGI      | set the global interrupt flag
39 | CLGI       | CLGI      | clear the global interrupt flag
40 | SKINIT     | SKINIT    | secure initialization
41 | ICEBP      | INT1      | one-byte debug trap
42 | MONITOR    | MONITOR   | arm the monitor
43 | MWAIT      | MWAIT     | wait for the monitored line
44 | XSETBV     | XSETBV    | write an extended control register
45 | INVPCID    | INVPCID   | invalidate by process context
46 | INT3       | INT3      | breakpoint, an exception to the hypervisor
47 | INTO       | INTO      | overflow trap, an exception to the hypervisor
48 | RDRAND     | RDRAND    | random number
49 | RDSEED     | RDSEED    | random seed
50 | VMCALL     | VMCALL    | call the hypervisor (Intel)
51 | VMCLEAR    | VMCLEAR   | clear a VMCS
52 | VMLAUNCH   | VMLAUNCH  | run a guest for the first time
53 | VMPTRLD    | VMPTRLD   | load the current-VMCS pointer
54 | VMPTRST    | VMPTRST   | store the current-VMCS pointer
55 | VMREAD     | VMREAD    | read a VMCS field
56 | VMRESUME   | VMRESUME  | run a guest again
57 | VMWRITE    | VMWRITE   | write a VMCS field
58 | VMXOFF     | VMXOFF    | leave VMX operation
59 | VMXON      | VMXON     | enter VMX operation
60 | INVEPT     | INVEPT    | invalidate translations by EPT
61 | INVVPID    | INVVPID   | invalidate translations by VPID
62 | VMFUNC     | VMFUNC    | call a VM function
63 | INVLPGB    | INVLPGB   | invalidate translations on all processors
64 | TLBSYNC    | TLBSYNC   | wait for the invalidations
65 | RDPID      | RDPID     | read processor number
66 | XSAVES     | XSAVES,XSAVES64 | save supervisor state
67 | XRSTORS    | XRSTORS,XRSTORS64 | restore supervisor state
"""

KINDS: dict[str, int] = {}
"""Number of each kind by its name."""
_BY_MNEMONIC: dict[str, int] = {}
for _line in _TABLE.strip().splitlines():
    _number, _kind, _mnemonics, _ = (part.strip() for part in _line.split("|"))
    KINDS[_kind] = int(_number)
    for _mnemonic in _mnemonics.split(","):
        _BY_MNEMONIC[_mnemonic] = int(_number)
KIND_NAMES: dict[int, str] = {number: name for name, number in KINDS.items()}

# Detail of IO: what the handler cannot see in its record
DETAIL_BYTE, DETAIL_REPEATED, DETAIL_IMMEDIATE, DETAIL_INPUT, DETAIL_STRING = 1, 2, 4, 8, 16
DETAIL_MEMORY = 32
"""SMSW, LMSW, SLDT, STR: the operand is in memory (of the row; those with either form do not set it)."""


def intercept_of(row: Row, mnemonic: str) -> tuple[int, int]:
    """(kind, detail) of an encoding; (0, 0) where it cannot be intercepted."""
    if mnemonic == "MOV" and any(o.letter in "CD" for o in row.operands):
        write = row.operands[0].letter in ("C", "D")
        control = any(o.letter == "C" for o in row.operands)
        return KINDS[("CR_" if control else "DR_") + ("WRITE" if write else "READ")], 0
    kind = _BY_MNEMONIC.get(mnemonic, 0)
    detail = 0
    if kind == KINDS["IO"]:
        plain = mnemonic.removeprefix("REP_")
        detail = (
            (DETAIL_BYTE if row.opcode[-1] & 1 == 0 else 0)
            | (DETAIL_REPEATED if plain != mnemonic else 0)
            | (DETAIL_IMMEDIATE if any(o.letter == "I" for o in row.operands) else 0)
            | (DETAIL_INPUT if plain in ("IN", "INS") else 0)
            | (DETAIL_STRING if plain in ("INS", "OUTS") else 0)
        )
    elif kind and row.has("mem"):
        detail = DETAIL_MEMORY
    return kind, detail
