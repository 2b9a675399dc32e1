"""Model-specific registers as a table (Intel SDM volume 4, chapter 2; AMD APM volume 2, appendix A; AMD BKDGs).

An MSR that is not here, or whose condition the model does not meet, raises #GP(0).  MSRs that steer parts of a
processor which an emulator does not have (bus, cache and north-bridge configuration) keep what is written to them.
An emulator does not speculate, so speculation control is kept, and its commands do nothing.  ARCH_CAPABILITIES says
RDCL_NO, IBRS_ALL, SKIP_L1DFL_VMENTRY, MDS_NO, IF_PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO and PSDP_NO.
Intel's performance counters are left out, as CPUID says that there are none.

Columns: number or range | name | condition | storage | write | at power-on | what it is

* condition: feature names, `intel`, `amd`; `,` means and, `/` means or; `-` always there
* storage: a member of Cpu; `slot` for one in Cpu.other_msrs; `=HEX` a constant; `@name` functions read_name, write_name
* write: `any`; `mask=HEX` #GP(0) for other bits; `keep=HEX` other bits are ignored; `canonical` #GP(0) unless
  canonical; `ro` #GP(0); `ignored`; `@` the function write_ and the storage's name
* at power-on: HEX, or - for zero or where the function knows
"""

from __future__ import annotations

from dataclasses import dataclass

