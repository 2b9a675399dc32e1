"""Basic exit reasons (Intel SDM volume 3D, appendix C), VM-instruction error numbers (volume 3C, 31.4), and words."""

from __future__ import annotations

_REASONS = """
0 | exception or NMI | an exception that the exception bitmap selects, or an NMI
1 | external interrupt | an interrupt arrived while "external-interrupt exiting" was 1
2 | triple fault | the processor met an exception while calling the double-fault handler
3 | INIT | an INIT signal arrived
4 | SIPI | a start-up IPI arrived in the wait-for-SIPI state
5 | I/O SMI | an SMI right after an I/O instruction retired
6 | other SMI | an SMI arrived
7 | interrupt window | RFLAGS.IF is 1 and nothing blocks interrupts, and "interrupt-window exiting" is 1
8 | NMI window | nothing blocks virtual NMIs and "NMI-window exiting" is 1
9 | task switch | the guest attempted a task switch
10 | CPUID | the guest executed CPUID
11 | GETSEC | the guest executed GETSEC
12 | HLT | the guest executed HLT and "HLT exiting" is 1
13 | INVD | the guest executed INVD
14 | INVLPG | the guest executed INVLPG and "INVLPG exiting" is 1
15 | RDPMC | the guest executed RDPMC and "RDPMC exiting" is 1
16 | RDTSC | the guest executed RDTSC and "RDTSC exiting" is 1
17 | RSM | the guest executed RSM in system management mode
18 | VMCALL | the guest executed VMCALL
19 | VMCLEAR | the guest executed VMCLEAR
20 | VMLAUNCH | the guest executed VMLAUNCH
21 | VMPTRLD | the guest executed VMPTRLD
22 | VMPTRST | the guest executed VMPTRST
23 | VMREAD | the guest executed VMREAD
24 | VMRESUME | the guest executed VMRESUME
25 | VMWRITE | the guest executed VMWRITE
26 | VMXOFF | the guest executed VMXOFF
27 | VMXON | the guest executed VMXON
28 | control-register access | the guest accessed CR0, CR3, CR4 or CR8, or executed CLTS or LMSW, as the controls select
29 | MOV DR | the guest executed MOV to or from a debug register and "MOV-DR exiting" is 1
30 | I/O instruction | the guest accessed a port that the I/O bitmaps or "unconditional I/O exiting" select
31 | RDMSR | the guest executed RDMSR and the MSR bitmaps select it
32 | WRMSR | the guest executed WRMSR and the MSR bitmaps select it
33 | VM-entry failure: guest state | the VM entry failed a check on the guest-state area
34 | VM-entry failure: MSR loading | the VM entry could not load an MSR
36 | MWAIT | the guest executed MWAIT and "MWAIT exiting" is 1
37 | monitor trap flag | an instruction ended and "monitor trap flag" is 1
39 | MONITOR | the guest executed MONITOR and "MONITOR exiting" is 1
40 | PAUSE | the guest executed PAUSE and "PAUSE exiting" is 1, or PAUSE-loop exiting
41 | VM-entry failure: machine check | a machine check happened during VM entry
43 | TPR below threshold | the virtual TPR fell below the TPR threshold
44 | APIC access | the guest accessed the APIC-access page
45 | virtualized EOI | an EOI was virtualized for a vector that the EOI-exit bitmap selects
46 | GDTR or IDTR access | the guest executed LGDT, LIDT, SGDT or SIDT and "descriptor-table exiting" is 1
47 | LDTR or TR access | the guest executed LLDT, LTR, SLDT or STR and "descriptor-table exiting" is 1
48 | EPT violation | the EPT paging structures do not allow a guest-physical access
49 | EPT misconfiguration | an EPT paging-structure entry has an unsupported value
50 | INVEPT | the guest executed INVEPT
51 | RDTSCP | the guest executed RDTSCP, with "enable RDTSCP" and "RDTSC exiting" both 1
52 | preemption timer | the VMX-preemption timer counted down to zero
53 | INVVPID | the guest executed INVVPID
54 | WBINVD | the guest executed WBINVD and "WBINVD exiting" is 1
55 | XSETBV | the guest executed XSETBV
56 | APIC write | the guest wrote to the virtual-APIC page where the virtual-machine monitor must emulate it
57 | RDRAND | the guest executed RDRAND and "RDRAND exiting" is 1
58 | INVPCID | the guest executed INVPCID, with "enable INVPCID" and "INVLPG exiting" both 1
59 | VMFUNC | the guest executed a VM function that is not enabled or caused an exit
60 | ENCLS | the guest executed ENCLS
61 | RDSEED | the guest executed RDSEED and "RDSEED exiting" is 1
62 | page-modification log full | the page-modification log was full when an entry was to be made
63 | XSAVES | the guest executed XSAVES for a component that the XSS-exiting bitmap selects
64 | XRSTORS | the guest executed XRSTORS for a component that the XSS-exiting bitmap selects
"""

