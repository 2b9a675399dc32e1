"""Intel Pentium at 75 to 200 MHz (P54C; Pentium Processor Family Developer's Manual): CPUID leaf 1 only, no MMX.

The local APIC is on the chip, enabled by a pin; CPUID tells it while it is enabled.
"""

from x86emu.isa.models import PENTIUM, CpuModel, feature_set

MODEL = CpuModel(
    name="pentium",
    description="Intel Pentium (P54C)",
    vendor="GenuineIntel",
    family=5,
    model=2,
    stepping=12,
    brand="",
    features=feature_set(PENTIUM, "apic"),
    max_basic=1,
)
