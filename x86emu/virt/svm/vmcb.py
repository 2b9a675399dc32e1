"""The virtual machine control block (AMD APM volume 2, appendix B, tables B-1 and B-2), field by field.

The core's offsets are generated from this table (_gen/forms_svm.py); format_vmcb() prints a block with names.
"""

from __future__ import annotations

from dataclasses import dataclass

# offset | bytes | name | what it is
_TABLE = """
000 | 2 | intercept_cr_read    | intercept reads of CR0 to CR15
002 | 2 | intercept_cr_write   | intercept writes of CR0 to CR15
004 | 2 | intercept_dr_read    | intercept reads of DR0 to DR15
006 | 2 | intercept_dr_write   | intercept writes of DR0 to DR15
008 | 4 | intercept_exceptions | intercept exception vectors 0 to 31
00C | 4 | intercept_misc1      | INTR, NMI, SMI, INIT, VINTR, descriptor tables, RDTSC, CPUID, HLT, IOIO, MSR ...
010 | 4 | intercept_misc2      | VMRUN, VMMCALL, VMLOAD, VMSAVE, STGI, CLGI, SKINIT, RDTSCP, ICEBP, WBINVD, MONITOR ...
014 | 4 | intercept_misc3      | INVLPGB, INVPCID, MCOMMIT, TLBSYNC, bus lock, idle HLT
03C | 2 | pause_filter_threshold | instructions between PAUSEs that restart the filter
03E | 2 | pause_filter_count   | PAUSEs that are let through
040 | 8 | iopm_base_pa         | physical address of the I/O permission map
048 | 8 | msrpm_base_pa        | physical address of the MSR permission map
050 | 8 | tsc_offset           | added to the TSC that the guest reads
058 | 4 | guest_asid           | address space identifier of the guest
05C | 1 | tlb_control          | 0 nothing, 1 flush all, 3 flush this ASID, 7 flush its non-global entries
060 | 1 | v_tpr                | virtual TPR, bits 3:0
061 | 1 | v_irq                | bit 0 V_IRQ, bit 1 V_GIF, bits 3 and 4 virtual NMI
062 | 1 | v_intr_prio          | bits 3:0 priority, bit 4 ignore the virtual TPR
063 | 1 | v_intr_masking       | bit 0 V_INTR_MASKING, bits 1, 2 V_GIF, V_NMI enable, bits 6, 7 x2AVIC, AVIC enable
064 | 1 | v_intr_vector        | vector of the virtual interrupt
068 | 8 | interrupt_shadow     | bit 0 guest is in an interrupt shadow, bit 1 guest interrupt mask
070 | 8 | exitcode             | why the guest was left
078 | 8 | exitinfo1            | depends on the exit code
080 | 8 | exitinfo2            | depends on the exit code
088 | 8 | exitintinfo          | the event that was being delivered
090 | 8 | np_enable            | bit 0 nested paging, bit 1 SEV, bit 2 SEV-ES, bit 3 guest mode execute trap
098 | 8 | avic_apic_bar        | AVIC: guest-physical APIC base
0A8 | 8 | eventinj             | event to inject
0B0 | 8 | n_cr3                | root of the nested page tables
0B8 | 8 | lbr_virtualization_enable | bit 0 LBR virtualization, bit 1 virtual VMLOAD and VMSAVE
0C0 | 4 | vmcb_clean           | what the hypervisor has not changed since the last exit
0C8 | 8 | nrip                 | address of the next instruction
0D0 | 1 | bytes_fetched        | decode assists: how many instruction bytes follow
0D1 | 15 | instruction_bytes   | decode assists
0E0 | 8 | avic_backing_page    | AVIC: physical address of the virtual APIC's registers
0F0 | 8 | avic_logical_table   | AVIC: physical address of the table by logical APIC id
0F8 | 8 | avic_physical_table  | AVIC: physical address of the table by physical APIC id; bits 8:0 its last index
400 | 16 | es                  | selector, attributes, limit, base
410 | 16 | cs                  | selector, attributes, limit, base
420 | 16 | ss                  | selector, attributes, limit, base
430 | 16 | ds                  | selector, attributes, limit, base
440 | 16 | fs                  | selector, attributes, limit, base
450 | 16 | gs                  | selector, attributes, limit, base
460 | 16 | gdtr                | limit, base
470 | 16 | ldtr                | selector, attributes, limit, base
480 | 16 | idtr                | limit, base
490 | 16 | tr                  | selector, attributes, limit, base
4CB | 1 | cpl                  | current privilege level
4D0 | 8 | efer                 | extended feature enables
548 | 8 | cr4                  | control register 4
550 | 8 | cr3                  | control register 3
558 | 8 | cr0                  | control register 0
560 | 8 | dr7                  | debug control
568 | 8 | dr6                  | debug status
570 | 8 | rflags               | flags
578 | 8 | rip                  | instruction pointer
5D8 | 8 | rsp                  | stack pointer
5E0 | 8 | s_cet                | control-flow enforcement in supervisor mode
5E8 | 8 | ssp                  | shadow-stack pointer
5F0 | 8 | isst_addr            | table of shadow stacks for interrupts
5F8 | 8 | rax                  | accumulator
600 | 8 | star                 | SYSCALL's selectors
608 | 8 | lstar                | SYSCALL's 64-bit target
610 | 8 | cstar                | SYSCALL's compatibility mode target
618 | 8 | sfmask               | SYSCALL's flag mask
620 | 8 | kernel_gs_base       | what SWAPGS exchanges
628 | 8 | sysenter_cs          | SYSENTER's selector
630 | 8 | sysenter_esp         | SYSENTER's stack pointer
638 | 8 | sysenter_eip         | SYSENTER's target
640 | 8 | cr2                  | page-fault address
668 | 8 | g_pat                | guest's PAT, with nested paging
670 | 8 | dbgctl               | debug control MSR, with LBR virtualization
678 | 8 | br_from              | last branch: from
680 | 8 | br_to                | last branch: to
688 | 8 | last_excp_from       | last exception: from
690 | 8 | last_excp_to         | last exception: to
"""


