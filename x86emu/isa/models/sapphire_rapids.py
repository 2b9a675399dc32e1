"""Intel Xeon Platinum 8480+ (Sapphire Rapids, 2023), as far as the core goes: no AVX-512 and AMX.

Sources: SDM volume 2A, CPUID; Intel Architecture Instruction Set Extensions Programming Reference.
"""

from x86emu.isa.models import CODE, DATA, UNIFIED, X86_64_V2, Cache, CpuModel, feature_set

MODEL = CpuModel(
    name="sapphire_rapids",
    description="Intel Xeon Platinum 8480+",
    vendor="GenuineIntel",
    family=6,
    model=0x8F,
    stepping=8,
    brand="Intel(R) Xeon(R) Platinum 8480+",
    features=feature_set(
        X86_64_V2,
        "rdtscp constant_tsc monitor vmx ept vpid unrestricted_guest est tm tm2 dtes64 pdcm xtpr ss acpi pbe dtherm",
        "ple apicv shadow_vmcs eptp_switching pml ept_violation_ve ept_mode_based_exec tsc_scaling ept_5level ipi_virt",
        "pln",
        "pclmulqdq aes movbe rdrand rdseed x2apic tsc_deadline pcid invpcid xsave xsaveopt xsavec xgetbv1 xsaves",
        "avx avx2 f16c fma bmi1 bmi2 avx512f avx_vnni vaes vpclmulqdq gfni sha adx fsgsbase tsc_adjust smep smap umip",
        "pku pks cet_ss cet_ibt",
        "la57 erms fsrm fzrm fsrs clflushopt clwb rdpid waitpkg movdiri movdir64b serialize cldemote wbnoinvd",
        "3dnowprefetch abm pdpe1gb arat aperfmperf zero_fcs_fds fdp_excptn_only",
        "spec_ctrl stibp flush_l1d ssbd arch_capabilities intel_psfd ipred_ctrl rrsba_ctrl bhi_ctrl",
    ),
    max_basic=0x20,
    max_extended=0x80000008,
    physical_bits=46,
    linear_bits=57,
    caches=(
        Cache(1, DATA, 48, 12),
        Cache(1, CODE, 32, 8),
        Cache(2, UNIFIED, 2048, 16),
        Cache(3, UNIFIED, 107520, 15, shared=True),
    ),
    cache_descriptors=(0x00FEFF01, 0xF0, 0, 0),
    microcode=0x2B000461 << 32,
)
