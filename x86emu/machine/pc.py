"""A whole PC as an object: a board (board.py), and what somebody does with it: run it, stop it, look at it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from x86emu.firmware import bios as bios_images
from x86emu.machine import reports
from x86emu.machine import run as running
from x86emu.machine.board import Board
from x86emu.machine.config import DEFAULT_CPU, MachineConfig, parse_memory
from x86emu.machine.disk_option import CdromOption, DiskOption, parse_cdrom, parse_disk, parse_floppy
from x86emu.machine.network_option import NetworkOption, parse_networks
from x86emu.machine.run import RunResult, StopReason

if TYPE_CHECKING:
    from x86emu.core.processor import Processor
    from x86emu.display import Picture
    from x86emu.virt.collect import Recorder

ACTIVITY_HALT, ACTIVITY_WAIT_FOR_SIPI = 1, 3
RFLAGS_IF = 0x200


class Machine(Board):
    """A whole PC as an object: build it, run it, look at it.

    >>> machine = Machine(kernel="vmlinuz", append="console=ttyS0")
    >>> machine.run(until="login:")
    >>> machine.cpus[0].rip, machine.memory[0x7C00:0x7E00], machine.serial.text

    ``memory`` is bytes or text ("512M"); ``disk`` one path or several, a text being what --disk takes, and so with
    ``network`` and --net; ``bios`` defaults to Debian's SeaBIOS.  Or give a whole `MachineConfig` as ``config``.
    UserInputError says which file or value cannot be used.  `close()` gives the disk images
    back, as `with Machine(...) as machine:` does.

    Attributes: `cpus` (registers), `memory` (guest-physical, sliced), `serial` (COM1; `serial_ports` has all),
    `virtio_consoles`, `printer`, `debug_console` and `screen` (consoles), `keyboard`, `mouse`, `speaker`, `balloon`,
    `clock` (virtual nanoseconds), `ports` and `mmio` (address spaces), `devices` (by name).
    """

    def __init__(
        self,
        bios: str | Path | None = None,
        *,
        memory: str | int = "256M",
        cpus: int = 1,
        cpu: str = DEFAULT_CPU,
        disk: str | Path | Sequence[str | Path | DiskOption] = (),
        cdrom: str | Path | CdromOption | None = None,
        floppy: str | Path | Sequence[str | Path | DiskOption | None] = (),
        kernel: str | Path | None = None,
        initrd: str | Path | None = None,
        append: str = "",
        modules: Sequence[str] = (),
        boot: str = "cd",
        network: str | NetworkOption | Sequence[str | NetworkOption] = (),
        snapshot: bool = False,
        debug_exit_port: int | None = None,
        config: MachineConfig | None = None,
    ) -> None:
        if config is None:
            given = [disk] if isinstance(disk, str | Path) else list(disk)
            in_drives = [floppy] if isinstance(floppy, str | Path) else list(floppy)
            config = MachineConfig(
                bios=Path(bios) if bios is not None else bios_images.default_bios(),
                memory=parse_memory(memory),
                cpus=cpus,
                cpu=cpu,
                disks=tuple(parse_disk(entry) if isinstance(entry, str) else entry for entry in given),
                cdrom=parse_cdrom(cdrom) if isinstance(cdrom, str) else cdrom,
                floppies=tuple(parse_floppy(entry) if isinstance(entry, str) else entry for entry in in_drives),
                kernel=Path(kernel) if kernel is not None else None,
                initrd=Path(initrd) if initrd is not None else None,
                append=append,
                modules=tuple(modules),
                boot=boot,
                networks=parse_networks(network),
                snapshot=snapshot,
                debug_exit_port=debug_exit_port,
            )
        super().__init__(config)
        self.paused = False
        self._exit_listener: Callable[[str], object] | None = None
        self._recorder: Recorder | None = None
        self.seconds = self.cpu_seconds = 0.0

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- media

    def change_cdrom(self, disc: str | Path, *, force: bool = False) -> None:
        """Puts another disc in, a text being what `--cdrom` takes; UserInputError says why it cannot be."""
        text = disc if isinstance(disc, str) else str(disc).replace(",", ",,")
        self.removable.change("cd0", text, force=force)

    def eject(self, drive: str = "cd0", *, force: bool = False) -> None:
        """Presses a drive's button: `cd0`, `fd0` or `fd1`; UserInputError where the guest has locked it."""
        self.removable.eject(drive, force=force)

    # --- running

    def pause(self) -> None:
        """No further instruction runs until `resume`; the host's side (monitor, display) goes on."""
        self.paused = True
        self.poll_soon()

    def resume(self) -> None:
        """Ends a `pause`."""
        self.paused = False

    def run_slice(self, max_instructions: int | None) -> None:
        """Lets the engine run until something asks it to stop; raises what a device's handler raised."""
        why = self.engine.run(max_instructions)
        if why == "triple fault":
            self.stop(StopReason.TRIPLE_FAULT, reports.triple_fault(self))
        elif why == "halted":
            self.stop(StopReason.HALTED)

    def halted_for_good(self) -> bool:
        """Whether no processor runs and none can be woken: halted with interrupts masked, or waiting for a start-up.

        A halted guest may be left by an interrupt whatever its own flag says.
        """
        return not self.engine.awake() and all(
            cpu.activity == ACTIVITY_WAIT_FOR_SIPI or cpu.activity == ACTIVITY_HALT and not cpu.rflags & RFLAGS_IF
            and not cpu.guest_mode
            for cpu in self.engine.cpus
        )

    def run(
        self,
        max_instructions: int | None = None,
        *,
        until: str | None = None,
        timeout: float | None = None,
        host_clock: bool = False,
        reboot: bool = True,
    ) -> RunResult:
        """Runs until the guest ends the run or one of the conditions is met, and says which.

        ``max_instructions`` of all processors together; ``until`` a text on serial port, debug console or screen;
        ``timeout`` in host seconds; ``host_clock`` keeps virtual time from running ahead of the wall clock; without
        ``reboot``, a reset by the guest ends the run.
        """
        if self._poll_event is None:
            self.schedule_poll()
        return running.run(self, max_instructions, until=until, timeout=timeout, host_clock=host_clock, reboot=reboot)

    def step(self, count: int = 1) -> RunResult:
        """Runs ``count`` instructions, of all processors together."""
        return self.run(count)

    # --- looking

    @property
    def cpus(self) -> Sequence[Processor]:
        """The processors: `cpus[0].rax`, `.cs.base`, `.instructions` ..."""
        return self.engine.cpus

    @property
    def instructions(self) -> int:
        """Instructions retired by all processors since power-on."""
        return self.engine.instructions

    def screenshot(self, path: str | Path | None = None, *, frame: int | None = None) -> Picture:
        """The screen as a picture, also written as a PNG file where `path` is given.

        Cursor and characters blink with `frame`, the number of pictures since power-on; 0 shows both.  UserInputError
        where the file cannot be written.
        """
        picture = self.screen.picture(frame)
        if path is not None:
            picture.save(path)
        return picture

    def trace(self, listener: Callable[[str], object] | None) -> None:
        """Has every instruction from now on told to ``listener`` as a line of text, before it executes; None ends it.

        A line has the processor's number, CS:RIP, the linear address, the general registers and RFLAGS.
        """
        self.engine.set_hook(None if listener is None else reports.trace_hook(listener))

    def stats(self) -> dict[str, Any]:
        """Counters of the run so far: instructions, host seconds, accesses by device, the engine's own."""
        return reports.statistics(self)

    def trace_exits(self, listener: Callable[[str], object] | None) -> None:
        """Has every exit from a guest of a hypervisor from now on told to ``listener`` as a line; None ends it."""
        self._exit_listener = listener
        self._set_exit_hook()

    def record_exits(self) -> None:
        """From now on exits are explained as they happen, so that explain() shows page walks as they were, and the last
        exception of each processor."""
        from x86emu.virt.collect import Recorder

        self._recorder = Recorder(self.memory)
        self._set_exit_hook()

    def _set_exit_hook(self) -> None:
        listener, recorder = self._exit_listener, self._recorder
        if listener is None and recorder is None:
            self.engine.set_exit_hook(None)
            return
        from x86emu.virt.collect import last_exit
        from x86emu.virt.explain import exit_line

        def hook(cpu: Processor) -> None:
            if listener is not None:
                listener(f"{cpu.index} {exit_line(last_exit(cpu))}")
            if recorder is not None:
                recorder(cpu)

        self.engine.set_exit_hook(hook)

    def explain(self, count: int = 8, blocks: bool = False) -> str:
        """What guests of hypervisors did last: each processor's last exits with instructions, addresses and page
        walks; why an entry was refused; a triple fault's faults; blocks: VMCBs and VMCSs as tables, too."""
        from x86emu.virt.explain import explain

        return "\n".join(explain(cpu, self.memory, count, blocks, self._recorder) for cpu in self.engine.cpus)

    def explanation(self) -> dict[str, Any]:
        """The same as data for JSON: what `x86emu explain` reads."""
        from x86emu.virt.collect import collect

        found = [collect(cpu, self.memory, recorder=self._recorder) for cpu in self.engine.cpus]
        return {"format": "x86emu explanation 1", "processors": found}

    def state_hash(self) -> str:
        """SHA-256, in hexadecimal, over RAM and all saved registers of all processors."""
        import hashlib

        digest = hashlib.sha256(self.memory.ram.data)
        for cpu in self.engine.cpus:
            digest.update(cpu.saved_state())
        return digest.hexdigest()
