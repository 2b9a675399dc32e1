"""Intel Core i7-4770 (Haswell, 2013): the first x86-64-v3 processor; without its transactional memory.

Sources: Desktop 4th Generation Intel Core Processor Family data sheet; SDM volume 2A, CPUID.
"""

from x86emu.isa.models import CODE, DATA, UNIFIED, X86_64_V3, Cache, CpuModel, feature_set

MODEL = CpuModel(
    name="haswell",
    description="Intel Core i7-4770, the first x86-64-v3 processor",
    vendor="GenuineIntel",
    family=6,
    model=0x3C,
    stepping=3,
    brand="Intel(R) Core(TM) i7-4770 CPU @ 3.40GHz",
    features=feature_set(
        X86_64_V3,
        "rdtscp constant_tsc monitor vmx ept vpid unrestricted_guest est tm tm2 dtes64 pdcm xtpr ss acpi pbe dtherm",
        "pclmulqdq aes rdrand x2apic tsc_deadline pcid invpcid xsaveopt fsgsbase tsc_adjust smep erms pdpe1gb arat",
        "aperfmperf pln",
    ),
    max_basic=0x0D,
    max_extended=0x80000008,
    physical_bits=39,
    linear_bits=48,
    caches=(
        Cache(1, DATA, 32, 8),
        Cache(1, CODE, 32, 8),
        Cache(2, UNIFIED, 256, 8),
        Cache(3, UNIFIED, 8192, 16, shared=True),
    ),
    cache_descriptors=(0x76036301, 0x00F0B5FF, 0, 0x00C10000),
    microcode=0x28 << 32,
)
