"""Message-signalled interrupts: MSI and MSI-X as parts that any PCI function can have.

PCI Local Bus Specification 3.0, chapter 6.8: 6.8.1 (MSI: 64-bit addresses, per-vector masks), 6.8.2 (MSI-X: table and
pending bits in a BAR), 6.8.3 (masking and pending bits).  A message is a memory write of a dword by the function; what
it means at FEEx_xxxxh is the board's to say (`PciBus.message_sink`).  Departure: parts of a table entry may be written
byte by byte, which the specification leaves undefined.

    class Nic(PciFunction):
        def __init__(self, ...):
            super().__init__(...)
            self.msi = Msi(self)                       # one vector: then set_interrupt(level) does the rest
            self.msix = Msix(self, vectors=5, bar=3)   # signal(vector) for each cause
"""

from __future__ import annotations

from typing import Any

from x86emu.bus.pci import Bar, MessageCapability, PciFunction
from x86emu.errors import BusError

MSI, MSIX = 0x05, 0x11  # capability identifiers (appendix H)

# MSI message control (6.8.1.3).
MSI_ENABLE, MSI_64BIT, MSI_MASKABLE = 0x0001, 0x0080, 0x0100
MSI_CAPABLE_SHIFT, MSI_ENABLED_SHIFT = 1, 4
LARGEST_MSI = 32

# MSI-X message control (6.8.2.3) and vector control (6.8.2.9).
MSIX_ENABLE, MSIX_FUNCTION_MASK = 0x8000, 0x4000
VECTOR_MASKED = 1
ENTRY_BYTES = 16
LARGEST_MSIX = 2048


class Msi(MessageCapability):
    """MSI with `vectors` messages (1, 2, 4 .. 32), 64-bit addresses and a mask bit for each.

    Software may grant fewer messages than that; a vector then goes out as its remainder by what was granted.
    """

    def __init__(self, function: PciFunction, vectors: int = 1, *, offset: int | None = None) -> None:
        if not 1 <= vectors <= LARGEST_MSI or vectors & (vectors - 1):
            raise BusError(f"{function.name}: {vectors} MSI vectors cannot be had; 1, 2, 4, 8, 16 or 32 can")
        self.function = function
        self.vectors = vectors
        self._capable = vectors.bit_length() - 1
        control = MSI_64BIT | MSI_MASKABLE | self._capable << MSI_CAPABLE_SHIFT
        body = control.to_bytes(2, "little") + bytes(20)
        mask = (MSI_ENABLE | 7 << MSI_ENABLED_SHIFT).to_bytes(2, "little")
        mask += 0xFFFF_FFFF_FFFF_FFFC.to_bytes(8, "little") + 0xFFFF.to_bytes(4, "little")
        mask += ((1 << vectors) - 1).to_bytes(4, "little") + bytes(4)
        self.at = function.add_capability(MSI, body, mask, offset)
        function.capabilities.append(self)
        function.message_capabilities.append(self)

    @property
    def enabled(self) -> bool:
        return bool(self.function.config[self.at + 2] & MSI_ENABLE)

    @property
    def granted(self) -> int:
        """How many messages software lets the function send."""
        return 1 << min(self.function.config[self.at + 2] >> MSI_ENABLED_SHIFT & 7, self._capable)

    @property
    def _pending(self) -> int:
        return self.function.get(self.at + 20, 4)

    @_pending.setter
    def _pending(self, value: int) -> None:
        self.function.set(self.at + 20, 4, value)

    def send(self, vector: int) -> None:
        vector %= self.granted
        if self.function.get(self.at + 16, 4) >> vector & 1:
            self._pending |= 1 << vector
            return
        data = self.function.get(self.at + 12, 2) & ~(self.granted - 1) | vector
        self.function.send_message(self.function.get(self.at + 4, 8), data)

    def written(self) -> None:
        self.function._update_intx()
        ready = self._pending & ~self.function.get(self.at + 16, 4) if self.enabled else 0
        if ready:
            self._pending &= ~ready
            for vector in range(self.vectors):
                if ready >> vector & 1:
                    self.send(vector)


