"""Linux and the power management function: suspend to RAM until an alarm, and shutting down by the power button."""

from __future__ import annotations

from pathlib import Path

from tests.boot.kit import PATIENCE, firmware, guest
from tests.boot.test_ports import with_script
from x86emu.machine import Machine, StopReason

SLEEP = """
sha256sum /bin/busybox >/tmp/sum
date -u +%s >/tmp/before
echo +20 >/sys/class/rtc/rtc0/wakealarm
echo mem >/sys/power/state
echo "slept $(($(date -u +%s) - $(cat /tmp/before)))"
sha256sum -c /tmp/sum
grep -c ^processor /proc/cpuinfo
"""

BUTTON = """
for input in /sys/class/input/event*; do
    if [ "$(cat $input/device/name)" = "Power Button" ]; then device=/dev/input/${input##*/}; fi
done
echo "listening at $device"
dd if=$device bs=24 count=1 of=/tmp/event 2>/dev/null
od -A n -t d2 -j 16 -N 8 /tmp/event | tr -s " "
"""


def build(script: str, tmp_path: Path, modules: str, cpus: int = 1) -> Machine:
    options = dict(zip(*[iter(firmware())] * 2, strict=True))
    return Machine(
        options.get("--bios"),
        cpus=cpus,
        kernel=guest("linux64.vmlinuz"),
        initrd=with_script(guest("linux64-disk.cpio.gz"), script, tmp_path),
        append=f"console=ttyS0 {modules} gk.run=script",
    )


def test_linux_sleeps_until_the_alarm(tmp_path: Path) -> None:
    with build(SLEEP, tmp_path, "", cpus=2) as machine:
        result = machine.run(timeout=PATIENCE)
        text = machine.serial.text
        assert result.reason is StopReason.POWER_OFF, text[-3000:]
        assert "PM: suspend entry (deep)" in text and "PM: suspend exit" in text
        assert "slept 20" in text and "/bin/busybox: OK" in text, text[-3000:]
        assert machine.clock.now() > 20 * 10**9


def test_linux_hears_the_power_button(tmp_path: Path) -> None:
    with build(BUTTON, tmp_path, "gk.load=button,evdev") as machine:
        result = machine.run(until="listening at /dev/input/event", timeout=PATIENCE)
        assert result.reason is StopReason.EXPECTATION_MET, machine.serial.text[-3000:]
        machine.run(50_000_000)
        machine.press_power_button()
        result = machine.run(timeout=PATIENCE)
        assert result.reason is StopReason.POWER_OFF
        assert "1 116 1 0" in machine.serial.text, machine.serial.text[-3000:]  # EV_KEY, KEY_POWER, pressed
