"""The consistency checks of VMRUN (AMD APM volume 2, 15.5.1), each a row: a control block that meets a row's condition
is refused with exit code VMEXIT_INVALID.

The condition is an expression over the fields of virt/svm/vmcb.py and the names in ENVIRONMENT; the core's predicates
are generated from it (_gen/forms_svm.py), and broken_checks() evaluates it from Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from x86emu.virt.svm.vmcb import FIELDS, read_field

# id | clause | condition | words  (a row may go on on further lines, which begin with blanks)
_TABLE = """
svme            | 15.5.1 | not efer & 0x1000 | EFER.SVME is 0
cr0_cd_nw       | 15.5.1 | cr0 & 0x20000000 and not cr0 & 0x40000000 | CR0.CD is 0 and CR0.NW is 1
cr0_high        | 15.5.1 | cr0 >> 32 | CR0[63:32] are not zero
cr3_reserved    | 15.5.1 | cr3 & cr3_reserved | CR3 has bits set beyond the widest physical address
cr4_reserved    | 15.5.1 | cr4 & cr4_reserved | CR4 has a bit set that the processor does not have
cet_wp          | 15.5.1 | cr4 >> 23 & 1 and not cr0 >> 16 & 1 | CR4.CET is 1 and CR0.WP is 0
s_cet_reserved  | 15.5.1 | cr4 >> 23 & 1 and s_cet & cet_reserved | CR4.CET is 1 and S_CET has a reserved bit set
cet_v86         | 15.5.1 | cr4 >> 23 & 1 and rflags >> 17 & 1 and user_shadow_stack
    | CR4.CET, RFLAGS.VM and SH_STK_EN of U_CET are 1
dr6_high        | 15.5.1 | dr6 >> 32 | DR6[63:32] are not zero
dr7_high        | 15.5.1 | dr7 >> 32 | DR7[63:32] are not zero
efer_reserved   | 15.5.1 | efer & efer_reserved | EFER has a bit set that the processor does not have
no_long_mode    | 15.5.1 | efer & 0x500 and not has_long_mode
    | EFER.LME or LMA is 1 and the processor has no long mode
lme_pg_no_pae   | 15.5.1 | efer & 0x100 and cr0 >> 31 & 1 and not cr4 & 0x20
    | EFER.LME and CR0.PG are 1 and CR4.PAE is 0
lme_pg_no_pe    | 15.5.1 | efer & 0x100 and cr0 >> 31 & 1 and not cr0 & 1
    | EFER.LME and CR0.PG are 1 and CR0.PE is 0
cs_l_and_d      | 15.5.1 | efer & 0x100 and cr0 >> 31 & 1 and cr4 & 0x20 and cs >> 16 & 0x200 and cs >> 16 & 0x400
    | EFER.LME, CR0.PG, CR4.PAE, CS.L and CS.D are all 1
vmrun_intercept | 15.5.1 | not intercept_misc2 & 1 | VMRUN is not intercepted
asid_zero       | 15.5.1 | guest_asid == 0 | the ASID is 0
asid_range      | 15.5.1 | guest_asid >= asids | the ASID is beyond those that CPUID 8000000Ah tells
msr_map         | 15.11  | intercept_misc1 >> 28 & 1
    and (msrpm_base_pa & physical_mask & ~0xFFF) + 0x1FFF > physical_mask
    | the MSR permission map reaches beyond physical memory's addresses
io_map          | 15.10.1 | intercept_misc1 >> 27 & 1
    and (iopm_base_pa & physical_mask & ~0xFFF) + 0x2FFF > physical_mask
    | the I/O permission map reaches beyond physical memory's addresses
event_type      | 15.20  | eventinj >> 31 & 1 and eventinj >> 8 & 7 != 0 and eventinj >> 8 & 7 != 2
    and eventinj >> 8 & 7 != 3 and eventinj >> 8 & 7 != 4
    | the event to inject has a reserved type
event_vector    | 15.20  | eventinj >> 31 & 1 and eventinj >> 8 & 7 == 3
    and (eventinj & 0xFF == 2 or eventinj & 0xFF > 31)
    | the event to inject is an exception with a vector that is none
