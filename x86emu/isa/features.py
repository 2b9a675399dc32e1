"""Processor features: their names, their CPUID bits, what each needs, and which of them the core implements.

Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E.  Names are those of Linux's /proc/cpuinfo where it has one,
and the manuals' otherwise.  Features of processors older than CPUID (the 80186's instructions, the 80486's ...) are
pseudo features: they have a number, so that an instruction row can name them, but no CPUID bit.

The number of a feature is its place in the table below; it is part of snapshots, so rows are only ever
added at the end.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from x86emu.errors import UserInputError

# name | CPUID leaf.[subleaf.]register.bit or - | needs | further names | what it is
_TABLE = """
base               | -               |  | i8086,8086 | what every model has: the 8086's instructions
i186               | -               | base | 80186 | PUSHA, ENTER, LEAVE, BOUND, INS, OUTS, shifts by immediate
i286               | -               | i186 | 80286 | protected mode: LGDT, LAR, VERR, ARPL, CLTS, LMSW
i386               | -               | i286 | 80386 | 32 bits, paging, MOV CR/DR, BSF, BT, SHLD, MOVZX, SETcc
i486               | -               | i386 | 80486 | BSWAP, CMPXCHG, XADD, INVD, WBINVD, INVLPG, CR0.WP, AC
cpuid              | -               | i486 |  | the CPUID instruction and EFLAGS.ID
pentium            | -               | cpuid | p5 | RDMSR, WRMSR, RDTSC, RSM, CR4, CMPXCHG8B
p6                 | -               | pentium | ppro | RDPMC, UD2, multi-byte NOP
smm                | -               | i386 |  | system management mode and RSM
fpu                | 1.edx.0         |  | x87 | x87 on the chip
vme                | 1.edx.1         |  |  | virtual-8086 mode extensions and protected-mode virtual interrupts
de                 | 1.edx.2         |  |  | debugging extensions: I/O breakpoints, CR4.DE
pse                | 1.edx.3         |  |  | 4-MiB pages
tsc                | 1.edx.4         |  |  | time stamp counter, RDTSC
msr                | 1.edx.5         |  |  | RDMSR and WRMSR
pae                | 1.edx.6         |  |  | physical address extension
mce                | 1.edx.7         |  |  | machine check exception
cx8                | 1.edx.8         |  | cmpxchg8b | CMPXCHG8B
apic               | 1.edx.9         |  |  | local APIC on the chip
sep                | 1.edx.11        |  | sysenter | SYSENTER and SYSEXIT
mtrr               | 1.edx.12        | msr |  | memory type range registers
pge                | 1.edx.13        |  |  | global pages
mca                | 1.edx.14        | mce,msr |  | machine check architecture
cmov               | 1.edx.15        |  |  | CMOVcc; with fpu, FCMOVcc and FCOMI
pat                | 1.edx.16        | msr |  | page attribute table
pse36              | 1.edx.17        | pse |  | 36-bit addresses in 4-MiB pages
clflush            | 1.edx.19        |  | clfsh | CLFLUSH
mmx                | 1.edx.23        | fpu |  | MMX
fxsr               | 1.edx.24        |  |  | FXSAVE and FXRSTOR, CR4.OSFXSR
sse                | 1.edx.25        | mmx,fxsr | xmm | SSE
sse2               | 1.edx.26        | sse | xmm2 | SSE2
ss                 | 1.edx.27        |  |  | self snoop
htt                | 1.edx.28        |  | ht | leaf 1's count of logical processors is valid
sse3               | 1.ecx.0         | sse2 | pni | SSE3, FISTTP
pclmulqdq          | 1.ecx.1         | sse2 | pclmul | carry-less multiplication
dtes64             | 1.ecx.2         |  |  | 64-bit debug store area
monitor            | 1.ecx.3         |  | mwait | MONITOR and MWAIT
vmx                | 1.ecx.5         | msr |  | virtual machine extensions
smx                | 1.ecx.6         |  |  | safer mode extensions
est                | 1.ecx.7         | msr |  | enhanced SpeedStep
tm2                | 1.ecx.8         |  |  | thermal monitor 2
ssse3              | 1.ecx.9         | sse3 |  | SSSE3
cx16               | 1.ecx.13        | lm,cx8 | cmpxchg16b | CMPXCHG16B
pdcm               | 1.ecx.15        | msr |  | PERF_CAPABILITIES
pcid               | 1.ecx.17        | lm |  | process-context identifiers
sse4_1             | 1.ecx.19        | ssse3 | sse4.1 | SSE4.1
sse4_2             | 1.ecx.20        | sse4_1 | sse4.2 | SSE4.2, CRC32
x2apic             | 1.ecx.21        | apic,msr |  | x2APIC
movbe              | 1.ecx.22        |  |  | MOVBE
popcnt             | 1.ecx.23        |  |  | POPCNT
tsc_deadline       | 1.ecx.24        | apic,msr,tsc | tsc_deadline_timer | local APIC timer in TSC deadline mode
aes                | 1.ecx.25        | sse2 | aesni | AES instructions
xsave              | 1.ecx.26        | fxsr |  | XSAVE, XRSTOR, XGETBV, XSETBV
avx                | 1.ecx.28        | xsave,sse4_2 |  | AVX
f16c               | 1.ecx.29        | avx |  | half-precision conversions
rdrand             | 1.ecx.30        |  |  | RDRAND
hypervisor         | 1.ecx.31        |  |  | runs under a hypervisor
fsgsbase           | 7.0.ebx.0       | lm |  | RDFSBASE, WRFSBASE and kin
tsc_adjust         | 7.0.ebx.1       | tsc,msr |  | TSC_ADJUST MSR
bmi1               | 7.0.ebx.3       |  |  | ANDN, BEXTR, BLSI, BLSMSK, BLSR, TZCNT
avx2               | 7.0.ebx.5       | avx |  | AVX2
fdp_excptn_only    | 7.0.ebx.6       | fpu |  | x87 data pointer saved on exceptions only
smep               | 7.0.ebx.7       |  |  | supervisor mode execution prevention
bmi2               | 7.0.ebx.8       |  |  | BZHI, MULX, PDEP, PEXT, RORX, SARX ...
erms               | 7.0.ebx.9       |  |  | fast REP MOVSB
invpcid            | 7.0.ebx.10      | lm |  | INVPCID
zero_fcs_fds       | 7.0.ebx.13      | fpu |  | x87 CS and DS deprecated (saved as zero)
avx512f            | 7.0.ebx.16      | avx2 |  | AVX-512 foundation
rdseed             | 7.0.ebx.18      |  |  | RDSEED
adx                | 7.0.ebx.19      |  |  | ADCX and ADOX
smap               | 7.0.ebx.20      |  |  | supervisor mode access prevention, CLAC, STAC
clflushopt         | 7.0.ebx.23      | clflush |  | CLFLUSHOPT
clwb               | 7.0.ebx.24      |  |  | CLWB
sha                | 7.0.ebx.29      | sse2 | sha_ni | SHA instructions
umip               | 7.0.ecx.2       |  |  | user-mode instruction prevention
pku                | 7.0.ecx.3       | lm,xsave |  | protection keys for user pages
waitpkg            | 7.0.ecx.5       |  |  | UMONITOR, UMWAIT, TPAUSE
gfni               | 7.0.ecx.8       | sse2 |  | Galois field instructions
vaes               | 7.0.ecx.9       | avx,aes |  | AES on YMM registers
vpclmulqdq         | 7.0.ecx.10      | avx,pclmulqdq |  | PCLMULQDQ on YMM registers
la57               | 7.0.ecx.16      | lm |  | 5-level paging
rdpid              | 7.0.ecx.22      |  |  | RDPID
cldemote           | 7.0.ecx.25      |  |  | CLDEMOTE
movdiri            | 7.0.ecx.27      |  |  | MOVDIRI
movdir64b          | 7.0.ecx.28      |  |  | MOVDIR64B
fsrm               | 7.0.edx.4       |  |  | fast short REP MOVSB
serialize          | 7.0.edx.14      |  |  | SERIALIZE
arch_capabilities  | 7.0.edx.29      | msr |  | IA32_ARCH_CAPABILITIES
xsaveopt           | 0d.1.eax.0      | xsave |  | XSAVEOPT
xsavec             | 0d.1.eax.1      | xsave |  | XSAVEC and the compacted format
xgetbv1            | 0d.1.eax.2      | xsave |  | XGETBV with ECX 1
xsaves             | 0d.1.eax.3      | xsavec |  | XSAVES, XRSTORS, IA32_XSS
arat               | 06.eax.2        | apic |  | the local APIC timer runs in every power state
aperfmperf         | 06.ecx.0        | msr |  | APERF and MPERF
lahf_lm            | 80000001.ecx.0  | lm |  | LAHF and SAHF in 64-bit mode
cmp_legacy         | 80000001.ecx.1  | htt |  | htt means cores, not threads (AMD)
svm                | 80000001.ecx.2  | msr |  | secure virtual machine (AMD-V)
extapic            | 80000001.ecx.3  | apic |  | extended local APIC space (AMD)
cr8_legacy         | 80000001.ecx.4  | apic | altmovcr8 | LOCK MOV CR0 reaches CR8 outside 64-bit mode (AMD)
abm                | 80000001.ecx.5  |  | lzcnt | LZCNT
sse4a              | 80000001.ecx.6  | sse3 |  | EXTRQ, INSERTQ, MOVNTSS, MOVNTSD
misalignsse        | 80000001.ecx.7  | sse |  | MXCSR.MM: misaligned SSE operands
3dnowprefetch      | 80000001.ecx.8  |  | prefetchw | PREFETCH and PREFETCHW
osvw               | 80000001.ecx.9  | msr |  | OS-visible workaround MSRs (AMD)
topoext            | 80000001.ecx.22 |  |  | leaves 8000001Dh and 8000001Eh (AMD)
syscall            | 80000001.edx.11 |  |  | SYSCALL and SYSRET
mp                 | 80000001.edx.19 |  |  | multiprocessing capable (AMD)
nx                 | 80000001.edx.20 | pae,msr |  | no-execute pages, EFER.NXE
mmxext             | 80000001.edx.22 | mmx |  | AMD's extensions to MMX (part of SSE)
fxsr_opt           | 80000001.edx.25 | fxsr | ffxsr | EFER.FFXSR
pdpe1gb            | 80000001.edx.26 | lm |  | 1-GiB pages
rdtscp             | 80000001.edx.27 | tsc,msr |  | RDTSCP and TSC_AUX
lm                 | 80000001.edx.29 | pae,msr,cx8,sse2,pge | x86_64,long_mode | long mode
3dnowext           | 80000001.edx.30 | 3dnow |  | extensions to 3DNow!
3dnow              | 80000001.edx.31 | mmx |  | 3DNow!
constant_tsc       | 80000007.edx.8  | tsc | invariant_tsc,invtsc,nonstop_tsc | the TSC's rate does not change
clzero             | 80000008.ebx.0  |  |  | CLZERO
wbnoinvd           | 80000008.ebx.9  |  |  | WBNOINVD
npt                | 8000000a.edx.0  | svm | rvi | nested paging
lbrv               | 8000000a.edx.1  | svm |  | LBR virtualization
svm_lock           | 8000000a.edx.2  | svm |  | SVM lock by VM_CR and a key
nrip_save          | 8000000a.edx.3  | svm | nrips | next RIP saved on #VMEXIT
tsc_scale          | 8000000a.edx.4  | svm |  | TSC ratio MSR
vmcb_clean         | 8000000a.edx.5  | svm |  | VMCB clean bits
flushbyasid        | 8000000a.edx.6  | svm |  | TLB flush by ASID
decodeassists      | 8000000a.edx.7  | svm |  | decode assists
pausefilter        | 8000000a.edx.10 | svm |  | PAUSE intercept filter
ept                | -               | vmx |  | extended page tables (told by VMX MSRs)
vpid               | -               | vmx |  | virtual processor identifiers (told by VMX MSRs)
unrestricted_guest | -               | ept |  | VMX unrestricted guest (told by VMX MSRs)
fma                | 1.ecx.12        | avx |  | fused multiply-add
tbm                | 80000001.ecx.21 |  |  | trailing bit manipulation (AMD)
xop                | 80000001.ecx.11 | avx |  | XOP (AMD)
fma4               | 80000001.ecx.16 | avx |  | four-operand FMA (AMD)
rdpru              | 80000008.ebx.4  |  |  | RDPRU
acpi               | 1.edx.22        | msr |  | thermal monitor and clock control MSRs
tm                 | 1.edx.29        |  |  | thermal monitor
pbe                | 1.edx.31        |  |  | pending break enable
cid                | 1.ecx.10        |  | cnxt_id | L1 context id
xtpr               | 1.ecx.14        |  |  | xTPR update control
dtherm             | 06.eax.0        |  |  | digital thermal sensor
pln                | 06.eax.4        |  |  | power limit notification
avx_vnni           | 7.1.eax.4       | avx2 |  | VNNI on YMM registers
fzrm               | 7.1.eax.10      |  |  | fast zero-length REP MOVSB
fsrs               | 7.1.eax.11      |  |  | fast short REP STOSB
null_sel_clr_base  | 80000021.eax.6  |  |  | loading a null selector clears the base (AMD)
lfence_serializing | 80000021.eax.2  |  |  | LFENCE always serializes (AMD)
pre386             | -               | base |  | what ended with the 80386: LOCK before anything, FLAGS 12-15 fixed
pre186             | -               | pre386 |  | what ended with the 80186: unmasked shift counts, aliases, no #UD
pfthreshold        | 8000000a.edx.12 | pausefilter |  | PAUSE filter threshold
v_vmsave_vmload    | 8000000a.edx.15 | npt |  | virtual VMLOAD and VMSAVE
vgif               | 8000000a.edx.16 | svm |  | virtual global interrupt flag
branch16           | -               | lm |  | near branches with 66h have 16 bits in 64-bit mode (AMD; APM 3, 1.2.7)
ple                | -               | vmx |  | PAUSE-loop exiting (as all below, told by VMX MSRs)
apicv              | -               | vmx,apic |  | APIC registers and interrupts virtualized, posted interrupts
shadow_vmcs        | -               | vmx |  | VMCS shadowing
eptp_switching     | -               | ept | vmfunc | VM functions: switching of EPT pointers
pml                | -               | ept,unrestricted_guest |  | page-modification logging
ept_violation_ve   | -               | ept |  | EPT violations as virtualization exceptions
ept_mode_based_exec | -              | ept | mbec | execute permission by mode in EPT
tsc_scaling        | -               | vmx |  | TSC scaling in VMX guests
ept_5level         | -               | ept |  | EPT with 5 levels
spp                | -               | ept |  | sub-page write permissions in EPT
ipi_virt           | -               | apicv |  | IPI virtualization
hlat               | -               | ept,lm |  | hypervisor-managed linear-address translation
ept_paging_write   | -               | ept |  | EPT paging-write control and guest-paging verification
avic               | 8000000a.edx.13 | npt |  | advanced virtual interrupt controller
x2avic             | 8000000a.edx.18 | avic |  | AVIC of x2APIC mode
gmet               | 8000000a.edx.17 | npt |  | guest mode execute trap
vnmi               | 8000000a.edx.25 | svm |  | virtual NMI
idle_hlt           | 8000000a.edx.30 | svm |  | idle HLT intercept
svme_addr_chk      | 8000000a.edx.28 | svm |  | VMRUN, VMLOAD and VMSAVE check the block's address for #GP
perfctr_core       | 80000001.ecx.23 | msr |  | six core performance counters (AMD)
invlpgb            | 80000008.ebx.3  | lm |  | INVLPGB and TLBSYNC
pks                | 7.0.ecx.31      | lm,msr |  | protection keys for supervisor pages
cet_ss             | 7.0.ecx.7       | msr,cx8 | shstk | shadow stacks
cet_ibt            | 7.0.edx.20      | msr | ibt | indirect-branch tracking
spec_ctrl          | 7.0.edx.26      | msr | ibrsb | IBRS in SPEC_CTRL, IBPB in PRED_CMD (Intel)
stibp              | 7.0.edx.27      | msr |  | STIBP in SPEC_CTRL (Intel)
flush_l1d          | 7.0.edx.28      | msr | l1d_flush | FLUSH_CMD (Intel)
ssbd               | 7.0.edx.31      | msr |  | SSBD in SPEC_CTRL (Intel)
intel_psfd         | 7.2.edx.0       | spec_ctrl |  | PSFD in SPEC_CTRL (Intel)
ipred_ctrl         | 7.2.edx.1       | spec_ctrl |  | IPRED_DIS_U and IPRED_DIS_S in SPEC_CTRL (Intel)
rrsba_ctrl         | 7.2.edx.2       | spec_ctrl |  | RRSBA_DIS_U and RRSBA_DIS_S in SPEC_CTRL (Intel)
bhi_ctrl           | 7.2.edx.4       | spec_ctrl |  | BHI_DIS_S in SPEC_CTRL (Intel)
ibpb               | 80000008.ebx.12 | msr | amd_ibpb | IBPB in PRED_CMD (AMD)
ibrs               | 80000008.ebx.14 | msr | amd_ibrs | IBRS in SPEC_CTRL (AMD)
amd_stibp          | 80000008.ebx.15 | msr |  | STIBP in SPEC_CTRL (AMD)
ibrs_always_on     | 80000008.ebx.16 | ibrs |  | IBRS may be left on (AMD)
stibp_always_on    | 80000008.ebx.17 | amd_stibp |  | STIBP may be left on (AMD)
ibrs_preferred     | 80000008.ebx.18 | ibrs |  | IBRS is better than software's means (AMD)
ibrs_same_mode     | 80000008.ebx.19 | ibrs |  | IBRS also protects from code of the same mode (AMD)
amd_ssbd           | 80000008.ebx.24 | msr |  | SSBD in SPEC_CTRL (AMD)
amd_psfd           | 80000008.ebx.28 | amd_ssbd |  | PSFD in SPEC_CTRL (AMD)
btc_no             | 80000008.ebx.29 |  |  | no branch type confusion (AMD)
ibpb_ret           | 80000008.ebx.30 | ibpb |  | IBPB forgets return addresses, too (AMD)
"""


@dataclass(frozen=True)
class Feature:
    """One processor feature."""

    number: int
    """Index into the core's feature bytes, 0..255."""
    name: str
    leaf: int | None
    """CPUID leaf (EAX), or None for a pseudo feature that CPUID does not tell."""
    subleaf: int
    register: str
    """eax, ebx, ecx or edx; empty for a pseudo feature."""
    bit: int
    needs: tuple[str, ...]
    """Features without which this one cannot be."""
    aliases: tuple[str, ...]
    description: str


