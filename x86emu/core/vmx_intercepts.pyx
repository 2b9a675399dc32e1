# cython: language_level=3
"""Which instructions leave a VMX guest (Intel SDM volume 3C, 26.1), with qualification and instruction information (28.2).

Faults that come before an exit are left to the instruction's own handler: the record lets it pass (26.1.1).
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.features cimport *
from x86emu.core.flags cimport get_of
from x86emu.core.memory_access cimport ld
from x86emu.core.mmu cimport canonical
from x86emu.core.physical cimport physical_load
from x86emu.core.tasks cimport io_permitted
from x86emu.core.vmx cimport *
from x86emu.core.vmx_exit cimport vmx_request

from x86emu.isa.intercepts import KINDS as _KINDS

cdef enum:
    KIND_CR_READ = 1
    KIND_CR_WRITE = 2
    KIND_DR_READ = 3
    KIND_DR_WRITE = 4
    KIND_LMSW = 6
    KIND_CLTS = 7
    KIND_SIDT = 8
    KIND_SGDT = 9
    KIND_SLDT = 10
    KIND_STR = 11
    KIND_LIDT = 12
    KIND_LGDT = 13
    KIND_LLDT = 14
    KIND_LTR = 15
    KIND_RDTSC = 16
    KIND_RDTSCP = 17
    KIND_RDPMC = 18
    KIND_CPUID = 21
    KIND_INVD = 25
    KIND_WBINVD = 26
    KIND_PAUSE = 27
    KIND_HLT = 28
    KIND_INVLPG = 29
    KIND_IO = 31
    KIND_RDMSR = 32
    KIND_WRMSR = 33
    KIND_ICEBP = 41
    KIND_MONITOR = 42
    KIND_MWAIT = 43
    KIND_XSETBV = 44
    KIND_INVPCID = 45
    KIND_INT3 = 46
    KIND_INTO = 47
    KIND_RDRAND = 48
    KIND_RDSEED = 49
    KIND_VMCALL = 50
    KIND_VMCLEAR = 51
    KIND_VMLAUNCH = 52
    KIND_VMPTRLD = 53
    KIND_VMPTRST = 54
    KIND_VMREAD = 55
    KIND_VMRESUME = 56
    KIND_VMWRITE = 57
    KIND_VMXOFF = 58
    KIND_VMXON = 59
    KIND_INVEPT = 60
    KIND_INVVPID = 61
    KIND_VMFUNC = 62
    KIND_IRET = 23
    KIND_RDPID = 65
    KIND_XSAVES = 66
    KIND_XRSTORS = 67
    DETAIL_BYTE = 1
    DETAIL_REPEATED = 2
    DETAIL_IMMEDIATE = 4
    DETAIL_INPUT = 8
    DETAIL_STRING = 16
    DETAIL_MEMORY = 32

for _name, _number in (("CR_READ", KIND_CR_READ), ("CR_WRITE", KIND_CR_WRITE), ("LMSW", KIND_LMSW), ("SIDT", KIND_SIDT),
                       ("LTR", KIND_LTR), ("RDPMC", KIND_RDPMC), ("CPUID", KIND_CPUID), ("INVD", KIND_INVD),
                       ("INVLPG", KIND_INVLPG), ("IO", KIND_IO), ("WRMSR", KIND_WRMSR), ("ICEBP", KIND_ICEBP),
                       ("INTO", KIND_INTO), ("RDRAND", KIND_RDRAND), ("VMCALL", KIND_VMCALL), ("VMFUNC", KIND_VMFUNC),
                       ("IRET", KIND_IRET), ("RDPID", KIND_RDPID), ("XSAVES", KIND_XSAVES), ("XRSTORS", KIND_XRSTORS)):
    assert _KINDS[_name] == _number, _name

cdef inline bint primary(Cpu* c, int bit) noexcept nogil:
    return (c.vmx.primary >> bit) & 1

cdef inline bint leave(Cpu* c, Insn* i, uint32_t reason, uint64_t qualification, uint32_t information) noexcept nogil:
    vmx_request(c, i, reason, qualification, information)
    return True

cdef inline bint code64(Cpu* c) noexcept nogil:
    return (c.mode & MODE_CODE) == MODE_CODE64

cdef uint64_t displacement(Cpu* c, Insn* i) noexcept nogil:
    """28.2.1: the displacement, to which RIP has been added where the operand is RIP-relative."""
    cdef uint64_t value = <uint64_t><int64_t>i.disp
    if i.base == REG_RIP:
        value += c.r[REG_RIP]
    return value if i.aux == 2 else value & 0xFFFFFFFFULL if i.aux == 1 else value & 0xFFFF

cdef uint32_t memory_information(Insn* i) noexcept nogil:
    """Scaling, address size, segment, index and base (28.2.5), as most formats of the information field share them."""
    cdef uint32_t value = (i.scale & 3) | <uint32_t>i.aux << 7 | <uint32_t>i.seg << 15
    if i.index < 16:
        value |= <uint32_t>i.index << 18
    else:
        value |= 1 << 22
    if i.base < 16:
        value |= <uint32_t>i.base << 23
    else:
        value |= 1 << 27
    return value

cdef inline uint64_t linear_operand(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t linear = c.r[i.base] + (c.r[i.index] << i.scale) + <uint64_t><int64_t>i.disp
    if i.aux == 0:
        linear &= 0xFFFF
    elif i.aux == 1:
        linear &= 0xFFFFFFFFULL
    if not code64(c):
        return <uint32_t>(linear + c.seg[i.seg].base)
    if i.seg == FS or i.seg == GS:
        linear += c.seg[i.seg].base
    return linear

# ---------------------------------------------------------------- registers

cdef bint control_register(Cpu* c, Insn* i, bint write) noexcept nogil:
    cdef uint8_t n = i.dst if write else i.src
    cdef uint8_t general = i.src if write else i.dst
    cdef uint64_t value = c.r[general] if code64(c) else <uint32_t>c.r[general]
    cdef uint64_t qualification = n | (0 if write else 1) << 4 | <uint64_t>general << 8
    cdef uint64_t targets, k
    if c.cpl != 0:
        return False
    if n == 0 and write:
        if (value ^ c.vmx.cr0_shadow) & c.vmx.cr0_mask:
            return leave(c, i, REASON_CR_ACCESS, qualification, 0)
    elif n == 4 and write:
        if (value ^ c.vmx.cr4_shadow) & c.vmx.cr4_mask:
            return leave(c, i, REASON_CR_ACCESS, qualification, 0)
    elif n == 3:
        if not write:
            return primary(c, PRI_CR3_STORE_EXITING) and leave(c, i, REASON_CR_ACCESS, qualification, 0)
        if primary(c, PRI_CR3_LOAD_EXITING):
            targets = vget(c, F_CR3_TARGET_COUNT)
            for k in range(min(targets, 4)):
                if value == vget(c, F_CR3_TARGET_0 + 8 * k):
                    return False
            return leave(c, i, REASON_CR_ACCESS, qualification, 0)
    elif n == 8 and code64(c):
        if primary(c, PRI_CR8_LOAD_EXITING if write else PRI_CR8_STORE_EXITING):
            return leave(c, i, REASON_CR_ACCESS, qualification, 0)
    return False

cdef bint debug_register(Cpu* c, Insn* i, bint write) noexcept nogil:
    """The exit comes before the general-detect #DB, but after #UD and the privilege check."""
    cdef uint8_t n = i.dst if write else i.src
    cdef uint8_t general = i.src if write else i.dst
    if not primary(c, PRI_MOV_DR_EXITING) or c.cpl != 0 or n > 7 or (c.cr4 & CR4_DE and (n == 4 or n == 5)):
        return False
    return leave(c, i, REASON_DR_ACCESS, n | (0 if write else 1) << 4 | <uint64_t>general << 8, 0)

