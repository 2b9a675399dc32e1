"""The free slots of PCI bus 0, from device 3 on, filled in the order in which functions are added."""

from __future__ import annotations

from typing import TYPE_CHECKING

from x86emu.bus.pci import PciFunction
from x86emu.devices.virtio_device import VirtioDevice
from x86emu.devices.virtio_pci import VirtioPci

if TYPE_CHECKING:
    from x86emu.machine.board import Board

FIRST_FREE_SLOT = 3


class PciSlots:
    """Puts functions into the next free slot of the board's bus; MachineConfig.validate() has counted them."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._next = FIRST_FREE_SLOT

    def add(self, function: PciFunction) -> None:
        """Puts `function` into the next slot."""
        self._board.pci.add(function, self._next)
        self._next += 1

    def add_virtio(self, model: VirtioDevice) -> VirtioPci:
        """Puts a virtio device behind a PCI function of its own."""
        function = VirtioPci(model, self._board.dma, self._board.in_ram)
        self.add(function)
        return function
