# ruff: noqa: E501
"""The checks of VM entry (Intel SDM volume 3C, chapter 27), each a row of data.

A row's condition is true for a VMCS that *breaks* the rule.  It is an expression over field names of fields.py, the
names in ENVIRONMENT (facts of the processor) and a few functions; controls are written PIN.name, PRI.name, SEC.name,
TER.name, EXIT.name, ENTRY.name with the names of isa/vmx_capabilities.py, SEC and TER being 0 while those controls are not activated.  The
core's predicates are generated from the rows (_gen/forms_vmx.py); broken_checks() evaluates them from Python.

Columns: id | clause | condition | words
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import CodeType

from x86emu.isa.vmx_capabilities import ENTRY, EXIT, PIN, PRIMARY, REVISION, SECONDARY, TERTIARY
from x86emu.virt.vmx.fields import FIELDS

_CONTROLS = """
pin_reserved | 27.2.1.1 | pin_controls & pin_must != pin_must or pin_controls & ~pin_may | a reserved bit of the pin-based controls is not as IA32_VMX_PINBASED_CTLS says
primary_reserved | 27.2.1.1 | primary_controls & primary_must != primary_must or primary_controls & ~primary_may | a reserved bit of the primary processor-based controls is not as IA32_VMX_PROCBASED_CTLS says
secondary_reserved | 27.2.1.1 | PRI.activate_secondary_controls and secondary_controls & ~secondary_may | a reserved bit of the secondary processor-based controls is not as IA32_VMX_PROCBASED_CTLS2 says
tertiary_reserved | 27.2.1.1 | PRI.activate_tertiary_controls and tertiary_controls & ~tertiary_may | a reserved bit of the tertiary processor-based controls is not as IA32_VMX_PROCBASED_CTLS3 says
cr3_targets | 27.2.1.1 | cr3_target_count > 4 | the CR3-target count is above 4
io_bitmap_a | 27.2.1.1 | PRI.use_io_bitmaps and bad_page(io_bitmap_a) | the address of I/O bitmap A is not page-aligned or beyond the physical-address width
io_bitmap_b | 27.2.1.1 | PRI.use_io_bitmaps and bad_page(io_bitmap_b) | the address of I/O bitmap B is not page-aligned or beyond the physical-address width
msr_bitmap | 27.2.1.1 | PRI.use_msr_bitmaps and bad_page(msr_bitmap) | the address of the MSR bitmaps is not page-aligned or beyond the physical-address width
virtual_apic | 27.2.1.1 | PRI.use_tpr_shadow and bad_page(virtual_apic_address) | the virtual-APIC address is not page-aligned or beyond the physical-address width
tpr_threshold_high | 27.2.1.1 | PRI.use_tpr_shadow and not SEC.virtual_interrupt_delivery and tpr_threshold >> 4 | bits 31:4 of the TPR threshold are not 0
tpr_threshold_vtpr | 27.2.1.1 | PRI.use_tpr_shadow and not SEC.virtualize_apic_accesses and not SEC.virtual_interrupt_delivery and (tpr_threshold & 15) > virtual_tpr >> 4 | the TPR threshold is above bits 7:4 of the virtual TPR
x2apic_tpr_shadow | 27.2.1.1 | not PRI.use_tpr_shadow and SEC.virtualize_x2apic_mode | "virtualize x2APIC mode" is 1 and "use TPR shadow" is 0
register_tpr_shadow | 27.2.1.1 | not PRI.use_tpr_shadow and SEC.apic_register_virtualization | "APIC-register virtualization" is 1 and "use TPR shadow" is 0
delivery_tpr_shadow | 27.2.1.1 | not PRI.use_tpr_shadow and SEC.virtual_interrupt_delivery | "virtual-interrupt delivery" is 1 and "use TPR shadow" is 0
nmi_virtual | 27.2.1.1 | not PIN.nmi_exiting and PIN.virtual_nmis | "virtual NMIs" is 1 and "NMI exiting" is 0
nmi_window | 27.2.1.1 | not PIN.virtual_nmis and PRI.nmi_window_exiting | "NMI-window exiting" is 1 and "virtual NMIs" is 0
apic_access | 27.2.1.1 | SEC.virtualize_apic_accesses and bad_page(apic_access_address) | the APIC-access address is not page-aligned or beyond the physical-address width
x2apic_accesses | 27.2.1.1 | SEC.virtualize_x2apic_mode and SEC.virtualize_apic_accesses | "virtualize x2APIC mode" and "virtualize APIC accesses" are both 1
delivery_external | 27.2.1.1 | SEC.virtual_interrupt_delivery and not PIN.external_interrupt_exiting | "virtual-interrupt delivery" is 1 and "external-interrupt exiting" is 0
posted_delivery | 27.2.1.1 | PIN.process_posted_interrupts and not SEC.virtual_interrupt_delivery | "process posted interrupts" is 1 and "virtual-interrupt delivery" is 0
posted_acknowledge | 27.2.1.1 | PIN.process_posted_interrupts and not EXIT.acknowledge_interrupt_on_exit | "process posted interrupts" is 1 and "acknowledge interrupt on exit" is 0
posted_vector | 27.2.1.1 | PIN.process_posted_interrupts and posted_interrupt_vector >> 8 | bits 15:8 of the posted-interrupt notification vector are not 0
posted_descriptor | 27.2.1.1 | PIN.process_posted_interrupts and bad_aligned(posted_interrupt_descriptor, 63) | the posted-interrupt descriptor is not 64-byte aligned or beyond the physical-address width
vpid_zero | 27.2.1.1 | SEC.enable_vpid and virtual_processor_id == 0 | "enable VPID" is 1 and the VPID is 0
eptp_type | 27.2.1.1 | SEC.enable_ept and ept_pointer & 7 != 0 and ept_pointer & 7 != 6 | the EPT memory type is neither uncacheable nor write-back
eptp_levels | 27.2.1.1 | SEC.enable_ept and ept_pointer >> 3 & 7 != 3 and not (ept_pointer >> 3 & 7 == 4 and ept_five_levels) | the EPT page-walk length is not supported
eptp_accessed_dirty | 27.2.1.1 | SEC.enable_ept and ept_pointer >> 6 & 1 and not ept_accessed_dirty | accessed and dirty flags for EPT are enabled and the processor has none
eptp_reserved | 27.2.1.1 | SEC.enable_ept and ept_pointer & (physical_reserved | 0xF80) | a reserved bit of the EPT pointer is set
unrestricted_ept | 27.2.1.1 | SEC.unrestricted_guest and not SEC.enable_ept | "unrestricted guest" is 1 and "enable EPT" is 0
pml_ept | 27.2.1.1 | SEC.enable_pml and not SEC.enable_ept | "enable PML" is 1 and "enable EPT" is 0
pml_address | 27.2.1.1 | SEC.enable_pml and bad_page(pml_address) | the PML address is not page-aligned or beyond the physical-address width
mode_based_ept | 27.2.1.1 | SEC.mode_based_execute and not SEC.enable_ept | "mode-based execute control for EPT" is 1 and "enable EPT" is 0
sub_page_ept | 27.2.1.1 | SEC.sub_page_write_permission and not SEC.enable_ept | "sub-page write permissions for EPT" is 1 and "enable EPT" is 0
sub_page_table | 27.2.1.1 | SEC.sub_page_write_permission and bad_page(sub_page_permission_pointer) | the sub-page-permission-table pointer is not page-aligned or beyond the physical-address width
vm_functions_reserved | 27.2.1.1 | SEC.enable_vm_functions and vm_function_controls & ~vm_functions_may | a reserved bit of the VM-function controls is set
eptp_switching_ept | 27.2.1.1 | SEC.enable_vm_functions and vm_function_controls & 1 and not SEC.enable_ept | "EPTP switching" is 1 and "enable EPT" is 0
eptp_list | 27.2.1.1 | SEC.enable_vm_functions and vm_function_controls & 1 and bad_page(eptp_list_address) | the EPTP-list address is not page-aligned or beyond the physical-address width
vmread_bitmap | 27.2.1.1 | SEC.vmcs_shadowing and bad_page(vmread_bitmap) | the address of the VMREAD bitmap is not page-aligned or beyond the physical-address width
vmwrite_bitmap | 27.2.1.1 | SEC.vmcs_shadowing and bad_page(vmwrite_bitmap) | the address of the VMWRITE bitmap is not page-aligned or beyond the physical-address width
virtualization_exception | 27.2.1.1 | SEC.ept_violation_ve and bad_page(virtualization_exception_information) | the address of the virtualization-exception information area is not page-aligned or beyond the physical-address width
tsc_multiplier_zero | 27.2.1.1 | SEC.use_tsc_scaling and tsc_multiplier == 0 | "use TSC scaling" is 1 and the TSC multiplier is 0
hlat_ept | 27.2.1.1 | TER.enable_hlat and not SEC.enable_ept | "enable HLAT" is 1 and "enable EPT" is 0
hlat_reserved | 27.2.1.1 | TER.enable_hlat and hlat_pointer & (physical_reserved | 0xFE7) | a reserved bit of the HLAT pointer is set
paging_write_ept | 27.2.1.1 | (TER.ept_paging_write or TER.guest_paging_verification) and not SEC.enable_ept | "EPT paging-write control" or "guest-paging verification" is 1 and "enable EPT" is 0
ipi_tpr_shadow | 27.2.1.1 | TER.ipi_virtualization and not PRI.use_tpr_shadow | "IPI virtualization" is 1 and "use TPR shadow" is 0
ipi_table | 27.2.1.1 | TER.ipi_virtualization and bad_aligned(pid_pointer_table, 7) | the PID-pointer table is not 8-byte aligned or beyond the physical-address width
ipi_table_end | 27.2.1.1 | TER.ipi_virtualization and (pid_pointer_table + 8 * last_pid_pointer_index + 7) & physical_reserved | the PID-pointer table reaches beyond the physical-address width
exit_reserved | 27.2.1.2 | exit_controls & exit_must != exit_must or exit_controls & ~exit_may | a reserved bit of the VM-exit controls is not as IA32_VMX_EXIT_CTLS says
exit_timer | 27.2.1.2 | not PIN.preemption_timer and EXIT.save_preemption_timer | "save VMX-preemption timer value" is 1 and the timer is not activated
exit_store_list | 27.2.1.2 | exit_msr_store_count and bad_list(exit_msr_store_address, exit_msr_store_count) | the VM-exit MSR-store list is not 16-byte aligned or reaches beyond the physical-address width
exit_load_list | 27.2.1.2 | exit_msr_load_count and bad_list(exit_msr_load_address, exit_msr_load_count) | the VM-exit MSR-load list is not 16-byte aligned or reaches beyond the physical-address width
entry_reserved | 27.2.1.3 | entry_controls & entry_must != entry_must or entry_controls & ~entry_may | a reserved bit of the VM-entry controls is not as IA32_VMX_ENTRY_CTLS says
entry_load_list | 27.2.1.3 | entry_msr_load_count and bad_list(entry_msr_load_address, entry_msr_load_count) | the VM-entry MSR-load list is not 16-byte aligned or reaches beyond the physical-address width
event_type | 27.2.1.3 | EVENT and (event_type == 1 or event_type == 7 and (not has_monitor_trap_flag or event_vector)) | the event to inject has a reserved type
event_nmi_vector | 27.2.1.3 | EVENT and event_type == 2 and event_vector != 2 | the event to inject is an NMI with a vector other than 2
event_exception_vector | 27.2.1.3 | EVENT and event_type == 3 and event_vector > 31 | the event to inject is a hardware exception with a vector above 31
event_error_code | 27.2.1.3 | EVENT and (any_error_code and event_has_error and not event_may_error or not any_error_code and event_has_error != event_wants_error) | "deliver error code" is not as the event to inject demands
event_reserved | 27.2.1.3 | EVENT and entry_interruption_information & 0x7FFFF000 | a reserved bit of the VM-entry interruption-information field is set
event_error_high | 27.2.1.3 | EVENT and event_has_error and entry_exception_error_code >> 16 | bits 31:16 of the VM-entry exception error code are not 0
event_length | 27.2.1.3 | EVENT and (event_type == 4 or event_type == 5 or event_type == 6) and (entry_instruction_length == 0 and not zero_length or entry_instruction_length > 15) | the VM-entry instruction length of a software event is not 1 to 15 (or 0, where the processor allows that)
entry_smm | 27.2.1.3 | entry_controls & 0x400 and not in_smm | "entry to SMM" is 1 outside system management mode
entry_dual_monitor | 27.2.1.3 | entry_controls & 0x800 and not in_smm | "deactivate dual-monitor treatment" is 1 outside system management mode
"""

_HOST = """
host_cr0_fixed | 27.2.2 | host_cr0 & cr0_fixed0 != cr0_fixed0 or host_cr0 & ~cr0_fixed1 | host CR0 has a bit that is not supported in VMX operation
host_cr4_fixed | 27.2.2 | host_cr4 & cr4_fixed0 != cr4_fixed0 or host_cr4 & ~cr4_fixed1 | host CR4 has a bit that is not supported in VMX operation
host_cr3 | 27.2.2 | host_cr3 & physical_reserved | host CR3 is beyond the physical-address width
host_sysenter_esp | 27.2.2 | not canonical(host_sysenter_esp) | host IA32_SYSENTER_ESP is not canonical
host_sysenter_eip | 27.2.2 | not canonical(host_sysenter_eip) | host IA32_SYSENTER_EIP is not canonical
host_pat | 27.2.2 | EXIT.load_pat and not valid_pat(host_pat) | host IA32_PAT has a reserved memory type
host_efer_reserved | 27.2.2 | EXIT.load_efer and host_efer & ~efer_valid | host IA32_EFER has a reserved bit set
host_efer_mode | 27.2.2 | EXIT.load_efer and ((host_efer >> 8 & 1) != EXIT.host_address_space_size or (host_efer >> 10 & 1) != EXIT.host_address_space_size) | LMA and LME of host IA32_EFER differ from "host address-space size"
host_cet_wp | 27.2.2 | host_cr4 >> 23 & 1 and not host_cr0 >> 16 & 1 | host CR4.CET is 1 and CR0.WP is 0
host_s_cet | 27.2.2 | EXIT.load_cet_state and bad_cet(host_s_cet) | host IA32_S_CET is not canonical, or has a reserved bit or both SUPPRESS and TRACKER set
host_ssp | 27.2.2 | EXIT.load_cet_state and (host_ssp & 3 or not canonical(host_ssp)) | host SSP is not 4-byte aligned or not canonical
host_interrupt_ssp_table | 27.2.2 | EXIT.load_cet_state and not canonical(host_interrupt_ssp_table) | host IA32_INTERRUPT_SSP_TABLE_ADDR is not canonical
host_pkrs | 27.2.2 | EXIT.load_pkrs and host_pkrs >> 32 | bits 63:32 of host IA32_PKRS are not 0
host_selector_rpl | 27.2.3 | (host_cs_selector | host_ss_selector | host_ds_selector | host_es_selector | host_fs_selector | host_gs_selector | host_tr_selector) & 7 | a host selector has RPL or TI not 0
host_cs_null | 27.2.3 | host_cs_selector == 0 | the host CS selector is 0
host_tr_null | 27.2.3 | host_tr_selector == 0 | the host TR selector is 0
host_ss_null | 27.2.3 | not EXIT.host_address_space_size and host_ss_selector == 0 | the host SS selector is 0 with a 32-bit host
host_fs_base | 27.2.3 | not canonical(host_fs_base) | host FS base is not canonical
host_gs_base | 27.2.3 | not canonical(host_gs_base) | host GS base is not canonical
host_gdtr_base | 27.2.3 | not canonical(host_gdtr_base) | host GDTR base is not canonical
host_idtr_base | 27.2.3 | not canonical(host_idtr_base) | host IDTR base is not canonical
host_tr_base | 27.2.3 | not canonical(host_tr_base) | host TR base is not canonical
space_guest | 27.2.4 | not host_long and (ENTRY.ia32e_mode_guest or EXIT.host_address_space_size) | outside IA-32e mode, "IA-32e mode guest" or "host address-space size" is 1
space_host | 27.2.4 | host_long and not EXIT.host_address_space_size | in IA-32e mode, "host address-space size" is 0
space_32 | 27.2.4 | not EXIT.host_address_space_size and (ENTRY.ia32e_mode_guest or host_cr4 >> 17 & 1 or host_rip >> 32) | a 32-bit host with "IA-32e mode guest", CR4.PCIDE or RIP above 4 GiB
space_32_cet | 27.2.4 | not EXIT.host_address_space_size and EXIT.load_cet_state and (host_s_cet >> 32 or host_ssp >> 32) | a 32-bit host with IA32_S_CET or SSP above 4 GiB
space_64 | 27.2.4 | EXIT.host_address_space_size and (not host_cr4 >> 5 & 1 or not canonical(host_rip)) | a 64-bit host without CR4.PAE or with a RIP that is not canonical
"""

_GUEST = """
cr0_fixed | 27.3.1.1 | guest_cr0 & cr0_guest_fixed0 != cr0_guest_fixed0 or guest_cr0 & ~cr0_fixed1 | guest CR0 has a bit that is not supported in VMX operation
cr0_pg_pe | 27.3.1.1 | guest_cr0 >> 31 & 1 and not guest_cr0 & 1 | guest CR0.PG is 1 and PE is 0
cr4_fixed | 27.3.1.1 | guest_cr4 & cr4_fixed0 != cr4_fixed0 or guest_cr4 & ~cr4_fixed1 | guest CR4 has a bit that is not supported in VMX operation
debugctl | 27.3.1.1 | ENTRY.load_debug_controls and guest_debugctl & ~3 | guest IA32_DEBUGCTL has a reserved bit set
ia32e_paging | 27.3.1.1 | LONG and not (guest_cr0 >> 31 & 1 and guest_cr4 >> 5 & 1) | "IA-32e mode guest" is 1 and guest CR0.PG or CR4.PAE is 0
pcide | 27.3.1.1 | not LONG and guest_cr4 >> 17 & 1 | guest CR4.PCIDE is 1 outside IA-32e mode
cr3 | 27.3.1.1 | guest_cr3 & physical_reserved | guest CR3 is beyond the physical-address width
dr7 | 27.3.1.1 | ENTRY.load_debug_controls and guest_dr7 >> 32 | bits 63:32 of guest DR7 are not 0
sysenter_esp | 27.3.1.1 | not canonical(guest_sysenter_esp) | guest IA32_SYSENTER_ESP is not canonical
sysenter_eip | 27.3.1.1 | not canonical(guest_sysenter_eip) | guest IA32_SYSENTER_EIP is not canonical
pat | 27.3.1.1 | ENTRY.load_pat and not valid_pat(guest_pat) | guest IA32_PAT has a reserved memory type
efer_reserved | 27.3.1.1 | ENTRY.load_efer and guest_efer & ~efer_valid | guest IA32_EFER has a reserved bit set
efer_lma | 27.3.1.1 | ENTRY.load_efer and (guest_efer >> 10 & 1) != LONG | LMA of guest IA32_EFER differs from "IA-32e mode guest"
efer_lme | 27.3.1.1 | ENTRY.load_efer and guest_cr0 >> 31 & 1 and (guest_efer >> 8 & 1) != (guest_efer >> 10 & 1) | guest CR0.PG is 1 and LME and LMA of guest IA32_EFER differ
cet_wp | 27.3.1.1 | guest_cr4 >> 23 & 1 and not guest_cr0 >> 16 & 1 | guest CR4.CET is 1 and CR0.WP is 0
s_cet | 27.3.1.1 | ENTRY.load_cet_state and bad_cet(guest_s_cet) | guest IA32_S_CET is not canonical, or has a reserved bit or both SUPPRESS and TRACKER set
interrupt_ssp_table | 27.3.1.1 | ENTRY.load_cet_state and not canonical(guest_interrupt_ssp_table) | guest IA32_INTERRUPT_SSP_TABLE_ADDR is not canonical
pkrs | 27.3.1.1 | ENTRY.load_pkrs and guest_pkrs >> 32 | bits 63:32 of guest IA32_PKRS are not 0
tr_ti | 27.3.1.2 | guest_tr_selector & 4 | TI of guest TR is 1
ldtr_ti | 27.3.1.2 | USABLE(ldtr) and guest_ldtr_selector & 4 | TI of guest LDTR is 1
ss_rpl | 27.3.1.2 | not V86 and not SEC.unrestricted_guest and guest_ss_selector & 3 != guest_cs_selector & 3 | RPL of guest SS differs from RPL of CS
base_canonical | 27.3.1.2 | not canonical(guest_tr_base) or not canonical(guest_fs_base) or not canonical(guest_gs_base) | the base of guest TR, FS or GS is not canonical
ldtr_base | 27.3.1.2 | USABLE(ldtr) and not canonical(guest_ldtr_base) | the base of guest LDTR is not canonical
cs_base | 27.3.1.2 | guest_cs_base >> 32 | bits 63:32 of the base of guest CS are not 0
ss_base | 27.3.1.2 | USABLE(ss) and guest_ss_base >> 32 | bits 63:32 of the base of guest SS are not 0
ds_base | 27.3.1.2 | USABLE(ds) and guest_ds_base >> 32 | bits 63:32 of the base of guest DS are not 0
es_base | 27.3.1.2 | USABLE(es) and guest_es_base >> 32 | bits 63:32 of the base of guest ES are not 0
cs_type | 27.3.1.2 | not V86 and not (guest_cs_access_rights & 9 == 9 or SEC.unrestricted_guest and guest_cs_access_rights & 15 == 3) | the type of guest CS is not accessed code
cs_s | 27.3.1.2 | not V86 and not guest_cs_access_rights & 0x10 | guest CS is a system segment
cs_dpl_data | 27.3.1.2 | not V86 and guest_cs_access_rights & 15 == 3 and DPL(cs) != 0 | guest CS is a data segment with DPL not 0
cs_dpl_code | 27.3.1.2 | not V86 and guest_cs_access_rights & 13 == 9 and DPL(cs) != DPL(ss) | DPL of non-conforming guest CS differs from DPL of SS
cs_dpl_conforming | 27.3.1.2 | not V86 and guest_cs_access_rights & 13 == 13 and DPL(cs) > DPL(ss) | DPL of conforming guest CS is above DPL of SS
cs_present | 27.3.1.2 | not V86 and not guest_cs_access_rights & 0x80 | guest CS is not present
cs_reserved | 27.3.1.2 | not V86 and guest_cs_access_rights & 0xFFFE0F00 | reserved access-rights bits of guest CS are set
cs_l_d | 27.3.1.2 | not V86 and LONG and guest_cs_access_rights & 0x6000 == 0x6000 | guest CS has both L and D set
cs_granularity | 27.3.1.2 | not V86 and bad_limit(guest_cs_limit, guest_cs_access_rights) | G of guest CS does not fit its limit
ss_type | 27.3.1.2 | not V86 and USABLE(ss) and guest_ss_access_rights & 15 != 3 and guest_ss_access_rights & 15 != 7 | the type of guest SS is not writable data
ss_s | 27.3.1.2 | not V86 and USABLE(ss) and not guest_ss_access_rights & 0x10 | guest SS is a system segment
ss_dpl | 27.3.1.2 | not V86 and not SEC.unrestricted_guest and DPL(ss) != guest_ss_selector & 3 | DPL of guest SS differs from its RPL
ss_dpl_real | 27.3.1.2 | not V86 and (guest_cs_access_rights & 15 == 3 or not guest_cr0 & 1) and DPL(ss) != 0 | DPL of guest SS is not 0 in real mode or with CS a data segment
ss_present | 27.3.1.2 | not V86 and USABLE(ss) and not guest_ss_access_rights & 0x80 | guest SS is not present
ss_reserved | 27.3.1.2 | not V86 and USABLE(ss) and guest_ss_access_rights & 0xFFFE0F00 | reserved access-rights bits of guest SS are set
ss_granularity | 27.3.1.2 | not V86 and USABLE(ss) and bad_limit(guest_ss_limit, guest_ss_access_rights) | G of guest SS does not fit its limit
tr_type | 27.3.1.2 | not (guest_tr_access_rights & 15 == 11 or not LONG and guest_tr_access_rights & 15 == 3) | the type of guest TR is not a busy TSS of its mode
tr_s | 27.3.1.2 | guest_tr_access_rights & 0x10 | guest TR is not a system segment
tr_present | 27.3.1.2 | not guest_tr_access_rights & 0x80 | guest TR is not present
tr_reserved | 27.3.1.2 | guest_tr_access_rights & 0xFFFE0F00 | reserved access-rights bits of guest TR are set
tr_granularity | 27.3.1.2 | bad_limit(guest_tr_limit, guest_tr_access_rights) | G of guest TR does not fit its limit
tr_usable | 27.3.1.2 | not USABLE(tr) | guest TR is unusable
ldtr_type | 27.3.1.2 | USABLE(ldtr) and guest_ldtr_access_rights & 15 != 2 | the type of guest LDTR is not LDT
ldtr_s | 27.3.1.2 | USABLE(ldtr) and guest_ldtr_access_rights & 0x10 | guest LDTR is not a system segment
ldtr_present | 27.3.1.2 | USABLE(ldtr) and not guest_ldtr_access_rights & 0x80 | guest LDTR is not present
ldtr_reserved | 27.3.1.2 | USABLE(ldtr) and guest_ldtr_access_rights & 0xFFFE0F00 | reserved access-rights bits of guest LDTR are set
ldtr_granularity | 27.3.1.2 | USABLE(ldtr) and bad_limit(guest_ldtr_limit, guest_ldtr_access_rights) | G of guest LDTR does not fit its limit
gdtr_base | 27.3.1.3 | not canonical(guest_gdtr_base) | the base of guest GDTR is not canonical
idtr_base | 27.3.1.3 | not canonical(guest_idtr_base) | the base of guest IDTR is not canonical
gdtr_limit | 27.3.1.3 | guest_gdtr_limit >> 16 | bits 31:16 of the limit of guest GDTR are not 0
idtr_limit | 27.3.1.3 | guest_idtr_limit >> 16 | bits 31:16 of the limit of guest IDTR are not 0
rip_high | 27.3.1.4 | (not LONG or not guest_cs_access_rights & 0x2000) and guest_rip >> 32 | bits 63:32 of guest RIP are not 0 outside 64-bit mode
rip_canonical | 27.3.1.4 | LONG and guest_cs_access_rights & 0x2000 and not canonical(guest_rip) | guest RIP is not canonical
ssp | 27.3.1.4 | ENTRY.load_cet_state and (guest_ssp & 3 or not canonical(guest_ssp) or (not LONG or not guest_cs_access_rights & 0x2000) and guest_ssp >> 32) | guest SSP is not 4-byte aligned, not canonical, or above 4 GiB outside 64-bit mode
rflags_reserved | 27.3.1.4 | guest_rflags >> 22 or guest_rflags & 0x8028 or not guest_rflags & 2 | a reserved bit of guest RFLAGS is not as it must be
rflags_vm | 27.3.1.4 | V86 and (LONG or not guest_cr0 & 1) | guest RFLAGS.VM is 1 in IA-32e or real mode
rflags_if | 27.3.1.4 | EVENT and event_type == 0 and not guest_rflags & 0x200 | an external interrupt is to be injected and guest RFLAGS.IF is 0
activity_known | 27.3.1.5 | guest_activity > 3 | the activity state is not supported
activity_hlt_dpl | 27.3.1.5 | guest_activity == 1 and DPL(ss) != 0 | the activity state is HLT and DPL of guest SS is not 0
activity_blocking | 27.3.1.5 | guest_activity and guest_interruptibility & 3 | the activity state is not active and STI or MOV SS blocks events
activity_event | 27.3.1.5 | EVENT and guest_activity and not event_wakes | the event to inject is not for the activity state
activity_smm | 27.3.1.5 | guest_activity == 3 and entry_controls & 0x400 | the activity state is wait-for-SIPI on an entry to SMM
interruptibility_reserved | 27.3.1.5 | guest_interruptibility & 0xFFFFFFE0 | a reserved bit of the interruptibility state is set
interruptibility_both | 27.3.1.5 | guest_interruptibility & 3 == 3 | STI and MOV SS both block
interruptibility_sti | 27.3.1.5 | guest_interruptibility & 1 and not guest_rflags & 0x200 | STI blocks and guest RFLAGS.IF is 0
interruptibility_external | 27.3.1.5 | EVENT and event_type == 0 and guest_interruptibility & 3 | an external interrupt is to be injected while STI or MOV SS blocks
interruptibility_nmi | 27.3.1.5 | EVENT and event_type == 2 and guest_interruptibility & 2 | an NMI is to be injected while MOV SS blocks
interruptibility_smm | 27.3.1.5 | (guest_interruptibility >> 2 & 1) != in_smm | blocking by SMI differs from being in system management mode
interruptibility_virtual_nmi | 27.3.1.5 | EVENT and event_type == 2 and PIN.virtual_nmis and guest_interruptibility & 8 | a virtual NMI is to be injected while NMIs are blocked
pending_reserved | 27.3.1.5 | guest_pending_debug & ~0x500F & 0xFFFFFFFFFFFFFFFF | a reserved bit of the pending debug exceptions is set
pending_single_step | 27.3.1.5 | (guest_interruptibility & 3 or guest_activity == 1) and (guest_rflags >> 8 & ~guest_debugctl >> 1 & 1) != (guest_pending_debug >> 14 & 1) | BS of the pending debug exceptions does not fit RFLAGS.TF and BTF while events are blocked
"""

_LATE = """
nmi_sti | 27.3.1.5 | EVENT and event_type == 2 and guest_interruptibility & 1 | 3 | an NMI is to be injected while STI blocks
link_address | 27.3.1.5 | vmcs_link_pointer != 0xFFFFFFFFFFFFFFFF and bad_page(vmcs_link_pointer) | 4 | the VMCS link pointer is not page-aligned or beyond the physical-address width
link_revision | 27.3.1.5 | vmcs_link_pointer != 0xFFFFFFFFFFFFFFFF and (link_revision != (REVISION | SEC.vmcs_shadowing << 31) or vmcs_link_pointer == vmcs_pointer) | 4 | the VMCS link pointer names no VMCS of this processor's revision, or the current one
pdpte | 27.3.1.6 | bad_pdptes | 2 | a present PDPTE of guest PAE paging has a reserved bit set
"""

ENVIRONMENT = (
    "pin_must", "pin_may", "primary_must", "primary_may", "secondary_may", "exit_must", "exit_may", "entry_must",
    "entry_may", "physical_reserved", "cr0_fixed0", "cr0_fixed1", "cr0_guest_fixed0", "cr4_fixed0", "cr4_fixed1",
    "efer_valid", "host_long", "in_smm", "virtual_tpr", "ept_accessed_dirty", "has_monitor_trap_flag",
    "link_revision", "vmcs_pointer", "bad_pdptes", "linear_bits", "tertiary_may", "vm_functions_may", "ept_five_levels",
    "zero_length", "any_error_code", "cet_reserved",
)  # fmt: skip
"""What the conditions name beside fields: facts of the processor and of memory."""


@dataclass(frozen=True)
class Check:
    """One rule that VM entry enforces."""

    number: int
    """1 and up, in the order of checking."""
    identity: str
    stage: str
    """controls (VMfail 7), host (VMfail 8) or guest (entry fails with exit reason 33)."""
    clause: str
    """Section of Intel SDM volume 3C."""
    condition: str
    """As in the row."""
    expression: str
    """With controls and segments spelled out; valid in Python and in Cython."""
    qualification: int
    """Exit qualification of the failed entry."""
    words: str

    @property
    def fields(self) -> list[str]:
        """The VMCS fields that the rule looks at."""
        return sorted({name for name in re.findall(r"\b[a-z]\w+\b", self.expression) if name in FIELDS})


_WORDS = {"PIN": ("pin_controls", PIN), "PRI": ("primary_controls", PRIMARY), "SEC": ("secondary", SECONDARY), "TER": ("tertiary", TERTIARY),
          "EXIT": ("exit_controls", EXIT), "ENTRY": ("entry_controls", ENTRY)}  # fmt: skip


def spell_out(condition: str) -> str:
    """The condition with PIN.x, USABLE(x) and kin replaced."""
    text = re.sub(
        r"\b(PIN|PRI|SEC|TER|EXIT|ENTRY)\.(\w+)",
        lambda m: f"({_WORDS[m[1]][0]} >> {_WORDS[m[1]][1][m[2]]} & 1)",
        condition,
    )
    text = re.sub(r"USABLE\((\w+)\)", r"(guest_\1_access_rights >> 16 & 1 == 0)", text)
    text = re.sub(r"DPL\((\w+)\)", r"(guest_\1_access_rights >> 5 & 3)", text)
    text = re.sub(r"\bV86\b", "v86", text)
    text = re.sub(r"\bLONG\b", "(entry_controls >> 9 & 1)", text)
    text = re.sub(r"\bREVISION\b", f"{REVISION:#x}", text)
    return re.sub(r"\bEVENT\b", "(entry_interruption_information >> 31 & 1)", text)


def _segment_rows() -> list[str]:
    rows = []
    for s in ("cs", "ss", "ds", "es", "fs", "gs"):
        name = s.upper()
        rows += [
            f"{s}_v86_base | 27.3.1.2 | V86 and guest_{s}_base != guest_{s}_selector << 4 | the base of guest {name} "
            "is not 16 times its selector in virtual-8086 mode",
            f"{s}_v86_limit | 27.3.1.2 | V86 and guest_{s}_limit != 0xFFFF | the limit of guest {name} is not FFFFh in "
            "virtual-8086 mode",
            f"{s}_v86_rights | 27.3.1.2 | V86 and guest_{s}_access_rights != 0xF3 | the access rights of guest {name} "
            "are not F3h in virtual-8086 mode",
        ]
    for s in ("ds", "es", "fs", "gs"):
        name, rights, usable = s.upper(), f"guest_{s}_access_rights", f"not V86 and USABLE({s})"
        rows += [
            f"{s}_accessed | 27.3.1.2 | {usable} and not {rights} & 1 | guest {name} is not accessed",
            f"{s}_readable | 27.3.1.2 | {usable} and {rights} & 10 == 8 | guest {name} is code that cannot be read",
            f"{s}_s | 27.3.1.2 | {usable} and not {rights} & 0x10 | guest {name} is a system segment",
            f"{s}_dpl | 27.3.1.2 | {usable} and not SEC.unrestricted_guest and {rights} & 15 < 12 and DPL({s}) < "
            f"guest_{s}_selector & 3 | DPL of guest {name} is below its RPL",
            f"{s}_present | 27.3.1.2 | {usable} and not {rights} & 0x80 | guest {name} is not present",
            f"{s}_reserved | 27.3.1.2 | {usable} and {rights} & 0xFFFE0F00 | reserved access-rights bits of guest "
            f"{name} are set",
            f"{s}_granularity | 27.3.1.2 | {usable} and bad_limit(guest_{s}_limit, {rights}) | G of guest {name} does "
            "not fit its limit",
        ]
    return rows


def _parse() -> list[Check]:
    checks: list[Check] = []

    def add(stage: str, line: str, late: bool = False) -> None:
        parts = [part.strip() for part in re.split(r" \| (?=[^|]*)", line)]
        identity, clause, words = parts[0], parts[1], parts[-1]
        qualification = int(parts[-2]) if late else 0
        condition = " | ".join(parts[2 : -2 if late else -1])
        checks.append(
            Check(len(checks) + 1, identity, stage, clause, condition, spell_out(condition), qualification, words)
        )

    for stage, table in (("controls", _CONTROLS), ("host", _HOST), ("guest", _GUEST)):
        for line in table.strip().splitlines():
            add(stage, line)
    for line in _segment_rows():
        add("guest", line)
    for line in _LATE.strip().splitlines():
        add("guest", line, late=True)
    return checks


CHECKS: list[Check] = _parse()
"""Every check in the order of checking."""


def _canonical_in(bits: int, value: int) -> bool:
    top = value >> (bits - 1)
    return top == 0 or top == (1 << (65 - bits)) - 1


def bad_limit(limit: int, rights: int) -> bool:
    """G must be 0 where any of bits 11:0 is 0, and 1 where any of bits 31:20 is 1."""
    granular = bool(rights & 0x8000)
    return (limit & 0xFFF != 0xFFF and granular) or (limit >> 20 != 0 and not granular)


def valid_pat(value: int) -> bool:
    """Every byte is a memory type: 0, 1, 4, 5, 6 or 7."""
    return all(value >> 8 * k & 0xFF in (0, 1, 4, 5, 6, 7) for k in range(8))


def event_names(vmcs: Mapping[str, int]) -> dict[str, int]:
    """The derived names of the conditions: event_*, `v86`, `secondary`, `tertiary`."""
    info = vmcs["entry_interruption_information"]
    primary = vmcs["primary_controls"]
    secondary = vmcs["secondary_controls"] if primary >> 31 & 1 else 0
    kind, vector = info >> 8 & 7, info & 0xFF
    protected = vmcs["guest_cr0"] & 1 or not secondary >> 7 & 1
    activity = vmcs["guest_activity"]
    wakes = {
        1: kind in (0, 2) or (kind == 3 and vector in (1, 18)) or (kind == 7 and vector == 0),
        2: kind == 2 or (kind == 3 and vector == 18),
    }.get(activity, False)
    return {
        "secondary": secondary,
        "v86": vmcs["guest_rflags"] >> 17 & 1,
        "tertiary": vmcs["tertiary_controls"] if primary >> 17 & 1 else 0,
        "event_type": kind,
        "event_vector": vector,
        "event_has_error": info >> 11 & 1,
        "event_wants_error": int(bool(kind == 3 and vector in (8, 10, 11, 12, 13, 14, 17) and protected)),
        "event_may_error": int(bool(kind == 3 and protected)),
        "event_wakes": int(wakes),
    }


@functools.cache
def _code_of(expression: str) -> CodeType:
    return compile(expression, "<row>", "eval")


def broken_checks(vmcs: Mapping[str, int], environment: Mapping[str, int]) -> list[Check]:
    """The checks that a VMCS (all fields by name) breaks under an environment (all names of ENVIRONMENT)."""
    reserved = environment["physical_reserved"]
    names: dict[str, object] = {**vmcs, **environment, **event_names(vmcs)}
    names["canonical"] = lambda value: _canonical_in(environment["linear_bits"], value)
    names["bad_page"] = lambda value: bool(value & (reserved | 0xFFF))
    names["bad_aligned"] = lambda value, low: bool(value & (reserved | low))
    names["bad_list"] = lambda value, n: bool(
        value & (reserved | 15) or (value + 16 * n - 1) & reserved or value + 16 * n - 1 >= 1 << 64
    )
    names["bad_limit"] = bad_limit
    names["bad_cet"] = lambda value: bool(
        value & environment["cet_reserved"] or value & 0xC00 == 0xC00
    ) or not _canonical_in(environment["linear_bits"], value)
    names["valid_pat"] = valid_pat
    return [check for check in CHECKS if eval(_code_of(check.expression), {"__builtins__": {}}, names)]  # noqa: S307


def describe_failure(number: int, vmcs: Mapping[str, int]) -> str:
    """Why a VM entry failed, in one sentence: the row's words, clause and id, and the fields that it looks at."""
    check = CHECKS[number - 1]
    how = {"controls": "VMfail 7", "host": "VMfail 8"}.get(check.stage, f"exit reason 33, {check.qualification}")
    values = ", ".join(f"{name} = {vmcs[name]:#x}" for name in check.fields)
    return f"VM entry failed ({how}): {check.words} (SDM 3C, {check.clause}; {check.identity}): {values}."
