# cython: language_level=3
"""x87 control (Intel SDM volume 1, 8.3.9 to 8.3.13 and 8.1.10): the control and status words, the environment, the state.

Reserved words of the 32-bit images are stored as ones, as silicon does.
"""
from libc.string cimport memcpy, memset
from x86emu.core.features cimport *


# ----- instructions on the stack and its tags -----

cdef void FINCSTP(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t s = c.fpu.status
    if not ready(c, i):
        return
    note(c, i)
    c.fpu.status = <uint16_t>((s & ~(SW_TOP | SW_C1)) | ((s + 0x800) & SW_TOP))
    chain(c, i)

cdef void FDECSTP(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t s = c.fpu.status
    if not ready(c, i):
        return
    note(c, i)
    c.fpu.status = <uint16_t>((s & ~(SW_TOP | SW_C1)) | ((s - 0x800) & SW_TOP))
    chain(c, i)

cdef void FFREE_STi(Cpu* c, Insn* i) noexcept nogil:
    if not ready(c, i):
        return
    note(c, i)
    c.fpu.valid &= <uint8_t>~(1 << physical(c, i.src))
    set_status(c, 0)
    chain(c, i)

cdef void FFREEP_STi(Cpu* c, Insn* i) noexcept nogil:
    """DF C0+i: FFREE, then a pop."""
    if not ready(c, i):
        return
    note(c, i)
    c.fpu.valid &= <uint8_t>~(1 << physical(c, i.src))
    set_status(c, 0)
    pop(c)
    chain(c, i)

cdef void FNOP(Cpu* c, Insn* i) noexcept nogil:
    if not ready(c, i):
        return
    note(c, i)
    chain(c, i)

cdef void FNENI(Cpu* c, Insn* i) noexcept nogil:
    """8087 only; later processors do nothing. So with FNDISI, and with FNSETPM of the 80287."""
    chain(c, i)

cdef void FNDISI(Cpu* c, Insn* i) noexcept nogil:
    chain(c, i)

cdef void FNSETPM(Cpu* c, Insn* i) noexcept nogil:
    chain(c, i)

cdef void WAIT(Cpu* c, Insn* i) noexcept nogil:
    """#NM when CR0.MP and CR0.TS are both set (SDM 3A, table 2-2)."""
    if (c.cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS):
        fault(c, i, V_NM)
        return
    if not ready(c, i):
        return
    chain(c, i)


# ----- control word, status word -----

cdef void FNCLEX(Cpu* c, Insn* i) noexcept nogil:
    c.fpu.status &= 0x7F00
    refresh_summary(c)
    chain(c, i)

cdef void reset_environment(Cpu* c) noexcept nogil:
    c.fpu.control = 0x37F
    c.fpu.status = 0
    c.fpu.valid = 0
    c.fpu.opcode = 0
    c.fpu.instruction_pointer = 0
    c.fpu.instruction_selector = 0
    c.fpu.data_pointer = 0
    c.fpu.data_selector = 0
    refresh_summary(c)

cdef void FNINIT(Cpu* c, Insn* i) noexcept nogil:
    reset_environment(c)
    chain(c, i)

cdef void load_control(Cpu* c, uint32_t v) noexcept nogil:
    c.fpu.control = <uint16_t>((v & 0x1F3F) | 0x40)
    refresh_summary(c)

cdef void FLDCW_Mw(Cpu* c, Insn* i) noexcept nogil:
    cdef uint16_t v
    if not ready(c, i) or not ld(c, i, ea_of(c, i), &v):
        return
    load_control(c, v)
    chain(c, i)

cdef void FNSTCW_Mw(Cpu* c, Insn* i) noexcept nogil:
    if not st(c, i, ea_of(c, i), c.fpu.control):
        return
    chain(c, i)

cdef void FNSTSW_Mw(Cpu* c, Insn* i) noexcept nogil:
    if not st(c, i, ea_of(c, i), c.fpu.status):
        return
    chain(c, i)

cdef void FNSTSW_Rw(Cpu* c, Insn* i) noexcept nogil:
    set_r(c, i.dst, c.fpu.status)
    chain(c, i)


# ----- environment and state images (SDM 1, figures 8-9 to 8-12) -----

cdef uint32_t full_tag_word(Cpu* c) noexcept nogil:
    cdef uint32_t tags = 0
    cdef int p, k
    for p in range(8):
        if not not_empty(c, p):
            k = 3
        else:
            k = classify80(c.fpu.st[p].mantissa, c.fpu.st[p].sign_exponent)
            k = 0 if k == CLASS_NORMAL else (1 if k == CLASS_ZERO else 2)
        tags |= <uint32_t>k << (2 * p)
    return tags

cdef inline bint protected_image(Cpu* c) noexcept nogil:
    return (c.mode & (MODE_PROTECTED | MODE_V86)) == MODE_PROTECTED

cdef uint32_t put_environment(Cpu* c, uint8_t* image, bint wide) noexcept nogil:
    """Writes the environment; returns its length."""
    cdef uint32_t d[7]
    cdef uint32_t cs = c.fpu.instruction_selector
    cdef uint32_t ds = c.fpu.data_selector
    cdef uint32_t ip = <uint32_t>c.fpu.instruction_pointer
    cdef uint32_t dp = <uint32_t>c.fpu.data_pointer
    cdef uint32_t fop = c.fpu.opcode & 0x7FF
    cdef uint16_t w
    cdef int k
    d[0] = 0xFFFF0000UL | c.fpu.control
    d[1] = 0xFFFF0000UL | c.fpu.status
    d[2] = 0xFFFF0000UL | full_tag_word(c)
    if protected_image(c):
        if c.features[FEATURE_ZERO_FCS_FDS]:
            cs = 0
            ds = 0
        d[3] = ip
        d[4] = cs | (fop << 16 if wide else 0)
        d[5] = dp
        d[6] = 0xFFFF0000UL | ds
    else:
        ip += cs << 4
        dp += ds << 4
        d[3] = 0xFFFF0000UL | ip
        d[4] = (ip >> 16 << 12) | fop
        d[5] = 0xFFFF0000UL | dp
        d[6] = dp >> 16 << 12
    if wide:
        memcpy(image, d, 28)
        return 28
    for k in range(7):
        w = <uint16_t>d[k]
        memcpy(image + 2 * k, &w, 2)
    return 14

cdef void take_environment(Cpu* c, const uint8_t* image, bint wide) noexcept nogil:
    cdef uint32_t d[7]
    cdef uint16_t w
    cdef int k
    cdef uint32_t tags
    if wide:
        memcpy(d, image, 28)
    else:
        for k in range(7):
            memcpy(&w, image + 2 * k, 2)
            d[k] = w
    c.fpu.status = <uint16_t>d[1]
    tags = d[2]
    c.fpu.valid = 0
    for k in range(8):
        if ((tags >> (2 * k)) & 3) != 3:
            c.fpu.valid |= <uint8_t>(1 << k)
    if protected_image(c):
        c.fpu.instruction_pointer = d[3]
        c.fpu.instruction_selector = <uint16_t>d[4]
        c.fpu.opcode = (d[4] >> 16) & 0x7FF if wide else 0
        c.fpu.data_pointer = d[5]
        c.fpu.data_selector = <uint16_t>d[6]
    else:
        c.fpu.instruction_pointer = (d[3] & 0xFFFF) | ((d[4] & 0xFFFF000) << 4)
        c.fpu.instruction_selector = 0
        c.fpu.opcode = d[4] & 0x7FF
        c.fpu.data_pointer = (d[5] & 0xFFFF) | ((d[6] & 0xFFFF000) << 4)
        c.fpu.data_selector = 0
    load_control(c, d[0])

cdef bint store_environment(Cpu* c, Insn* i, bint wide) noexcept nogil:
    """FNSTENV: all exceptions are masked afterwards, and so none is pending."""
    cdef uint8_t image[28]
    cdef uint32_t n = put_environment(c, image, wide)
    if not aligned(c, i, ea_of(c, i), 4 if wide else 2) or not slow_bytes(c, i, ea_of(c, i), image, n, 1):
        return False
    c.fpu.control |= SW_EXCEPTIONS
    refresh_summary(c)
    return True

cdef bint load_environment(Cpu* c, Insn* i, bint wide) noexcept nogil:
    cdef uint8_t image[28]
    cdef uint32_t n = 28 if wide else 14
    if not aligned(c, i, ea_of(c, i), 4 if wide else 2) or not slow_bytes(c, i, ea_of(c, i), image, n, 0):
        return False
    take_environment(c, image, wide)
    return True

cdef bint save_state(Cpu* c, Insn* i, bint wide) noexcept nogil:
    """FNSAVE: environment and registers in stack order, then FNINIT."""
    cdef uint8_t image[108]
    cdef uint32_t n = put_environment(c, image, wide)
    cdef uint32_t k
    for k in range(8):
        memcpy(image + n + 10 * k, &c.fpu.st[physical(c, k)], 10)
    if not aligned(c, i, ea_of(c, i), 4 if wide else 2) or not slow_bytes(c, i, ea_of(c, i), image, n + 80, 1):
        return False
    reset_environment(c)
    return True

cdef bint restore_state(Cpu* c, Insn* i, bint wide) noexcept nogil:
    cdef uint8_t image[108]
    cdef uint32_t n = 28 if wide else 14
    cdef uint32_t k
    if not aligned(c, i, ea_of(c, i), 4 if wide else 2) or not slow_bytes(c, i, ea_of(c, i), image, n + 80, 0):
        return False
    take_environment(c, image, wide)
    for k in range(8):
        memcpy(&c.fpu.st[physical(c, k)], image + n + 10 * k, 10)
    return True

cdef void FNSTENV_M_w(Cpu* c, Insn* i) noexcept nogil:
    if not store_environment(c, i, 0):
        return
    chain(c, i)

cdef void FNSTENV_M_d(Cpu* c, Insn* i) noexcept nogil:
    if not store_environment(c, i, 1):
        return
    chain(c, i)

cdef void FNSTENV_M_q(Cpu* c, Insn* i) noexcept nogil:
    FNSTENV_M_d(c, i)

cdef void FNSAVE_M_w(Cpu* c, Insn* i) noexcept nogil:
    if not save_state(c, i, 0):
        return
    chain(c, i)

cdef void FNSAVE_M_d(Cpu* c, Insn* i) noexcept nogil:
    if not save_state(c, i, 1):
        return
    chain(c, i)

cdef void FNSAVE_M_q(Cpu* c, Insn* i) noexcept nogil:
    FNSAVE_M_d(c, i)

cdef void FLDENV_M_w(Cpu* c, Insn* i) noexcept nogil:
    if not ready(c, i) or not load_environment(c, i, 0):
        return
    chain(c, i)

cdef void FLDENV_M_d(Cpu* c, Insn* i) noexcept nogil:
    if not ready(c, i) or not load_environment(c, i, 1):
        return
    chain(c, i)

cdef void FLDENV_M_q(Cpu* c, Insn* i) noexcept nogil:
    FLDENV_M_d(c, i)

cdef void FRSTOR_M_w(Cpu* c, Insn* i) noexcept nogil:
    if not ready(c, i) or not restore_state(c, i, 0):
        return
    chain(c, i)

cdef void FRSTOR_M_d(Cpu* c, Insn* i) noexcept nogil:
    if not ready(c, i) or not restore_state(c, i, 1):
        return
    chain(c, i)

cdef void FRSTOR_M_q(Cpu* c, Insn* i) noexcept nogil:
    FRSTOR_M_d(c, i)

include "register_x87_control.pxi"
