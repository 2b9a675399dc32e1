"""The fields of a VMCS (Intel SDM volume 3D, appendix B) and where they lie in the region.

The manual leaves the format of a VMCS region's data to the processor.  Here it is plain: bytes 0 to 3 hold the revision
identifier (bit 31: shadow VMCS), 4 to 7 the VMX-abort indicator, 8 to 11 the launch state (1: launched), and from byte
40h on each field has eight bytes, little-endian and zero-extended, in the order of the table below.  So a debugger, a
test or a notebook reads a VMCS from guest memory.

Columns: encoding | name | the allowed-1 setting of a VM-execution control without which the field does not exist
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from x86emu.isa.vmx_capabilities import REVISION as REVISION

FIRST_OFFSET = 0x40
ABORT_INDICATOR, LAUNCH_STATE = 4, 8

_SEGMENTS = "es cs ss ds fs gs ldtr tr"

_TABLE = """
0000 | virtual_processor_id | secondary:5
0002 | posted_interrupt_vector | pin:7
0004 | eptp_index | secondary:18
0006 | hlat_prefix_size | tertiary:1
0008 | last_pid_pointer_index | tertiary:4
0800+ | guest_{}_selector | -
0810 | guest_interrupt_status | secondary:9
0812 | pml_index | secondary:17
0C00 | host_es_selector | -
0C02 | host_cs_selector | -
0C04 | host_ss_selector | -
0C06 | host_ds_selector | -
0C08 | host_fs_selector | -
0C0A | host_gs_selector | -
0C0C | host_tr_selector | -
2000 | io_bitmap_a | -
2002 | io_bitmap_b | -
2004 | msr_bitmap | primary:28
2006 | exit_msr_store_address | -
2008 | exit_msr_load_address | -
200A | entry_msr_load_address | -
200C | executive_vmcs_pointer | -
200E | pml_address | secondary:17
2010 | tsc_offset | -
2012 | virtual_apic_address | primary:21
2014 | apic_access_address | secondary:0
2016 | posted_interrupt_descriptor | pin:7
2018 | vm_function_controls | secondary:13
201A | ept_pointer | secondary:1
201C | eoi_exit_bitmap_0 | secondary:9
201E | eoi_exit_bitmap_1 | secondary:9
2020 | eoi_exit_bitmap_2 | secondary:9
2022 | eoi_exit_bitmap_3 | secondary:9
2024 | eptp_list_address | secondary:13
2026 | vmread_bitmap | secondary:14
2028 | vmwrite_bitmap | secondary:14
202A | virtualization_exception_information | secondary:18
202C | xss_exiting_bitmap | secondary:20
2030 | sub_page_permission_pointer | secondary:23
2032 | tsc_multiplier | secondary:25
2034 | tertiary_controls | primary:17
2040 | hlat_pointer | tertiary:1
2042 | pid_pointer_table | tertiary:4
2400 | guest_physical_address | secondary:1
2800 | vmcs_link_pointer | -
2802 | guest_debugctl | -
2804 | guest_pat | entry:14
2806 | guest_efer | entry:15
2808 | guest_perf_global_ctrl | entry:13
280A | guest_pdpte0 | secondary:1
280C | guest_pdpte1 | secondary:1
280E | guest_pdpte2 | secondary:1
2810 | guest_pdpte3 | secondary:1
2818 | guest_pkrs | entry:22
2C00 | host_pat | exit:19
2C02 | host_efer | exit:21
2C04 | host_perf_global_ctrl | exit:12
2C06 | host_pkrs | exit:29
4000 | pin_controls | -
4002 | primary_controls | -
4004 | exception_bitmap | -
4006 | page_fault_error_code_mask | -
4008 | page_fault_error_code_match | -
400A | cr3_target_count | -
400C | exit_controls | -
400E | exit_msr_store_count | -
4010 | exit_msr_load_count | -
4012 | entry_controls | -
4014 | entry_msr_load_count | -
4016 | entry_interruption_information | -
4018 | entry_exception_error_code | -
401A | entry_instruction_length | -
401C | tpr_threshold | primary:21
401E | secondary_controls | primary:31
4020 | ple_gap | secondary:10
4022 | ple_window | secondary:10
4400 | instruction_error | -
4402 | exit_reason | -
4404 | exit_interruption_information | -
4406 | exit_interruption_error_code | -
4408 | idt_vectoring_information | -
440A | idt_vectoring_error_code | -
440C | exit_instruction_length | -
440E | exit_instruction_information | -
4800+ | guest_{}_limit | -
4810 | guest_gdtr_limit | -
4812 | guest_idtr_limit | -
4814+ | guest_{}_access_rights | -
4824 | guest_interruptibility | -
4826 | guest_activity | -
4828 | guest_smbase | -
482A | guest_sysenter_cs | -
482E | preemption_timer_value | pin:6
4C00 | host_sysenter_cs | -
6000 | cr0_mask | -
6002 | cr4_mask | -
6004 | cr0_read_shadow | -
6006 | cr4_read_shadow | -
6008 | cr3_target_0 | -
600A | cr3_target_1 | -
600C | cr3_target_2 | -
600E | cr3_target_3 | -
6400 | exit_qualification | -
6402 | io_rcx | -
6404 | io_rsi | -
6406 | io_rdi | -
6408 | io_rip | -
640A | guest_linear_address | -
6800 | guest_cr0 | -
6802 | guest_cr3 | -
6804 | guest_cr4 | -
6806+ | guest_{}_base | -
6816 | guest_gdtr_base | -
6818 | guest_idtr_base | -
681A | guest_dr7 | -
681C | guest_rsp | -
681E | guest_rip | -
6820 | guest_rflags | -
6822 | guest_pending_debug | -
6824 | guest_sysenter_esp | -
6826 | guest_sysenter_eip | -
6828 | guest_s_cet | entry:20
682A | guest_ssp | entry:20
682C | guest_interrupt_ssp_table | entry:20
6C00 | host_cr0 | -
6C02 | host_cr3 | -
6C04 | host_cr4 | -
6C06 | host_fs_base | -
6C08 | host_gs_base | -
6C0A | host_tr_base | -
6C0C | host_gdtr_base | -
6C0E | host_idtr_base | -
6C10 | host_sysenter_esp | -
6C12 | host_sysenter_eip | -
6C14 | host_rsp | -
6C16 | host_rip | -
6C18 | host_s_cet | exit:28
6C1A | host_ssp | exit:28
6C1C | host_interrupt_ssp_table | exit:28
"""

WIDTHS = {0: 16, 1: 64, 2: 32, 3: 0}
"""Bits by the width bits of an encoding; 0 is natural width."""
TYPES = ("control", "read-only", "guest", "host")


@dataclass(frozen=True)
class Field:
    """One field of a VMCS."""

    encoding: int
    """Of full access; bit 0 set means the upper half of a 64-bit field."""
    name: str
    control: str
    """pin, primary, secondary, tertiary, exit or entry; empty where the field always exists."""
    bit: int
    """Bit of that control whose allowed-1 setting makes the field exist."""
    offset: int
    """Bytes from the region's beginning."""

    @property
    def width(self) -> int:
        """Bits: 16, 32, 64, or 0 for natural width."""
        return WIDTHS[self.encoding >> 13 & 3]

    @property
    def kind(self) -> str:
        """control, read-only, guest or host."""
        return TYPES[self.encoding >> 10 & 3]


