"""AMD Phenom (family 10h, revision B3, 2008): the first with rapid virtualization indexing, that is nested paging.

Source: BIOS and Kernel Developer's Guide for family 10h processors (31116), section on CPUID.
"""

from x86emu.isa.models import CODE, DATA, UNIFIED, X86_64, Cache, CpuModel, feature_set

MODEL = CpuModel(
    name="phenom_rvi",
    description="AMD Phenom 9850, the first with nested paging",
    vendor="AuthenticAMD",
    family=0x10,
    model=2,
    stepping=3,
    brand="AMD Phenom(tm) 9850 Quad-Core Processor",
    features=feature_set(
        X86_64,
        "sse3 cx16 popcnt lahf_lm abm sse4a misalignsse 3dnowprefetch monitor osvw svm npt lbrv svm_lock nrip_save",
        "extapic cr8_legacy mmxext fxsr_opt pdpe1gb rdtscp 3dnow 3dnowext constant_tsc branch16",
    ),
    max_basic=5,
    max_extended=0x8000001A,
    physical_bits=48,
    linear_bits=48,
    caches=(Cache(1, DATA, 64, 2), Cache(1, CODE, 64, 2), Cache(2, UNIFIED, 512, 16), Cache(3, UNIFIED, 2048, 32)),
    microcode=0x1000095,
    asids=64,
)
