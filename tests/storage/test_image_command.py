"""`x86emu image`: what it prints and with what it exits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from x86emu import cli
from x86emu.storage import open_image
from x86emu.storage.qcow2 import Qcow2Image


def run(*arguments: str | Path) -> int:
    try:
        return cli.main(["image", *map(str, arguments)])
    except SystemExit as left:
        return int(left.code or 0)


def test_create_info_convert_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, copy = tmp_path / "a.qcow2", tmp_path / "a.raw"
    assert run("create", image, "1.5M", "--cluster-size", "4K") == 0
    disk = open_image(image)
    disk.write(3, b"q" * 512)
    disk.close()
    assert run("info", image, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["virtual-size"] == 3 << 19 and facts["cluster-size"] == 4096 and facts["format"] == "qcow2"
    assert run("info", image) == 0
    assert "virtual-size:    1572864 bytes" in capsys.readouterr().out
    assert run("convert", image, copy) == 0
    assert copy.read_bytes() == bytes(1536) + b"q" * 512 + bytes((3 << 19) - 2048)
    assert run("check", image) == 0
    assert capsys.readouterr().out.endswith("nothing is wrong\n")


def test_check_tells_leaks_from_corruption_and_repairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.qcow2"
    assert run("create", path, "1M") == 0
    for cluster, count, code, word in ((100, 1, 3, "leak: "), (1, 0, 1, "corrupt: ")):
        disk = open_image(path)
        assert isinstance(disk, Qcow2Image)
        disk.refcounts.set(cluster, count)
        disk.close()
        assert run("check", path) == code
        assert word in capsys.readouterr().out
    assert run("check", path, "--repair", "leaks") == 1
    assert run("check", path, "--repair", "all") == 0
    assert run("check", path) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "{}/a.qcow2"], "needs a size"),
        (["create", "{}/a.qcow2", "lots"], "'lots' is no size"),
        (["create", "{}/a.qcow2", "0"], "would have no sectors"),
        (["create", "{}/a.qcow2", "1M", "--cluster-size", "3K"], "Clusters of 3072 bytes do not exist"),
        (["create", "{}/a.qcow2", "900T", "--cluster-size", "512"], "larger clusters would do"),
        (["create", "{}/a.qcow2", "1M", "--refcount-bits", "5"], "Refcounts of 5 bits do not exist"),
        (["create", "{}/none/a.qcow2", "1M"], "does not exist"),
        (["create", "{}/a.raw", "1M", "-f", "raw", "-b", "x"], "A raw image has no backing file"),
        (["create", "{}/a.qcow2", "1M", "-b", "missing.raw"], "missing.raw does not exist"),
        (["info", "{}/missing"], "does not exist"),
        (["info", "{}"], "is a directory"),
        (["check", "{}/some.raw"], "is raw, which has no tables"),
        (["convert", "{}/some.raw", "{}/some.raw"], "cannot be converted into itself"),
        (["info", "-f", "qcow2", "{}/some.raw"], "does not begin with QFI"),
    ],
)
def test_unusable_input(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "some.raw").write_bytes(bytes(1024))
    assert run(*(argument.format(tmp_path) for argument in arguments)) == cli.ExitCode.UNUSABLE_INPUT
    captured = capsys.readouterr()
    assert words in captured.err and captured.err.count("\n") == 1 and not captured.out
