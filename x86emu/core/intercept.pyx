# cython: language_level=3
"""The record that the trace builder puts before an instruction that a hypervisor may intercept, in guest mode only.

Its imm: kind of isa/intercepts.py in bits 7:0, detail in 15:8, operand size in 23:16, immediate in 47:32; dst and src are
the instruction's register numbers, aux its address size, and the memory operand is described as in the instruction's own
record.  The instruction's own checks that come before the intercept (privilege, #UD) are left to its handler: where they
would fail, the record lets it pass.
"""
from x86emu.core.state cimport *
from x86emu.core.svm_intercepts cimport svm_intercept
from x86emu.core.vmx_intercepts cimport vmx_intercept

cdef void INTERCEPT(Cpu* c, Insn* i) noexcept nogil:
    if c.virt.guest_mode == GUEST_SVM and svm_intercept(c, i):
        return
    if c.virt.guest_mode == GUEST_VMX and vmx_intercept(c, i):
        return
    chain(c, i)

include "register_intercept.pxi"
