# cython: language_level=3
# Task management (SDM 3A chapter 8) and the I/O permission bit map (SDM 1, 19.5.2).
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *

cdef enum TaskSource:        # what asks for a task switch
    TASK_JMP = 0
    TASK_CALL = 1
    TASK_IRET = 2
    TASK_EVENT = 3           # interrupt or exception through a task gate

# Switches to the task whose TSS descriptor is (selector, raw); its type, privilege and presence have been checked.
# flags and rip are what the old TSS keeps.  Up to the commit point a fault belongs to the old task (raised through i);
# from there on the instruction has retired and a fault is raised in the new task.  False: a fault was raised.
cdef bint task_switch(Cpu* c, Insn* i, uint32_t selector, uint64_t raw, int source, uint64_t rip, uint64_t flags,
                      bint has_error, uint32_t error, uint32_t ext) noexcept nogil
# Reads the TSS descriptor that a task gate or a far pointer names and checks type and presence:
# vector(selector | ext) unless it is an available TSS of the GDT, #NP(selector | ext) unless present.
cdef bint available_tss(Cpu* c, Insn* i, uint32_t selector, uint64_t* raw, int vector, uint32_t ext) noexcept nogil

# Whether size bytes of I/O ports from port on may be accessed now: CPL <= IOPL, or the TSS's permission bits are clear.
# False: #GP(0), or the page fault met on the way, has been raised.
cdef bint io_permitted(Cpu* c, Insn* i, uint32_t port, uint32_t size) noexcept nogil
# The software interrupt redirection bit of the TSS (SDM 3B 21.3.3.4). 1, or no bit within the limit: by the IDT.
# -1: a fault was raised.
cdef int interrupt_redirection_bit(Cpu* c, Insn* i, int vector) noexcept nogil
