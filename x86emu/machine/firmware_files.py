"""What the firmware is offered by fw_cfg: items by number, files by name.

The names are those that SeaBIOS asks for; QEMU's fw_cfg specification and the machine's configuration say what each is.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

from x86emu import __version__
from x86emu.devices import fw_cfg
from x86emu.errors import UserInputError
from x86emu.firmware.bios import load_option_rom
from x86emu.firmware.plan import ROM_BOOT_ENTRY, ROM_FILE, BootPlan, boot_rom
from x86emu.machine import acpi, smbios
from x86emu.machine.config import MachineConfig
from x86emu.machine.memory_map import MemoryLayout

BOOT_ORDER_FILE = "bootorder"
# The boot devices' names as SeaBIOS builds them from PCI slot, controller and channel.
DISK_ENTRIES = (
    "/pci@i0cf8/ide@1,1/drive@0/disk@0",
    "/pci@i0cf8/ide@1,1/drive@0/disk@1",
    "/pci@i0cf8/ide@1,1/drive@1/disk@0",
    "/pci@i0cf8/ide@1,1/drive@1/disk@1",
)
VGA_ROMS = (Path("/usr/share/seabios/vgabios-stdvga.bin"), Path("/usr/share/qemu/vgabios-stdvga.bin"))


@dataclass
class Offered:
    """Items by key and files by name."""

    items: dict[int, bytes] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


def vga_rom(config: MachineConfig) -> bytes | None:
    """The VGA BIOS: the one that was asked for, else Debian's, else none."""
    if config.vga_rom is not None:
        return load_option_rom(config.vga_rom)
    for path in VGA_ROMS:
        if path.is_file():
            return load_option_rom(path)
    return None


def files(config: MachineConfig, layout: MemoryLayout, plan: BootPlan | None, *, apic: bool = True) -> Offered:
    """All that the machine offers; a kernel's boot ROM comes first in the boot order.

    Without ``apic`` the processor has no local APIC, and the tables say nothing of APICs.
    """
    offered = Offered()
    for key, value, size in (
        (fw_cfg.KEY_RAM_SIZE, config.memory, 8),
        (fw_cfg.KEY_NOGRAPHIC, 0, 2),
        (fw_cfg.KEY_NB_CPUS, config.cpus, 2),
        (fw_cfg.KEY_NUMA, 0, 8),
        (fw_cfg.KEY_BOOT_MENU, 0, 2),
        (fw_cfg.KEY_MAX_CPUS, config.cpus, 2),
        (fw_cfg.KEY_IRQ0_OVERRIDE, 1, 4),
    ):
        offered.items[key] = value.to_bytes(size, "little")

    tables = acpi.AcpiConfig(
        processors=tuple(range(config.cpus)),
        memory_below_4g=layout.below_4g,
        apic=apic,
        serial_ports=config.serial_ports,
    )
    offered.files["etc/e820"] = layout.e820()
    offered.files["etc/system-states"] = acpi.system_states(tables)
    offered.files.update(acpi.build(tables))
    offered.files.update(
        smbios.build(
            smbios.SmbiosConfig(
                memory=config.memory,
                memory_below_4g=layout.below_4g,
                processors=config.cpus,
                version=__version__,
                cpu_name=config.cpu,
            )
        )
    )
    # Without a menu there is nothing to wait for: no time-out at the boot prompt, none after a failed boot.
    offered.files["etc/boot-fail-wait"] = struct.pack("<I", 0xFFFF_FFFF)
    for path in config.option_roms:
        name = f"genroms/{path.name}"
        if name in offered.files:
            raise UserInputError(f"--option-rom: two files are named {path.name}; rename one")
        offered.files[name] = load_option_rom(path)
    if plan is not None:
        offered.files.update(plan.files())
        offered.files[ROM_FILE] = boot_rom()
        offered.files[BOOT_ORDER_FILE] = f"{ROM_BOOT_ENTRY}\n".encode() + b"\0"
    offered.files.update(config.fw_cfg)
    return offered
