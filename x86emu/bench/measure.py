"""One measured run: a process, the CPU time it had used at two markers in its output, and its memory.

CPU seconds are those of all threads of the process, by its CPU-time clock, read when a marker arrives; seconds between
them therefore leave out firmware and start-up, and whatever else the host did meanwhile.
"""

from __future__ import annotations

import os
import select
import selectors
import subprocess
import time
import tty
from dataclasses import dataclass
from pathlib import Path

END_OF_LINE_SECONDS = 5  # a marker's line is complete by then, or is a prompt that has no end


@dataclass(frozen=True)
class Measurement:
    """CPU seconds between the markers, peak resident memory in KiB, all output; `problem` if it is no result."""

    seconds: float
    peak_kib: int
    output: bytes
    problem: str = ""


def cpu_seconds(process_id: int) -> float:
    """CPU time of a process so far, threads that have ended included, in seconds; 0 where it has gone.

    The clock of a process is numbered by its id (clock_getcpuclockid(3), the kernel's CPUCLOCK_SCHED).
    """
    try:
        return time.clock_gettime(~process_id << 3 | 2)
    except OSError:
        return 0.0


def peak_memory(process_id: int) -> int:
    """Peak resident memory in KiB so far."""
    try:
        for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def _drained(terminal: int) -> bool:
    """Throws away what a program wrote to its terminal; False once it has gone."""
    try:
        return bool(os.read(terminal, 65536))
    except OSError:
        return False


def _readable(source: int) -> bool:
    """Whether the rest of a line comes within reason."""
    return bool(select.select([source], [], [], END_OF_LINE_SECONDS)[0])


def run(
    command: list[str],
    *,
    start: bytes,
    end: bytes,
    timeout: float,
    typed: list[tuple[bytes, bytes]] | None = None,
    serial: Path | None = None,
) -> Measurement:
    """Runs a command until `end` has been seen behind `start` in what it prints, then ends it.

    `typed` are pairs of a text to wait for and what is then written to its standard input; `timeout` is in seconds.
    An empty `start` is the start of the process.  With `serial`, a name that is made here and leads to a terminal, the
    markers come through that and `typed` goes there; the program itself gets another terminal of its own.
    """
    terminal = line = -1
    if serial is None:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        assert process.stdout is not None and process.stdin is not None
        source, sink = os.dup(process.stdout.fileno()), process.stdin.fileno()
        process.stdout.close()
    else:
        source, line = os.openpty()  # `line` stays open here, so that it has no end before the program opens it
        tty.setraw(line)
        sink = source
        serial.unlink(missing_ok=True)
        serial.symlink_to(os.ttyname(line))
        terminal, theirs = os.openpty()
        process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env={**os.environ, "TERM": "xterm", "LINES": "25", "COLUMNS": "80"},
        )  # fmt: skip
        os.close(theirs)
    output = bytearray()
    began: float | None = None if start else 0.0
    waiting = list(typed or [])
    looked_from = peak = 0
    deadline = time.monotonic() + timeout
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(source, selectors.EVENT_READ)
            if terminal >= 0:
                selector.register(terminal, selectors.EVENT_READ)
            while True:
                left = deadline - time.monotonic()
                ready = selector.select(left) if left > 0 else []
                if not ready:
                    return Measurement(0, peak_memory(process.pid), bytes(output), f"not done in {timeout:.0f} s")
                if all(key.fd == terminal for key, _ in ready):
                    if not _drained(terminal):
                        # Its terminal is closed: it has ended, or is about to; what it wrote last is in the other.
                        selector.unregister(terminal)
                        try:
                            code = process.wait(timeout=10)
                        except subprocess.TimeoutExpired:
                            continue
                        if not selector.select(0):
                            return Measurement(0, 0, bytes(output), f"ended with {code} before its marker")
                    continue
                piece = os.read(source, 65536)
                now = cpu_seconds(process.pid)
                output += piece
                if began is None and start in output:
                    began = now
                    peak = peak_memory(process.pid)  # it may have ended by its last marker
                if began is not None and end in output[output.index(start) :]:
                    peak = max(peak, peak_memory(process.pid))
                    while b"\n" not in output[output.rindex(end) :] and _readable(source):
                        piece = os.read(source, 4096)
                        if not piece:
                            break
                        output += piece
                    return Measurement(now - began, peak, bytes(output))
                if waiting and waiting[0][0] in output[looked_from:]:
                    looked_from = len(output)
                    os.write(sink, waiting.pop(0)[1])
                if not piece:
                    return Measurement(0, 0, bytes(output), f"ended with {process.wait()} before its marker")
    finally:
        try:
            os.killpg(process.pid, 9)
        except ProcessLookupError:
            pass
        process.wait()
        os.close(source)
        for descriptor in (terminal, line):
            if descriptor >= 0:
                os.close(descriptor)
        if process.stdin is not None:
            process.stdin.close()
        if serial is not None:
            serial.unlink(missing_ok=True)
