# cython: language_level=3
# The narrow waist between the processor core and the board: plain C records that the core reads
# and that the machine fills in.  The core knows no device; devices know no processor; both know this.
cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t, int64_t

# Addressed by absolute port number or guest-physical address; size is 1, 2, 4 or 8 bytes.
ctypedef uint64_t (*bus_read_t)(void* bus, uint64_t address, int size) noexcept nogil
ctypedef void (*bus_write_t)(void* bus, uint64_t address, int size, uint64_t value) noexcept nogil
# Block transfers (REP INS / REP OUTS): count elements of size bytes at one port. Returns elements moved.
ctypedef uint64_t (*bus_read_block_t)(void* bus, uint64_t address, int size, uint8_t* to, uint64_t count) noexcept nogil
ctypedef uint64_t (*bus_write_block_t)(void* bus, uint64_t address, int size, const uint8_t* data, uint64_t count) noexcept nogil

# Interrupt controller side of one processor (the local APIC, or the 8259 pair behind its LINT0).
ctypedef int (*acknowledge_t)(void* controller) noexcept nogil                       # -> vector, -1 if none (spurious)
ctypedef uint64_t (*apic_read_t)(void* controller, uint32_t offset, int size) noexcept nogil
ctypedef void (*apic_write_t)(void* controller, uint32_t offset, int size, uint64_t value) noexcept nogil
# MSRs 1Bh, 6E0h, 800h..8FFh. Return False for #GP(0).
ctypedef bint (*apic_rdmsr_t)(void* controller, uint32_t msr, uint64_t* value) noexcept nogil
ctypedef bint (*apic_wrmsr_t)(void* controller, uint32_t msr, uint64_t value) noexcept nogil
ctypedef uint64_t (*tpr_read_t)(void* controller) noexcept nogil                      # CR8: TPR[7:4]
ctypedef void (*tpr_write_t)(void* controller, uint64_t value) noexcept nogil

cdef struct Signals:
    # Wires into one processor. Levels and latches are set by the board; the core clears the latches it takes.
    # The core looks at the first six by pairs: their order and size are part of this.
    uint32_t intr             # level: a maskable interrupt is deliverable (acknowledge() gives its vector)
    uint32_t nmi              # latch
    uint32_t smi              # latch
    uint32_t init             # latch
    uint32_t sipi             # latch: 100h | start-up vector
    uint32_t reset            # latch: hard reset of this processor
    uint32_t a20_masked       # level: address line 20 forced low
    # The core's: end the running slice at the next trace boundary so that the wires are looked at.
    void (*kick)(void* cpu) noexcept nogil
    void* cpu
    # The local APIC of this processor. base is the current guest-physical page, or all ones where it does not decode.
    void* controller
    acknowledge_t acknowledge
    uint64_t apic_base
    apic_read_t apic_read
    apic_write_t apic_write
    apic_rdmsr_t apic_rdmsr
    apic_wrmsr_t apic_wrmsr
    tpr_read_t tpr_read
    tpr_write_t tpr_write
    # Time-stamp counter = Clock.now() + tsc_offset (modulo 2^64). The core writes it on WRMSR to the TSC (10h) and
    # to TSC_ADJUST (3Bh) and calls tsc_moved, if set, so that a pending TSC deadline is put on the clock anew.
    int64_t tsc_offset
    void (*tsc_moved)(void* controller) noexcept nogil
    # x87 errors where CR0.NE is 0 (SDM 1, appendix D): FERR# is the core's, IGNNE# the board's. ferr_moved is called
    # when FERR# changes; where nobody listens, waiting instructions go on as with IGNNE#.
    uint32_t ferr
    uint32_t ignne
    void (*ferr_moved)(void* listener, uint32_t level) noexcept nogil
    void* ferr_listener

cdef struct Board:
    # What every processor of a machine shares.
    void* ports
    bus_read_t port_read
    bus_write_t port_write
    bus_read_block_t port_read_block
    bus_write_block_t port_write_block
    void* mmio
    bus_read_t mmio_read
    bus_write_t mmio_write
    # Virtual time. now() is exact inside a slice: base + instructions retired in it.
    int64_t (*elapsed)(void* engine) noexcept nogil   # nanoseconds since the slice began; set by the core
    void (*shorten)(void* engine, int64_t deadline) noexcept nogil   # an event earlier than the slice's end was scheduled
    void* engine
    uint32_t stop                                      # set by a device thunk: leave the run loop soon (exception pending, power-off ...)

@cython.final
cdef class CpuSignals:
    # Python's and the devices' handle on one Signals record; owned by the machine, pointed to by the core.
    cdef Signals wires
    cdef object controller_object
    cdef object ferr_callback
    cdef readonly int index
    cpdef void set_intr(self, uint32_t level) noexcept nogil
    cpdef void kick(self) noexcept nogil
    cpdef void pulse_nmi(self) noexcept nogil
    cpdef void pulse_smi(self) noexcept nogil
    cpdef void pulse_init(self) noexcept nogil
    cpdef void send_sipi(self, uint32_t vector) noexcept nogil

cdef class Wiring:
    cdef Board board
    cdef public object exception
    cdef object ports_object, mmio_object, engine_object
    cdef public list processors
    cdef void record_exception(self, object error)
