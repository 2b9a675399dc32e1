"""How a run goes and how it ends: slices of virtual time between looks at the host.

The engine runs until something asks it to stop.  Every `POLL_NANOSECONDS` of virtual time a clock event does so, and
the host's side gets a look: input, quit, time-out, pacing.  Those looks change nothing in the guest, so a run without
input is the same however often they happen.
"""

from __future__ import annotations

import select
import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from x86emu.machine.consoles import TextWatch

if TYPE_CHECKING:
    from x86emu.machine.pc import Machine

POLL_NANOSECONDS = 10_000_000
LAG_FORGIVEN_SECONDS = 0.1  # --clock host does not catch up with more than this
IDLE_SHARE = 20  # a poll interval with less than a twentieth of its instructions is an idle one


class StopReason(Enum):
    """Why a run ended; the value is the sentence."""

    POWER_OFF = "the guest powered off"
    EXPECTATION_MET = "the expected text was seen"
    TIME_OUT = "the time is over"
    TRIPLE_FAULT = "triple fault"
    INSTRUCTION_LIMIT = "the instruction limit is reached"
    GUEST_RESET = "the guest reset the machine"
    DEBUG_EXIT = "the guest ended the run by its debug-exit port"
    QUIT = "quit"
    HALTED = "every processor halted with interrupts off"


@dataclass(frozen=True)
class RunResult:
    """How a run ended: `status` is what a guest gave to the debug-exit port; seconds are of host time."""

    reason: StopReason
    instructions: int
    seconds: float
    cpu_seconds: float
    status: int = 0
    detail: str = ""

    @property
    def sentence(self) -> str:
        """One line for a person."""
        mips = self.instructions / self.cpu_seconds / 1e6 if self.cpu_seconds else 0.0
        detail = f" ({self.detail})" if self.detail else ""
        return (
            f"{self.reason.value}{detail} after {self.instructions:,} instructions in {self.seconds:.1f} s"
            f" ({mips:.0f} MIPS)"
        )


class Pace:
    """Keeps virtual time from running ahead of the wall clock."""

    def __init__(self, virtual_now: int) -> None:
        self.origin = time.monotonic() - virtual_now / 1e9

    def lead(self, virtual_now: int) -> float:
        """Seconds by which virtual time is ahead (0 if it is not); forgives a long lag."""
        lead = virtual_now / 1e9 - (time.monotonic() - self.origin)
        if lead < -LAG_FORGIVEN_SECONDS:
            self.origin -= lead
        return max(lead, 0.0)


def wait_for_input(machine: Machine, seconds: float) -> None:
    """Sleeps, but not longer than until input comes at the serial port's back end."""
    descriptor = getattr(machine.serial.backend, "input_fd", None)
    if descriptor is None or getattr(machine.serial.backend, "at_end", False):
        time.sleep(seconds)
    else:
        select.select([descriptor], [], [], seconds)


def run(
    machine: Machine,
    max_instructions: int | None,
    *,
    until: str | None,
    timeout: float | None,
    host_clock: bool,
    reboot: bool,
) -> RunResult:
    """Runs `machine` until one of the reasons; see Machine.run."""
    started, started_cpu = time.monotonic(), time.process_time()
    first = machine.instructions
    limit = None if max_instructions is None else first + max_instructions
    pace = Pace(machine.clock.now()) if host_clock else None
    interactive = bool(getattr(machine.serial.backend, "interactive", False))
    watch: TextWatch | None = None
    attached = []

    def expectation_met() -> None:
        machine.stop(StopReason.EXPECTATION_MET)

    if until is not None:
        watch = TextWatch(until, expectation_met)
        for console in (machine.serial, machine.debug_console):
            listener = watch.stream()
            console.listeners.append(listener)
            attached.append((console, listener))

    last_poll_instructions, last_poll_time = machine.instructions, machine.clock.now()
    try:
        machine.stop_reason = None
        while machine.stop_reason is None:
            machine.run_slice(None if limit is None else limit - machine.instructions)
            if machine.stop_reason is not None:
                break
            if limit is not None and machine.instructions >= limit:
                machine.stop(StopReason.INSTRUCTION_LIMIT)
                break
            if machine.reset_requested:
                machine.reset_requested = False
                if not reboot:
                    machine.stop(StopReason.GUEST_RESET)
                    break
                machine.reset()
                continue
            if not machine.poll_due:
                continue
            machine.poll_due = False
            machine.schedule_poll()
            if machine.serial.poll():
                machine.stop(StopReason.QUIT)
            elif watch is not None:
                watch.look_at(machine.screen.text.encode())
            if machine.halted_for_good():
                machine.stop(StopReason.HALTED)
            if timeout is not None and time.monotonic() - started >= timeout:
                machine.stop(StopReason.TIME_OUT)
            now, instructions = machine.clock.now(), machine.instructions
            if pace is not None:
                lead = pace.lead(now)
                if lead:
                    wait_for_input(machine, lead)
            elif interactive and (instructions - last_poll_instructions) * IDLE_SHARE < now - last_poll_time:
                # An idle guest at a prompt: virtual time may wait for the person, who would else pay with a busy host.
                wait_for_input(machine, POLL_NANOSECONDS / 1e9)
            last_poll_instructions, last_poll_time = instructions, now
    except KeyboardInterrupt:
        machine.stop(StopReason.QUIT)
    finally:
        for console, listener in attached:
            console.listeners.remove(listener)
    assert machine.stop_reason is not None
    result = RunResult(
        machine.stop_reason,
        machine.instructions - first,
        time.monotonic() - started,
        time.process_time() - started_cpu,
        machine.exit_status,
        machine.stop_detail,
    )
    machine.seconds += result.seconds
    machine.cpu_seconds += result.cpu_seconds
    return result
