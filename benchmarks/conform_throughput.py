"""Cases a second and core of the conformance harness: made from the table, set up, executed, compared, counted.

    python benchmarks/conform_throughput.py [--cases N] [--json FILE]

Batches are those of the suite `unicorn` in 64- and 32-bit mode, one instruction a case.  Each engine's outcomes are
compared with outcomes computed beforehand, so what is timed is everything that a campaign does on the side of the
engine under test.  Time is processor time of this process and of those that it has waited for: Unicorn runs in a child
process, which its crashes end.  Unicorn gets a slice of the same cases.
"""

from __future__ import annotations

import argparse
import json
import os

from x86emu.conform.cases import make_batch
from x86emu.conform.compare import differing
from x86emu.conform.encoder import STATES_PER_ENCODING
from x86emu.conform.engine import Engine, engine_named, run_batch
from x86emu.conform.generated import BATCH, coverage_of
from x86emu.errors import UserInputError


def processor_time() -> float:
    """Seconds of this process and of its children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def measure(engine: Engine, features: frozenset[str], cases: int) -> dict[str, float]:
    """Cases a second, and how the time divides."""
    encodings = BATCH // STATES_PER_ENCODING
    parts = {"make": 0.0, "execute": 0.0, "compare": 0.0}
    done = 0
    number = 0
    while done < cases:
        mode = 64 if number & 1 == 0 else 32
        expected = run_batch(engine, make_batch(1, number, mode, features, encodings).cases)
        start = processor_time()
        batch = make_batch(1, number, mode, features, encodings)
        made = processor_time()
        actual = run_batch(engine, batch.cases)
        executed = processor_time()
        found = differing(expected, actual, batch.undefined_flags)
        coverage_of(batch, expected["vector"])
        compared = processor_time()
        assert not len(found), "an engine gave two outcomes for one case"
        parts["make"] += made - start
        parts["execute"] += executed - made
        parts["compare"] += compared - executed
        done += len(batch.cases)
        number += 1
    total = sum(parts.values())
    return {"cases": done, "cases_per_second": done / total, **{k: v / total for k, v in parts.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=1_000_000, help="for x86emu; Unicorn gets a twentieth")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args()
    results = {}
    try:
        unicorn: Engine | None = engine_named("unicorn")
    except UserInputError as error:
        print(error)
        unicorn = None
    ours = engine_named("x86emu", "unicorn" if unicorn else "")
    features = ours.features() & unicorn.features() if unicorn else ours.features()
    results["x86emu"] = measure(ours, features, options.cases)
    if unicorn:
        results["unicorn"] = measure(unicorn, features, options.cases // 20)
    for name, figures in results.items():
        shares = ", ".join(f"{part} {figures[part]:.0%}" for part in ("make", "execute", "compare"))
        print(f"{name:8} {figures['cases_per_second']:12,.0f} cases a second and core   ({shares})")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