cdef bint machine_status_word(Cpu* c, Insn* i) noexcept nogil:
    """LMSW: PE can only be set; MP, EM and TS are compared with the shadow (26.1.3)."""
    cdef uint64_t linear = 0, source, value, changed
    cdef uint16_t word
    cdef bint memory = (i.imm >> 8) & DETAIL_MEMORY != 0
    if c.cpl != 0 or not c.vmx.cr0_mask & 0xF:
        return False
    if memory:
        linear = linear_operand(c, i)
        if not ld(c, i, linear, &word):
            return True                  # the fault comes first
        source = word
    else:
        source = c.r[i.dst] & 0xFFFF
    value = source & 0xF
    changed = (value ^ c.vmx.cr0_shadow) & c.vmx.cr0_mask & 0xE
    if value & 1 and c.vmx.cr0_mask & 1 and not c.vmx.cr0_shadow & 1:
        changed |= 1
    if not changed:
        return False
    leave(c, i, REASON_CR_ACCESS, 3 << 4 | (0x40 if memory else 0) | source << 16, 0)
    c.vmx.exit_linear = linear
    return True

cdef bint table_access(Cpu* c, Insn* i, int kind) noexcept nogil:
    cdef uint32_t information = memory_information(i)
    cdef bint register = False
    if not secondary(c, SEC_DESCRIPTOR_TABLE_EXITING):
        return False
    if kind == KIND_SIDT or kind == KIND_SGDT or kind == KIND_LIDT or kind == KIND_LGDT:
        if (c.cpl != 0 and (kind == KIND_LIDT or kind == KIND_LGDT)) or (c.cpl != 0 and c.cr4 & CR4_UMIP):
            return False
        if (i.imm >> 16) & 0xFF:
            information |= 1 << 11
        information |= <uint32_t>(1 if kind == KIND_SIDT else 0 if kind == KIND_SGDT else 3 if kind == KIND_LIDT else 2) << 28
        return leave(c, i, REASON_DESCRIPTOR_TABLE, displacement(c, i), information)
    if not c.cr0 & CR0_PE or c.rflags & FLAG_VM:
        return False
    if c.cpl != 0 and (kind == KIND_LLDT or kind == KIND_LTR or c.cr4 & CR4_UMIP):
        return False
    register = not (i.imm >> 8) & DETAIL_MEMORY
    if register:
        information = 1 << 10 | <uint32_t>(i.dst & 15) << 3
    information |= <uint32_t>(0 if kind == KIND_SLDT else 1 if kind == KIND_STR else 2 if kind == KIND_LLDT else 3) << 28
    return leave(c, i, REASON_LOCAL_TABLE, 0 if register else displacement(c, i), information)

