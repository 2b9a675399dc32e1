"""`x86emu boot`: its options, the machine they ask for, and the run (docs/boot.md has options and exit codes).

Everything heavy is imported when it is needed, so that `x86emu --help` answers at once.
"""

from __future__ import annotations

import argparse
import sys
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from x86emu.arguments import count, seconds, whole_number
from x86emu.errors import UserInputError

if TYPE_CHECKING:
    from x86emu.display_backends import TextDisplay
    from x86emu.machine import Machine, RunResult
    from x86emu.serial_backends import SerialBackend


class ExitCode(IntEnum):
    """What a run ends with.  A guest that ends it by --debug-exit gives 2 * value + 1 instead, as QEMU does."""

    OK = 0  # the guest powered off; with --expect: the text was seen
    EMULATION_ERROR = 1  # the guest met something that is not modelled, or a fault of this program
    UNUSABLE_INPUT = 2
    EXPECTATION_NOT_MET = 3  # the guest powered off before --expect saw its text
    TIME_OUT = 4
    TRIPLE_FAULT = 5
    INSTRUCTION_LIMIT = 6
    GUEST_RESET = 7  # with --no-reboot
    QUIT = 8  # Ctrl-A x, or interrupted
    HALTED = 9  # every processor halted with interrupts off


BOOT_EPILOGUE = """\
exit codes:
  0  the guest powered off; with --expect: its text was seen
  1  the guest met something that is not modelled
  2  unusable input: a file, an option or a value
  3  the guest powered off and --expect did not see its text
  4  --timeout is over
  5  triple fault
  6  --max-instructions are done
  7  the guest reset the machine, with --no-reboot
  8  quit by Ctrl-A x or interrupted
  9  every processor halted with interrupts off
  2*v+1  the guest wrote v to the port of --debug-exit
  128+n  ended by signal n

At a terminal, Ctrl-A x quits, Ctrl-A c leads to the monitor and back, Ctrl-A h lists the other keys.
"""


