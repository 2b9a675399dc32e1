"""`x86emu boot` on input that cannot be used: one line that says what is wrong and what would work, exit code 2."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from x86emu import cli

GOOD_BIOS = b"\x90" * 131056 + b"\xea" * 16


@pytest.fixture
def bios(tmp_path: Path) -> Path:
    path = tmp_path / "bios.bin"
    path.write_bytes(GOOD_BIOS)
    return path


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of standard error of a refused command line."""
    try:
        code = cli.main(["boot", *arguments])
    except SystemExit as left:
        code = int(left.code or 0)
    captured = capsys.readouterr()
    assert code == cli.ExitCode.UNUSABLE_INPUT
    assert captured.out == ""
    assert captured.err.count("\n") == 1 and "Traceback" not in captured.err
    return captured.err.strip()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--memory", "plenty"], "--memory plenty: is no amount of memory; 512M, 1G or a number of MiB would do"),
        (["--memory", "1M"], "1024 KiB are too little for a PC's firmware"),
        (["--memory", "400G"], "a smaller --memory would do"),
        (["--smp", "0"], "'0' is not above 0"),
        (["--smp", "two"], "'two' is no whole number"),
        (["--smp", "65"], "room for 1 to 64 processors"),
        (["--boot", "xyz"], "--boot xyz: is no boot order"),
        (["--cpu", "pentium9"], "There is no processor model called 'pentium9'"),
        (["--cpu", "default,+warp"], "warp"),
        (["--timeout", "soon"], "'soon' is no number of seconds"),
        (["--timeout", "0"], "is not above 0 seconds"),
        (["--max-instructions", "-5"], "is not above 0"),
        (["--append", "quiet"], "--append: goes with a kernel"),
        (["--serial", "modem"], "--serial modem: is no serial port"),
        (["--debug-exit", "0x12345"], "is no port"),
        (["--stats", "/nonexistent/stats.json"], "--stats /nonexistent/stats.json: cannot be written"),
        (["--wobble"], "unrecognized arguments: --wobble"),
    ],
)
def test_options(bios: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert words in refusal(capsys, "--bios", str(bios), *arguments)


def test_firmware_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "none.bin"
    assert f"{missing}: there is no such file" in refusal(capsys, "--bios", str(missing))
    assert "is a directory" in refusal(capsys, "--bios", str(tmp_path))
    odd = tmp_path / "odd.bin"
    odd.write_bytes(b"\x90" * 1000)
    line = refusal(capsys, "--bios", str(odd))
    assert f"{odd}: has 1000 bytes" in line and "bios-256k.bin" in line


def test_kernel_and_media_files(bios: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "notes.txt"
    text.write_bytes(b"remember the milk\n" * 40)
    assert f"{text}: is no kernel" in refusal(capsys, "--bios", str(bios), "--kernel", str(text))
    assert str(text) in refusal(capsys, "--bios", str(bios), "--disk", str(text))
    assert str(text) in refusal(capsys, "--bios", str(bios), "--cdrom", str(text))
    assert f"{text}: does not begin with 55h AAh" in refusal(capsys, "--bios", str(bios), "--option-rom", str(text))
    assert f"{text}: does not begin with 55h AAh" in refusal(capsys, "--bios", str(bios), "--vga-rom", str(text))


def test_help_loads_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-m", "x86emu", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "boot" in done.stdout
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, x86emu.cli; x86emu.cli.build_parser(); print('numpy' in sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert loaded.stdout == "False\n"


def test_boot_help_has_every_option_of_the_documentation(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["boot", "--help"])
    text = capsys.readouterr().out
    documented = (Path(__file__).parents[2] / "docs" / "boot.md").read_text()
    options = set(re.findall(r"--[a-z][a-z-]+", text)) - {"--help"}
    assert len(options) > 25
    assert {option for option in options if option not in documented} == set()


def test_no_command_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main([])
    assert left.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
