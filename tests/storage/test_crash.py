"""Nothing that was flushed is lost: by a killed process, and by a power cut that drops any unsynced write."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.storage import crash_points
from x86emu.storage import create_image
from x86emu.storage.host_file import HostFile
from x86emu.storage.qcow2 import Qcow2Image
from x86emu.storage.qcow2_check import check

ROOT = Path(__file__).resolve().parents[2]


def kill(format: str, points: int, directory: Path, seed: int) -> None:
    script = str(ROOT / "tests/storage/crash_points.py")
    done = subprocess.run(
        [sys.executable, script, format, str(points), str(seed), str(directory)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    last = done.stdout.splitlines()[-1]
    assert re.fullmatch(rf"{points} points, \d+ acknowledged", last) and done.stdout.count("\n") == 1, done.stdout


@pytest.mark.parametrize("format", ["raw", "qcow2", "qcow2-lazy"])
def test_killed_writer_loses_no_flush(format: str, tmp_path: Path) -> None:
    kill(format, 15, tmp_path, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["raw", "qcow2", "qcow2-lazy"])
def test_killed_at_a_thousand_points(format: str, tmp_path: Path) -> None:
    kill(format, 1000, tmp_path, seed=2)


class RecordingFile(HostFile):
    """Keeps what was written between syncs."""

    def __init__(self, path: Path) -> None:
        self.log: list[tuple[int, bytes] | None] = []  # None is a sync
        super().__init__(path, read_only=False, lock=False)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self.log.append((offset, bytes(data)))
        super().write(offset, data)

    def sync(self) -> None:
        self.log.append(None)

    def punch(self, offset: int, length: int) -> bool:
        self.log.append((offset, bytes(length)))
        return super().punch(offset, length)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("cluster_size", [512, 4096])
def test_power_cut_at_any_write(cluster_size: int, lazy: bool, tmp_path: Path) -> None:
    path, cut = tmp_path / "a.qcow2", tmp_path / "cut.qcow2"
    create_image(path, crash_points.SIZE, cluster_size=cluster_size, lazy_refcounts=lazy)
    initial = path.read_bytes()
    file = RecordingFile(path)
    image = Qcow2Image(file)
    dice = random.Random(7)
    acknowledged: list[tuple[int, int]] = []  # length of the log, operation
    for number in range(1, 60):
        kind, first, count = crash_points.operation(dice)
        if kind == "write":
            image.write(first, crash_points.content(number, first, count))
        elif kind == "zero":
            image.write_zeroes(first, count, unmap=bool(number & 1))
        elif kind == "discard":
            image.discard(first, count)
        else:
            image.flush()
            acknowledged.append((len(file.log), number))
    assert len(acknowledged) > 8 and len(file.log) > 100
    for _ in range(25):
        end = dice.randrange(len(file.log))
        synced = max((at for at in range(end) if file.log[at] is None), default=0)
        state = bytearray(initial)
        for at, entry in enumerate(file.log[:end]):
            if entry is None or at > synced and dice.random() < 0.5:
                continue
            offset, data = entry
            state.extend(bytes(max(0, offset + len(data) - len(state))))
            state[offset : offset + len(data)] = data
        cut.write_bytes(state)
        flushed = max((number for length, number in acknowledged if length <= end), default=0)
        assert crash_points.losses(cut, 7, flushed) == []
        reopened = Qcow2Image(HostFile(cut, read_only=True))
        assert check(reopened).corruptions == []
        reopened.close()
    image.close()
