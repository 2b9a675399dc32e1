# cython: language_level=3
# What a processor model means to the core: its CPUID leaves and which register bits exist (data from isa/models).
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.features cimport *

cdef enum:
    VENDOR_INTEL = 0
    VENDOR_AMD = 1
    MAX_LEAVES = 160

cdef enum:
    MISC_ENABLE_XD_OFF = 0x400000000     # XD bit disable (SDM 4, table 2-2): no CPUID bit, no EFER.NXE

# XCR0 (SDM 1, 13.3)
cdef enum:
    XCR0_X87 = 0x1
    XCR0_SSE = 0x2
    XCR0_AVX = 0x4
    XCR0_PKRU = 0x200
    XSS_CET_U = 0x800
    XSS_CET_S = 0x1000

cdef struct CpuidEntry:
    uint32_t leaf, subleaf
    uint32_t any_subleaf          # the leaf does not look at ECX
    uint32_t eax, ebx, ecx, edx

cdef struct ProcessorModel:
    uint32_t vendor
    uint32_t signature            # family, model, stepping: CPUID 1 EAX, and EDX after reset
    uint32_t max_basic, max_extended
    uint64_t cr0_writable, cr4_valid, efer_valid, xcr0_valid, xss_valid
    uint64_t microcode
    uint64_t machine_check_cap    # MCG_CAP
    uint32_t asids                # address space identifiers of SVM, the host's 0 included
    uint64_t vmx_capabilities[19] # MSRs 480h to 492h
    uint32_t mxcsr_mask
    int n_leaves
    CpuidEntry leaves[160]

# Size of the XSAVE area for the components in mask; standard or compacted format (SDM 1, 13.4).
cdef uint32_t xsave_size(uint64_t mask, bint compacted) noexcept nogil
# Registers of this area after power-on or RESET# (SDM 3A table 10-1), with c.model installed: MSRs, CR0..CR4, debug
# registers, x87 and SSE state, TSC. EDX gets the signature. Segments, RIP and RFLAGS are the caller's.
cdef void power_on_registers(Cpu* c) noexcept nogil
# The same for INIT: MSRs, x87, SSE, MTRRs, TSC and CR0's CD and NW stay.
cdef void init_registers(Cpu* c) noexcept nogil

cdef inline uint64_t missing_flags(Cpu* c) noexcept nogil:
    """EFLAGS bits that this model does not have and that stay 0 whatever is popped (SDM 3B 23.1.3: how software tells an
    80386 from an 80486, and a processor without CPUID from one with it)."""
    cdef uint64_t missing = 0
    if not c.features[FEATURE_CPUID]:
        missing |= FLAG_ID
        if not c.features[FEATURE_I486]:
            missing |= FLAG_AC
    if not c.features[FEATURE_VME]:
        missing |= FLAG_VIF | FLAG_VIP
    return missing

cdef inline uint64_t iret_flags(Cpu* c, uint32_t size) noexcept nogil:
    """Flags that IRET in protected mode pops at this CPL (SDM 2A, IRET: RETURN-TO-...-PRIVILEGE-LEVEL)."""
    cdef uint64_t mask = 0x4DD5              # CF PF AF ZF SF TF DF OF NT
    if size != 2:
        mask |= FLAG_RF | FLAG_AC | FLAG_ID
    if c.cpl <= (c.rflags >> 12 & 3):
        mask |= FLAG_IF
    if c.cpl == 0:
        mask |= FLAG_IOPL | (FLAG_VIF | FLAG_VIP if size != 2 and c.features[FEATURE_VME] else 0)
    return mask if size == 8 else mask & ~missing_flags(c)      # where there is a 64-bit mode, there are AC and ID

cdef class ModelTables:
    """One processor's ProcessorModel; must live as long as the Cpu it is installed in."""
    cdef ProcessorModel model
    cdef uint8_t features[256]
    cdef uint64_t physical_reserved
    cdef void register_bits(self)
    cdef void install(self, Cpu* c)
