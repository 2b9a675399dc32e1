# cython: language_level=3
# Where Intel's and AMD's processors differ in system instructions (AMD APM volume 2, volume 3 on SYSCALL and SYSRET;
# SDM 3B 23 on compatibility), asked of the processor model.
from x86emu.core.state cimport Cpu
from x86emu.core.features cimport *
from x86emu.core.model cimport ProcessorModel, VENDOR_AMD

cdef inline bint is_amd(Cpu* c) noexcept nogil:
    return (<ProcessorModel*>c.model).vendor == VENDOR_AMD

cdef inline bint clears_null_base(Cpu* c) noexcept nogil:
    return c.features[<int>FEATURE_NULL_SEL_CLR_BASE] != 0

cdef inline bint has_long_mode(Cpu* c) noexcept nogil:
    return c.features[<int>FEATURE_LM] != 0

cdef inline bint has_la57(Cpu* c) noexcept nogil:
    return c.features[<int>FEATURE_LA57] != 0
