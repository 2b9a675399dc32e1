# cython: language_level=3
"""Processor models in the core: register bits by feature, CPUID, values after power-on and INIT.

Intel SDM volume 2A, CPUID; volume 3A, 2.5 (control registers), 10.1 (power-up, INIT); AMD APM volume 3, appendix E.
Leaves that depend on registers are adjusted when CPUID executes: OSXSAVE, OSPKE, the local APIC's enable bit, MONITOR's
enable, the size of the XSAVE area under the present XCR0, and Intel's limit of the highest basic leaf.
"""
from libc.string cimport memset
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.features cimport *
from x86emu.core.engine cimport virtual_now
from x86emu.core.msr cimport power_on_msrs

from x86emu.isa.vmx_capabilities import capability_msrs

cdef enum:
    MISC_LIMIT_CPUID = 0x400000
    MISC_MONITOR = 0x40000
    HWCR_TSC_FREQ_SEL = 0x1000000

# ---------------------------------------------------------------- tables

cdef class ModelTables:
    """The tables of one processor of a model.

    model: an x86emu.isa.models.CpuModel; processors: how many the machine has; index: which one this is.
    """

    def __init__(self, model, int processors, int index):
        cdef ProcessorModel* m = &self.model
        cdef CpuidEntry* e
        memset(m, 0, sizeof(ProcessorModel))
        memset(self.features, 0, sizeof(self.features))
        for number in model.feature_numbers:
            self.features[<int>number] = 1
        m.vendor = VENDOR_AMD if model.vendor == "AuthenticAMD" else VENDOR_INTEL
        m.signature = model.signature
        m.microcode = model.microcode
        m.asids = model.asids
        m.mxcsr_mask = 0xFFFF if self.features[FEATURE_SSE2] else 0xFFBF       # DAZ came with SSE2
        if self.features[FEATURE_MISALIGNSSE]:
            m.mxcsr_mask |= 0x20000
        m.machine_check_cap = 0x105 if m.vendor == VENDOR_AMD else 0x6
        self.physical_reserved = ~((<uint64_t>1 << <int>model.physical_bits) - 1)
        leaves = model.cpuid_leaves(processors, index)
        if len(leaves) > MAX_LEAVES:
            raise ValueError(f"The model {model.name} has {len(leaves)} CPUID entries; the core holds {MAX_LEAVES}.")
        for leaf, subleaf, eax, ebx, ecx, edx in leaves:
            e = &m.leaves[m.n_leaves]
            m.n_leaves += 1
            e.leaf = leaf
            e.any_subleaf = subleaf is None
            e.subleaf = 0 if subleaf is None else subleaf
            e.eax = eax
            e.ebx = ebx
            e.ecx = ecx
            e.edx = edx
            if leaf < 0x80000000:
                m.max_basic = max(m.max_basic, <uint32_t>leaf)
            else:
                m.max_extended = max(m.max_extended, <uint32_t>leaf)
        for n, value in enumerate(capability_msrs(model.features)):
            m.vmx_capabilities[<int>n] = value
        self.register_bits()

    cdef void register_bits(self):
        cdef ProcessorModel* m = &self.model
        cdef uint8_t* f = self.features
        m.cr0_writable = CR0_PE | CR0_MP | CR0_EM | CR0_TS | (<uint64_t>1 << CR0_PG_BIT)
        if f[FEATURE_I486]:
            m.cr0_writable |= CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD
        for feature, bits in (
            (FEATURE_VME, CR4_VME | CR4_PVI), (FEATURE_TSC, CR4_TSD), (FEATURE_DE, CR4_DE), (FEATURE_PSE, CR4_PSE),
            (FEATURE_PAE, CR4_PAE), (FEATURE_MCE, CR4_MCE), (FEATURE_PGE, CR4_PGE), (FEATURE_P6, CR4_PCE),
            (FEATURE_FXSR, CR4_OSFXSR), (FEATURE_SSE, CR4_OSXMMEXCPT), (FEATURE_UMIP, CR4_UMIP),
            (FEATURE_LA57, CR4_LA57), (FEATURE_VMX, CR4_VMXE), (FEATURE_SMX, CR4_SMXE),
            (FEATURE_FSGSBASE, CR4_FSGSBASE), (FEATURE_PCID, CR4_PCIDE), (FEATURE_XSAVE, CR4_OSXSAVE),
            (FEATURE_SMEP, CR4_SMEP), (FEATURE_SMAP, CR4_SMAP), (FEATURE_PKU, CR4_PKE), (FEATURE_PKS, CR4_PKS),
            (FEATURE_CET_SS, CR4_CET), (FEATURE_CET_IBT, CR4_CET),
        ):
            if f[<int>feature]:
                m.cr4_valid |= bits
        for feature, bits in (
            (FEATURE_SYSCALL, EFER_SCE), (FEATURE_LM, EFER_LME | EFER_LMA), (FEATURE_NX, EFER_NXE),
            (FEATURE_SVM, EFER_SVME), (FEATURE_FXSR_OPT, EFER_FFXSR),
        ):
            if f[<int>feature]:
                m.efer_valid |= bits
        if f[FEATURE_XSAVE]:
            m.xcr0_valid = XCR0_X87 | XCR0_SSE
            if f[FEATURE_AVX]:
                m.xcr0_valid |= XCR0_AVX
            if f[FEATURE_PKU]:
                m.xcr0_valid |= XCR0_PKRU
        if f[FEATURE_XSAVES] and (f[FEATURE_CET_SS] or f[FEATURE_CET_IBT]):
            m.xss_valid = XSS_CET_U | XSS_CET_S

    cdef void install(self, Cpu* c):
        """Makes c a processor of this model. Its registers are set by power_on_registers()."""
        cdef int n
        c.model = <void*>&self.model
        for n in range(256):
            c.features[n] = self.features[n]
        c.maxphyaddr_mask = self.physical_reserved
        c.features_pse36 = self.features[FEATURE_PSE36]
        c.features_pdpe1gb = self.features[FEATURE_PDPE1GB]

