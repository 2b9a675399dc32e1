"""Intel 80386 DX, D1 step (386 DX data sheet; SDM volume 3B, chapter 23): no CPUID, no x87 on the chip, no CR4.

The x87 of this model is its own 80387: the machine has the coprocessor that the chip leaves out.  The real part's
system management mode came with the 386 SL; it is kept so that the machine's firmware can use its SMM board logic.
"""

from x86emu.isa.models import I386, CpuModel, feature_set

MODEL = CpuModel(
    name="i80386",
    description="Intel 80386 DX with an 80387",
    vendor="GenuineIntel",
    family=3,
    model=0,
    stepping=8,
    brand="",
    features=feature_set(I386, "fpu"),
    max_basic=0,
)
