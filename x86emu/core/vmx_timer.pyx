# cython: language_level=3
"""The VMX-preemption timer (Intel SDM volume 3C, 26.5.1 and 27.7.4; its rate: IA32_VMX_MISC, volume 3D A.6).

It counts down by 1 whenever an increment of the TSC changes bit X of it.  So it reaches 0 at one of the TSC's values
with zeros below bit X, and that value is what is kept.  It is the processor's own TSC: a guest's offset and ratio have no
part in it.  A write of the TSC is no increment; the count stays and goes on in step with the new value.

The run loop is not bothered at every trace: its slice is cut where the timer will expire, the rest of it deferred.  The
timer counts in every C-state.
"""
from libc.stdint cimport uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.engine cimport virtual_now
from x86emu.core.vmx cimport *

cdef inline int shift(Cpu* c) noexcept nogil:
    return <int>(capability(c, 5) & 31)

cdef inline uint64_t whole_counts(Cpu* c, uint64_t tsc) noexcept nogil:
    return tsc >> shift(c) << shift(c)

cdef inline uint64_t physical_tsc(Cpu* c) noexcept nogil:
    return <uint64_t>(virtual_now(c) + c.tsc_offset)

cdef void vmx_start_timer(Cpu* c) noexcept nogil:
    c.vmx.timer_on = 0
    if c.vmx.pin >> PIN_PREEMPTION_TIMER & 1:
        c.vmx.timer_on = TIMER_ACTIVE | TIMER_WATCHED
        c.vmx.timer_end = whole_counts(c, physical_tsc(c)) + (vget(c, F_PREEMPTION_TIMER_VALUE) << shift(c))

cdef uint64_t vmx_timer_value(Cpu* c) noexcept nogil:
    """At least one less than what the entry loaded: entry and exit take silicon longer than one count, and us no time."""
    cdef int64_t left = <int64_t>(c.vmx.timer_end - whole_counts(c, physical_tsc(c))) >> shift(c)
    return <uint64_t>max(min(left, <int64_t>vget(c, F_PREEMPTION_TIMER_VALUE) - 1), 0)

cdef bint vmx_timer_expired(Cpu* c) noexcept nogil:
    cdef int64_t left = <int64_t>(c.vmx.timer_end - physical_tsc(c))
    cdef int64_t rest = c.budget + c.deferred
    if left <= 0:
        return True
    if left < rest:
        c.slice += left - c.budget
        c.budget = left
        c.deferred = rest - left
    if c.vmx.timer_on & TIMER_WATCHED:
        c.vmx.timer_on = TIMER_ACTIVE
        vmx_watch(c)
    return False

cdef int64_t vmx_timer_deadline(Cpu* c) noexcept nogil:
    if c.virt.guest_mode != GUEST_VMX or not c.vmx.timer_on or c.activity == ACTIVITY_WAIT_FOR_SIPI:
        return 0x7FFFFFFFFFFFFFFF
    return <int64_t>(c.vmx.timer_end - <uint64_t>c.tsc_offset)

cdef void vmx_timer_tsc_moved(Cpu* c, Insn* i, int64_t before) noexcept nogil:
    cdef int64_t now
    if not c.vmx.timer_on:
        return
    c.current = i
    now = virtual_now(c)
    c.current = NULL
    c.vmx.timer_end += (whole_counts(c, <uint64_t>(now + c.tsc_offset)) - whole_counts(c, <uint64_t>(now + before)))
    vmx_watch_timer(c)