# ---------------------------------------------------------------- power-on and INIT

cdef void reset_control_registers(Cpu* c, uint64_t cr0) noexcept nogil:
    c.cr0 = cr0
    c.cr2 = 0
    c.cr3 = 0
    c.cr4 = 0
    c.efer = 0
    memset(c.dr, 0, sizeof(c.dr))
    c.dr[6] = 0xFFFF0FF0ULL
    c.dr[7] = 0x400
    c.pending_debug = 0
    c.monitor_armed = 0
    c.cpl = 0

cdef void power_on_registers(Cpu* c) noexcept nogil:
    cdef ProcessorModel* m = <ProcessorModel*>c.model
    cdef uint64_t cr0 = 0
    if c.features[FEATURE_I486]:
        cr0 = CR0_CD | CR0_NW | CR0_ET
    elif c.features[FEATURE_FPU]:
        cr0 = CR0_ET
    reset_control_registers(c, cr0)
    memset(&c.fpu, 0, sizeof(c.fpu))
    c.fpu.control = 0x40
    c.fpu.valid = 0xFF
    memset(c.vec, 0, sizeof(c.vec))
    c.mxcsr = 0x1F80
    c.xcr0 = 1
    c.ssp = 0
    memset(c.pl_ssp, 0, sizeof(c.pl_ssp))
    c.pkru = 0
    power_on_msrs(c)
    memset(c.mtrr_physbase, 0, sizeof(c.mtrr_physbase))
    memset(c.mtrr_physmask, 0, sizeof(c.mtrr_physmask))
    memset(c.mtrr_fixed, 0, sizeof(c.mtrr_fixed))
    memset(c.mci, 0, sizeof(c.mci))
    memset(c.perf_select, 0, sizeof(c.perf_select))
    memset(c.perf_counter, 0, sizeof(c.perf_counter))
    c.smbase = 0x30000
    c.misc_enable = 0x1801 | (MISC_MONITOR if c.features[FEATURE_MONITOR] else 0)
    c.ucode_revision = m.microcode
    # BIOS and Kernel Developer's Guides, HWCR: with an invariant TSC the bit reads as one, and systems complain else.
    c.hwcr = HWCR_TSC_FREQ_SEL if c.features[FEATURE_CONSTANT_TSC] else 0
    c.tsc_offset = -virtual_now(c)
    c.signals.tsc_offset = c.tsc_offset
    c.r[RDX] = m.signature

