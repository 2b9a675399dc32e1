"""Intel 8086 (iAPX 86/88, 186/188 User's Manual): real mode only, 20 address lines, no faults but #DE."""

from x86emu.isa.models import I8086, CpuModel, feature_set

MODEL = CpuModel(
    name="i8086",
    description="Intel 8086",
    vendor="GenuineIntel",
    family=0,
    model=0,
    stepping=0,
    brand="",
    features=feature_set(I8086),
    max_basic=0,
    physical_bits=20,
)
