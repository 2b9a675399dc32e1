"""--cluster: units on the workers of a Dask scheduler, with distributed's local cluster."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from x86emu.cli import main
from x86emu.conform.results import Run, UnitResult
from x86emu.conform.runner import Progress, run_suite
from x86emu.conform.suite import Options
from x86emu.errors import UserInputError

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore")
OPTIONS = Options("testfloat", seed=3, count=3000)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None, silence_logs=50
    ) as made:
        yield made


def plain(run: Run) -> list[tuple[str, int, int, list[str], dict[str, int]]]:
    """What a run found, without how long it took."""
    return [(unit.unit, unit.cases, unit.failed, unit.errors, unit.coverage) for unit in run.units]


def test_the_same_as_here_after_a_worker_is_killed(cluster: Any, tmp_path: Path) -> None:
    here = run_suite(OPTIONS)
    with distributed.Client(cluster.scheduler_address) as client:
        workers = list(client.run(os.getpid).values())
    killed = threading.Event()

    class Killing(Progress):
        """Kills one of the workers as soon as the first unit is done."""

        def add(self, unit: UnitResult) -> None:
            if not killed.is_set():
                killed.set()
                os.kill(workers[0], signal.SIGKILL)

    there = run_suite(OPTIONS, progress=Killing, journal=tmp_path / "j", cluster=cluster.scheduler_address)
    assert killed.is_set()
    assert plain(there) == plain(here)
    assert not (tmp_path / "j").exists()


def test_native_units_of_several_threads(cluster: Any) -> None:
    """A traced child belongs to one thread; workers have two."""
    from x86emu.conform.engines.native import NativeEngine
    from x86emu.conform.records import empty

    try:
        NativeEngine().run_batch(empty(1))
    except UserInputError as error:
        pytest.skip(str(error))
    options = Options("native", count=16000, modes=(64,), rows=("ADD", "MUL"))
    run = run_suite(options, cluster=cluster.scheduler_address)
    assert (run.cases, run.failed, run.errors) == (16000, 0, [])
    assert plain(run) == plain(run_suite(options))


def test_no_scheduler(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("x86emu.conform.runner.CLUSTER_TIMEOUT", 1)
    assert main(["conform", "run", "--suite", "testfloat", "--count", "100", "--cluster", "tcp://127.0.0.1:9"]) == 2
    assert "no Dask scheduler at tcp://127.0.0.1:9" in capsys.readouterr().err


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(UserInputError, match="pip install distributed"):
        run_suite(OPTIONS, cluster="tcp://127.0.0.1:9")
