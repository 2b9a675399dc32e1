"""The model used where none is asked for: an x86-64-v3 processor of no real make, chosen to run operating systems best.

It calls itself AMD, so that kernels leave out page-table isolation (AMD's processors are not open to Meltdown), and it
is of family 0Fh, whose errata and speculation workarounds in kernels are the fewest.  Beyond x86-64-v3 it has what
saves work in a machine whose time is virtual: a TSC that is constant, the local APIC's TSC deadline timer, 1-GiB
pages, PCIDs. It leaves out fast short REP MOVSB (a repeated instruction counts once an iteration, so moving quadwords
is better).
"""

from x86emu.isa.models import CODE, DATA, UNIFIED, X86_64_V3, Cache, CpuModel, feature_set

MODEL = CpuModel(
    name="default",
    description="x86-64-v3 processor that runs operating systems best",
    vendor="AuthenticAMD",
    family=15,
    model=0x6B,
    stepping=1,
    brand="x86emu x86-64-v3 virtual processor",
    features=feature_set(
        X86_64_V3,
        "rdtscp constant_tsc arat mmxext x2apic tsc_deadline tsc_adjust pdpe1gb pcid invpcid fsgsbase smep smap umip",
        "rdrand rdseed xsaveopt xsavec xgetbv1 xsaves aes pclmulqdq 3dnowprefetch branch16",
    ),
    max_basic=0x0D,
    max_extended=0x8000001A,
    physical_bits=40,
    linear_bits=48,
    caches=(Cache(1, DATA, 64, 2), Cache(1, CODE, 64, 2), Cache(2, UNIFIED, 512, 16), Cache(3, UNIFIED, 16384, 16)),
    microcode=0x1000065,
)
