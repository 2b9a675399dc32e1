"""Which Ethernet device sits where, what it is plugged into, and the boot ROM that it carries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from x86emu.bus.pci import PciFunction
from x86emu.devices.e1000 import E1000
from x86emu.devices.ne2000 import Ne2000Pci
from x86emu.devices.virtio_net import VirtioNet
from x86emu.errors import UserInputError
from x86emu.firmware.bios import load_option_rom
from x86emu.machine.network_option import FIRST_MAC, MODELS, NetworkOption

if TYPE_CHECKING:
    from x86emu.machine.board import Board
    from x86emu.machine.pci_slots import PciSlots
    from x86emu.network.backend import NetworkBackend
    from x86emu.network.pcap import PcapFile

# Debian's package ipxe-qemu.
BOOT_ROMS = Path("/usr/lib/ipxe/qemu")
ROM_NAMES = dict(zip(MODELS, ("pxe-virtio.rom", "pxe-e1000.rom", "pxe-ne2k_pci.rom"), strict=True))


def boot_rom(model: str) -> bytes:
    """The network boot ROM of a device model.  UserInputError where it is not installed."""
    path = BOOT_ROMS / ROM_NAMES[model]
    if not path.is_file():
        raise UserInputError(
            f"--boot n: {path} is not there, so the {model} card has nothing to boot with; apt-get install ipxe-qemu"
            " would bring it, or romfile=FILE in --net"
        )
    return load_option_rom(path)


def addresses(networks: tuple[NetworkOption, ...]) -> list[bytes]:
    """The devices' hardware addresses.  UserInputError where two have the same."""
    given = [network.mac for network in networks if network.mac is not None]
    free = (FIRST_MAC[:5] + bytes((last,)) for last in range(FIRST_MAC[5], 0x100))
    result = [network.mac or next(mac for mac in free if mac not in given) for network in networks]
    if len(set(result)) != len(result):
        raise UserInputError("--net: two network cards have the same mac; each needs its own")
    return result


def _plug_in(board: Board, slots: PciSlots, option: NetworkOption, backend: NetworkBackend, mac: bytes) -> None:
    number = len(board.networks)
    name = f"{option.model} network {number}"
    if option.rom is not None:
        rom = load_option_rom(option.rom)
    else:
        rom = boot_rom(option.model) if "n" in board.config.boot else b""
    function: PciFunction
    if option.model == "virtio":
        model = VirtioNet(backend, mac, name=name)
        virtio = slots.add_virtio(model)
        model.kick = lambda: virtio.notify(0)
        model.config_changed = virtio.config_changed
        function = virtio
    elif option.model == "e1000":
        function = E1000(backend, mac, board.dma, board.clock, name=name)
        slots.add(function)
    else:
        function = Ne2000Pci(backend, mac, board.clock, name=name)
        slots.add(function)
    if rom:
        function.attach_rom(rom)


def wire(board: Board, slots: PciSlots) -> None:
    """PCI functions of the networks in the order of the command line, each network a service of the machine."""
    config = board.config
    if not config.networks:
        return
    from x86emu.network.pcap import PcapFile
    from x86emu.network.tap import TapNetwork
    from x86emu.network.user import UserNetwork

    shared: PcapFile | None = None
    for option, mac in zip(config.networks, addresses(config.networks), strict=True):
        recorder = PcapFile(option.pcap, config.date) if option.pcap is not None else None
        if recorder is None and config.pcap is not None:
            shared = recorder = shared or PcapFile(config.pcap, config.date)
        backend: NetworkBackend
        if option.kind == "tap":
            backend = TapNetwork(option.interface, board.clock, recorder)
        else:
            backend = UserNetwork(option.user, board.clock, recorder)
        board.services.append(backend)
        backend.host_has_work = board.poll_soon
        _plug_in(board, slots, option, backend, mac)
        board.networks.append(backend)
