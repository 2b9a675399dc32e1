"""Everything that the core implements in one processor, of no real make: for tests and for trying things out.

It calls itself AMD, as `default` does and for the same reasons.  Left out is what would contradict the rest: the bits
that tell a restriction (zero_fcs_fds, fdp_excptn_only), `hypervisor`, and VT-x, which AMD's processors do not have.
"""

from x86emu.isa.features import IMPLEMENTED, VMX_FEATURES
from x86emu.isa.models import CODE, DATA, UNIFIED, Cache, CpuModel

MODEL = CpuModel(
    name="max",
    description="everything that is implemented, in one processor",
    vendor="AuthenticAMD",
    family=15,
    model=0x6B,
    stepping=1,
    brand="x86emu virtual processor with everything",
    features=IMPLEMENTED
    - {"zero_fcs_fds", "fdp_excptn_only", "hypervisor", "ss", "htt", "cmp_legacy", "pre386", "pre186"}
    - {"vmx"}
    - VMX_FEATURES,
    max_basic=0x10,
    max_extended=0x80000021,
    physical_bits=48,
    linear_bits=57,
    caches=(Cache(1, DATA, 64, 2), Cache(1, CODE, 64, 2), Cache(2, UNIFIED, 512, 16), Cache(3, UNIFIED, 16384, 16)),
    microcode=0x1000065,
    asids=32768,
)
