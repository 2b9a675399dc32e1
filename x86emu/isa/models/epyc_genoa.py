"""AMD EPYC 9654 (Genoa, family 19h, 2022), as far as the core goes: no AVX-512.

Source: Processor Programming Reference for family 19h model 11h, revision B1 (55901), section on CPUID.
"""

from x86emu.isa.models import CODE, DATA, UNIFIED, X86_64_V2, Cache, CpuModel, feature_set

MODEL = CpuModel(
    name="epyc_genoa",
    description="AMD EPYC 9654",
    vendor="AuthenticAMD",
    family=0x19,
    model=0x11,
    stepping=1,
    brand="AMD EPYC 9654 96-Core Processor",
    features=feature_set(
        X86_64_V2,
        "rdtscp constant_tsc monitor",
        "pclmulqdq aes movbe rdrand rdseed x2apic pcid invpcid xsave xsaveopt xsavec xgetbv1 xsaves",
        "avx avx2 f16c fma bmi1 bmi2 avx512f vaes vpclmulqdq gfni sha adx fsgsbase smep smap umip pku cet_ss la57 erms",
        "fsrm clflushopt clwb rdpid wbnoinvd clzero rdpru 3dnowprefetch abm sse4a misalignsse osvw topoext",
        "mmxext fxsr_opt",
        "pdpe1gb arat aperfmperf cr8_legacy extapic svm npt lbrv svm_lock nrip_save tsc_scale vmcb_clean flushbyasid",
        "decodeassists pausefilter pfthreshold v_vmsave_vmload vgif avic x2avic gmet vnmi svme_addr_chk",
        "perfctr_core invlpgb null_sel_clr_base lfence_serializing branch16",
        "ibpb ibrs amd_stibp stibp_always_on ibrs_preferred ibrs_same_mode amd_ssbd amd_psfd btc_no ibpb_ret",
    ),
    max_basic=0x10,
    max_extended=0x80000028,
    physical_bits=52,
    linear_bits=57,
    caches=(
        Cache(1, DATA, 32, 8),
        Cache(1, CODE, 32, 8),
        Cache(2, UNIFIED, 1024, 8),
        Cache(3, UNIFIED, 32768, 16, shared=True),
    ),
    microcode=0xA101144,
    asids=32768,
)
