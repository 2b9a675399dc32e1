"""Virtio functions other than disks and networks: entropy, terminals, balloon, shared folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from x86emu.devices.virtio_9p import Virtio9p
from x86emu.devices.virtio_balloon import VirtioBalloon
from x86emu.devices.virtio_console import ConsolePort, VirtioConsole
from x86emu.devices.virtio_rng import VirtioRng
from x86emu.machine.consoles import SerialConsole
from x86emu.machine.share_option import tags
from x86emu.sharing import ShareServer

if TYPE_CHECKING:
    from x86emu.machine.board import Board
    from x86emu.machine.pci_slots import PciSlots


class PortInput:
    """The host's end of one port of a virtio console."""

    def __init__(self, device: VirtioConsole, port: int) -> None:
        self.device = device
        self.port = port

    def receive(self, data: bytes) -> None:
        """Bytes for the guest."""
        self.device.receive(data, self.port)

    def receive_break(self) -> None:
        """There are no breaks on this line."""


def wire(board: Board, slots: PciSlots) -> None:
    """One PCI function each; all terminals and named ports are one console's."""
    config = board.config
    if config.virtio_rng:
        slots.add_virtio(VirtioRng())
    board.virtio_consoles = []
    if config.virtio_consoles:
        ports = [ConsolePort(name=name) for name in config.virtio_consoles]
        device = VirtioConsole(ports=ports)
        for number, port in enumerate(ports):
            console = SerialConsole(PortInput(device, number), board.clock.now)
            port.output = console.receive_output
            board.virtio_consoles.append(console)
        slots.add_virtio(device)
    board.balloon = None
    if config.balloon:
        board.balloon = VirtioBalloon(board.memory.release)
        slots.add_virtio(board.balloon)
    for share, tag in zip(config.shares, tags(config.shares), strict=True):
        server = ShareServer(share.path, read_only=share.read_only)
        board.shares.append(server)
        slots.add_virtio(Virtio9p(server, tag, name=f"virtio-9p {tag}"))
