"""What a user may ask of a machine, and whether it can be had.

`MachineConfig` is plain data; `validate()` raises UserInputError with one sentence for each thing that cannot work.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from x86emu.devices.virtio_console import LARGEST_PORTS
from x86emu.errors import UserInputError
from x86emu.machine.disk_option import CdromOption, DiskOption
from x86emu.machine.memory_map import BOOT_CODES, GIB, KIB, MIB
from x86emu.machine.network_option import NetworkOption
from x86emu.machine.share_option import ShareOption, tags

DEFAULT_CPU = "default"
SMALLEST_MEMORY = 2 * MIB
LARGEST_MEMORY = 1 << 39
LARGEST_SMP = 64  # what the engine takes; 8-bit local APIC ids would go to 254
UNITS = {"": MIB, "K": KIB, "M": MIB, "G": GIB, "T": 1 << 40}
AHCI_PORTS = 6
VIRTIO_SLOTS = 28  # PCI devices 3 to 30
EPOCH = datetime(2025, 1, 1)
FURTHER_DEVICES = ("pc-testdev",)


def parse_memory(text: str | int) -> int:
    """Bytes of "512M", "1G", "65536K" or a plain number of MiB; an int is bytes already.  UserInputError otherwise."""
    if isinstance(text, int):
        return text
    match = re.fullmatch(r"(\d+)([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise UserInputError(f"--memory {text}: is no amount of memory; 512M, 1G or a number of MiB would do")
    return int(match[1]) * UNITS[match[2].upper()]


def parse_date(text: str) -> datetime:
    """What --rtc says: host, localtime, or a date as 2025-01-31 or 2025-01-31T12:00:00.  UserInputError otherwise."""
    if text in ("host", "localtime"):
        return datetime.now(None if text == "localtime" else UTC).replace(microsecond=0, tzinfo=None)
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        raise UserInputError(
            f"--rtc {text}: is no date; host, localtime, 2025-01-31 or 2025-01-31T12:00:00 would do"
        ) from None
    if date.tzinfo is not None:
        date = date.astimezone(UTC).replace(tzinfo=None)
    if not 1970 <= date.year <= 9999:
        raise UserInputError(f"--rtc {text}: a PC's clock shows years from 1970 on")
    return date.replace(microsecond=0)


def host_memory() -> int | None:
    """Bytes of memory and swap that the host could still give, or None where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    amounts = {line.split(":")[0]: int(line.split()[1]) * KIB for line in lines if len(line.split()) > 1}
    if "MemAvailable" not in amounts:
        return None
    return amounts["MemAvailable"] + amounts.get("SwapFree", 0)


