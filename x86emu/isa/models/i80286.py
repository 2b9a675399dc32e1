"""Intel 80286 (iAPX 286 Programmer's Reference Manual; SDM volume 3B, 23): 16 bits, 24 address lines, no x87."""

from x86emu.isa.models import I286, CpuModel, feature_set

MODEL = CpuModel(
    name="i80286",
    description="Intel 80286",
    vendor="GenuineIntel",
    family=2,
    model=0,
    stepping=0,
    brand="",
    features=feature_set(I286),
    max_basic=0,
    physical_bits=24,
)