_TABLE = """
0 | P5_MC_ADDR | mce | =0 | ignored | - | machine check address (Pentium; later an alias)
1 | P5_MC_TYPE | mce | =0 | ignored | - | machine check type (Pentium; later an alias)
10 | TIME_STAMP_COUNTER | tsc | @tsc | @ | - | virtual nanoseconds since power-on plus an offset
17 | PLATFORM_ID | intel,p6 | =0 | ro | - | which processor flag microcode updates look for
1B | APIC_BASE | apic | @apic | @ | - | local APIC: address, enable, x2APIC mode, bootstrap processor
2A | EBL_CR_POWERON | intel,p6 | slot | any | - | bus configuration straps
2C | EBC_FREQUENCY_ID | intel,p6 | =0 | ro | - | bus frequency straps (Pentium 4)
3A | FEATURE_CONTROL | vmx/smx | feature_control | @ | - | VMX and SMX enable, locked by firmware
3B | TSC_ADJUST | tsc_adjust | tsc_adjust | @ | - | offset that software has put on the TSC
48 | SPEC_CTRL | spec_ctrl/stibp/ssbd/ibrs/amd_stibp/amd_ssbd | spec_ctrl | @ | - | speculation control
49 | PRED_CMD | spec_ctrl/ibpb | @command | @ | - | indirect branch prediction barrier
79 | BIOS_UPDT_TRIG | intel,p6 | @writeonly | @ | - | microcode update trigger; updates are not taken
8B | BIOS_SIGN_ID | p6 | ucode_revision | ignored | - | microcode revision (AMD: PATCH_LEVEL)
CE | PLATFORM_INFO | intel,sse4_2 | =A00 | ro | - | maximum non-turbo ratio
E2 | PKG_CST_CONFIG_CONTROL | intel,sse4_2 | slot | any | - | deepest package C-state: none
E4 | PMG_IO_CAPTURE_BASE | intel,sse4_2 | slot | any | - | ports whose reads stand for MWAIT
FE | MTRRCAP | mtrr | =508 | ro | - | 8 variable ranges, fixed ranges, write combining
10A | ARCH_CAPABILITIES | arch_capabilities | =E16B | ro | - | which weaknesses the processor does not have
10B | FLUSH_CMD | flush_l1d | @command | @ | - | flush of the first-level data cache
174 | SYSENTER_CS | sep | sysenter_cs | keep=FFFFFFFF | - | selector of SYSENTER's CS
175 | SYSENTER_ESP | sep | sysenter_esp | canonical | - | SYSENTER's stack pointer
176 | SYSENTER_EIP | sep | sysenter_eip | canonical | - | SYSENTER's instruction pointer
179 | MCG_CAP | mca | @mcg_cap | @ | - | machine check capabilities: number of banks
17A | MCG_STATUS | mca | mcg_status | mask=7 | - | machine check status
17B | MCG_CTL | amd,mca | mcg_ctl | any | - | machine check banks enabled
1A0 | MISC_ENABLE | intel,sse2 | misc_enable | @ | - | fast strings, MONITOR, limit of CPUID
1D9 | DEBUGCTL | p6 | debugctl | mask=3 | - | last branch record, single step on branches
1DB | LAST_BRANCH_FROM | amd | lbr_from | ignored | - | source of the last branch
1DC | LAST_BRANCH_TO | amd | lbr_to | ignored | - | target of the last branch
1DD | LAST_INT_FROM | amd | last_int_from | ignored | - | source of the last event
1DE | LAST_INT_TO | amd | last_int_to | ignored | - | target of the last event
1FC | POWER_CTL | intel,sse4_2 | slot | any | - | C1E and bidirectional PROCHOT#
200-20F | MTRR_PHYS | mtrr | @mtrr_variable | @ | - | variable memory type ranges: base and mask
250 | MTRR_FIX64K | mtrr | @mtrr_fixed | @ | - | memory types of 0-7FFFFh
258-259 | MTRR_FIX16K | mtrr | @mtrr_fixed | @ | - | memory types of 80000h-BFFFFh
268-26F | MTRR_FIX4K | mtrr | @mtrr_fixed | @ | - | memory types of C0000h-FFFFFh
277 | PAT | pat | pat | @ | 7040600070406 | page attribute table
2FF | MTRR_DEF_TYPE | mtrr | mtrr_def_type | @ | - | default memory type, MTRR enable
400-47F | MC | mca | @mc_bank | @ | - | machine check banks: control, status, address, information
480-492 | VMX_CAPABILITY | vmx | @vmx_capability | @ | - | what VMX operation supports
6E0 | TSC_DEADLINE | tsc_deadline | @tsc_deadline | @ | - | local APIC timer's deadline
6E1 | PKRS | pks | pkrs | @ | - | protection keys of supervisor pages
6A0 | U_CET | cet_ss/cet_ibt | u_cet | @ | - | control-flow enforcement in user mode
6A2 | S_CET | cet_ss/cet_ibt | s_cet | @ | - | control-flow enforcement in supervisor mode
6A4-6A7 | PL_SSP | cet_ss | @pl_ssp | @ | - | shadow stacks that privilege levels 0 to 3 begin with
6A8 | INTERRUPT_SSP_TABLE_ADDR | cet_ss,lm | interrupt_ssp_table | canonical | - | shadow stacks of the IST
800-8FF | X2APIC | x2apic | @x2apic | @ | - | local APIC registers in x2APIC mode
DA0 | XSS | xsaves | xss | @ | - | supervisor state components that XSAVES saves
C0000080 | EFER | lm/nx/syscall/svm | efer | @ | - | extended features: SYSCALL, long mode, no-execute, SVM, FXSR
C0000081 | STAR | syscall | star | any | - | SYSCALL's selectors and 32-bit target
C0000082 | LSTAR | lm | lstar | canonical | - | SYSCALL's target from 64-bit mode
C0000083 | CSTAR | lm | cstar | canonical | - | SYSCALL's target from compatibility mode
C0000084 | SYSCALL_MASK | lm | fmask | keep=FFFFFFFF | - | RFLAGS bits that SYSCALL clears
C0000100 | FS_BASE | lm | @fs_base | @ | - | base of FS
C0000101 | GS_BASE | lm | @gs_base | @ | - | base of GS
C0000102 | KERNEL_GS_BASE | lm | kernel_gs_base | canonical | - | what SWAPGS exchanges with GS's base
C0000104 | TSC_RATIO | tsc_scale | virt.tsc_ratio | mask=FFFFFFFFFF | 100000000 | a guest's TSC rate, 8.32 fixed point
C0000103 | TSC_AUX | rdtscp/rdpid | tsc_aux | mask=FFFFFFFF | - | what RDTSCP and RDPID tell in ECX
C0010000-C0010007 | PERF_LEGACY | amd,p6 | @perf_legacy | @ | - | performance counters: 4 event selections, 4 counts
C0010010 | SYSCFG | amd | syscfg | keep=7FFFFF | - | system configuration: MTRR extensions, top of memory
C0010015 | HWCR | amd | hwcr | any | - | hardware configuration
C0010016-C0010019 | IORR | amd | slot | any | - | I/O range registers
C001001A | TOP_MEM | amd | slot | any | 4000000 | top of memory below 4 GiB
C001001D | TOP_MEM2 | amd | slot | any | - | top of memory above 4 GiB
C001001F | NB_CFG | amd | slot | any | - | north bridge configuration
C0010020 | PATCH_LOADER | amd | @writeonly | @ | - | microcode update trigger; updates are not taken
C0010044-C001004A | MC_CTL_MASK | amd,mca | slot | any | - | machine check error masks
C0010055 | INT_PENDING | amd | slot | any | - | interrupt pending message and C1E
C0010058 | MMIO_CONF_BASE | amd | slot | any | - | base of the extended PCI configuration space
C0010111 | SMBASE | amd,smm | smbase | keep=FFFFFFFF | - | base of the SMM save state
C0010112 | SMM_ADDR | amd,smm | slot | any | - | protected SMM memory: base
C0010113 | SMM_MASK | amd,smm | slot | any | - | protected SMM memory: mask and enables
C0010114 | VM_CR | svm | vm_cr | @ | - | SVM disable and lock
C0010117 | VM_HSAVE_PA | svm | vm_hsave_pa | mask=FFFFFFFFFF000 | - | host save area of VMRUN
C0010118 | SVM_KEY | svm_lock | @svm_key | @ | - | key that unlocks VM_CR
C001011B | DOORBELL | avic | @doorbell | @ | - | AVIC: makes the processor of this APIC id look at its interrupts
C0010200-C001020B | PERF_CORE | perfctr_core | @perf_core | @ | - | performance counters: selection and count by turns
C0011020 | LS_CFG | amd | slot | any | - | load-store unit configuration
C0011021 | IC_CFG | amd | slot | any | - | instruction cache configuration
C0011022 | DC_CFG | amd | slot | any | - | data cache configuration
C0011023 | BU_CFG | amd | slot | any | - | bus unit configuration
C0011029 | DE_CFG | amd | slot | any | - | decode unit configuration (LFENCE serializes: bit 1)
C001102A | BU_CFG2 | amd | slot | any | - | bus unit configuration 2
"""

