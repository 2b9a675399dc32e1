"""The sleeping state S3, "suspend to RAM" (ACPI Specification 6.4, chapters 7.4.2.4 and 16.1; 82371AB data sheet 8.3).

Entering it, everything loses power but RAM, the real-time clock and the power management function's wake-up logic.
Departure: of the chip set some registers stay that SeaBIOS does not program again and that systems leave to firmware:
the host bridge's memory attributes (the code that resumes lies in shadow RAM) and the IDE timing registers with their
enable bits.  A wake-up
event - the RTC's alarm, the power button, a key - starts the processors at the reset vector, with the shutdown code
FEh in CMOS by which the firmware knows that it shall go to the waking vector in the FACS.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from x86emu.devices.i440fx import PAM
from x86emu.devices.piix_ide import IDETIM
from x86emu.machine.run import POLL_NANOSECONDS, StopReason, look_at_host, wait_for_input

if TYPE_CHECKING:
    from x86emu.machine.board import Board
    from x86emu.machine.pc import Machine

SUSPEND_TO_RAM = 1  # the 82371AB's suspend types (7.2.2); 0 is soft off, 2 is "suspend to disk"
SHUTDOWN_CODE, RESUME = 0x0F, 0xFE
# Function, register, bytes.
KEPT = (((0, 0), PAM, 7), ((1, 1), IDETIM[0], 4))


def asked(board: Board, suspend_type: int) -> None:
    """The guest has written SUS_EN: type 1 is S3, the others are as good as power off."""
    if suspend_type == SUSPEND_TO_RAM:
        board.suspend_requested = True
        board.wiring.request_stop()
    else:
        board.power_off()


def enter(board: Board) -> None:
    """Takes the power from all that has none in S3."""
    board.suspend_requested, board.suspended = False, True
    functions = board.pci.functions
    kept = [(functions[place], at, functions[place].config[at : at + length]) for place, at, length in KEPT]
    wake_up_logic = board.power.suspend_well
    for device in board.devices.values():
        if device is not board.rtc:
            device.reset()
    for function, at, data in kept:
        for index, value in enumerate(data):
            function.config_write(at + index, 1, value)
    board.power.suspend_well = wake_up_logic
    board.reset_processors()


def wake(board: Board, status: int = 0) -> None:
    """Starts the processors again; `status` are bits of PMSTS that say why."""
    if board.suspended:
        board.suspended = False
        board.rtc[SHUTDOWN_CODE] = RESUME
        board.power.woken(status)


def stay(machine: Machine, *, real_time: bool, ends: float | None) -> None:
    """Lets virtual time go on until something wakes the machine; without hope of that, ends the run."""
    keys = len(machine.keyboard.inputs)
    while machine.suspended and machine.stop_reason is None:
        machine.clock.advance(POLL_NANOSECONDS)
        if machine.power.wakes:
            wake(machine)
            return
        look_at_host(machine)
        if len(machine.keyboard.inputs) > keys:
            wake(machine)
            return
        interactive = machine.serial.interactive
        if not (machine.services or interactive or machine.rtc.alarm_set and machine.power.alarm_wakes):
            machine.stop(StopReason.HALTED, "suspended, and nothing is there to wake the machine")
        elif real_time or interactive or not machine.rtc.alarm_set:
            wait_for_input(machine, POLL_NANOSECONDS / 1e9)
        if ends is not None and time.monotonic() >= ends:
            machine.stop(StopReason.TIME_OUT)