def _display(text: str) -> str:
    if text in ("none", "text", "web") or text.startswith("web:"):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is no display; none, text, web or web:8080 would do")


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    boot = commands.add_parser(
        "boot",
        help="run a machine from its firmware on",
        description="Runs a PC (i440FX, PIIX3) from its firmware's first instruction on.",
        epilog=BOOT_EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parts = boot.add_argument_group("the machine")
    parts.add_argument("--bios", metavar="FILE", help="firmware image (default: Debian's SeaBIOS)")
    parts.add_argument("--memory", "-m", metavar="SIZE", default="256M", help="RAM: 512M, 1G, MiB (default 256M)")
    parts.add_argument("--smp", metavar="N", type=count, default=1, help="number of processors (default 1)")
    parts.add_argument("--cpu", metavar="MODEL[,+F][,-F]", help="processor model and features; 'help' lists them")
    parts.add_argument("--disk", metavar="FILE[,...]", action="append", default=[],
                       help="disk image(s); ,if=ide|ahci|scsi|virtio|nvme ,format= ,snapshot ,readonly")  # fmt: skip
    parts.add_argument("--cdrom", metavar="FILE[,...]", help="ISO image, none: empty drive; ,if=ide|ahci|scsi")
    parts.add_argument("--floppy", metavar="FILE[,...]", action="append", default=[],
                       help="floppy disk image(s), 160K to 2.88M, or none for an empty drive")  # fmt: skip
    parts.add_argument("--snapshot", action="store_true", help="leave disk images unchanged")
    parts.add_argument("--rng", action="store_true", help="a virtio entropy device (the same bytes in every run)")
    parts.add_argument("--balloon", action="store_true", help="a virtio memory balloon, steered from the monitor")
    parts.add_argument("--share", metavar="DIR[,...]", action="append", default=[],
                       help="a folder of the host for the guest, by 9p; ,tag=NAME ,readonly")  # fmt: skip
    parts.add_argument("--rtc", metavar="DATE", help="what the clock shows: host, localtime or a date"
                       " (default 2025-01-01, so that runs are the same)")  # fmt: skip
    parts.add_argument("--boot", metavar="ORDER", default="cd", help="letters of a, c disk, d CD-ROM, n (default cd)")
    parts.add_argument("--net", metavar="KIND[,...]", action="append", default=[],
                       help="network card: user, tap or none, with parts (docs/network.md)")  # fmt: skip
    parts.add_argument("--option-rom", metavar="FILE", action="append", default=[], help="further option ROM")
    parts.add_argument("--vga-rom", metavar="FILE", help="VGA BIOS (default: Debian's SeaVGABIOS)")
    parts.add_argument("--debug-exit", metavar="PORT", nargs="?", const=0xF4, type=whole_number,
                       help="port by which the guest ends the run (default f4h when given)")  # fmt: skip
    parts.add_argument("--device", metavar="NAME", action="append", default=[],
                       help="pc-testdev: what test images ask for beyond a PC")  # fmt: skip
    kernel = boot.add_argument_group("a kernel, loaded by the boot ROM through the same firmware")
    kernel.add_argument("--kernel", metavar="FILE", help="bzImage, multiboot ELF or PVH ELF")
    kernel.add_argument("--initrd", metavar="FILE", help="initial RAM disk; for multiboot 'FILE ARGS,FILE ARGS'")
    kernel.add_argument("--append", metavar="TEXT", default="", help="command line of the kernel")
    kernel.add_argument("--module", metavar="'FILE ARGS'", action="append", default=[], help="multiboot or PVH module")
    host = boot.add_argument_group("the host's side")
    host.add_argument("--serial", metavar="WHERE", action="append", default=[],
                      help="stdio, none, pty, file:NAME or tcp:HOST:PORT (default stdio); again: COM2-4")  # fmt: skip
    host.add_argument("--parallel", metavar="file:NAME", help="a printer at LPT1 that prints into a file")
    host.add_argument("--speaker", metavar="FILE.wav", help="what the PC speaker gives, by virtual time")
    host.add_argument("--virtio-console", metavar="WHERE[,name=N]", action="append", default=[],
                      help="a virtio terminal, or a port named N; as --serial, again for more")  # fmt: skip
    host.add_argument("--display", metavar="KIND", default="none", type=_display,
                      help="none; text: in this terminal; web[:PORT]: a page for a browser on this host")  # fmt: skip
    host.add_argument("--monitor", metavar="WHERE", help="a monitor at stdio, tcp:HOST:PORT or unix:PATH")
    host.add_argument("--screenshot", metavar="FILE.png", help="write the screen as a PNG file when the run ends")
    host.add_argument("--send-keys", metavar="STEPS", action="append", default=[],
                      help="keys to strike, as 'wait:Boot: text:linux ret delay:2s ctrl-alt-delete'")  # fmt: skip
    host.add_argument("--clock", choices=["virtual", "host"], default="virtual",
                      help="virtual: as fast as it goes (default); host: no faster than the wall clock")  # fmt: skip
    host.add_argument("--pcap", metavar="FILE", help="record what goes over the networks, for Wireshark")
    host.add_argument("--debugcon", metavar="FILE", help="what firmware writes to port 402h; '-' is standard error")
    host.add_argument("--stats", metavar="FILE", help="write counters as JSON; '-' is standard error")
    host.add_argument("--trace", metavar="FILE", help="write every instruction executed; '-' is standard error;"
                      " exits[:FILE]: every exit from a guest of a hypervisor")  # fmt: skip
    host.add_argument("--explain", metavar="FILE", help="write what guests of hypervisors did, for `x86emu explain`")
    end = boot.add_argument_group("when to end")
    end.add_argument("--expect", metavar="TEXT", help="end, with 0, as soon as a console shows TEXT")
    end.add_argument("--timeout", metavar="SECONDS", type=seconds, help="end after that much host time")
    end.add_argument("--max-instructions", metavar="N", type=count, help="end after N instructions of all processors")
    end.add_argument("--no-reboot", action="store_true", help="end when the guest resets the machine")
    end.add_argument("--quiet", "-q", action="store_true", help="do not say on standard error how the run ended")


def build_machine(options: argparse.Namespace) -> Machine:
    from pathlib import Path

    from x86emu.firmware.bios import default_bios
    from x86emu.machine import Machine, MachineConfig
    from x86emu.machine.config import DEFAULT_CPU, EPOCH, parse_date, parse_memory
    from x86emu.machine.disk_option import parse_cdrom, parse_disk, parse_floppy
    from x86emu.machine.network_option import parse_networks
    from x86emu.machine.share_option import parse_share

    def path(text: str | None) -> Path | None:
        return Path(text) if text is not None else None

    return Machine(
        config=MachineConfig(
            bios=path(options.bios) or default_bios(),
            memory=parse_memory(options.memory),
            cpus=options.smp,
            cpu=options.cpu or DEFAULT_CPU,
            disks=tuple(parse_disk(text) for text in options.disk),
            cdrom=parse_cdrom(options.cdrom) if options.cdrom is not None else None,
            floppies=tuple(parse_floppy(text) for text in options.floppy),
            kernel=path(options.kernel),
            initrd=path(options.initrd),
            append=options.append,
            modules=tuple(options.module),
            boot=options.boot,
            networks=parse_networks(options.net, path(options.pcap)),
            pcap=path(options.pcap),
            snapshot=options.snapshot,
            virtio_rng=options.rng,
            virtio_consoles=tuple(_port_name(text)[1] for text in options.virtio_console),
            balloon=options.balloon,
            shares=tuple(parse_share(text) for text in options.share),
            serial_ports=max(len(options.serial), 1),
            printer=options.parallel is not None,
            date=parse_date(options.rtc) if options.rtc is not None else EPOCH,
            vga_rom=path(options.vga_rom),
            option_roms=tuple(Path(text) for text in options.option_rom),
            debug_exit_port=options.debug_exit,
            devices=tuple(dict.fromkeys(options.device)),
        )
    )


def _port_name(text: str) -> tuple[str, str | None]:
    """Where a virtio console's port leads, and its name if it has one."""
    where, given, name = text.partition(",name=")
    if given and not name:
        raise UserInputError(f"--virtio-console {text}: the port's name is empty; pty,name=org.example.agent would do")
    return where, name or None


def _first_serial(options: argparse.Namespace) -> str:
    """Where COM1 leads: to this terminal, unless the monitor has it."""
    if options.serial:
        return str(options.serial[0])
    return "none" if options.monitor == "stdio" else "stdio"


def _open_monitor(machine: Machine, options: argparse.Namespace, terminal: SerialBackend | TextDisplay) -> None:
    """The monitor where --monitor says, and behind Ctrl-A c of the terminal."""
    from x86emu.display_backends import TextDisplay
    from x86emu.monitor import MonitorSession
    from x86emu.monitor.session import open_monitor
    from x86emu.serial_backends import StdioBackend

    if options.monitor == "stdio" and isinstance(terminal, TextDisplay):
        raise UserInputError("--monitor stdio: the terminal has the screen; Ctrl-A c comes to the monitor there")
    if options.monitor is not None:
        machine.services.append(open_monitor(machine, options.monitor))
    if isinstance(terminal, StdioBackend):
        terminal.monitor = MonitorSession(machine, terminal.write, editing=True)
    elif isinstance(terminal, TextDisplay):
        line = terminal.add_line("monitor", lambda data: None)
        session = MonitorSession(machine, line.write, editing=True)
        line.receive = session.receive
        session.start()


def _attach_back_ends(machine: Machine, options: argparse.Namespace) -> None:
    """Connects all consoles but COM1 with what the options name."""
    from x86emu.machine.host_services import BackEndService
    from x86emu.serial_backends import open_backends

    serial = [text for text in options.serial[1:]]
    terminals = [_port_name(text)[0] for text in options.virtio_console]
    if [_first_serial(options), *serial, *terminals, options.monitor].count("stdio") > 1:
        raise UserInputError(
            "--serial, --virtio-console, --monitor: only one of them can be stdio; pty or tcp:HOST:PORT would do"
        )
    for texts, option, consoles in (
        (serial, "--serial", machine.serial_ports[1:]),
        (terminals, "--virtio-console", machine.virtio_consoles),
    ):
        for console, backend in zip(consoles, open_backends(texts, option), strict=True):
            machine.services.append(BackEndService(console, backend))


class _Output:
    """A text file for --stats, --trace or --debugcon, '-' being standard error."""

    def __init__(self, option: str, name: str) -> None:
        if name == "-":
            self.write_bytes = self._to_stderr
            return
        try:
            self._file = open(name, "wb", buffering=1 << 16)  # noqa: SIM115 - closed at the end of the run
        except OSError as error:
            raise UserInputError(
                f"{option} {name}: cannot be written ({error.strerror}); give a file in a directory that can be"
            ) from None
        self.write_bytes = self._to_file

    def _to_stderr(self, data: bytes) -> None:
        sys.stderr.buffer.write(data)
        sys.stderr.buffer.flush()

    def _to_file(self, data: bytes) -> None:
        self._file.write(data)

    def close(self) -> None:
        if self.write_bytes == self._to_file:
            self._file.close()


def _list_cpus() -> int:
    from x86emu.machine.processors import describe_models

    print(describe_models(), end="")
    return ExitCode.OK


def _exit_code(options: argparse.Namespace, result: RunResult) -> int:
    from x86emu.machine import StopReason

    if result.reason is StopReason.POWER_OFF:
        return ExitCode.OK if options.expect is None else ExitCode.EXPECTATION_NOT_MET
    if result.reason is StopReason.DEBUG_EXIT:
        return result.status & 0xFF
    return {
        StopReason.EXPECTATION_MET: ExitCode.OK,
        StopReason.TIME_OUT: ExitCode.TIME_OUT,
        StopReason.TRIPLE_FAULT: ExitCode.TRIPLE_FAULT,
        StopReason.INSTRUCTION_LIMIT: ExitCode.INSTRUCTION_LIMIT,
        StopReason.GUEST_RESET: ExitCode.GUEST_RESET,
        StopReason.QUIT: ExitCode.QUIT,
        StopReason.HALTED: ExitCode.HALTED,
    }[result.reason]


def run(options: argparse.Namespace) -> int:
    """`x86emu boot`: builds the machine, runs it, returns the exit code."""
    if options.cpu == "help":
        return _list_cpus()

    import json
    import signal
    import threading
    from pathlib import Path

    from x86emu.display_backends import SharedSerial, TextDisplay, open_web, web_port
    from x86emu.machine.key_script import KeyScript
    from x86emu.serial_backends import open_backend

    outputs: list[_Output] = []

    def output(option: str, name: str | None) -> _Output | None:
        if name is None:
            return None
        outputs.append(_Output(option, name))
        return outputs[-1]

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)  # so that the terminal is put back on the way out

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, leave)

    backend: SerialBackend | None = None
    machine: Machine | None = None
    try:
        machine = build_machine(options)
        for image in machine.images:
            for note in image.notes:
                print(f"x86emu: {note}", file=sys.stderr)
        if options.send_keys:
            KeyScript(machine, " ".join(options.send_keys))
        screenshot = output("--screenshot", options.screenshot)
        debug_output = output("--debugcon", options.debugcon)
        stats_output = output("--stats", options.stats)
        trace_exits = options.trace is not None and options.trace.partition(":")[0] == "exits"
        trace_output = output("--trace", options.trace.partition(":")[2] or "-" if trace_exits else options.trace)
        explain_output = output("--explain", options.explain)
        if explain_output is not None:
            machine.record_exits()
        if debug_output is not None:
            machine.debug_console.listeners.append(debug_output.write_bytes)
        if trace_output is not None:
            start_trace = machine.trace_exits if trace_exits else machine.trace
            start_trace(lambda line: trace_output.write_bytes(line.encode() + b"\n"))
        if options.speaker is not None:
            machine.speaker.record(Path(options.speaker))
        if options.parallel is not None:
            kind, _, name = options.parallel.partition(":")
            if kind != "file" or not name:
                raise UserInputError(f"--parallel {options.parallel}: is no printer; file:NAME would do")
            printer_output = output("--parallel", name)
            assert printer_output is not None
            machine.printer.listeners.append(printer_output.write_bytes)
        if options.display.startswith("web"):
            machine.services.append(open_web(machine, web_port(options.display)))
        shared = options.display == "text" and TextDisplay.possible()
        if shared:
            terminal = TextDisplay(machine)
            machine.services.append(terminal)
        if shared and _first_serial(options) == "stdio":
            backend = SharedSerial(terminal)
        else:
            backend = open_backend(_first_serial(options))
        _attach_back_ends(machine, options)
        _open_monitor(machine, options, terminal if shared else backend)
        machine.serial.attach(backend)
        try:
            result = machine.run(
                options.max_instructions,
                until=options.expect,
                timeout=options.timeout,
                host_clock=options.clock == "host",
                reboot=not options.no_reboot,
            )
        finally:
            backend.close()
            if shared:
                terminal.close()
        if options.display == "text" and not shared:
            sys.stdout.write("\n".join(machine.screen.lines()).rstrip() + "\n")
        if screenshot is not None:
            screenshot.write_bytes(machine.screenshot().png())
        if stats_output is not None:
            stats_output.write_bytes(json.dumps(machine.stats(), indent=1).encode() + b"\n")
        if explain_output is not None:
            explanation = machine.explanation() | {"ended": result.sentence}
            explain_output.write_bytes(json.dumps(explanation).encode() + b"\n")
        if not options.quiet:
            print(f"x86emu: {result.sentence}", file=sys.stderr)
        return _exit_code(options, result)
    finally:
        if backend is not None:
            backend.close()
        for opened in outputs:
            opened.close()
        if machine is not None:
            machine.close()