def _parse() -> dict[str, Feature]:
    features: dict[str, Feature] = {}
    for line in _TABLE.strip().splitlines():
        name, where, needs, aliases, description = (part.strip() for part in line.split("|"))
        leaf, subleaf, register, bit = None, 0, "", 0
        if where != "-":
            parts = where.split(".")
            leaf, register, bit = int(parts[0], 16), parts[-2], int(parts[-1])
            subleaf = int(parts[1]) if len(parts) == 4 else 0
        features[name] = Feature(
            len(features),
            name,
            leaf,
            subleaf,
            register,
            bit,
            tuple(filter(None, needs.split(","))),
            tuple(filter(None, aliases.split(","))),
            description,
        )
    return features


FEATURES: dict[str, Feature] = _parse()
"""Every feature by its name, in the order of their numbers."""

VMX_FEATURES: frozenset[str] = frozenset(
    "ept vpid unrestricted_guest ple apicv shadow_vmcs eptp_switching pml ept_violation_ve ept_mode_based_exec "
    "tsc_scaling ept_5level spp ipi_virt hlat ept_paging_write".split()
)
"""Features that the VMX capability MSRs tell."""

ALIASES: dict[str, str] = {alias: feature.name for feature in FEATURES.values() for alias in feature.aliases}

# What the core does not do yet, and why a model may therefore not offer it.  A processor without the bit is a truthful
# processor; one with the bit and without the instructions would be a broken one.  Everything not named here is done.
_WHY_NOT = {
    "vector registers wider than 256 bits are not modelled": "avx512f",
    "instructions of AMD's own with XOP prefixes or four operands are not modelled": "tbm xop fma4",
    "safer mode extensions are not modelled": "smx",
    "3DNow! arithmetic is not modelled": "3dnow 3dnowext",
    "its instructions are not modelled": (
        "waitpkg rdpru"
    ),
    "power management and its MSRs are not modelled": "est tm tm2 acpi dtherm pln pbe aperfmperf",
    "performance monitoring is not modelled": "pdcm dtes64",
    "the registers behind it are not modelled": "extapic osvw cid xtpr cr8_legacy",
}
NOT_IMPLEMENTED: dict[str, str] = {name: reason for reason, names in _WHY_NOT.items() for name in names.split()}
"""Features that no model may offer, with the reason."""

IMPLEMENTED: frozenset[str] = frozenset(FEATURES) - frozenset(NOT_IMPLEMENTED)


def feature_named(name: str) -> Feature:
    """The feature called name (or one of its further names; case and - against _ do not matter).

    Raises UserInputError, naming near matches, where there is none.
    """
    key = name.strip().lower().replace("-", "_")
    key = ALIASES.get(key, key)
    if key in FEATURES:
        return FEATURES[key]
    near = difflib.get_close_matches(key, [*FEATURES, *ALIASES], n=4)
    hint = f"near matches: {', '.join(near)}" if near else "`x86emu cpus` lists all features"
    raise UserInputError(f"There is no processor feature called {name!r}; {hint}.")


def with_needs(names: Iterable[str]) -> frozenset[str]:
    """The named features together with everything that they need, transitively."""
    found: set[str] = set()
    work = list(names)
    while work:
        name = work.pop()
        if name not in found:
            found.add(name)
            work.extend(FEATURES[name].needs)
    return frozenset(found)


def missing_needs(names: frozenset[str]) -> list[tuple[str, str]]:
    """Pairs (feature, what it needs and is not among names)."""
    return [(name, need) for name in sorted(names) for need in FEATURES[name].needs if need not in names]