SLOTS = 64
"""Size of Cpu.other_msrs."""


@dataclass(frozen=True)
class Msr:
    """One MSR, or a range of them with one meaning."""

    first: int
    last: int
    name: str
    condition: tuple[tuple[str, ...], ...]
    """All of these groups must hold; a group holds when one of its names does."""
    storage: str
    slot: int | None
    """First slot in Cpu.other_msrs for storage `slot`."""
    write: str
    power_on: int
    description: str


def _parse() -> list[Msr]:
    msrs = []
    slots = 0
    for line in _TABLE.strip().splitlines():
        numbers, name, condition, storage, write, power_on, description = (part.strip() for part in line.split("|"))
        first, _, last = numbers.partition("-")
        low, high = int(first, 16), int(last or first, 16)
        slot = None
        if storage == "slot":
            slot, slots = slots, slots + high - low + 1
        groups = () if condition == "-" else tuple(tuple(group.split("/")) for group in condition.split(","))
        value = 0 if power_on == "-" else int(power_on, 16)
        msrs.append(Msr(low, high, name, groups, storage, slot, write, value, description))
    if slots > SLOTS:
        raise ValueError(f"The table of MSRs needs {slots} slots; Cpu.other_msrs has {SLOTS}.")
    return msrs


MSRS: list[Msr] = _parse()
"""Every MSR that some model has."""
