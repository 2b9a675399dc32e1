"""Intel Core i7-920 (Nehalem, 2008): the first with EPT and VPID; an x86-64-v2 processor.

Sources: Intel Core i7-900 desktop processor series data sheet; SDM volume 2A, CPUID.
"""

from x86emu.isa.models import CODE, DATA, UNIFIED, X86_64_V2, Cache, CpuModel, feature_set

MODEL = CpuModel(
    name="nehalem_ept",
    description="Intel Core i7-920, the first with EPT",
    vendor="GenuineIntel",
    family=6,
    model=0x1A,
    stepping=5,
    brand="Intel(R) Core(TM) i7 CPU         920  @ 2.67GHz",
    features=feature_set(
        X86_64_V2, "rdtscp constant_tsc monitor vmx ept vpid est tm tm2 dtes64 pdcm xtpr ss acpi pbe dtherm"
    ),
    max_basic=0x0B,
    max_extended=0x80000008,
    physical_bits=36,
    linear_bits=48,
    caches=(
        Cache(1, DATA, 32, 8),
        Cache(1, CODE, 32, 4),
        Cache(2, UNIFIED, 256, 8),
        Cache(3, UNIFIED, 8192, 16, shared=True),
    ),
    cache_descriptors=(0x55035A01, 0x00F0B2E4, 0, 0x09CA212C),
    microcode=0x1D << 32,
)
