"""Intel Pentium 4 model 662 and 672 (Prescott 2M, stepping R0, November 2005): the first with VT-x, without EPT and
VPID.

Sources: Intel Pentium 4 Processor 6x1 and 6x2 data sheet; SDM volume 2A, CPUID, for the leaves.
"""

from x86emu.isa.models import CODE, DATA, UNIFIED, X86_64, Cache, CpuModel, feature_set

MODEL = CpuModel(
    name="pentium4_vtx",
    description="Intel Pentium 4 672, the first with VT-x",
    vendor="GenuineIntel",
    family=15,
    model=4,
    stepping=10,
    brand="Intel(R) Pentium(R) 4 CPU 3.80GHz",
    features=feature_set(X86_64, "sse3 cx16 vmx monitor dtes64 cid xtpr est ss tm pbe acpi lahf_lm"),
    max_basic=5,
    max_extended=0x80000008,
    physical_bits=36,
    linear_bits=48,
    caches=(Cache(1, DATA, 16, 8), Cache(1, CODE, 16, 8), Cache(2, UNIFIED, 2048, 8)),
    cache_descriptors=(0x605B5001, 0, 0, 0x007D7040),
    microcode=0x2 << 32,
)
