"""Linux and the power management function: suspend to RAM until an alarm, the power button; and the balloon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.boot.kit import PATIENCE, firmware, guest
from tests.boot.test_ports import with_script
from x86emu.firmware.bios import default_bios
from x86emu.machine import Machine, MachineConfig, StopReason
from x86emu.machine.config import parse_memory
from x86emu.machine.disk_option import DiskOption
from x86emu.monitor import MonitorSession

SLEEP = """
for disk in vda1 nvme0n1p1 sda1; do mkdir /tmp/$disk; mount -t vfat -o ro /dev/$disk /tmp/$disk; done
sha256sum /bin/busybox >/tmp/sum
date -u +%s >/tmp/before
echo +20 >/sys/class/rtc/rtc0/wakealarm
echo mem >/sys/power/state
echo "slept $(($(date -u +%s) - $(cat /tmp/before)))"
sha256sum -c /tmp/sum
for disk in vda1 nvme0n1p1 sda1; do cd /tmp/$disk; sha256sum -c gk-payload.sha256 && echo "$disk still there"; done
"""
DRIVERS = "virtio_pci,virtio_blk,ata_piix,sd_mod,vfat,nls_cp437,nls_iso8859-1,nls_ascii"

BUTTON = """
for input in /sys/class/input/event*; do
    if [ "$(cat $input/device/name)" = "Power Button" ]; then device=/dev/input/${input##*/}; fi
done
echo "listening at $device"
dd if=$device bs=24 count=1 of=/tmp/event 2>/dev/null
od -A n -t d2 -j 16 -N 8 /tmp/event | tr -s " "
"""


def build(
    script: str, tmp_path: Path, modules: str, cpus: int = 1, memory: str = "256M", **devices: Any
) -> Machine:
    options = dict(zip(*[iter(firmware())] * 2, strict=True))
    config = MachineConfig(
        bios=Path(options["--bios"]) if options else default_bios(),
        vga_rom=Path(options["--vga-rom"]) if options else None,
        cpus=cpus,
        memory=parse_memory(memory),
        kernel=guest("linux64.vmlinuz"),
        initrd=with_script(guest("linux64-disk.cpio.gz"), script, tmp_path),
        append=f"console=ttyS0 gk.load={modules} gk.run=script",
        **devices,
    )
    return Machine(config=config)


def test_linux_sleeps_until_the_alarm(tmp_path: Path) -> None:
    image = guest("linux64-fat.img")
    disks = tuple(DiskOption(image, kind, snapshot=True) for kind in ("virtio", "nvme", "ide"))
    with build(SLEEP, tmp_path, DRIVERS, cpus=2, disks=disks) as machine:
        result = machine.run(timeout=PATIENCE)
        text = machine.serial.text
        assert result.reason is StopReason.POWER_OFF, text[-3000:]
        assert "PM: suspend entry (deep)" in text and "PM: suspend exit" in text
        assert "slept 20" in text and "/bin/busybox: OK" in text, text[-3000:]
        for disk in ("vda1", "nvme0n1p1", "sda1"):
            assert f"{disk} still there" in text, text[-3000:]
        assert machine.clock.now() > 20 * 10**9


def test_linux_hears_the_power_button(tmp_path: Path) -> None:
    with build(BUTTON, tmp_path, "button,evdev") as machine:
        result = machine.run(until="listening at /dev/input/event", timeout=PATIENCE)
        assert result.reason is StopReason.EXPECTATION_MET, machine.serial.text[-3000:]
        machine.run(50_000_000)
        machine.press_power_button()
        result = machine.run(timeout=PATIENCE)
        assert result.reason is StopReason.POWER_OFF
        assert "1 116 1 0" in machine.serial.text, machine.serial.text[-3000:]  # EV_KEY, KEY_POWER, pressed


BALLOON = """
dd if=/dev/zero of=/tmp/big bs=1M count=150 2>/dev/null; rm /tmp/big
echo "memory is used"
read -r _
i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done
echo "turned around"
i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done
free
"""


def resident() -> int:
    """MiB of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20


def test_linux_gives_memory_back(tmp_path: Path) -> None:
    with build(BALLOON, tmp_path, "virtio_pci,virtio_balloon", memory="512M", balloon=True) as machine:
        ask = MonitorSession(machine, lambda data: None, editing=False).answer
        assert machine.run(until="memory is used", timeout=PATIENCE).reason is StopReason.EXPECTATION_MET
        before = resident()
        assert ask("balloon 200") == "" and "the guest has 512 of 512 MiB" in ask("info balloon")
        machine.serial.send("\n")
        assert machine.run(until="turned around", timeout=PATIENCE).reason is StopReason.EXPECTATION_MET
        assert before - resident() > 100
        told = ask("info balloon")
        assert "the guest has 200 of 512 MiB" in told and "total_memory" in told, told
        machine.run(timeout=PATIENCE)
