"""What the PC speaker gives: a tone by counter 2 of the 8254, or the level of bit 1 of port 61h, by virtual time.

82371SB data sheet, NMI status and control register.  A guest that plays samples moves bit 1, or the counter's output,
many thousand times a second; all of that is in the sound file.
"""

from __future__ import annotations

import wave
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from x86emu.devices.i8254 import GATE2, SPEAKER_DATA
from x86emu.errors import UserInputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from x86emu.bus.clock import Clock
    from x86emu.devices.i8254 import I8254

SAMPLE_RATE = 22_050
AMPLITUDE = 0.5
KEPT_CHANGES = 4096
SECOND_NS = 1_000_000_000
CHUNK_SECONDS = 10

# When (nanoseconds), the tone in hertz (0.0 is none), the level without one (0 or 1).
Change = tuple[int, float, int]


class Speaker:
    """`frequency` is the present tone in hertz or None; `changes` the last `KEPT_CHANGES` changes, by virtual time.

    `record(path)` writes a sound file from then on; `close()` ends it.
    """

    def __init__(self, timer: I8254, clock: Clock) -> None:
        self.timer = timer
        self.clock = clock
        self.changes: deque[Change] = deque([(clock.now(), 0.0, 0)], maxlen=KEPT_CHANGES)
        self._file: wave.Wave_write | None = None
        self._segment: Change = self.changes[0]
        timer.speaker_changed = self._look

    @property
    def frequency(self) -> float | None:
        """The tone in hertz, or None when there is none."""
        return self.timer.speaker_frequency

    @property
    def on(self) -> bool:
        """Whether a tone is to be heard."""
        return self.frequency is not None

    def _look(self) -> None:
        timer = self.timer
        tone, level = 0.0, 0
        if timer.port61 & SPEAKER_DATA:
            frequency = timer.speaker_frequency if timer.port61 & GATE2 else None
            if frequency is None:
                level = int(timer.counters[2].output(timer._tick()))
            else:
                tone = frequency
        if (tone, level) != self.changes[-1][1:]:
            change = (self.clock.now(), tone, level)
            self.changes.append(change)
            if self._file is not None:
                self._render(change[0])
                self._segment = change

    # --- the sound file

    def record(self, path: Path) -> None:
        """Begins a WAV file (one channel, 16 bits).  UserInputError where it cannot be written."""
        try:
            self._stream = path.open("wb")
        except OSError as error:
            raise UserInputError(
                f"--speaker {path}: cannot be written ({error.strerror}); give a file in a directory that can be"
            ) from None
        self._file = wave.open(self._stream, "wb")
        self._file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", "not compressed"))
        self._begin = self.clock.now()
        self._segment = (self._begin, *self.changes[-1][1:])
        self._out = 0.0  # of the sample that has begun
        self._rendered = 0.0  # seconds of sound that are complete

    def close(self) -> None:
        """Ends the sound file with what there was until now; may be called twice."""
        if self._file is not None:
            self._render(self.clock.now())
            self._file.close()
            self._stream.close()
            self._file = None

    def _render(self, until: int) -> None:
        """Sound up to a point of virtual time: each sample is the share of it for which the speaker was out."""
        import numpy as np

        end = (until - self._begin) / SECOND_NS
        while self._rendered < end:
            stop = min(end, self._rendered + CHUNK_SECONDS)
            first = int(self._rendered * SAMPLE_RATE + 1e-6) + 1
            edges = np.arange(first, int(stop * SAMPLE_RATE + 1e-6) + 1) / SAMPLE_RATE
            points = np.concatenate(([self._rendered], edges, [stop]))
            shares = np.diff(self._time_out(points))
            if len(edges):
                shares[0] += self._out
                self._write(shares[:-1] * SAMPLE_RATE)
                self._out = float(shares[-1])
            else:
                self._out += float(shares.sum())
            self._rendered = stop

    def _time_out(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """For how many seconds the speaker was out from the segment's begin to each point."""
        import numpy as np

        begin, tone, level = self._segment
        elapsed = points - (begin - self._begin) / SECOND_NS
        if not tone:
            return elapsed * level
        phase = elapsed * tone
        whole = np.floor(phase)
        result: NDArray[np.float64] = (whole * 0.5 + np.minimum(phase - whole, 0.5)) / tone
        return result

    def _write(self, shares: NDArray[np.float64]) -> None:
        import numpy as np

        assert self._file is not None
        samples = np.clip(shares * AMPLITUDE * 32767, -32768, 32767).astype("<i2")
        self._file.writeframesraw(samples.tobytes())
