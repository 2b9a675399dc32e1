# cython: language_level=3
# World switches of AMD-V (AMD APM 2, 15.5, 15.6) and what in guest mode asks for one.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *

include "vmcb_layout.pxi"

cdef enum:
    SVM_INTR = 0x60
    SVM_NMI = 0x61
    SVM_SMI = 0x62
    SVM_INIT = 0x63
    SVM_VINTR = 0x64
    SVM_CR0_SEL_WRITE = 0x65
    SVM_SWINT = 0x75
    SVM_IOIO = 0x7B
    SVM_MSR = 0x7C
    SVM_TASK_SWITCH = 0x7D
    SVM_FERR_FREEZE = 0x7E
    SVM_SHUTDOWN = 0x7F
    SVM_MWAIT_ARMED = 0x8C
    SVM_EFER_WRITE_TRAP = 0x8F
    SVM_CR0_WRITE_TRAP = 0x90
    SVM_IDLE_HLT = 0xA6
    SVM_NPF = 0x400
    VM_CR_R_INIT = 2
    EVENT_INFO_ERROR = 0x800
    TYPE_EXTERNAL = 0
    TYPE_NMI = 2
    TYPE_EXCEPTION = 3
    TYPE_SOFTWARE = 4
    LBR_ENABLE = 1

# Runs the guest of the control block at a physical address, whose form and presence have been checked. The VMRUN has
# retired (finish). The guest's state is in force afterwards, or the host's where a check failed.
cdef void svm_enter(Cpu* c, uint64_t vmcb) noexcept nogil
# Host address of 4 KiB of physical memory, NULL where there is none.
cdef uint8_t* svm_page(Cpu* c, uint64_t physical, bint write) noexcept nogil
cdef void svm_page_written(Cpu* c, uint64_t physical) noexcept nogil
# VMLOAD's and VMSAVE's part of the state.
cdef void svm_load_more(Cpu* c, const uint8_t* block) noexcept nogil
cdef void svm_save_more(Cpu* c, uint8_t* block) noexcept nogil
# What the clean bits vouch for counts no more (INIT, reset).
cdef void forget_control_block(Cpu* c) noexcept nogil

cdef inline uint64_t get64(const uint8_t* block, uint32_t offset) noexcept nogil:
    return (<const uint64_t*>(block + offset))[0]

cdef inline uint32_t get32(const uint8_t* block, uint32_t offset) noexcept nogil:
    return (<const uint32_t*>(block + offset))[0]

cdef inline uint32_t get16(const uint8_t* block, uint32_t offset) noexcept nogil:
    return (<const uint16_t*>(block + offset))[0]

cdef inline void put64(uint8_t* block, uint32_t offset, uint64_t value) noexcept nogil:
    (<uint64_t*>(block + offset))[0] = value

cdef inline void put32(uint8_t* block, uint32_t offset, uint32_t value) noexcept nogil:
    (<uint32_t*>(block + offset))[0] = value

cdef void load_segment(Cpu* c, int n, const uint8_t* field) noexcept nogil
cdef void save_segment(Cpu* c, int n, uint8_t* field) noexcept nogil

cdef inline bint svm_intercepts(Cpu* c, int word, int bit) noexcept nogil:
    return (c.virt.intercepts[word] >> bit) & 1

cdef inline bint svm_virtual_gif(Cpu* c) noexcept nogil:
    return c.virt.virtual_gif_enabled == 0 or c.virt.virtual_gif != 0

cdef inline bint svm_takes_interrupts(Cpu* c) noexcept nogil:
    return c.rflags & FLAG_IF != 0 and c.interrupt_shadow == 0 and svm_virtual_gif(c)

cdef inline bint svm_virtual_nmi_ready(Cpu* c) noexcept nogil:
    """APM 2, 15.21.10: V_NMI is set, no NMI is being handled, and no shadow or virtual GIF holds it off."""
    return (c.svm.virtual_nmi_enabled != 0 and c.svm.virtual_nmi != 0 and c.svm.virtual_nmi_blocked == 0
            and c.interrupt_shadow == 0 and svm_virtual_gif(c))

cdef inline bint svm_virtual_interrupt_ready(Cpu* c) noexcept nogil:
    """APM 2, 15.21.4: V_IRQ beats the virtual TPR, RFLAGS.IF and the virtual GIF allow it."""
    return (c.virt.virtual_interrupt != 0 and svm_takes_interrupts(c)
            and (c.virt.ignore_tpr != 0 or c.virt.virtual_priority > c.virt.virtual_tpr))
