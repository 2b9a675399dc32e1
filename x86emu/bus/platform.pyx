# cython: language_level=3
# The board interface between the processor core and everything else: owner objects of the C records that
# platform.pxd declares.  Wires are named as the pins in Intel SDM vol. 3, chapters 9 to 11, and the i486 data sheet.
"""The wires between processors and the board.

`CpuSignals` owns one processor's wires (INTR, NMI, SMI#, INIT, RESET, A20M# and its local APIC's entry points);
`Wiring` owns what every processor of a machine shares: the port and MMIO spaces and virtual time.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memset

cimport cython

from x86emu.errors import UserInputError

NO_APIC_PAGE = 0xFFFFFFFFFFFFFFFF


cdef void ferr_thunk(void* listener, uint32_t level) noexcept with gil:
    (<CpuSignals>listener).ferr_callback(level != 0)


@cython.final
cdef class CpuSignals:
    """The wires into one processor. Latches (nmi, smi, init, sipi, reset) stay set until the core takes them."""

    def __cinit__(self, int index=0):
        memset(&self.wires, 0, sizeof(Signals))
        self.wires.apic_base = <uint64_t>0xFFFFFFFFFFFFFFFFULL
        self.index = index

    cpdef void kick(self) noexcept nogil:
        """Ends the processor's running slice at the next trace boundary, so that it looks at its wires."""
        if self.wires.kick != NULL:
            self.wires.kick(self.wires.cpu)

    cpdef void set_intr(self, uint32_t level) noexcept nogil:
        """Drives the INTR level: nonzero while the interrupt controller has a deliverable vector."""
        self.wires.intr = level
        if level and self.wires.kick != NULL:
            self.wires.kick(self.wires.cpu)

    cpdef void pulse_nmi(self) noexcept nogil:
        """An edge at NMI: latched until taken."""
        self.wires.nmi = 1
        self.kick()

    cpdef void pulse_smi(self) noexcept nogil:
        """An edge at SMI#: latched until taken."""
        self.wires.smi = 1
        self.kick()

    cpdef void pulse_init(self) noexcept nogil:
        """An edge at INIT (or an INIT message): latched; the processor's INIT state then waits for a SIPI if an AP."""
        self.wires.sipi = 0        # a start-up that was not taken yet is void
        self.wires.init = 1
        self.kick()

    cpdef void send_sipi(self, uint32_t vector) noexcept nogil:
        """A start-up message; `vector` is the page number (0..FFh) of the start address."""
        self.wires.sipi = 0x100 | (vector & 0xFF)
        self.kick()

    def sipi(self, uint32_t vector):
        """A start-up message; `vector` is the page number (0..FFh) of the start address."""
        self.send_sipi(vector)

    def reset_processor(self):
        """A pulse at RESET: latched until taken."""
        self.wires.reset = 1
        self.kick()

    def set_a20_masked(self, bint level):
        """Drives A20M#: true forces physical address line 20 low."""
        self.wires.a20_masked = level
        self.kick()

    def on_ferr(self, callback):
        """Calls callback(level: bool) whenever the processor drives or releases FERR# (x87 errors with CR0.NE = 0)."""
        self.ferr_callback = callback
        self.wires.ferr_listener = <void*>self
        self.wires.ferr_moved = ferr_thunk

    def set_ignne(self, bint level):
        """Drives IGNNE#: true lets x87 instructions go on although an unmasked exception is pending."""
        self.wires.ignne = level

    @property
    def ferr(self):
        return bool(self.wires.ferr)

    @property
    def ignne(self):
        return bool(self.wires.ignne)

    def clear_latches(self):
        """Takes the latches as the core would: nmi, smi, init, sipi and reset become 0."""
        self.wires.nmi = self.wires.smi = self.wires.init = self.wires.sipi = self.wires.reset = 0

    def save(self):
        """The wires' state (levels and latches), for a snapshot."""
        return {
            "intr": self.wires.intr, "nmi": self.wires.nmi, "smi": self.wires.smi, "init": self.wires.init,
            "sipi": self.wires.sipi, "reset": self.wires.reset, "a20_masked": self.wires.a20_masked,
            "tsc_offset": self.wires.tsc_offset, "ferr": self.wires.ferr, "ignne": self.wires.ignne,
        }

    def load(self, state):
        """Sets the wires from what save() gave."""
        self.wires.intr = state["intr"]
        self.wires.nmi = state["nmi"]
        self.wires.smi = state["smi"]
        self.wires.init = state["init"]
        self.wires.sipi = state["sipi"]
        self.wires.reset = state["reset"]
        self.wires.a20_masked = state["a20_masked"]
        self.wires.tsc_offset = state["tsc_offset"]
        self.wires.ferr = state["ferr"]
        self.wires.ignne = state["ignne"]
        self.kick()

    @property
    def intr(self):
        return bool(self.wires.intr)

    @property
    def nmi(self):
        return bool(self.wires.nmi)

    @property
    def smi(self):
        return bool(self.wires.smi)

    @property
    def init(self):
        return bool(self.wires.init)

    @property
    def sipi_vector(self):
        """The pending start-up vector, or None."""
        return self.wires.sipi & 0xFF if self.wires.sipi & 0x100 else None

    @property
    def reset(self):
        return bool(self.wires.reset)

    @property
    def a20_masked(self):
        return bool(self.wires.a20_masked)

    @property
    def apic_base(self):
        """Guest-physical address of the local APIC's page; all ones where none decodes."""
        return self.wires.apic_base

    @property
    def tsc_offset(self):
        """Time-stamp counter minus virtual time, in nanoseconds (the counter runs at 1 GHz)."""
        return self.wires.tsc_offset

    @tsc_offset.setter
    def tsc_offset(self, int64_t value):
        self.wires.tsc_offset = value
        if self.wires.tsc_moved != NULL:
            self.wires.tsc_moved(self.wires.controller)

    # What the core does to the interrupt controller, through the very pointers that it uses.

    def acknowledge(self):
        """The interrupt-acknowledge cycle: the vector, or -1 where nothing answers."""
        return self.wires.acknowledge(self.wires.controller) if self.wires.acknowledge != NULL else -1

    def apic_read(self, uint32_t offset, int size=4):
        """A read in the local APIC's page."""
        self._need(self.wires.apic_read != NULL)
        return self.wires.apic_read(self.wires.controller, offset, size)

    def apic_write(self, uint32_t offset, uint64_t value, int size=4):
        """A write in the local APIC's page."""
        self._need(self.wires.apic_write != NULL)
        self.wires.apic_write(self.wires.controller, offset, size, value)

    def rdmsr(self, uint32_t msr):
        """RDMSR of an APIC register (1Bh, 6E0h, 800h..8FFh); None where the processor raises #GP(0)."""
        cdef uint64_t value = 0
        self._need(self.wires.apic_rdmsr != NULL)
        return value if self.wires.apic_rdmsr(self.wires.controller, msr, &value) else None

    def wrmsr(self, uint32_t msr, uint64_t value):
        """WRMSR of an APIC register; False where the processor raises #GP(0)."""
        self._need(self.wires.apic_wrmsr != NULL)
        return bool(self.wires.apic_wrmsr(self.wires.controller, msr, value))

    @property
    def cr8(self):
        """The task priority class, as MOV from CR8 gives it."""
        self._need(self.wires.tpr_read != NULL)
        return self.wires.tpr_read(self.wires.controller)

    @cr8.setter
    def cr8(self, uint64_t value):
        self._need(self.wires.tpr_write != NULL)
        self.wires.tpr_write(self.wires.controller, value)

    def _need(self, bint present):
        if not present:
            raise UserInputError(f"processor {self.index} has no local APIC; attach one to its signals first")


