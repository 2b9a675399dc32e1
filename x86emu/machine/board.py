"""The board of the PC, with i440FX and PIIX3: the only place where its parts are wired together.

    bus 0   00.0  82441FX host bridge (PAM, SMRAM)      ports  20h A0h 4D0h   8259 pair, edge/level control
            01.0  82371SB PCI-to-ISA bridge (PIRQ)             40h 61h        8254
            01.1  82371SB IDE                                  60h 64h 92h    8042, port 92h
            01.3  82371AB power management                     70h-73h        MC146818
            02.0  VGA, 1234:1111; virtio, NVMe 03.0-            00h 80h C0h    8237A pair
    memory  FEC00000h I/O APIC   FED00000h HPET                3F0h 3F8h 378h floppy controller, COM1, LPT1
            FEE00000h local APICs (in the core)                402h 510h      debug console, fw_cfg

Intel 82441FX and 82371SB/82371AB datasheets; docs/machine.md has the whole map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from x86emu.bus.clock import Clock, Event
from x86emu.bus.device import Device
from x86emu.bus.dma import MemoryDma
from x86emu.bus.irq import IrqLine
from x86emu.bus.pci import PciBus
from x86emu.bus.platform import CpuSignals, Wiring
from x86emu.bus.spaces import MmioSpace, PortSpace
from x86emu.core.memory import PhysicalMemory
from x86emu.devices.ata_disk import AtaDisk
from x86emu.devices.ata_drive import AtaDrive
from x86emu.devices.coprocessor_error import CoprocessorError
from x86emu.devices.debugcon import DebugConsole
from x86emu.devices.fw_cfg import FwCfg
from x86emu.devices.hpet import Hpet
from x86emu.devices.i440fx import I440FX
from x86emu.devices.i8042 import I8042
from x86emu.devices.i8237 import I8237Pair
from x86emu.devices.i8254 import I8254
from x86emu.devices.i8259 import I8259Pair
from x86emu.devices.i82077aa import I82077AA
from x86emu.devices.ioapic import IoApic
from x86emu.devices.isa_debug_exit import IsaDebugExit
from x86emu.devices.lapic import ApicBus, LocalApic
from x86emu.devices.mc146818 import Mc146818
from x86emu.devices.pic_controller import Pic8259Controller
from x86emu.devices.piix3 import Piix3
from x86emu.devices.piix4_acpi import Piix4Acpi
from x86emu.devices.piix_ide import PiixIde
from x86emu.devices.port92 import Port92
from x86emu.devices.vga import Vga
from x86emu.errors import UserInputError
from x86emu.firmware import bios as bios_images
from x86emu.firmware.kernel import plan_kernel
from x86emu.machine import acpi, disks, firmware_files, isa_ports, networks, sleep, virtio_functions
from x86emu.machine.address_map import AddressMap
from x86emu.machine.config import MachineConfig
from x86emu.machine.consoles import Console, Screen, SerialConsole
from x86emu.machine.host_services import HostService
from x86emu.machine.input import Keyboard, Mouse
from x86emu.machine.interrupts import A20Gate, InterruptLines, MessageInterrupts, Tap
from x86emu.machine.memory_map import DiskGeometry, MemoryLayout, cmos_contents
from x86emu.machine.pci_slots import PciSlots
from x86emu.machine.removable import RemovableDrives
from x86emu.machine.run import POLL_NANOSECONDS, SOON_NANOSECONDS, StopReason
from x86emu.machine.speaker import Speaker

if TYPE_CHECKING:
    from x86emu.devices.uart16550 import Uart16550
    from x86emu.devices.virtio_balloon import VirtioBalloon
    from x86emu.network.backend import NetworkBackend
    from x86emu.sharing import ShareServer
    from x86emu.storage import Image

IO_APIC_ID = 0
PCI_CONFIG_PORT = 0xCF8
D = TypeVar("D", bound=Device)


class Board:
    """The parts of a PC and what they do to each other: build, reset, sleep, power off.

    `Machine` is a board that somebody runs and looks at. Raises UserInputError where the configuration asks for what
    cannot be had.
    """

    def __init__(self, config: MachineConfig) -> None:
        config.validate()
        self.config = config
        self.layout = MemoryLayout.of(config.memory)
        self.devices: dict[str, Device] = {}
        self.images: list[Image] = []
        self.removable = RemovableDrives(self)
        self.stop_reason: StopReason | None = None
        self.stop_detail = ""
        self.exit_status = 0
        self.reset_requested = False
        self.poll_due = False
        self.suspend_requested = self.suspended = False
        self.services: list[HostService] = []
        self.networks: list[NetworkBackend] = []
        self.shares: list[ShareServer] = []
        self.uart: Uart16550
        self.serial: SerialConsole
        self.serial_ports: list[SerialConsole]
        self.printer: Console
        self.virtio_consoles: list[SerialConsole]
        self.balloon: VirtioBalloon | None
        self._poll_event: Event | None = None
        self._poll_deadline = 0
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self) -> None:
        from x86emu.machine.processors import processor_model

        config = self.config
        self.model = processor_model(config.cpu)
        if config.cpus > 1 and "apic" not in self.model.features:
            raise UserInputError(
                f"--smp {config.cpus}: the processor model {self.model.name} has no local APIC, so it is alone; a"
                " model with the feature apic (--cpu help lists them) would do"
            )
        image = bios_images.load_bios(config.bios)
        plan = None
        if config.kernel is not None:
            plan = plan_kernel(
                config.kernel,
                command_line=config.append,
                initrd=config.initrd,
                modules=config.modules,
                memory_below_4g=self.layout.below_4g,
            )
        drives = disks.open_drives(self)
        self.floppies = disks.open_floppies(self)
        geometries = [
            DiskGeometry(*drive.geometry) if isinstance(drive, AtaDisk) else None for drive in (drives[0], drives[1])
        ]

        self.wiring = Wiring()
        self.clock = Clock(self.wiring)
        self.ports = PortSpace(self.wiring)
        self.mmio = MmioSpace(self.wiring)
        self.signals = [CpuSignals(index) for index in range(config.cpus)]
        for signals in self.signals:
            self.wiring.add_processor(signals)
        self.memory = PhysicalMemory(config.memory, len(image))
        self.memory.set_wiring(self.wiring)
        self.memory.whole()[config.memory :] = image
        self.address_map = AddressMap(self.memory, self.layout, len(image))
        self.dma = MemoryDma(self.memory)

        self._wire_interrupts()
        self._wire_isa()
        self.rtc = self.add_device(
            Mc146818(
                IrqLine(Tap(self.hpet, lambda: self.power.rtc_interrupt()), 8, "rtc"),
                self.clock,
                date=config.date,
                cmos=cmos_contents(
                    self.layout,
                    config.cpus,
                    config.boot,
                    (geometries[0], geometries[1]),
                    disks.cmos_types(self.floppies),
                ),
            )
        )
        self.ports.map(0x70, 2, self.rtc.read, self.rtc.write, "MC146818", sizes=(1,), native=self.rtc.native)
        self.ports.map(0x72, 2, self.rtc.read_extended, self.rtc.write_extended, "MC146818 extended", sizes=(1,))
        self._wire_pci(drives)
        self._wire_fw_cfg(firmware_files.files(config, self.layout, plan, apic=bool(self.lapics)))
        self._build_engine()

    def add_device(self, device: D) -> D:
        """Keeps a device by its name, so that a reset and the statistics find it."""
        name = device.name
        if name in self.devices:
            raise ValueError(f"two devices are named {name!r}")
        self.devices[name] = device
        return device

    def in_ram(self, address: int, length: int) -> bool:
        """Whether a range is RAM as a bus master sees it."""
        end = address + length
        above = 4 << 30
        return end <= self.layout.below_4g or above <= address and end <= above + self.layout.above_4g

    def _wire_interrupts(self) -> None:
        self.pic = self.add_device(I8259Pair())
        self.apic_bus = ApicBus()
        features = self.model.features
        self.lapics = []
        if "apic" in features:
            self.lapics = [
                LocalApic(
                    index, signals, self.clock, self.apic_bus, bsp=index == 0, pic=self.pic,
                    x2apic="x2apic" in features, tsc_deadline="tsc_deadline" in features,
                    physical_bits=self.model.physical_bits,
                )
                for index, signals in enumerate(self.signals)
            ]  # fmt: skip
        self.ioapic = self.add_device(IoApic(self.apic_bus, apic_id=IO_APIC_ID))
        if self.lapics:
            bootstrap = self.lapics[0]
            self.pic.output = lambda level: bootstrap.set_lint(0, level)  # virtual wire: the pair's INTR is at LINT0
        else:
            self.pic_controller = Pic8259Controller(self.pic, self.signals[0])  # its INTR is the processor's own
        self.bridge = Piix3(InterruptLines(self.pic, self.ioapic), self._reset_request)
        self.hpet = self.add_device(Hpet(self.clock, self.ioapic, self.bridge.isa))
        self.pit = self.add_device(I8254(self.clock, IrqLine(self.hpet, 0, "pit")))
        self.speaker = Speaker(self.pit, self.clock)
        ports = self.ports
        ports.map(0x20, 2, self.pic.read_master, self.pic.write_master, "8259 master", sizes=(1,))
        ports.map(0xA0, 2, self.pic.read_slave, self.pic.write_slave, "8259 slave", sizes=(1,))
        ports.map(0x4D0, 2, self.pic.read_elcr, self.pic.write_elcr, "ELCR", sizes=(1,))
        ports.map(0x40, 4, self.pit.read, self.pit.write, "8254", sizes=(1,))
        pit = self.pit
        ports.map(0x61, 1, pit.read_port61, pit.write_port61, "port 61h", sizes=(1,), native=pit.port61_native)
        self.mmio.map(acpi.IO_APIC_BASE, 0x1000, self.ioapic.read, self.ioapic.write, "I/O APIC", sizes=(4,))
        self.mmio.map(acpi.HPET_BASE, 0x400, self.hpet.read, self.hpet.write, "HPET", sizes=(4, 8),
                      native=self.hpet.page.native)  # fmt: skip

    def _wire_isa(self) -> None:
        ports, clock = self.ports, self.clock
        self.a20 = A20Gate(self.signals)
        self.keyboard_controller = self.add_device(
            I8042(
                self._line(1, "keyboard"),
                self._line(12, "mouse"),
                clock,
                a20=lambda passes: self.a20.set("8042", passes),
                reset_pulse=self._init_processors,
            )
        )
        ports.map(
            0x60, 1, self.keyboard_controller.read_data, self.keyboard_controller.write_data, "i8042 data", sizes=(1,)
        )
        ports.map(
            0x64, 1, self.keyboard_controller.read_status, self.keyboard_controller.write_command, "i8042 command",
            sizes=(1,),
        )  # fmt: skip
        self.keyboard = Keyboard(self.keyboard_controller.keyboard, clock.now)
        self.mouse = Mouse(self.keyboard_controller.mouse, clock.now)
        port92 = self.add_device(Port92(lambda passes: self.a20.set("port 92h", passes), self._init_processors))
        ports.map(0x92, 1, port92.read, port92.write, "port 92h", sizes=(1,))
        coprocessor = self.add_device(CoprocessorError(self._line(13, "x87 error"), self.signals[0].set_ignne))
        self.signals[0].on_ferr(coprocessor.ferr)
        ports.map(0xF0, 1, coprocessor.read, coprocessor.write, "coprocessor error", sizes=(1,))

        dma = self.add_device(I8237Pair(self.dma))
        ports.map(
            0x00,
            16,
            dma.read_first,
            dma.write_first,
            "8237A channels 0-3",
            sizes=(1,),
        )
        ports.map(
            0xC0, 32, dma.read_second, dma.write_second, "8237A channels 4-7",
            sizes=(1,),
        )  # fmt: skip
        ports.map(
            0x80, 16, dma.read_page, dma.write_page, "8237A pages, POST code",
            sizes=(1,),
        )  # fmt: skip
        floppy = self.add_device(I82077AA(self._line(6, "floppy"), clock, dma, self.floppies))
        ports.map(0x3F0, 6, floppy.read, floppy.write, "82077AA", sizes=(1,))
        ports.map(0x3F7, 1, floppy.read_dir, floppy.write_ccr, "82077AA DIR/CCR", sizes=(1,))
        isa_ports.wire_serial(self)
        isa_ports.wire_parallel(self)
        self.debug_console = Console()
        console = self.add_device(DebugConsole(self.debug_console.receive_output))
        ports.map(0x402, 1, console.read, console.write, "debug console", sizes=(1,))
        if self.config.debug_exit_port is not None:
            leave = self.add_device(IsaDebugExit(self._debug_exit))
            ports.map(self.config.debug_exit_port, 4, leave.read, leave.write, "isa-debug-exit")
        if "pc-testdev" in self.config.devices:
            isa_ports.wire_test_device(self)

    def _line(self, number: int, name: str) -> IrqLine:
        """An ISA interrupt line into the PIIX3."""
        return IrqLine(self.bridge.isa, number, name)

    def _wire_pci(self, drives: list[AtaDrive | None]) -> None:
        self.pci = self.add_device(
            PciBus(
                self.ports,
                self.mmio,
                self.bridge.set_pirq,
                swizzle=-1,
                port_below=(self.bridge.read_reset_control, self.bridge.write_reset_control),
                message_sink=MessageInterrupts(self.apic_bus, self.dma.write).send,
            )
        )
        self.ports.map(PCI_CONFIG_PORT, 8, self.pci.read, self.pci.write, "PCI configuration")
        self.pci.add(I440FX(self.layout.below_4g, self.address_map.set_segments, self.address_map.set_smram), 0)
        self.pci.add(self.bridge, 1, 0)
        self.ide = PiixIde((self._line(14, "ide0"), self._line(15, "ide1")), self.dma, drives)
        self.ide.map_legacy(self.ports.map)
        self.pci.add(self.ide, 1, 1)
        self.power = Piix4Acpi(
            self._line(acpi.SCI, "sci"), self.clock, smi=self._smi, power_off=self.power_off,
            suspend=lambda suspend_type: sleep.asked(self, suspend_type),
        )  # fmt: skip
        self.ports.map(0xB2, 2, self.power.read_apm, self.power.write_apm, "APM", sizes=(1,))
        self.pci.add(self.power, 1, 3)
        self.vga = Vga(self.clock, firmware_files.vga_rom(self.config) or b"")
        self.ports.map(0x3B0, 0x30, self.vga.read, self.vga.write, "VGA", sizes=(1,))
        self.ports.map(0x1CE, 3, self.vga.read_vbe, self.vga.write_vbe, "VBE", sizes=(2,))
        self.mmio.map(
            0xA0000, 0x20000, None, None, "VGA memory", sizes=(1, 2, 4, 8), native=self.vga.memory.window
        )  # fmt: skip
        self.pci.add(self.vga, 2)
        self.screen = Screen(self.vga)
        self.slots = PciSlots(self)
        disks.wire(self, self.slots)
        networks.wire(self, self.slots)
        virtio_functions.wire(self, self.slots)

    def _wire_fw_cfg(self, offered: firmware_files.Offered) -> None:
        self.fw_cfg = self.add_device(FwCfg(self.dma))
        for key, data in offered.items.items():
            self.fw_cfg.add_item(key, data)
        for name, data in offered.files.items():
            self.fw_cfg.add_file(name, data)
        self.ports.map(
            0x510, 2, self.fw_cfg.read, self.fw_cfg.write, "fw_cfg", sizes=(1, 2), read_block=self.fw_cfg.read_block
        )
        self.ports.map(0x514, 8, self.fw_cfg.dma_read, self.fw_cfg.dma_write, "fw_cfg DMA")

    def _build_engine(self) -> None:
        from x86emu._core import Engine

        self.engine = Engine(self.memory, self.wiring, self.clock, self.signals, self.model)

    def close(self) -> None:
        """Makes durable what the guest wrote and gives the disk images back; the machine cannot run afterwards.

        UserInputError names an image that the host could not write.
        """
        services, self.services = self.services, []
        for service in services:
            service.close()
        for share in self.shares:
            share.close()
        if hasattr(self, "speaker"):
            self.speaker.close()
        images, self.images = self.images, []
        failed: list[str] = []
        for image in images:
            try:
                image.close()
            except OSError as error:
                failed.append(f"{image.path} ({error.strerror or error})")
        if failed:
            raise UserInputError(
                f"What the guest wrote last could not be stored in {', '.join(failed)}; make room on the host and check"
                " the image."
            )

    # --- what the board does

    def _init_processors(self) -> None:
        """INIT# of the chip set, which the 8042 and port 92h pulse."""
        for signals in self.signals:
            signals.pulse_init()

    def _smi(self) -> None:
        """SMI#, which this board has at the bootstrap processor only: the firmware prepares no other for it."""
        self.signals[0].pulse_smi()

    def _reset_request(self, hard: bool) -> None:
        """Port CF9h."""
        if hard:
            self.request_reset()
        else:
            self._init_processors()

    def _debug_exit(self, status: int) -> None:
        self.exit_status = status
        self.stop(StopReason.DEBUG_EXIT, f"value {status >> 1:#x}")

    def power_off(self) -> None:
        """The power management function turned the power off."""
        self.stop(StopReason.POWER_OFF)

    def request_reset(self) -> None:
        """PCIRST#: the reset control register; the machine is reset before the next instruction."""
        self.reset_requested = True
        self.wiring.request_stop()

    def stop(self, reason: StopReason, detail: str = "") -> None:
        """Ends the run soon; the first reason counts."""
        if self.stop_reason is None:
            self.stop_reason, self.stop_detail = reason, detail
        self.wiring.request_stop()

    def press_power_button(self) -> None:
        """Asks the guest to shut down, as the button of an ACPI machine does; wakes it where it sleeps."""
        self.power.press_power_button()

    def reset(self) -> None:
        """The reset button: every device and processor; RAM and CMOS keep their contents."""
        self.suspend_requested = self.suspended = False
        for device in self.devices.values():
            device.reset()
        self.reset_processors()

    def reset_processors(self) -> None:
        """Every processor and its local APIC; the bootstrap processor is at the reset vector then."""
        for signals in self.signals:
            signals.clear_latches()
        for lapic in self.lapics:
            lapic.reset()
        for signals in self.signals:
            signals.reset_processor()

    # --- its turn to look at the host

    def schedule_poll(self) -> None:
        """Has the run loop look at the host after the next stretch of virtual time."""
        self._poll_deadline = self.clock.now() + POLL_NANOSECONDS
        self._poll_event = self.clock.schedule(self._poll_deadline, self._poll)

    def poll_soon(self) -> None:
        """Has the run loop look at the host within `SOON_NANOSECONDS`: a service has handed something to the host."""
        soon = self.clock.now() + SOON_NANOSECONDS
        if self._poll_event is not None and soon < self._poll_deadline:
            self.clock.cancel(self._poll_event)
            self._poll_event, self._poll_deadline = self.clock.schedule(soon, self._poll), soon

    def _poll(self) -> None:
        self.poll_due = True
        self.wiring.request_stop()