class Msix(MessageCapability):
    """MSI-X with `vectors` messages (1 to 2048); table and pending bits fill a memory BAR of their own, `bar`.

    A function that has them inside one of its BARs gives `inside=(table offset, pending offset)` and passes accesses
    there on to `read_table`, `write_table` and `read_pending`, with offsets within these.
    """

    def __init__(
        self,
        function: PciFunction,
        vectors: int,
        bar: int,
        *,
        inside: tuple[int, int] | None = None,
        offset: int | None = None,
    ) -> None:
        if not 1 <= vectors <= LARGEST_MSIX:
            raise BusError(f"{function.name}: {vectors} MSI-X vectors cannot be had; 1 to {LARGEST_MSIX} can")
        self.function = function
        self.vectors = vectors
        self.half = max(2048, 1 << (ENTRY_BYTES * vectors - 1).bit_length())
        table, pending = (0, self.half) if inside is None else inside
        body = (vectors - 1).to_bytes(2, "little") + (table | bar).to_bytes(4, "little")
        body += (pending | bar).to_bytes(4, "little")
        self.at = function.add_capability(MSIX, body, (MSIX_ENABLE | MSIX_FUNCTION_MASK).to_bytes(2, "little"), offset)
        if inside is None:
            function.add_bar(Bar(bar, 2 * self.half, "memory", self._read, self._write, f"{function.name} MSI-X"))
        self.reset()
        function.capabilities.append(self)
        function.message_capabilities.append(self)

    def reset(self) -> None:
        self.table = bytearray(ENTRY_BYTES * self.vectors)
        for vector in range(self.vectors):
            self.table[ENTRY_BYTES * vector + 12] = VECTOR_MASKED
        self.pending = 0

    @property
    def _control(self) -> int:
        return self.function.get(self.at + 2, 2)

    @property
    def enabled(self) -> bool:
        return bool(self.function.config[self.at + 3] & MSIX_ENABLE >> 8)

    def masked(self, vector: int) -> bool:
        """Whether a message would be held back: by its own mask bit or the function's."""
        if self.function.config[self.at + 3] & MSIX_FUNCTION_MASK >> 8:
            return True
        return bool(self.table[ENTRY_BYTES * vector + 12] & VECTOR_MASKED)

    def send(self, vector: int) -> None:
        if vector >= self.vectors:
            return
        if self.masked(vector):
            self.pending |= 1 << vector
            return
        entry = self.table[ENTRY_BYTES * vector : ENTRY_BYTES * vector + 12]
        self.function.send_message(
            int.from_bytes(entry[:8], "little") & ~3, int.from_bytes(entry[8:], "little")
        )  # fmt: skip

    def withdraw(self, vector: int) -> None:
        """Forgets a message that is held back, where its cause has gone (6.8.3.2)."""
        self.pending &= ~(1 << vector)

    def written(self) -> None:
        self.function._update_intx()
        self._release()

    def _release(self) -> None:
        if not self.pending or not self.enabled:
            return
        for vector in range(self.vectors):
            if self.pending >> vector & 1 and not self.masked(vector):
                self.pending &= ~(1 << vector)
                self.send(vector)

    # --- the BAR

    def read_table(self, offset: int, size: int) -> int:
        """Table entries: address (8 bytes), data, vector control."""
        return int.from_bytes(self.table[offset : offset + size], "little")

    def write_table(self, offset: int, size: int, value: int) -> None:
        """A message that waits goes out when its mask bit is cleared."""
        end = min(offset + size, len(self.table))
        if offset >= end:
            return
        self.table[offset:end] = value.to_bytes(size, "little")[: end - offset]
        for vector in range(offset // ENTRY_BYTES, -(-end // ENTRY_BYTES)):
            control = ENTRY_BYTES * vector + 12
            self.table[control : control + 4] = bytes((self.table[control] & VECTOR_MASKED, 0, 0, 0))
        self._release()

    def read_pending(self, offset: int, size: int) -> int:
        """Pending bits, one for each vector; software cannot write them."""
        return self.pending >> 8 * offset & (1 << 8 * size) - 1

    def _read(self, offset: int, size: int) -> int:
        return self.read_table(offset, size) if offset < self.half else self.read_pending(offset - self.half, size)

    def _write(self, offset: int, size: int, value: int) -> None:
        if offset < self.half:
            self.write_table(offset, size, value)

    # --- state

    def save(self) -> dict[str, Any]:
        return {"table": bytes(self.table), "pending": self.pending}

    def load(self, state: dict[str, Any]) -> None:
        self.table[:] = state["table"]
        self.pending = state["pending"]
