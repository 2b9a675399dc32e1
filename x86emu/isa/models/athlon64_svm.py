"""AMD Athlon 64 revision F (socket AM2, 2006): the first with AMD-V, without nested paging.

Source: BIOS and Kernel Developer's Guide for family 0Fh revision F and G processors (32559), section on CPUID.
"""

from x86emu.isa.models import CODE, DATA, UNIFIED, X86_64, Cache, CpuModel, feature_set

MODEL = CpuModel(
    name="athlon64_svm",
    description="AMD Athlon 64 3800+ revision F, the first with AMD-V",
    vendor="AuthenticAMD",
    family=15,
    model=0x5F,
    stepping=2,
    brand="AMD Athlon(tm) 64 Processor 3800+",
    features=feature_set(
        X86_64,
        "sse3 cx16 svm lbrv extapic cr8_legacy mmxext fxsr_opt rdtscp 3dnow 3dnowext lahf_lm branch16",
    ),
    max_basic=1,
    max_extended=0x80000018,
    physical_bits=40,
    linear_bits=48,
    caches=(Cache(1, DATA, 64, 2), Cache(1, CODE, 64, 2), Cache(2, UNIFIED, 512, 16)),
    asids=64,
)