cdef void init_registers(Cpu* c) noexcept nogil:
    cdef ProcessorModel* m = <ProcessorModel*>c.model
    reset_control_registers(c, (c.cr0 & (CR0_CD | CR0_NW)) | (CR0_ET if c.features[FEATURE_FPU] else 0))
    c.r[RDX] = m.signature

# ---------------------------------------------------------------- CPUID

cdef uint32_t xsave_size(uint64_t mask, bint compacted) noexcept nogil:
    """SDM 1, 13.4.2 and 13.4.3; offsets and sizes as CPUID leaf 0Dh gives them (isa/cpuid.py)."""
    cdef uint32_t size = 576
    if compacted:
        if mask & XCR0_AVX:
            size += 256
        if mask & XCR0_PKRU:
            size += 8
        if mask & XSS_CET_U:
            size += 16
        if mask & XSS_CET_S:
            size += 24
        return size
    if mask & XCR0_PKRU:
        return 2688 + 8
    if mask & XCR0_AVX:
        return 576 + 256
    return size

cdef bint apic_enabled(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t base = 0
    cdef bint known
    if c.signals.apic_rdmsr == NULL:
        return True
    c.current = i
    known = c.signals.apic_rdmsr(c.signals.controller, 0x1B, &base)
    c.current = NULL
    return not known or (base & 0x800) != 0

cdef const CpuidEntry* find_leaf(ProcessorModel* m, uint32_t leaf, uint32_t subleaf) noexcept nogil:
    cdef int k
    for k in range(m.n_leaves):
        if m.leaves[k].leaf == leaf and (m.leaves[k].any_subleaf or m.leaves[k].subleaf == subleaf):
            return &m.leaves[k]
    return NULL

cdef void identify(Cpu* c, Insn* i) noexcept nogil:
    cdef ProcessorModel* m = <ProcessorModel*>c.model
    cdef uint32_t leaf = <uint32_t>c.r[RAX], subleaf = <uint32_t>c.r[RCX]
    cdef uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0
    cdef uint32_t max_basic = m.max_basic
    cdef const CpuidEntry* e
    if m.vendor == VENDOR_INTEL:
        if c.misc_enable & MISC_LIMIT_CPUID and max_basic > 3:
            max_basic = 3
        # Beyond the last leaf Intel's processors answer with the last basic one; AMD's with zero.
        if (leaf < 0x80000000u and leaf > max_basic) or leaf > max(m.max_extended, 0x80000000u):
            leaf = max_basic
    e = find_leaf(m, leaf, subleaf)
    if e != NULL:
        eax = e.eax
        ebx = e.ebx
        ecx = e.ecx
        edx = e.edx
    if leaf == 0:
        eax = max_basic
    elif leaf == 1:
        if c.cr4 & CR4_OSXSAVE:
            ecx |= <uint32_t>1 << 27
        if m.vendor == VENDOR_INTEL and not (c.misc_enable & MISC_MONITOR):
            ecx &= ~(<uint32_t>1 << 3)
        if edx & 0x200 and not apic_enabled(c, i):
            edx &= ~<uint32_t>0x200
    elif leaf == 0x80000001u:
        if edx & 0x200 and not apic_enabled(c, i):
            edx &= ~<uint32_t>0x200
        if c.misc_enable & MISC_ENABLE_XD_OFF:
            edx &= ~<uint32_t>0x100000
    elif leaf == 7:
        if subleaf == 0 and c.cr4 & CR4_PKE:
            ecx |= <uint32_t>1 << 4
    elif leaf == 0x0B:
        if e == NULL and max_basic >= 0x0B:        # an invalid level still tells its number and the x2APIC id
            e = find_leaf(m, leaf, 0)
            if e != NULL:
                ecx = subleaf & 0xFF
                edx = e.edx
    elif leaf == 0x0D and e != NULL:
        if subleaf == 0:
            ebx = xsave_size(c.xcr0, 0)
        elif subleaf == 1 and eax & 2:
            ebx = xsave_size(c.xcr0 | c.xss, 1)
    c.r[RAX] = eax
    c.r[RBX] = ebx
    c.r[RCX] = ecx
    c.r[RDX] = edx

cdef void CPUID(Cpu* c, Insn* i) noexcept nogil:
    identify(c, i)
    chain(c, i)

include "register_model.pxi"
