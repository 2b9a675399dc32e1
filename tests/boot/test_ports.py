"""Linux at the ports beside COM1: COM2, a printer, virtio terminals and a named port, the balloon, the clock; and in a
folder of the host."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.boot.kit import PATIENCE, Run, boot, firmware, guest
from x86emu.machine import Machine, StopReason

SCRIPT = """
stty -F /dev/ttyS1 raw 2>/dev/null
echo "on COM2" > /dev/ttyS1
echo "on hvc0" > /dev/hvc0
for port in /sys/class/virtio-ports/*; do
    if [ "$(cat $port/name)" = org.example.agent ]; then echo "to the agent" > /dev/${port##*/}; fi
done
date -u "+clock %Y-%m-%d"
grep -q virtio_balloon /proc/modules && echo "balloon here"
"""


def with_script(initrd: Path, script: str, tmp_path: Path) -> Path:
    """The RAM disk with one more archive behind it, whose /gk/script the kit's init runs by gk.run=script."""
    import gzip

    entries = b""
    for number, (name, mode, data) in enumerate((("gk/script", 0o100755, script.encode()), ("TRAILER!!!", 0, b""))):
        encoded = name.encode() + b"\0"
        fields = (number + 1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
        header = b"070701" + b"".join(b"%08x" % field for field in fields) + encoded
        entries += header + bytes(-len(header) % 4) + data + bytes(-len(data) % 4)
    path = tmp_path / "initrd"
    path.write_bytes(initrd.read_bytes() + gzip.compress(entries, mtime=0))
    return path

COMPLAINTS = (
    "[Firmware Bug]", "[Firmware Warn]", "[Hardware Error]", "ACPI Error", "ACPI BIOS Error", "ACPI Warning",
    "BIOS bug", "BIOS may have", "calibration failed", "SMBIOS: entry point", "unexpected",
)  # fmt: skip


def complaints(run: Run) -> list[str]:
    """Lines in which the kernel finds fault with firmware or hardware, of those that a real PC would not show."""
    return [line for line in run.serial.splitlines() if any(words in line for words in COMPLAINTS)]


def test_linux_uses_them(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("com2", "hvc0", "agent")}
    run = boot(
        tmp_path, "--kernel", guest("linux64.vmlinuz"),
        "--initrd", with_script(guest("linux64-disk.cpio.gz"), SCRIPT, tmp_path),
        "--append", "console=ttyS0 gk.load=virtio_pci,virtio_console,virtio_balloon gk.run=script",
        "--serial", "stdio", "--serial", f"file:{files['com2']}", "--balloon", "--rtc", "2031-05-06",
        "--virtio-console", f"file:{files['hvc0']}",
        "--virtio-console", f"file:{files['agent']},name=org.example.agent",
    )  # fmt: skip
    assert run.code == 0, run
    assert complaints(run) == []
    assert files["com2"].read_bytes().replace(b"\r", b"") == b"on COM2\n"
    assert files["hvc0"].read_bytes().replace(b"\r", b"") == b"on hvc0\n"
    assert files["agent"].read_bytes() == b"to the agent\n"
    assert "clock 2031-05-06" in run.serial and "balloon here" in run.serial, run


SHARE = """
mount -t 9p -o trans=virtio,version=9p2000.L,msize=131072 work /mnt || echo "no mount"
cd /mnt
cat greeting
sha256sum -c sums
mkdir -p made/deeper && echo written >made/deeper/file && ln -s ../greeting made/link && mv made/deeper made/moved
cat made/link
i=0; while [ $i -lt 200 ]; do echo $i >made/$i; i=$((i + 1)); done
rm made/1??
ls made | wc -l
chmod 600 made/7 && stat -c "%a %s" made/7
touch -d "2020-02-03 00:00:00" made/8
dd if=/dev/zero of=made/big bs=64k count=40 2>/dev/null; sync
ln made/big made/hard && stat -c "links %h" made/big
ls outside/ 2>&1 | head -1
cat out 2>&1 | head -1
cd /; umount /mnt
mkdir -p /mnt2; mount -t 9p -o trans=virtio,version=9p2000.L,cache=loose ro /mnt2 && cat /mnt2/greeting
touch /mnt2/x 2>&1 | grep -o "Read-only file system"
umount /mnt2
echo "to the printer" >/dev/lp0
"""


def test_linux_shares_a_folder_and_prints(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "greeting").write_text("hello from the host\n")
    data = bytes(range(256)) * 5000
    (folder / "data").write_bytes(data)
    (folder / "sums").write_text(f"{hashlib.sha256(data).hexdigest()}  data\n")
    (folder / "out").symlink_to("/etc/hostname")
    (folder / "outside").symlink_to("..")
    (tmp_path / "beside-the-folder").touch()
    run = boot(
        tmp_path, "--kernel", guest("linux32.vmlinuz"),
        "--initrd", with_script(guest("linux32-disk.cpio.gz"), SHARE, tmp_path),
        "--append", "console=ttyS0 gk.load=virtio_pci,9pnet_virtio,9p,parport_pc,lp gk.run=script",
        "--share", f"{folder},tag=work", "--share", f"{folder},tag=ro,readonly",
        "--parallel", f"file:{tmp_path / 'printed'}",
    )  # fmt: skip
    assert run.code == 0, run
    assert complaints(run) == []
    lines = run.serial.replace("\r", "").splitlines()
    assert lines.count("hello from the host") == 3 and "data: OK" in lines and "no mount" not in lines, run
    assert "102" in lines and "600 2" in lines and "links 2" in lines and "Read-only file system" in lines, run
    assert (folder / "made/moved/file").read_text() == "written\n"
    assert (folder / "made/big").stat().st_size == 40 << 16 and (folder / "made/8").stat().st_mtime == 1580688000
    # The links lead to files of the guest, which has none of these.
    assert "beside-the-folder" not in run.serial, run
    assert (tmp_path / "printed").read_bytes().replace(b"\r", b"") == b"to the printer\n"


MOUSE = """
until grep -q Mouse /proc/bus/input/devices; do usleep 100000; done
for input in /sys/class/input/event*; do
    case "$(cat $input/device/name)" in *Mouse*) device=/dev/input/${input##*/}; cat $input/device/name ;; esac
done
echo "mouse at $device"
dd if=$device bs=16 count=10 of=/tmp/events 2>/dev/null
od -A n -v -w16 -t d2 /tmp/events | while read -r a b c d type code low high; do echo "event $type $code $low"; done
"""


def test_linux_has_a_mouse_with_a_wheel(tmp_path: Path) -> None:
    options = dict(zip(*[iter(firmware())] * 2, strict=True))
    with Machine(
        options.get("--bios"),
        kernel=guest("linux32.vmlinuz"),
        initrd=with_script(guest("linux32-disk.cpio.gz"), MOUSE, tmp_path),
        append="console=ttyS0 gk.load=psmouse,evdev gk.run=script",
    ) as machine:
        result = machine.run(until="mouse at /dev/input/event", timeout=PATIENCE)
        assert result.reason is StopReason.EXPECTATION_MET, machine.serial.text[-3000:]
        machine.run(100_000_000)
        for action in (
            lambda: machine.mouse.move(30, 5), lambda: machine.mouse.move(0, 0, 1), lambda: machine.mouse.press("left"),
            lambda: machine.mouse.release("left"),
        ):  # fmt: skip
            action()
            machine.run(100_000_000)
        machine.mouse.move(1, 1)
        machine.run(timeout=PATIENCE)
        text = machine.serial.text
        assert "ImPS/2 Generic Wheel Mouse" in text, text[-3000:]
        events = [tuple(map(int, line.split()[1:])) for line in text.splitlines() if line.startswith("event ")]
        # EV_REL: REL_X 0, REL_Y 1, REL_WHEEL 8 (towards the user is negative); EV_KEY: BTN_LEFT 272.
        for event in ((2, 0, 30), (2, 1, 5), (2, 8, -1), (1, 272, 1), (1, 272, 0)):
            assert event in events, events