def _parse() -> dict[str, Field]:
    fields: dict[str, Field] = {}
    for line in _TABLE.strip().splitlines():
        encoding, name, condition = (part.strip() for part in line.split("|"))
        control, _, bit = condition.partition(":")
        number = int(encoding.rstrip("+"), 16)
        names = [name.format(segment) for segment in _SEGMENTS.split()] if encoding.endswith("+") else [name]
        for step, each in enumerate(names):
            fields[each] = Field(
                number + 2 * step, each, control.strip("-"), int(bit or 0), FIRST_OFFSET + 8 * len(fields)
            )
    return fields


FIELDS: dict[str, Field] = _parse()
"""Every field by its name."""
BY_ENCODING: dict[int, Field] = {field.encoding: field for field in FIELDS.values()}


def read_vmcs(read: Callable[[int, int], bytes], address: int) -> dict[str, int]:
    """All fields of the VMCS at a guest-physical address; read(address, length) gives memory's bytes."""
    region = read(address, 4096)
    return {field.name: int.from_bytes(region[field.offset : field.offset + 8], "little") for field in FIELDS.values()}


def print_vmcs(values: dict[str, int]) -> str:
    """A table of a VMCS: encoding, name, value."""
    return "\n".join(f"{FIELDS[name].encoding:04x}  {name:<40} {value:#x}" for name, value in values.items())