# ---------------------------------------------------------------- ports and MSRs

cdef bint port_access(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t detail = <uint32_t>(i.imm >> 8) & 0xFF
    cdef uint32_t port = <uint32_t>(i.imm >> 32) & 0xFF if detail & DETAIL_IMMEDIATE else <uint16_t>c.r[RDX]
    cdef uint32_t size = 1 if detail & DETAIL_BYTE else 2 if (i.imm >> 16) & 0xFF == 0 else 4
    cdef uint32_t information = 0, k
    cdef uint64_t count, map_, linear = 0, index
    cdef int seg
    cdef bint exits
    if not primary(c, PRI_USE_IO_BITMAPS) and not primary(c, PRI_UNCONDITIONAL_IO_EXITING):
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
    if primary(c, PRI_USE_IO_BITMAPS):
        exits = port + size > 0x10000
        for k in range(size):
            map_ = c.vmx.io_bitmap_b if (port + k) & 0x8000 else c.vmx.io_bitmap_a
            if physical_load(c, map_ + (((port + k) & 0x7FFF) >> 3), 1) >> ((port + k) & 7) & 1:
                exits = True
        if not exits:
            return False
    if detail & DETAIL_STRING:
        seg = ES if detail & DETAIL_INPUT else i.seg
        information = <uint32_t>i.aux << 7 | <uint32_t>seg << 15
        index = c.r[RDI if detail & DETAIL_INPUT else RSI]
        linear = index & 0xFFFF if i.aux == 0 else index & 0xFFFFFFFFULL if i.aux == 1 else index
        if not code64(c):
            linear = (linear + c.seg[seg].base) & 0xFFFFFFFFULL
        elif seg == FS or seg == GS:
            linear += c.seg[seg].base
    leave(c, i, REASON_IO, (size - 1) | (8 if detail & DETAIL_INPUT else 0) | (16 if detail & DETAIL_STRING else 0)
          | (32 if detail & DETAIL_REPEATED else 0) | (64 if detail & DETAIL_IMMEDIATE else 0) | <uint64_t>port << 16,
          information)
    c.vmx.exit_linear = linear
    return True

cdef bint msr_access(Cpu* c, Insn* i, bint write) noexcept nogil:
    """25.6.9: four bitmaps of 1024 bytes; MSRs outside both ranges exit."""
    cdef uint32_t number = <uint32_t>c.r[RCX]
    cdef uint64_t place = c.vmx.msr_bitmap + (2048 if write else 0)
    if c.cpl != 0:
        return False
    if primary(c, PRI_USE_MSR_BITMAPS):
        if number <= 0x1FFF:
            place += number >> 3
        elif 0xC0000000u <= number <= 0xC0001FFFu:
            place += 1024 + ((number & 0x1FFF) >> 3)
        else:
            place = 0
        if place and not physical_load(c, place, 1) >> (number & 7) & 1:
            return False
    return leave(c, i, REASON_WRMSR if write else REASON_RDMSR, 0, 0)

# ---------------------------------------------------------------- the rest

cdef bint shadowed(Cpu* c, Insn* i, int kind) noexcept nogil:
    """25.6.15: whether VMREAD or VMWRITE of this field goes to the shadow VMCS instead of exiting."""
    cdef uint8_t register = i.src if kind == KIND_VMREAD and not (i.imm >> 8) & DETAIL_MEMORY else i.dst
    cdef uint64_t encoding = c.r[register] if code64(c) else <uint32_t>c.r[register]
    cdef uint64_t bitmap
    if not secondary(c, SEC_VMCS_SHADOWING) or encoding >> 15:
        return False
    bitmap = vget(c, F_VMREAD_BITMAP) if kind == KIND_VMREAD else vget(c, F_VMWRITE_BITMAP)
    return not physical_load(c, bitmap + (encoding >> 3), 1) >> (encoding & 7) & 1

cdef bint vmx_instruction(Cpu* c, Insn* i, int kind) noexcept nogil:
    """VMX instructions always exit, before the privilege check; #UD of the mode comes first."""
    cdef uint32_t reason, information = 0
    cdef uint64_t qualification = 0
    if kind == KIND_VMCALL:
        return leave(c, i, REASON_VMCALL, 0, 0)
    if kind == KIND_VMFUNC:
        return False                     # the instruction sees to it itself
    if c.efer & EFER_LMA and not code64(c):
        return False
    if (kind == KIND_VMREAD or kind == KIND_VMWRITE) and shadowed(c, i, kind):
        return False
    reason = 19 + (kind - KIND_VMCLEAR)
    if kind == KIND_INVEPT:
        reason = 50
    elif kind == KIND_INVVPID:
        reason = 53
    elif kind == KIND_VMXON and not c.cr4 & CR4_VMXE:
        return False
    if kind == KIND_VMREAD or kind == KIND_VMWRITE:
        if (i.imm >> 8) & DETAIL_MEMORY:
            information = memory_information(i)
            qualification = displacement(c, i)
            information |= <uint32_t>(i.dst & 15) << 28
        else:
            information = 1 << 10 | <uint32_t>((i.dst if kind == KIND_VMREAD else i.src) & 15) << 3
            information |= <uint32_t>((i.src if kind == KIND_VMREAD else i.dst) & 15) << 28
    elif kind != KIND_VMLAUNCH and kind != KIND_VMRESUME and kind != KIND_VMXOFF:
        information = memory_information(i)
        qualification = displacement(c, i)
        if kind == KIND_INVEPT or kind == KIND_INVVPID:
            information |= <uint32_t>(i.dst & 15) << 28
    return leave(c, i, reason, qualification, information)

cdef bint software_exception(Cpu* c, Insn* i, int vector, int kind) noexcept nogil:
    """INT3, INTO and INT1 whose vector the exception bitmap selects."""
    if not (c.vmx.exception_bitmap >> vector) & 1:
        return False
    fault(c, i, vector)
    c.fault.kind = <uint8_t>kind
    c.fault.trap = 1
    c.fault.address = 0
    c.vmx.exit_length = i.length
    return True

cdef bint pause_loop(Cpu* c, Insn* i) noexcept nogil:
    """26.1.3: PAUSEs at CPL 0 no further than the gap from each other, for longer than the window."""
    cdef uint64_t now
    if not secondary(c, SEC_PAUSE_LOOP_EXITING) or c.cpl != 0:
        return False
    now = vmx_host_tsc(c, i)
    if not c.vmx.ple_last or now - c.vmx.ple_last > vget(c, F_PLE_GAP):
        c.vmx.ple_first = now
    c.vmx.ple_last = now
    if now - c.vmx.ple_first <= vget(c, F_PLE_WINDOW):
        return False
    c.vmx.ple_last = 0
    return True

cdef void note_iret(Cpu* c, Insn* i) noexcept nogil:
    """For "NMI unblocking due to IRET": an IRET that faults has unblocked NMIs all the same (28.2.3)."""
    c.current = i
    c.vmx.iret_at = retired(c)
    c.current = NULL
    c.vmx.iret_unblocks = 1

cdef bint supervisor_state(Cpu* c, Insn* i, int kind) noexcept nogil:
    """XSAVES and XRSTORS (26.1.3)."""
    cdef uint64_t components = <uint32_t>c.r[RAX] | c.r[RDX] << 32
    if not secondary(c, SEC_ENABLE_XSAVES):
        fault(c, i, V_UD)
        return True
    if c.cpl != 0 or not components & c.xss & c.vmx.xss_bitmap:
        return False
    return leave(c, i, REASON_XSAVES if kind == KIND_XSAVES else REASON_XRSTORS, displacement(c, i), memory_information(i))

cdef bint vmx_intercept(Cpu* c, Insn* i) noexcept nogil:
    cdef int kind = <int>(i.imm & 0xFF)
    if kind == KIND_IO:
        return port_access(c, i)
    if kind == KIND_CR_READ or kind == KIND_CR_WRITE:
        return control_register(c, i, kind == KIND_CR_WRITE)
    if kind == KIND_RDMSR or kind == KIND_WRMSR:
        return msr_access(c, i, kind == KIND_WRMSR)
    if kind == KIND_CPUID:
        return leave(c, i, 10, 0, 0)
    if kind == KIND_HLT:
        return primary(c, PRI_HLT_EXITING) and c.cpl == 0 and leave(c, i, 12, 0, 0)
    if kind == KIND_PAUSE:
        return (primary(c, PRI_PAUSE_EXITING) or pause_loop(c, i)) and leave(c, i, 40, 0, 0)
    if kind == KIND_RDTSC:
        return primary(c, PRI_RDTSC_EXITING) and not (c.cr4 & CR4_TSD and c.cpl) and leave(c, i, 16, 0, 0)
    if kind == KIND_RDTSCP:
        if not secondary(c, SEC_ENABLE_RDTSCP):
            fault(c, i, V_UD)
            return True
        return primary(c, PRI_RDTSC_EXITING) and not (c.cr4 & CR4_TSD and c.cpl) and leave(c, i, REASON_RDTSCP, 0, 0)
    if kind == KIND_RDPMC:
        return primary(c, PRI_RDPMC_EXITING) and (c.cpl == 0 or c.cr4 & CR4_PCE) and leave(c, i, 15, 0, 0)
    if kind == KIND_INVLPG:
        return primary(c, PRI_INVLPG_EXITING) and c.cpl == 0 and leave(c, i, 14, linear_operand(c, i), 0)
    if kind == KIND_INVPCID:
        if not secondary(c, SEC_ENABLE_INVPCID):
            fault(c, i, V_UD)
            return True
        return (primary(c, PRI_INVLPG_EXITING) and c.cpl == 0
                and leave(c, i, 58, displacement(c, i), memory_information(i) | <uint32_t>(i.dst & 15) << 28))
    if kind == KIND_DR_READ or kind == KIND_DR_WRITE:
        return debug_register(c, i, kind == KIND_DR_WRITE)
    if kind == KIND_CLTS:
        if c.cpl == 0 and c.vmx.cr0_mask & c.vmx.cr0_shadow & CR0_TS:
            return leave(c, i, REASON_CR_ACCESS, 2 << 4, 0)
        return False
    if kind == KIND_LMSW:
        return machine_status_word(c, i)
    if KIND_SIDT <= kind <= KIND_LTR:
        return table_access(c, i, kind)
    if kind == KIND_INVD:
        return c.cpl == 0 and leave(c, i, 13, 0, 0)
    if kind == KIND_WBINVD:
        return secondary(c, SEC_WBINVD_EXITING) and c.cpl == 0 and leave(c, i, 54, 0, 0)
    if kind == KIND_XSETBV:
        return c.cr4 & CR4_OSXSAVE != 0 and c.cpl == 0 and leave(c, i, 55, 0, 0)
    if kind == KIND_MONITOR:
        return primary(c, PRI_MONITOR_EXITING) and c.cpl == 0 and leave(c, i, 39, 0, 0)
    if kind == KIND_MWAIT:
        return primary(c, PRI_MWAIT_EXITING) and c.cpl == 0 and leave(c, i, REASON_MWAIT, c.monitor_armed != 0, 0)
    if kind == KIND_INT3:
        return software_exception(c, i, V_BP, EVENT_SOFTWARE_EXCEPTION)
    if kind == KIND_INTO:
        return get_of(c) and software_exception(c, i, V_OF, EVENT_SOFTWARE_EXCEPTION)
    if kind == KIND_ICEBP:
        return software_exception(c, i, V_DB, EVENT_ICEBP)
    if kind == KIND_RDRAND:
        return (secondary(c, SEC_RDRAND_EXITING)
                and leave(c, i, 57, 0, <uint32_t>(i.dst & 15) << 3 | <uint32_t>(i.imm >> 16 & 3) << 11))
    if kind == KIND_RDSEED:
        return (secondary(c, SEC_RDSEED_EXITING)
                and leave(c, i, 61, 0, <uint32_t>(i.dst & 15) << 3 | <uint32_t>(i.imm >> 16 & 3) << 11))
    if kind == KIND_IRET:
        if c.nmi_blocked and vmx_iret_unblocks(c):
            note_iret(c, i)
        return False
    if kind == KIND_RDPID:
        if secondary(c, SEC_ENABLE_RDTSCP):
            return False
        fault(c, i, V_UD)
        return True
    if kind == KIND_XSAVES or kind == KIND_XRSTORS:
        return supervisor_state(c, i, kind)
    if KIND_VMCALL <= kind <= KIND_VMFUNC:
        return vmx_instruction(c, i, kind)
    return False

cdef void vmx_task_switch(Cpu* c, Insn* i, uint32_t selector, int source) noexcept nogil:
    vmx_request(c, i, REASON_TASK_SWITCH, selector | <uint64_t>source << 30, 0)