_ERRORS = """
1 | VMCALL executed in VMX root operation
2 | VMCLEAR with an invalid physical address
3 | VMCLEAR with the VMXON pointer
4 | VMLAUNCH with a VMCS that is not clear
5 | VMRESUME with a VMCS that is not launched
6 | VMRESUME after VMXOFF
7 | VM entry with invalid control fields
8 | VM entry with invalid host-state fields
9 | VMPTRLD with an invalid physical address
10 | VMPTRLD with the VMXON pointer
11 | VMPTRLD with an incorrect VMCS revision identifier
12 | VMREAD or VMWRITE from or to an unsupported VMCS component
13 | VMWRITE to a read-only VMCS component
15 | VMXON executed in VMX root operation
16 | VM entry with an invalid executive-VMCS pointer
17 | VM entry with a non-launched executive VMCS
18 | VM entry with an executive-VMCS pointer that is not the VMXON pointer
19 | VMCALL with a VMCS that is not clear
20 | VMCALL with invalid VM-exit control fields
22 | VMCALL with an incorrect MSEG revision identifier
23 | VMXOFF under dual-monitor treatment of SMIs and SMM
24 | VMCALL with invalid SMM-monitor features
25 | VM entry with invalid VM-execution control fields in the executive VMCS
26 | VM entry with events blocked by MOV SS
28 | invalid operand to INVEPT or INVVPID
"""

EXIT_REASONS: dict[int, tuple[str, str]] = {}
"""Basic exit reason: (name, a sentence)."""
for _line in _REASONS.strip().splitlines():
    _number, _name, _words = (part.strip() for part in _line.split("|"))
    EXIT_REASONS[int(_number)] = (_name, _words)

INSTRUCTION_ERRORS: dict[int, str] = {
    int(_line.split("|")[0]): _line.split("|")[1].strip() for _line in _ERRORS.strip().splitlines()
}
"""VM-instruction error number: words."""


_EPT_BITS = {
    0: "read", 1: "write", 2: "fetch", 3: "readable", 4: "writable", 5: "executable", 7: "linear address valid",
    8: "final address",
}  # fmt: skip
_CR_ACCESS = ("MOV to CR", "MOV from CR", "CLTS", "LMSW")


def explain_vmx_exit(reason: int, qualification: int, rip: int) -> str:
    """One exit as a line: its name, what happened, where, and the qualification in words where it has some."""
    name, words = EXIT_REASONS.get(reason & 0xFFFF, (f"exit reason {reason & 0xFFFF}", "not a known exit reason"))
    line = f"{name} at rip {rip:#x}: {words}"
    basic = reason & 0xFFFF
    if basic in (0, 44, 45, 56):  # what these qualifications mean, operand_words() tells
        return line
    if basic == 28:
        access = _CR_ACCESS[qualification >> 4 & 3]
        return f"{line}; {access}{qualification & 15 if access.startswith('MOV') else ''}"
    if basic == 30:
        instruction = ("IN" if qualification & 8 else "OUT") + ("S" if qualification & 16 else "")
        return f"{line}; {instruction} port {qualification >> 16 & 0xFFFF:#x}, {(qualification & 7) + 1} bytes"
    if basic == 48:
        return f"{line}; {', '.join(text for bit, text in _EPT_BITS.items() if qualification >> bit & 1)}"
    return f"{line}; qualification {qualification:#x}" if qualification else line


def describe_exit(reason: int) -> str:
    """Words for the contents of the exit-reason field, bit 31 (entry failure) included."""
    name, words = EXIT_REASONS.get(reason & 0xFFFF, (f"exit reason {reason & 0xFFFF}", "not a known exit reason"))
    return f"{name}: {words}"
