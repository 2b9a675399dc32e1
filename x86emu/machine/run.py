"""How a run goes and how it ends: slices of virtual time between looks at the host.

The engine runs until something asks it to stop.  Every `POLL_NANOSECONDS` of virtual time a clock event does so, and
the host's side gets a look: input, quit, time-out, pacing.  Those looks change nothing in the guest, so a run without
input is the same however often they happen.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from x86emu.machine.consoles import TextWatch
from x86emu.machine.host_services import wait_for_host

if TYPE_CHECKING:
    from x86emu.machine.pc import Machine

POLL_NANOSECONDS = 10_000_000
SOON_NANOSECONDS = 100_000  # a service that has given the host something to do is asked again after that
LAG_FORGIVEN_SECONDS = 0.1  # --clock host does not catch up with more than this
PAUSE_SECONDS = 0.05  # between two looks at the host while the machine is paused
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
    """Sleeps, but not longer than until the host has something for the machine."""
    descriptors = [descriptor for service in machine.services for descriptor in service.descriptors()]
    if machine.serial.backend is not None:
        descriptors += machine.serial.backend.descriptors()
    wait_for_host(descriptors, seconds)


def look_at_host(machine: Machine) -> None:
    """Takes in what the serial port's back end and the services have."""
    if machine.serial.poll():
        machine.stop(StopReason.QUIT)
    for service in machine.services:
        if service.poll():
            machine.stop(StopReason.QUIT)


def stay_paused(machine: Machine, ends: float | None) -> None:
    """Lets no instruction run while the machine is paused; the host's side goes on."""
    while machine.paused and machine.stop_reason is None:
        wait_for_input(machine, PAUSE_SECONDS)
        look_at_host(machine)
        if ends is not None and time.monotonic() >= ends:
            machine.stop(StopReason.TIME_OUT)


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
    from x86emu.machine import sleep

    started, started_cpu = time.monotonic(), time.process_time()
    first = machine.instructions
    limit = None if max_instructions is None else first + max_instructions
    ends = None if timeout is None else started + timeout
    pace = Pace(machine.clock.now()) if host_clock else None
    interactive = machine.serial.interactive
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
            if machine.suspend_requested:
                sleep.enter(machine)
            if machine.suspended:
                sleep.stay(machine, real_time=host_clock, ends=ends)
                pace = Pace(machine.clock.now()) if host_clock else None
                continue
            if not machine.poll_due:
                continue
            machine.poll_due = False
            machine.schedule_poll()
            look_at_host(machine)
            if machine.paused:
                stay_paused(machine, ends)
                pace = Pace(machine.clock.now()) if host_clock else None
            if watch is not None:
                watch.look_at(machine.screen.text.encode())
            if machine.halted_for_good():
                machine.stop(StopReason.HALTED)
            if ends is not None and time.monotonic() >= ends:
                machine.stop(StopReason.TIME_OUT)
            now, instructions = machine.clock.now(), machine.instructions
            if pace is not None:
                lead = pace.lead(now)
                if lead:
                    wait_for_input(machine, lead)
            elif (interactive or any(service.waiting for service in machine.services)) and (
                instructions - last_poll_instructions
            ) * IDLE_SHARE < now - last_poll_time:
                # An idle guest at a prompt or with a request under way: virtual time may wait for the host.
                wait_for_input(machine, (now - last_poll_time) / 1e9)
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