cdef class Wiring:
    """What every processor of a machine shares. The spaces install themselves here when they are made with it."""

    def __cinit__(self):
        memset(&self.board, 0, sizeof(Board))
        self.processors = []

    def add_processor(self, CpuSignals signals):
        """Adds a processor that is to be kicked when a device asks the machine to stop."""
        self.processors.append(signals)

    def request_stop(self):
        """Makes the run loop return to its caller soon, at an instruction boundary."""
        cdef CpuSignals signals
        self.board.stop = 1
        for signals in self.processors:
            signals.kick()

    cdef void record_exception(self, object error):
        if self.exception is None:      # the first one is the cause; later ones follow from it
            self.exception = error
        self.request_stop()

    @property
    def stop(self):
        """True from request_stop() until the run loop's caller clears it."""
        return bool(self.board.stop)

    @stop.setter
    def stop(self, bint value):
        self.board.stop = value

    def set_engine(self, uintptr_t elapsed, uintptr_t shorten, uintptr_t engine=0):
        """Connects an engine by the addresses of C functions, as ctypes gives them (the core sets the record itself).

        `elapsed(engine)` returns nanoseconds since the running slice began; `shorten(engine, deadline)` ends it earlier.
        """
        self.board.elapsed = <int64_t (*)(void*) noexcept nogil>elapsed
        self.board.shorten = <void (*)(void*, int64_t) noexcept nogil>shorten
        self.board.engine = <void*>engine
