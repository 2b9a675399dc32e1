"""MachineConfig: what is refused, in one sentence each."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from x86emu.errors import UserInputError
from x86emu.machine import config as config_module
from x86emu.machine.config import MachineConfig, parse_date, parse_memory
from x86emu.machine.share_option import ShareOption, parse_share, tags

GOOD = MachineConfig(bios=Path("bios.bin"), memory=64 << 20)


@pytest.mark.parametrize(
    ("text", "amount"),
    [("512M", 512 << 20), ("1G", 1 << 30), ("65536K", 64 << 20), ("64", 64 << 20), ("1GiB", 1 << 30), ("2mb", 2 << 20)],
)
def test_memory_amounts(text: str, amount: int) -> None:
    assert parse_memory(text) == amount


@pytest.mark.parametrize("text", ["", "lots", "-5M", "1.5G", "12X"])
def test_no_memory_amount(text: str) -> None:
    with pytest.raises(UserInputError, match="is no amount of memory; 512M, 1G or a number of MiB would do"):
        parse_memory(text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"memory": 1 << 20}, "too little for a PC's firmware"),
        ({"memory": 1 << 45}, "cannot be addressed by this board"),
        ({"memory": (64 << 20) + 4096}, "no multiple of 64 KiB"),
        ({"cpus": 0}, "room for 1 to 64 processors"),
        ({"cpus": 300}, "room for 1 to 64 processors"),
        ({"boot": "x"}, "is no boot order"),
        ({"boot": "cc"}, "is no boot order"),
        ({"boot": ""}, "is no boot order"),
        ({"append": "quiet"}, "--append: goes with a kernel; give one with --kernel"),
        ({"initrd": Path("i")}, "--initrd: goes with a kernel"),
        ({"modules": ("m",)}, "--module: goes with a kernel"),
        ({"disks": (Path("d"),) * 5}, "5 disks do not fit on two IDE channels; 4 would do"),
        ({"disks": (Path("d"),) * 4, "cdrom": Path("c")}, "beside the CD-ROM; 3 would do"),
        ({"debug_exit_port": 0x10000}, "is no port; 0xf4 would do"),
    ],
)
def test_what_cannot_be_had(change: dict[str, object], words: str) -> None:
    with pytest.raises(UserInputError, match=words):
        replace(GOOD, **change).validate()  # type: ignore[arg-type]


def test_memory_that_the_host_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_module, "host_memory", lambda: 1 << 30)
    replace(GOOD, memory=1 << 30).validate()
    with pytest.raises(UserInputError, match="would have 2048 MiB and this host can give 1024 MiB; a smaller --memory"):
        replace(GOOD, memory=2 << 30).validate()


def test_good_ones_pass() -> None:
    GOOD.validate()
    replace(GOOD, kernel=Path("k"), append="quiet", boot="dc", cpus=64).validate()


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2031-02-03", datetime(2031, 2, 3)),
        ("2031-02-03T04:05:06", datetime(2031, 2, 3, 4, 5, 6)),
        ("2031-02-03T04:05:06+01:00", datetime(2031, 2, 3, 3, 5, 6)),
    ],
)
def test_dates(text: str, date: datetime) -> None:
    assert parse_date(text) == date


def test_the_host_has_a_date() -> None:
    assert abs(parse_date("host") - datetime.now(UTC).replace(tzinfo=None)) < timedelta(minutes=1)


@pytest.mark.parametrize(("text", "words"), [("noon", "is no date; host, localtime"), ("1700-01-01", "from 1970 on")])
def test_no_date(text: str, words: str) -> None:
    with pytest.raises(UserInputError, match=words):
        parse_date(text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"serial_ports": 5}, "5 serial ports; a PC has one to four"),
        ({"virtio_consoles": ("a", "b", "a")}, "no two have the same name"),
        ({"virtio_consoles": (None,) * 32}, "up to 31 ports"),
        ({"shares": (ShareOption(Path("a")), ShareOption(Path("b"), "share"))}, "another folder has the tag share"),
    ],
)
def test_ports_that_cannot_be(change: dict[str, object], words: str) -> None:
    with pytest.raises(UserInputError, match=words):
        replace(GOOD, **change).validate()  # type: ignore[arg-type]


def test_share_options() -> None:
    assert parse_share("a,,b,tag=work,readonly") == ShareOption(Path("a,b"), "work", True)
    shares = (ShareOption(Path("a")), ShareOption(Path("b")), ShareOption(Path("c"), "x"))
    assert tags(shares) == ["share", "share1", "x"]
    for text in ("", ",tag=x", "a,tag=", "a,rw"):
        with pytest.raises(UserInputError, match="names no folder|is not understood"):
            parse_share(text)
