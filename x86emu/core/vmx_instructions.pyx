# cython: language_level=3
"""VMXON to INVVPID in VMX root operation (Intel SDM volume 3C, chapter 31). In a guest they exit: vmx_intercepts.pyx.

The rows keep out real and virtual-8086 mode; compatibility mode is refused here.  VMREAD and VMWRITE find a field's place
in the region by the generated table field_offset.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from libc.string cimport memset
from x86emu.core.state cimport *
from x86emu.core.features cimport *
from x86emu.core.flags cimport flags_eager
from x86emu.core.memory_access cimport ld, st, load_bytes
from x86emu.core.mmu cimport canonical
from x86emu.core.tlb cimport tlb_forget_tag, tlb_take_keys
from x86emu.core.mode cimport refresh_mode
from x86emu.core.second_level cimport second_level_new_generation
from x86emu.core.physical cimport physical_load
from x86emu.core.vmx cimport *
from x86emu.core.vmx_exit cimport vmx_request

include "vmcs_fields.pxi"

cdef enum:
    ERROR_VMCALL_ROOT = 1
    ERROR_VMCLEAR_ADDRESS = 2
    ERROR_VMCLEAR_VMXON = 3
    ERROR_VMLAUNCH_NOT_CLEAR = 4
    ERROR_VMRESUME_NOT_LAUNCHED = 5
    ERROR_VMPTRLD_ADDRESS = 9
    ERROR_VMPTRLD_VMXON = 10
    ERROR_VMPTRLD_REVISION = 11
    ERROR_UNSUPPORTED_FIELD = 12
    ERROR_READ_ONLY_FIELD = 13
    ERROR_VMXON_ROOT = 15
    ERROR_MOV_SS = 26
    ERROR_OPERAND = 28
    LAUNCH_STATE = 8
    FEATURE_CONTROL_READY = 5        # locked, VMX outside SMX

cdef uint64_t NO_VMCS = 0xFFFFFFFFFFFFFFFFULL

# ---------------------------------------------------------------- results (31.2)

cdef inline void succeed(Cpu* c) noexcept nogil:
    flags_eager(c, 0)

cdef inline void fail_invalid(Cpu* c) noexcept nogil:
    flags_eager(c, FLAG_CF)

cdef inline uint8_t* region_of(Cpu* c) noexcept nogil:
    """The VMCS that VMREAD, VMWRITE and VMfail mean: the current one; in a guest the shadow VMCS behind the link pointer."""
    if likely(c.virt.guest_mode == GUEST_NONE):
        return c.vmx.vmcs
    if vget(c, F_VMCS_LINK_POINTER) == NO_VMCS:
        return NULL
    return vmx_page(c, vget(c, F_VMCS_LINK_POINTER))

cdef void fail(Cpu* c, int number) noexcept nogil:
    """VMfail: with the number where there is a current VMCS."""
    cdef uint8_t* region = region_of(c)
    if region == NULL:
        fail_invalid(c)
        return
    flags_eager(c, FLAG_ZF)
    vput(c, F_INSTRUCTION_ERROR, number)      # of the current VMCS in a guest, too

cdef bint refused(Cpu* c, Insn* i) noexcept nogil:
    """True after raising #UD outside VMX operation or in compatibility mode, #GP(0) unless CPL 0."""
    if not in_vmx_operation(c) or (c.efer & EFER_LMA and (c.mode & MODE_CODE) != MODE_CODE64):
        fault(c, i, V_UD)
        return True
    if c.cpl != 0:
        fault_code(c, i, V_GP, 0)
        return True
    return False

cdef inline bint bad_pointer(Cpu* c, uint64_t physical) noexcept nogil:
    return (physical & (c.maxphyaddr_mask | 0xFFF)) != 0

# ---------------------------------------------------------------- entering and leaving VMX operation