@dataclass(frozen=True)
class Field:
    """One field of the control block."""

    offset: int
    width: int
    """Bytes."""
    name: str
    description: str


FIELDS: dict[str, Field] = {}
"""Every field by its name, in the order of the block."""
for _line in _TABLE.strip().splitlines():
    _offset, _width, _name, _description = (part.strip() for part in _line.split("|"))
    FIELDS[_name] = Field(int(_offset, 16), int(_width), _name, _description)

CLEAN_AREAS: dict[str, str] = {
    "intercepts": "intercept_cr_read intercept_cr_write intercept_dr_read intercept_dr_write intercept_exceptions "
    "intercept_misc1 intercept_misc2 intercept_misc3 pause_filter_threshold pause_filter_count tsc_offset",
    "permission_maps": "iopm_base_pa msrpm_base_pa",
    "asid": "guest_asid",
    "tpr": "v_tpr v_irq v_intr_prio v_intr_masking v_intr_vector",
    "nested_paging": "np_enable n_cr3 g_pat",
    "control_registers": "cr0 cr3 cr4 efer",
    "debug_registers": "dr6 dr7",
    "descriptor_tables": "gdtr idtr",
    "segments": "es cs ss ds cpl",
    "cr2": "cr2",
    "lbr": "dbgctl br_from br_to last_excp_from last_excp_to",
    "avic": "avic_apic_bar avic_backing_page avic_logical_table avic_physical_table",
    "cet": "s_cet ssp isst_addr",
}
"""What each bit of vmcb_clean vouches for, from bit 0 on (15.15.3, table 15-9)."""

CLEAN_BIT: dict[str, int] = {
    name: bit for bit, names in enumerate(CLEAN_AREAS.values()) for name in names.split()
}
"""The clean bit of each field that has one; the others are loaded at every VMRUN."""

SIZE = 0x1000
"""Bytes of a control block: one page."""


def read_field(block: bytes, name: str) -> int:
    """The value of a field in the 4096 bytes of a block. KeyError for a name that no field has."""
    field = FIELDS[name]
    return int.from_bytes(block[field.offset : field.offset + field.width], "little")


def segment(block: bytes, name: str) -> tuple[int, int, int, int]:
    """(selector, attributes, limit, base) of a segment register's field."""
    raw = block[FIELDS[name].offset :]
    return (
        int.from_bytes(raw[0:2], "little"),
        int.from_bytes(raw[2:4], "little"),
        int.from_bytes(raw[4:8], "little"),
        int.from_bytes(raw[8:16], "little"),
    )


def format_vmcb(block: bytes) -> str:
    """A control block as a table: offset, name, value, and what the field is; zero fields are left out."""
    lines = []
    for field in FIELDS.values():
        raw = block[field.offset : field.offset + field.width]
        if not any(raw):
            continue
        if field.offset >= 0x400 and field.width == 16:
            selector, attributes, limit, base = segment(block, field.name)
            value = f"{selector:04x} attributes {attributes:03x} limit {limit:08x} base {base:016x}"
        elif field.width == 15:
            value = raw.hex(" ")
        else:
            value = f"{int.from_bytes(raw, 'little'):0{2 * field.width}x}"
        lines.append(f"{field.offset:03x}  {field.name:26} {value:18} {field.description}")
    return "\n".join(lines)
