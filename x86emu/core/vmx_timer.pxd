# cython: language_level=3
# The VMX-preemption timer: see vmx_timer.pyx.
from libc.stdint cimport uint64_t, int64_t
from x86emu.core.state cimport *

cdef enum:
    TIMER_ACTIVE = 1             # Vmx.timer_on
    TIMER_WATCHED = 2            # ... and the run loop has to call vmx_timer_expired()

# VM entry: the timer starts from the field of the VMCS, or is off.
cdef void vmx_start_timer(Cpu* c) noexcept nogil
# What an exit saves.
cdef uint64_t vmx_timer_value(Cpu* c) noexcept nogil
# Whether the timer is at 0. If not, the run loop comes back when it will be, and not for its sake before.
cdef bint vmx_timer_expired(Cpu* c) noexcept nogil
# Virtual time at which the running guest's timer expires; a huge number where none runs.
cdef int64_t vmx_timer_deadline(Cpu* c) noexcept nogil
# Instruction i (NULL: between instructions) has given the TSC another offset than this.
cdef void vmx_timer_tsc_moved(Cpu* c, Insn* i, int64_t before) noexcept nogil

cdef inline void vmx_watch_timer(Cpu* c) noexcept nogil:
    """Where a guest's timer runs, the run loop looks at it before the next trace."""
    if unlikely(c.vmx.timer_on != 0) and c.virt.guest_mode == GUEST_VMX:
        c.vmx.timer_on |= TIMER_WATCHED
        c.virt.virtual_interrupt = 1
