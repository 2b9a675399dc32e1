# cython: language_level=3
# Near transfers of control with shadow stacks and tracked indirect branches (SDM 2A: CALL, JMP; 2B: RET).
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.tlb cimport set_mode
from x86emu.core.cet cimport *
from x86emu.core.memory_access cimport *
from x86emu.core.stack cimport *
from x86emu.core.control cimport *

cdef enum:
    NO_TRACK = 4                 # Insn.aux: the prefix 3Eh
    ENDBRANCH_64 = 0xFA1E0FF3
    ENDBRANCH_32 = 0xFB1E0FF3

cdef inline bint call_shadow(Cpu* c, Insn* i, uint_t value, bint shadow) noexcept nogil:
    """Pushes a return address on both stacks; a CALL of the next instruction leaves the shadow stack alone."""
    cdef uint64_t sp = c.r[RSP] - sizeof(uint_t), copy = value
    cdef uint32_t size = 8 if sizeof(uint_t) == 8 else 4
    if not stack_store(c, i, sp, value):
        return False
    if shadow:
        if not shadow_access(c, i, c.ssp - size, size, SHADOW_STORE, c.cpl == 3, &copy):
            return False
        c.ssp -= size
    move_sp(c, sp, value)
    return True

cdef inline bint return_shadow(Cpu* c, Insn* i, uint_t rip) noexcept nogil:
    """False after raising #CP, where the shadow stack has another address."""
    cdef uint64_t expected = 0
    cdef uint32_t size = 8 if sizeof(uint_t) == 8 else 4
    if not shadow_access(c, i, c.ssp, size, SHADOW_LOAD, c.cpl == 3, &expected):
        return False
    if expected != rip:
        fault_code(c, i, V_CP, CP_NEAR_RET)
        return False
    return True

cdef bint met_at_once(Cpu* c, Insn* i, uint64_t rip) noexcept nogil:
    """Whether the target is an ENDBRANCH that runs next without anything in between: then nobody can see the tracker."""
    cdef uint64_t linear = rip + c.cs_base
    cdef TlbEntry* e = exec_entry(c, linear)
    if (trace_of(i).mode & MODE_SINGLE or c.budget < MAX_TRACE or c.dr[7] & 0xFF
            or e.tag != (((linear + 3) & 0xFFFFFFFFFFFFF000ULL) | c.real_key)):
        return False
    return ((<uint32_t*>(c.shared.memory.backing + (linear + e.addend)))[0]
            == (<uint32_t>ENDBRANCH_64 if (c.mode & MODE_CODE) == MODE_CODE64 else <uint32_t>ENDBRANCH_32))

cdef void follow(Cpu* c, Insn* i, uint64_t rip) noexcept nogil:
    """The tracker behind an indirect near branch."""
    cdef uint64_t* cet = cet_register(c, c.cpl)
    if (not cet[0] & CET_ENDBR_EN or cet[0] & CET_SUPPRESS or (i.aux & NO_TRACK and cet[0] & CET_NO_TRACK_EN)
            or met_at_once(c, i, rip)):
        return
    cet[0] |= CET_TRACKER
    set_mode(c, c.mode | MODE_WAIT)

include "forms_cet.pxi"

include "register_cet_control.pxi"