cdef void VMXON_Mq(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t pointer
    cdef uint8_t* region
    if not c.cr4 & CR4_VMXE or (c.efer & EFER_LMA and (c.mode & MODE_CODE) != MODE_CODE64):
        fault(c, i, V_UD)
        return
    if c.vmx.on:
        if c.cpl != 0:
            fault_code(c, i, V_GP, 0)
            return
        fail(c, ERROR_VMXON_ROOT)
        finish(c, i)
        return
    if (c.cpl != 0 or c.signals.a20_masked or (c.feature_control & FEATURE_CONTROL_READY) != FEATURE_CONTROL_READY
            or (c.cr0 & capability(c, 6)) != capability(c, 6) or c.cr0 & ~capability(c, 7)
            or (c.cr4 & capability(c, 8)) != capability(c, 8)):
        fault_code(c, i, V_GP, 0)
        return
    if not ld(c, i, ea_of(c, i), &pointer):
        return
    region = NULL if bad_pointer(c, pointer) else vmx_page(c, pointer)
    if region == NULL or (<uint32_t*>region)[0] != VMCS_REVISION:
        fail_invalid(c)
        finish(c, i)
        return
    c.vmx.on = 1
    c.vmx.vmxon_pointer = pointer
    c.vmx.vmcs_pointer = NO_VMCS
    c.vmx.vmcs = NULL
    succeed(c)
    finish(c, i)

cdef void VMXOFF(Cpu* c, Insn* i) noexcept nogil:
    if refused(c, i):
        return
    c.vmx.on = 0
    c.vmx.vmcs_pointer = NO_VMCS
    c.vmx.vmcs = NULL
    succeed(c)
    finish(c, i)

# ---------------------------------------------------------------- VMCS pointers

cdef inline uint32_t shadow_indicator(Cpu* c) noexcept nogil:
    return 0x80000000u if capability(c, 11) >> (32 + SEC_VMCS_SHADOWING) & 1 else 0

cdef void VMPTRLD_Mq(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t pointer
    cdef uint8_t* region
    if refused(c, i) or not ld(c, i, ea_of(c, i), &pointer):
        return
    if bad_pointer(c, pointer):
        fail(c, ERROR_VMPTRLD_ADDRESS)
    elif pointer == c.vmx.vmxon_pointer:
        fail(c, ERROR_VMPTRLD_VMXON)
    else:
        region = vmx_page(c, pointer)
        # bit 31 marks a shadow VMCS, which takes "VMCS shadowing"
        if region == NULL or ((<uint32_t*>region)[0] & ~shadow_indicator(c)) != VMCS_REVISION:
            fail(c, ERROR_VMPTRLD_REVISION)
        else:
            c.vmx.vmcs_pointer = pointer
            c.vmx.vmcs = region
            succeed(c)
    finish(c, i)

cdef void VMPTRST_Mq(Cpu* c, Insn* i) noexcept nogil:
    if refused(c, i) or not st(c, i, ea_of(c, i), c.vmx.vmcs_pointer):
        return
    succeed(c)
    finish(c, i)

cdef void VMCLEAR_Mq(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t pointer
    cdef uint8_t* region
    if refused(c, i) or not ld(c, i, ea_of(c, i), &pointer):
        return
    if bad_pointer(c, pointer):
        fail(c, ERROR_VMCLEAR_ADDRESS)
    elif pointer == c.vmx.vmxon_pointer:
        fail(c, ERROR_VMCLEAR_VMXON)
    else:
        region = vmx_page(c, pointer)
        if region != NULL:
            (<uint32_t*>(region + LAUNCH_STATE))[0] = 0
        if pointer == c.vmx.vmcs_pointer:
            c.vmx.vmcs_pointer = NO_VMCS
            c.vmx.vmcs = NULL
        succeed(c)
    finish(c, i)

# ---------------------------------------------------------------- fields

cdef uint32_t field_at(Cpu* c, uint64_t encoding) noexcept nogil:
    """Offset of a field that this processor has, 0 for none."""
    cdef uint32_t place, condition, control, extra
    if encoding >> 15 or encoding & 0x1000 or encoding & 0x380 or (encoding & 1 and (encoding >> 13 & 3) != 1):
        return 0
    place = <uint32_t>((encoding >> 13 & 3) << 8 | (encoding >> 10 & 3) << 6 | (encoding >> 1 & 0x3F))
    condition = field_condition[place]
    control = condition >> 8
    if control:
        # allowed-1 settings: upper halves of 481h to 484h, 48Bh
        extra = 1 if control == 1 else 2 if control == 2 else 11 if control == 3 else control - 1
        if control == 6:                 # tertiary controls: 492h has 64 allowed-1 settings
            if not capability(c, 18) >> (condition & 0xFF) & 1:
                return 0
        elif not capability(c, <int>extra) >> (32 + (condition & 0xFF)) & 1:
            return 0
    return field_offset[place]

cdef bint read_field(Cpu* c, uint64_t encoding, uint64_t* value) noexcept nogil:
    """False after VMfail."""
    cdef uint32_t offset
    cdef uint8_t* region = region_of(c)
    if region == NULL:
        fail_invalid(c)
        return False
    offset = field_at(c, encoding)
    if offset == 0:
        fail(c, ERROR_UNSUPPORTED_FIELD)
        return False
    value[0] = (<uint64_t*>(region + offset))[0]
    if encoding & 1:
        value[0] >>= 32
    succeed(c)
    return True

cdef void write_field(Cpu* c, uint64_t encoding, uint64_t value) noexcept nogil:
    cdef uint32_t offset, width
    cdef uint8_t* region = region_of(c)
    cdef uint64_t old
    if region == NULL:
        fail_invalid(c)
        return
    offset = field_at(c, encoding)
    if offset == 0:
        fail(c, ERROR_UNSUPPORTED_FIELD)
        return
    if (encoding >> 10 & 3) == 1 and not capability(c, 5) >> 29 & 1:
        fail(c, ERROR_READ_ONLY_FIELD)
        return
    width = <uint32_t>(encoding >> 13 & 3)
    old = (<uint64_t*>(region + offset))[0]
    if width == 0:
        value &= 0xFFFF
    elif width == 2:
        value &= 0xFFFFFFFFULL
    elif encoding & 1:
        value = (old & 0xFFFFFFFFULL) | value << 32
    elif width == 1 and (c.mode & MODE_CODE) != MODE_CODE64:
        value = (old & 0xFFFFFFFF00000000ULL) | <uint32_t>value
    (<uint64_t*>(region + offset))[0] = value
    succeed(c)

cdef void VMREAD_Rd_Rd(Cpu* c, Insn* i) noexcept nogil:
    if refused(c, i):
        return
    if read_field(c, <uint32_t>c.r[i.src], &c.mtmp):
        c.r[i.dst] = <uint32_t>c.mtmp
    chain(c, i)

cdef void VMREAD_Rq_Rq(Cpu* c, Insn* i) noexcept nogil:
    if refused(c, i):
        return
    if read_field(c, c.r[i.src], &c.mtmp):
        c.r[i.dst] = c.mtmp
    chain(c, i)

cdef bint read_field_to_memory(Cpu* c, Insn* i, bint wide) noexcept nogil:
    cdef uint64_t value = 0
    cdef uint64_t ea = ea_of(c, i)
    if refused(c, i):
        return False
    if not read_field(c, c.r[i.dst] if wide else <uint32_t>c.r[i.dst], &value):
        return True
    if wide:
        return st(c, i, ea, value)
    return st(c, i, ea, <uint32_t>value)

cdef void VMREAD_Md_Rd(Cpu* c, Insn* i) noexcept nogil:
    if read_field_to_memory(c, i, False):
        chain(c, i)

cdef void VMREAD_Mq_Rq(Cpu* c, Insn* i) noexcept nogil:
    if read_field_to_memory(c, i, True):
        chain(c, i)

cdef void VMWRITE_Rd_Rd(Cpu* c, Insn* i) noexcept nogil:
    if refused(c, i):
        return
    write_field(c, <uint32_t>c.r[i.dst], <uint32_t>c.r[i.src])
    chain(c, i)

cdef void VMWRITE_Rq_Rq(Cpu* c, Insn* i) noexcept nogil:
    if refused(c, i):
        return
    write_field(c, c.r[i.dst], c.r[i.src])
    chain(c, i)

# ---------------------------------------------------------------- entering guests

cdef void enter(Cpu* c, Insn* i, bint launch) noexcept nogil:
    cdef uint32_t launched
    cdef int error
    cdef uint32_t shadow = c.interrupt_shadow_before
    if refused(c, i):
        return
    if c.vmx.vmcs == NULL or (<uint32_t*>c.vmx.vmcs)[0] >> 31:       # none, or a shadow VMCS
        fail_invalid(c)
        finish(c, i)
        return
    if shadow == 2:
        fail(c, ERROR_MOV_SS)
        finish(c, i)
        return
    launched = (<uint32_t*>(c.vmx.vmcs + LAUNCH_STATE))[0]
    if launch and launched:
        fail(c, ERROR_VMLAUNCH_NOT_CLEAR)
        finish(c, i)
        return
    if not launch and not launched:
        fail(c, ERROR_VMRESUME_NOT_LAUNCHED)
        finish(c, i)
        return
    finish(c, i)
    error = vmx_enter(c, launch)
    if error:
        fail(c, error)

cdef void VMLAUNCH(Cpu* c, Insn* i) noexcept nogil:
    enter(c, i, True)

cdef void VMRESUME(Cpu* c, Insn* i) noexcept nogil:
    enter(c, i, False)

cdef void VMCALL(Cpu* c, Insn* i) noexcept nogil:
    if not in_vmx_operation(c):
        fault(c, i, V_UD)
        return
    if c.cpl != 0:
        fault_code(c, i, V_GP, 0)
        return
    fail(c, ERROR_VMCALL_ROOT)
    finish(c, i)

cdef void VMFUNC(Cpu* c, Insn* i) noexcept nogil:
    """26.5.6: function 0 switches the EPT pointer."""
    cdef uint64_t eptp
    cdef uint32_t function = <uint32_t>c.r[RAX], entry = <uint32_t>c.r[RCX]
    if c.virt.guest_mode != GUEST_VMX or not secondary(c, SEC_ENABLE_VM_FUNCTIONS) or function > 63:
        fault(c, i, V_UD)
        return
    if function == 0 and vget(c, F_VM_FUNCTION_CONTROLS) & 1 and entry < 512:
        eptp = physical_load(c, vget(c, F_EPTP_LIST_ADDRESS) + 8 * entry, 8)
        if vmx_valid_eptp(c, eptp):
            vput(c, F_EPT_POINTER, eptp)
            vput(c, F_EPTP_INDEX, entry)
            vmx_take_eptp(c, eptp)
            tlb_take_keys(c)
            finish(c, i)
            return
    vmx_request(c, i, REASON_VMFUNC, 0, 0)

# ---------------------------------------------------------------- invalidation (31.3)

cdef void forget(Cpu* c, bint by_root, uint64_t root) noexcept nogil:
    """Combined mappings of one EPT root, or of all."""
    cdef int k
    for k in range(N_ADDRESS_SPACES):
        if c.virt.address_spaces[k].root and (not by_root or c.virt.address_spaces[k].root == root):
            c.virt.address_spaces[k].key = 0
    second_level_new_generation(c)
    c.virt.last_root = 0

cdef bint invalidate_ept(Cpu* c, Insn* i, uint64_t kind) noexcept nogil:
    cdef uint64_t descriptor[2]
    if not c.features[FEATURE_EPT]:
        fault(c, i, V_UD)
        return False
    if refused(c, i) or not load_bytes(c, i, ea_of(c, i), descriptor, 16):
        return False
    if kind != 1 and kind != 2:
        fail(c, ERROR_OPERAND)
        return True
    if kind == 1 and not vmx_valid_eptp(c, descriptor[0]):
        fail(c, ERROR_OPERAND)
        return True
    forget(c, kind == 1, descriptor[0] & 0x000FFFFFFFFFF000ULL)
    succeed(c)
    return True

cdef void INVEPT_Rd_M(Cpu* c, Insn* i) noexcept nogil:
    if invalidate_ept(c, i, <uint32_t>c.r[i.dst]):
        finish(c, i)

cdef void INVEPT_Rq_M(Cpu* c, Insn* i) noexcept nogil:
    if invalidate_ept(c, i, c.r[i.dst]):
        finish(c, i)

cdef bint invalidate_vpid(Cpu* c, Insn* i, uint64_t kind) noexcept nogil:
    cdef uint64_t descriptor[2]
    cdef int k
    if not c.features[FEATURE_VPID]:
        fault(c, i, V_UD)
        return False
    if refused(c, i) or not load_bytes(c, i, ea_of(c, i), descriptor, 16):
        return False
    if (kind > 3 or descriptor[0] >> 16 or (kind != 2 and descriptor[0] == 0)
            or (kind == 0 and not canonical(c, descriptor[1]))):
        fail(c, ERROR_OPERAND)
        return True
    if kind == 2:
        for k in range(N_ADDRESS_SPACES):
            c.virt.address_spaces[k].key = 0
    else:                                # one address: all of the VPID, which is allowed
        tlb_forget_tag(c, <uint32_t>descriptor[0])
    succeed(c)
    return True

cdef void INVVPID_Rd_M(Cpu* c, Insn* i) noexcept nogil:
    if invalidate_vpid(c, i, <uint32_t>c.r[i.dst]):
        finish(c, i)

cdef void INVVPID_Rq_M(Cpu* c, Insn* i) noexcept nogil:
    if invalidate_vpid(c, i, c.r[i.dst]):
        finish(c, i)

include "register_vmx_instructions.pxi"
