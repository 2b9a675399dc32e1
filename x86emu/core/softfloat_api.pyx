# cython: language_level=3
"""The x87's arithmetic as Python functions, without a processor around it (SDM volume 1, chapter 8).

A double-extended value is a pair `(mantissa, sign_exponent)`: the 64-bit significand with its explicit integer bit,
and the 16 bits with sign and biased exponent. `control` is an x87 control word (default 37Fh: all exceptions masked,
64-bit precision, round to nearest). Each function gives the result and the status-word bits that it sets: exceptions
in bits 5:0, C1 (bit 9) when the magnitude was rounded up, and C0, C2, C3 where the instruction defines them.
Where an unmasked exception would leave the destination alone, the result has no meaning.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.softfloat80 cimport *
from x86emu.core.softfloat80_convert cimport *
from x86emu.core.transcendental80 cimport *


cdef object pair(Result80 r):
    return (r.mantissa, r.sign_exponent), r.flags


def add(tuple a, tuple b, uint32_t control=0x37F):
    """FADD: a + b."""
    return pair(add80(a[0], a[1], b[0], b[1], 0, control))

def sub(tuple a, tuple b, uint32_t control=0x37F):
    """FSUB: a - b."""
    return pair(add80(a[0], a[1], b[0], b[1], SIGN, control))

def mul(tuple a, tuple b, uint32_t control=0x37F):
    """FMUL: a * b."""
    return pair(mul80(a[0], a[1], b[0], b[1], control))

def div(tuple a, tuple b, uint32_t control=0x37F):
    """FDIV: a / b."""
    return pair(div80(a[0], a[1], b[0], b[1], control))

def sqrt(tuple a, uint32_t control=0x37F):
    """FSQRT."""
    return pair(sqrt80(a[0], a[1], control))

def fprem(tuple a, tuple b, uint32_t control=0x37F):
    """FPREM: one step of the remainder of a by b, quotient rounded toward zero."""
    return pair(rem80(a[0], a[1], b[0], b[1], control, 0))

def fprem1(tuple a, tuple b, uint32_t control=0x37F):
    """FPREM1: one step of the IEEE 754 remainder of a by b."""
    return pair(rem80(a[0], a[1], b[0], b[1], control, 1))

def round_to_integer(tuple a, uint32_t control=0x37F):
    """FRNDINT."""
    return pair(round_to_integer80(a[0], a[1], control))

def scale(tuple a, tuple b, uint32_t control=0x37F):
    """FSCALE: a * 2 ** trunc(b)."""
    return pair(scale80(a[0], a[1], b[0], b[1], control))

def extract(tuple a):
    """FXTRACT: significand, exponent, flags."""
    cdef F80 exponent
    cdef Result80 r = extract80(a[0], a[1], &exponent)
    return (r.mantissa, r.sign_exponent), (exponent.mantissa, exponent.sign_exponent), r.flags

def compare(tuple a, tuple b, bint quiet=False):
    """FCOM, or FUCOM with quiet: C3, C2, C0 and exceptions as status-word bits."""
    return compare80(a[0], a[1], b[0], b[1], quiet)

def from_binary32(uint32_t v):
    """FLD m32."""
    return pair(load32(v, 1))

def from_binary64(uint64_t v):
    """FLD m64."""
    return pair(load64(v, 1))

def from_integer(int64_t v):
    """FILD."""
    return pair(load_integer(v))

def from_bcd(bytes image):
    """FBLD: ten bytes."""
    return pair(load_bcd80(int.from_bytes(image[:8], "little"), int.from_bytes(image[8:10], "little")))

def to_binary32(tuple a, uint32_t control=0x37F):
    """FST m32: the 32-bit image and flags."""
    cdef Stored s = store32(a[0], a[1], control)
    return s.value, s.flags

def to_binary64(tuple a, uint32_t control=0x37F):
    """FST m64: the 64-bit image and flags."""
    cdef Stored s = store64(a[0], a[1], control)
    return s.value, s.flags

def to_integer(tuple a, int bits, uint32_t control=0x37F):
    """FIST: the two's-complement image of 16, 32 or 64 bits, and flags."""
    cdef Stored s = to_integer80(a[0], a[1], control, bits)
    return s.value & (0xFFFFFFFFFFFFFFFFULL >> (64 - bits)), s.flags

def to_bcd(tuple a, uint32_t control=0x37F):
    """FBSTP: the ten bytes and flags."""
    cdef uint16_t high = 0
    cdef Stored s = store_bcd80(a[0], a[1], control, &high)
    return int(s.value).to_bytes(8, "little") + int(high).to_bytes(2, "little"), s.flags

def f2xm1(tuple a, uint32_t control=0x37F):
    """F2XM1: 2 ** a - 1."""
    return pair(exp2_minus_1(a[0], a[1], control))

def fyl2x(tuple x, tuple y, uint32_t control=0x37F):
    """FYL2X: y * log2(x)."""
    return pair(y_log2_x(x[0], x[1], y[0], y[1], control))

def fyl2xp1(tuple x, tuple y, uint32_t control=0x37F):
    """FYL2XP1: y * log2(x + 1)."""
    return pair(y_log2_x_plus_1(x[0], x[1], y[0], y[1], control))

def fpatan(tuple x, tuple y, uint32_t control=0x37F):
    """FPATAN: the angle of the point (x, y), in radians."""
    return pair(arctangent(y[0], y[1], x[0], x[1], control))

def fsin(tuple a, uint32_t control=0x37F):
    """FSIN. C2: the operand is out of range and comes back unchanged."""
    return pair(sine(a[0], a[1], control))

def fcos(tuple a, uint32_t control=0x37F):
    """FCOS. C2 as in fsin."""
    return pair(cosine(a[0], a[1], control))

def fptan(tuple a, uint32_t control=0x37F):
    """FPTAN without its push of 1.0. C2 as in fsin."""
    return pair(tangent(a[0], a[1], control))

def constant(int index, uint32_t control=0x37F):
    """FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ by index 0 to 6, as rounding control makes them."""
    if not 0 <= index <= 6:
        raise ValueError(f"constant {index} is unknown: 0 to 6 stand for FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ")
    return pair(load_constant(index, control))
