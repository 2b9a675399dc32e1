"""Kills a writer at random points of its load, reopens the image, and looks for every flush that was acknowledged.

`python crash_points.py FORMAT POINTS SEED DIRECTORY` prints one line for each loss and "POINTS points, N acknowledged".
The writer is a forked child; after each flush it tells its parent through a pipe.  A sector says which operation wrote
it, so a reopened disk is right if each sector is from its last flushed operation or from a later one.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from x86emu.storage import create_image, open_image

SIZE = 8 << 20
SECTOR = 512


def operation(dice: random.Random) -> tuple[str, int, int]:
    """What one step of the load does: kind, first sector, sectors."""
    count = dice.choice((1, 8, 8, 8, 130, 300))
    kind = dice.choices(("write", "zero", "discard", "flush"), (10, 1, 1, 4))[0]
    return kind, dice.randrange(SIZE // SECTOR - count), count


def content(number: int, first: int, count: int) -> bytes:
    return b"".join(b"%16d%16d" % (number, sector) * 16 for sector in range(first, first + count))


def write_load(path: Path, seed: int, acknowledged: int, limit: int = 10**9) -> None:
    """The child: never returns by itself before `limit` operations."""
    image = open_image(path)
    dice = random.Random(seed)
    for number in range(1, limit):
        kind, first, count = operation(dice)
        if kind == "write":
            image.write(first, content(number, first, count))
        elif kind == "zero":
            image.write_zeroes(first, count, unmap=bool(number & 1))
        elif kind == "discard":
            image.discard(first, count)
        else:
            image.flush()
            os.write(acknowledged, b"%9d\n" % number)


def losses(path: Path, seed: int, acknowledged: int) -> list[str]:
    """Sectors that are neither as the last acknowledged flush left them nor as a later operation makes them."""
    image = open_image(path)
    dice = random.Random(seed)
    allowed: dict[int, set[int]] = {}  # sector: operations that it may be from, 0 for zeros
    for number in range(1, acknowledged + 400):
        kind, first, count = operation(dice)
        for sector in range(first, first + count) if kind != "flush" else ():
            earlier = allowed.get(sector, {0})
            here = {number} if kind == "write" else {0} if kind == "zero" else earlier | {0}
            allowed[sector] = here if number <= acknowledged else here | earlier
    found = []
    for sector, numbers in allowed.items():
        data = image.read(sector, 1)
        if data == bytes(SECTOR):
            fine = 0 in numbers
        else:
            number = int(data[:16])
            fine = number in numbers and data == content(number, sector, 1)
        if not fine:
            found.append(f"sector {sector} is {data[:32]!r}; after flush {acknowledged} it may be of {sorted(numbers)}")
    image.close()
    return found


def main(format: str, points: int, seed: int, directory: Path) -> None:
    dice = random.Random(seed)
    total = 0
    path = directory / f"crash.{format}"
    for point in range(points):
        path.unlink(missing_ok=True)
        name, _, lazy = format.partition("-")
        create_image(path, SIZE, name, cluster_size=4096, lazy_refcounts=bool(lazy))
        load_seed = dice.getrandbits(32)
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            write_load(path, load_seed, writer)
        os.close(writer)
        wanted = dice.randrange(1, 12)
        received = b""
        while received.count(b"\n") < wanted:
            received += os.read(reader, 10)
        time.sleep(dice.random() * 0.004)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while rest := os.read(reader, 4096):
            received += rest
        os.close(reader)
        acknowledged = int(received.split()[-1])
        total += received.count(b"\n")
        for loss in losses(path, load_seed, acknowledged):
            print(f"point {point}, seed {load_seed}: {loss}")
    print(f"{points} points, {total} acknowledged")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