event_long_mode | 15.20  | eventinj >> 31 & 1 and eventinj >> 8 & 7 == 3 and efer & 0x500 == 0x500
    and (eventinj & 0xFF == 4 or eventinj & 0xFF == 5) and cs >> 16 & 0x200
    | the event to inject is an exception that 64-bit mode does not have
pdptes          | 15.5.1 | bad_pdptes
    | CR3 points to page-directory-pointer entries with reserved bits set (PAE paging without nested paging)
vnmi_intercept  | 15.21.10 | v_intr_masking & 4 and has_vnmi and not intercept_misc1 & 2
    | virtual NMI is enabled and NMIs are not intercepted
vnmi_event      | 15.21.10 | v_intr_masking & 4 and has_vnmi and eventinj >> 31 & 1 and eventinj >> 8 & 7 == 2
    and v_irq & 0x10
    | the event to inject is an NMI and virtual NMIs are blocked
avic_paging     | 15.29.3 | v_intr_masking & 0x80 and has_avic and not np_enable & 1
    | AVIC is enabled and nested paging is not
avic_backing    | 15.29.3 | v_intr_masking & 0x80 and has_avic and avic_backing_page & ~0xFFF & ~physical_mask
    | the AVIC backing page lies beyond physical memory's addresses
avic_physical   | 15.29.3 | v_intr_masking & 0x80 and has_avic and avic_physical_table & ~0xFFF & ~physical_mask
    | the table by physical APIC id lies beyond physical memory's addresses
avic_logical    | 15.29.3 | v_intr_masking & 0x80 and has_avic and avic_logical_table & ~0xFFF & ~physical_mask
    | the table by logical APIC id lies beyond physical memory's addresses
avic_index      | 15.29.3 | v_intr_masking & 0x80 and has_avic
    and (avic_physical_table & 0xFFF) > (0x1FF if v_intr_masking & 0x40 else 0xFE)
    | the last index of the table by physical APIC id is too great
np_paging       | 15.25.3 | np_enable & 1 and has_npt and not host_paging
    | nested paging is enabled and the host does not page
ncr3_reserved   | 15.25.4 | np_enable & 1 and has_npt and n_cr3 & ncr3_reserved | nCR3 has reserved bits set
"""

ENVIRONMENT = (
    "cr3_reserved", "cr4_reserved", "efer_reserved", "has_long_mode", "has_npt", "asids", "physical_mask",
    "host_paging", "ncr3_reserved", "bad_pdptes", "has_vnmi", "has_avic", "cet_reserved",
    "user_shadow_stack",
)  # fmt: skip
"""What the conditions name beside the block's fields: facts of the processor model and of the host's state."""


@dataclass(frozen=True)
class Check:
    """One rule that VMRUN enforces."""

    identity: str
    clause: str
    """Section of AMD APM volume 2."""
    condition: str
    """Expression that is true for a block that breaks the rule; valid in Python and in Cython."""
    words: str

    @property
    def fields(self) -> list[str]:
        """The fields that the condition names."""
        return [name for name in FIELDS if f" {name} " in f" {self.condition.replace('(', ' ').replace(')', ' ')} "]


CHECKS: list[Check] = [
    Check(*(part.strip() for part in line.split(" | "))) for line in _TABLE.strip().replace("\n    ", " ").splitlines()
]
"""All rows, in the order in which the core tries them."""


def broken_checks(block: bytes, environment: Mapping[str, int]) -> list[Check]:
    """The rows that a control block breaks; environment gives every name of ENVIRONMENT."""
    names: dict[str, int] = {name: read_field(block, name) for name in FIELDS}
    names.update(environment)
    return [check for check in CHECKS if eval(check.condition, {"__builtins__": {}}, names)]  # noqa: S307


def describe(check: Check, block: bytes) -> str:
    """A sentence: the rule, its clause, and the values that broke it."""
    values = ", ".join(f"{name} = {read_field(block, name):#x}" for name in check.fields)
    return f"VMRUN refused: {check.words} (APM 2, {check.clause}; {check.identity}): {values}."
