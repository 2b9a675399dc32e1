# cython: language_level=3
"""Instruction intercepts of AMD-V (AMD APM volume 2, 15.7 to 15.11): which exit an instruction causes, with its EXITINFO.

Most are a bit of the control block and an exit code, by the table virt/svm/exits.py; the others are below.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.features cimport *
from x86emu.core.flags cimport get_of
from x86emu.core.physical cimport physical_load
from x86emu.core.second_level cimport request_exit
from x86emu.core.halting cimport monitor_triggered
from x86emu.core.tasks cimport io_permitted
from x86emu.core.svm cimport *

include "svm_intercepts.pxi"     # KIND_*, DETAIL_* and the table, from isa/intercepts.py and virt/svm/exits.py

cdef enum:
    DR7_GD = 0x2000
    NO_WORD = 0xFF
    SVM_INVPCID = 0xA2

cdef uint8_t table[1024]      # word, bit, code, privileged for each kind
for _number in range(1024):
    table[<int>_number] = INTERCEPTS[_number]

cdef inline bint leave(Cpu* c, Insn* i, uint64_t code, uint64_t info1, uint64_t info2) noexcept nogil:
    cdef uint64_t next_rip = next_rip_of(c, i)
    request_exit(c, i, code, info1, info2)
    c.virt.exit_next_rip = next_rip
    return True

cdef inline uint64_t move_info(Cpu* c, uint8_t register) noexcept nogil:
    """Decode assists: bit 63 a MOV, bits 3:0 its general register (15.33.1)."""
    return 0x8000000000000000ULL | register if c.features[FEATURE_DECODEASSISTS] else 0

cdef bint control_register(Cpu* c, Insn* i, bint write) noexcept nogil:
    cdef uint8_t n = i.dst if write else i.src
    cdef uint8_t general = i.src if write else i.dst
    cdef uint64_t changed
    if c.cpl != 0 or n > 8 or n == 1 or (4 < n < 8) or (n == 8 and (c.mode & MODE_CODE) != MODE_CODE64):
        return False
    if svm_intercepts(c, 0, n + (16 if write else 0)):
        return leave(c, i, n + (0x10 if write else 0), move_info(c, general), 0)
    if write and n == 0 and svm_intercepts(c, 3, 5):
        changed = c.cr0 ^ (c.r[general] if (c.mode & MODE_CODE) == MODE_CODE64 else <uint32_t>c.r[general])
        if changed & ~<uint64_t>(CR0_TS | CR0_MP):
            return leave(c, i, SVM_CR0_SEL_WRITE, move_info(c, general), 0)
    return False

cdef bint debug_register(Cpu* c, Insn* i, bint write) noexcept nogil:
    cdef uint8_t n = i.dst if write else i.src
    cdef uint8_t general = i.src if write else i.dst
    if c.cpl != 0 or n > 7 or (c.cr4 & CR4_DE and (n == 4 or n == 5)) or c.dr[7] & DR7_GD:
        return False
    if not svm_intercepts(c, 1, n + (16 if write else 0)):
        return False
    return leave(c, i, (0x30 if write else 0x20) + n, general if c.features[FEATURE_DECODEASSISTS] else 0, 0)

cdef bint machine_status(Cpu* c, Insn* i, int kind) noexcept nogil:
    """SMSW, LMSW, CLTS: accesses to CR0 that are no MOV."""
    cdef bint write = kind != KIND_SMSW
    cdef uint64_t new
    if write and c.cpl != 0:
        return False
    if svm_intercepts(c, 0, 16 if write else 0):
        return leave(c, i, 0x10 if write else 0, 0, 0)
    if kind == KIND_LMSW and svm_intercepts(c, 3, 5):        # 15.9: LMSW exits whatever it changes
        return leave(c, i, SVM_CR0_SEL_WRITE, 0, 0)
    return False

cdef bint port_access(Cpu* c, Insn* i) noexcept nogil:
    """15.10: the permission map has a bit for each port; EXITINFO1 describes the access, EXITINFO2 is the next RIP."""
    cdef uint32_t detail = <uint32_t>(i.imm >> 8) & 0xFF
    cdef uint32_t port = <uint32_t>(i.imm >> 32) & 0xFF if detail & DETAIL_IMMEDIATE else <uint16_t>c.r[RDX]
    cdef uint32_t size = 1 if detail & DETAIL_BYTE else 2 if (i.imm >> 16) & 0xFF == 0 else 4
    cdef uint64_t info, bits, count
    if not svm_intercepts(c, 3, 27):
        return False
    if detail & DETAIL_REPEATED:
        count = c.r[RCX]
        if i.aux == 0:
            count &= 0xFFFF
        elif i.aux == 1:
            count &= 0xFFFFFFFFULL
        if count == 0:
            return False
    if (c.cpl > (c.rflags & FLAG_IOPL) >> 12 or c.rflags & FLAG_VM) and not io_permitted(c, i, port, size):
        return True                      # the fault is raised
    bits = physical_load(c, c.virt.io_map + (port >> 3), 1) | physical_load(c, c.virt.io_map + (port >> 3) + 1, 1) << 8
    if not (bits >> (port & 7)) & ((1 << size) - 1):
        return False
    info = (port << 16 | (1 if detail & DETAIL_INPUT else 0) | (4 if detail & DETAIL_STRING else 0)
            | (8 if detail & DETAIL_REPEATED else 0) | size << 4 | (0x80 << i.aux))
    if detail & DETAIL_STRING and c.features[FEATURE_DECODEASSISTS]:
        info |= <uint64_t>(ES if detail & DETAIL_INPUT else i.seg) << 10
    return leave(c, i, SVM_IOIO, info, next_rip_of(c, i))

cdef bint msr_access(Cpu* c, Insn* i, bint write) noexcept nogil:
    """15.11: two bits for each of three ranges of MSRs; all others exit."""
    cdef uint32_t number = <uint32_t>c.r[RCX]
    cdef uint32_t place
    if c.cpl != 0 or not svm_intercepts(c, 3, 28):
        return False
    if number <= 0x1FFF:
        place = number * 2
    elif 0xC0000000u <= number <= 0xC0001FFFu:
        place = (0x2000 + (number & 0x1FFF)) * 2
    elif 0xC0010000u <= number <= 0xC0011FFFu:
        place = (0x4000 + (number & 0x1FFF)) * 2
    else:
        return leave(c, i, SVM_MSR, write, 0)
    place += write
    if not (physical_load(c, c.virt.msr_map + (place >> 3), 1) >> (place & 7)) & 1:
        return False
    return leave(c, i, SVM_MSR, write, 0)

cdef bint pause_loop(Cpu* c, Insn* i) noexcept nogil:
    """15.14.4: the filter lets count PAUSEs through; with a threshold it starts anew after a long time between two."""
    cdef int64_t now
    if not svm_intercepts(c, 3, 23):
        return False
    c.current = i
    now = retired(c)
    c.current = NULL
    if c.virt.pause_threshold:
        if now - c.virt.pause_last > <int64_t>c.virt.pause_threshold:
            c.virt.pause_count = c.virt.pause_reload
        c.virt.pause_last = now
    if c.virt.pause_count:
        c.virt.pause_count -= 1
        return False
    return leave(c, i, 0x77, 0, 0)

cdef bint svm_intercept(Cpu* c, Insn* i) noexcept nogil:
    cdef int kind = <int>(i.imm & 0xFF)
    cdef const uint8_t* row = &table[4 * kind]
    cdef uint64_t linear
    if kind == KIND_ICEBP and not svm_intercepts(c, 4, 8):
        # 15.12.2: the #DB intercept covers INT1; the exception is a trap, and DR6 does not change
        return svm_intercepts(c, 2, V_DB) and leave(c, i, 0x40 + V_DB, 0, 0)
    if kind == KIND_HLT and svm_intercepts(c, 5, 6) and c.features[FEATURE_IDLE_HLT] and c.cpl == 0:
        # idle HLT: an event that would wake the guest at once does not leave it (15.9, intercept of idle HLT)
        return (not c.virt.virtual_interrupt and not svm_virtual_nmi_ready(c)) and leave(c, i, SVM_IDLE_HLT, 0, 0)
    if row[0] != NO_WORD and kind != KIND_IO and not (c.virt.intercepts[row[0]] >> row[1]) & 1 and kind != KIND_MWAIT:
        return False
    if row[3] and c.cpl != 0:
        return False                     # the instruction faults first
    if kind == KIND_IO:
        return port_access(c, i)
    if kind == KIND_CR_READ or kind == KIND_CR_WRITE:
        return control_register(c, i, kind == KIND_CR_WRITE)
    if kind == KIND_RDMSR or kind == KIND_WRMSR:
        return msr_access(c, i, kind == KIND_WRMSR)
    if kind == KIND_DR_READ or kind == KIND_DR_WRITE:
        return debug_register(c, i, kind == KIND_DR_WRITE)
    if kind == KIND_SMSW or kind == KIND_LMSW or kind == KIND_CLTS:
        return machine_status(c, i, kind)
    if kind == KIND_PAUSE:
        return pause_loop(c, i)
    if kind == KIND_RDTSC or kind == KIND_RDTSCP:
        if c.cr4 & CR4_TSD and c.cpl != 0:
            return False
    elif kind == KIND_RDPMC:
        if not c.cr4 & CR4_PCE and c.cpl != 0:
            return False
    elif kind == KIND_SKINIT:
        return False                     # no model has it, and #UD comes first
    elif kind == KIND_XSETBV:
        if not c.cr4 & CR4_OSXSAVE:
            return False
    elif kind == KIND_MWAIT:
        if svm_intercepts(c, 4, 12) and c.monitor_armed and not monitor_triggered(c):
            return leave(c, i, SVM_MWAIT_ARMED, 0, 0)
        if not svm_intercepts(c, 4, 11):
            return False
        return leave(c, i, 0x8B, c.monitor_armed != 0, 0)
    elif kind == KIND_INT:
        return leave(c, i, SVM_SWINT, <uint64_t>(i.imm >> 32) & 0xFF if c.features[FEATURE_DECODEASSISTS] else 0, 0)
    elif kind == KIND_INVLPG or kind == KIND_INVPCID:
        linear = ea_of(c, i)
        if (c.mode & MODE_CODE) != MODE_CODE64:
            linear = <uint32_t>(linear + c.seg[i.seg].base)
        elif i.seg == FS or i.seg == GS:
            linear += c.seg[i.seg].base
        if kind == KIND_INVPCID:         # the descriptor's address, and the register
            return leave(c, i, SVM_INVPCID, linear,
                         c.r[i.dst] if (c.mode & MODE_CODE) == MODE_CODE64 else <uint32_t>c.r[i.dst])
        return leave(c, i, 0x79, linear if c.features[FEATURE_DECODEASSISTS] else 0, 0)
    elif kind == KIND_INT3:
        return svm_intercepts(c, 2, V_BP) and leave(c, i, 0x40 + V_BP, 0, 0)
    elif kind == KIND_INTO:
        return get_of(c) and svm_intercepts(c, 2, V_OF) and leave(c, i, 0x40 + V_OF, 0, 0)
    if row[0] == NO_WORD:
        return False
    return leave(c, i, row[2], 0, 0)