@dataclass
class MachineConfig:
    """A PC as the user wants it.  Memory in bytes; paths of files; None is "not there".

    ``floppies`` are drives A and B, None being an empty one.
    ``boot`` is up to three letters of a floppy, c disk, d CD-ROM, n network.  ``date`` is what the real-time clock
    shows at power-on.  ``snapshot`` keeps what the guest writes to its disks in memory.  ``virtio_consoles`` are the
    ports of a virtio console, None for a terminal or the name of a port for programs; ``printer`` puts one at LPT1.
    ``devices`` are of those that no PC has: `FURTHER_DEVICES`.
    """

    bios: Path
    memory: int = 256 * MIB
    cpus: int = 1
    cpu: str = DEFAULT_CPU
    disks: tuple[Path | DiskOption, ...] = ()
    cdrom: Path | CdromOption | None = None
    floppies: tuple[Path | DiskOption | None, ...] = ()
    kernel: Path | None = None
    initrd: Path | None = None
    append: str = ""
    modules: tuple[str, ...] = ()
    boot: str = "cd"
    networks: tuple[NetworkOption, ...] = ()
    pcap: Path | None = None
    snapshot: bool = False
    vga_rom: Path | None = None
    option_roms: tuple[Path, ...] = ()
    debug_exit_port: int | None = None
    devices: tuple[str, ...] = ()
    virtio_rng: bool = False
    virtio_consoles: tuple[str | None, ...] = ()
    balloon: bool = False
    shares: tuple[ShareOption, ...] = ()
    serial_ports: int = 1
    printer: bool = False
    paced_serial: bool = False
    date: datetime = field(default=EPOCH)
    fw_cfg: dict[str, bytes] = field(default_factory=dict)

    def validate(self) -> None:
        """Raises UserInputError for the first thing that cannot work."""
        if self.memory < SMALLEST_MEMORY:
            raise UserInputError(
                f"--memory: {self.memory // KIB} KiB are too little for a PC's firmware; 2M or more would do"
            )
        if self.memory > LARGEST_MEMORY:
            raise UserInputError("--memory: more than 512 GiB cannot be addressed by this board; 512G or less would do")
        if self.memory % (64 * KIB):
            raise UserInputError(
                f"--memory: {self.memory} bytes is no multiple of 64 KiB, in which the board counts; 512M would do"
            )
        available = host_memory()
        if available is not None and self.memory > available:
            raise UserInputError(
                f"--memory: the guest would have {self.memory // MIB} MiB and this host can give {available // MIB}"
                " MiB; a smaller --memory would do"
            )
        if not 1 <= self.cpus <= LARGEST_SMP:
            raise UserInputError(f"--smp {self.cpus}: this board has room for 1 to {LARGEST_SMP} processors")
        wrong = [letter for letter in self.boot if letter not in BOOT_CODES]
        if wrong or not 1 <= len(self.boot) <= 3 or len(set(self.boot)) != len(self.boot):
            raise UserInputError(
                f"--boot {self.boot}: is no boot order; up to three different letters of a (floppy), c (disk), d"
                " (CD-ROM) and n (network) would do"
            )
        if self.kernel is None:
            for option, value in (("initrd", self.initrd), ("append", self.append), ("module", self.modules)):
                if value:
                    raise UserInputError(f"--{option}: goes with a kernel; give one with --kernel")
        if len(self.floppies) > 2:
            raise UserInputError(f"--floppy: {len(self.floppies)} drives do not fit on the cable; 2 would do")
        used = Counter(DiskOption.of(disk).interface for disk in self.disks)
        cdrom = CdromOption.of(self.cdrom).interface if self.cdrom is not None else ""
        limit, on_ide = 3 if cdrom == "ide" else 4, used["ide"]
        if on_ide > limit:
            raise UserInputError(
                f"--disk: {on_ide} disks do not fit on two IDE channels"
                f"{' beside the CD-ROM' if limit == 3 else ''}; {limit} would do, and more with if=virtio"
            )
        on_ahci = used["ahci"] + (cdrom == "ahci")
        if on_ahci > AHCI_PORTS:
            raise UserInputError(f"--disk: {on_ahci} drives do not fit on the {AHCI_PORTS} ports of the AHCI adapter")
        adapters = used["virtio"] + used["nvme"] + bool(on_ahci) + bool(used["scsi"] or cdrom == "scsi")
        virtio = adapters + len(self.networks) + len(self.shares)
        virtio += self.virtio_rng + bool(self.virtio_consoles) + self.balloon
        if virtio > VIRTIO_SLOTS:
            raise UserInputError(f"--disk: {virtio} virtio devices are more than the {VIRTIO_SLOTS} free PCI slots")
        tags(self.shares)
        if not 1 <= self.serial_ports <= 4:
            raise UserInputError(f"--serial: {self.serial_ports} serial ports; a PC has one to four")
        names = [name for name in self.virtio_consoles if name is not None]
        if len(self.virtio_consoles) > LARGEST_PORTS or len(set(names)) != len(names):
            raise UserInputError(f"--virtio-console: up to {LARGEST_PORTS} ports, of which no two have the same name")
        if self.debug_exit_port is not None and not 0 <= self.debug_exit_port <= 0xFFFC:
            raise UserInputError(f"--debug-exit {self.debug_exit_port:#x}: is no port; 0xf4 would do")
        for device in self.devices:
            if device not in FURTHER_DEVICES:
                raise UserInputError(f"--device {device}: no such device; {', '.join(FURTHER_DEVICES)} would do")
