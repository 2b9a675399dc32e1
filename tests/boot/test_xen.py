"""Debian's Xen and its first guest, dom0: paravirtualized (PV) or in a hardware virtual machine (PVH); and guests that
dom0 starts with xl.

Without an IOMMU Xen gives a PVH dom0 no reserved memory, and SeaBIOS
calls that of the ACPI tables reserved.  So it is booted by --kernel, whose memory map tells ACPI memory as such, and is
told not to ask the firmware anew (no-real-mode).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from tests.boot.kit import Run, boot, guest


@dataclass(frozen=True)
class Case:
    """One boot: the model, what dom0 is, and which guest it starts, if any."""

    cpu: str
    dom0: str = "pv"
    guest: str = ""
    processors: int = 1

    def __str__(self) -> str:
        parts = [self.cpu, f"{self.dom0}-dom0"]
        parts += [f"{self.guest}-guest"] if self.guest else []
        parts += [f"{self.processors}-processors"] if self.processors > 1 else []
        return "-".join(parts)


QUICK = [
    Case("default"),
    Case("default", processors=2),
    Case("sapphire_rapids", "pvh"),
    Case("epyc_genoa", "pvh"),
]
HARDWARE = ("sapphire_rapids", "nehalem_ept", "epyc_genoa", "phenom_rvi")
SLOW = [
    *(Case(cpu) for cpu in (*HARDWARE, "pentium4_vtx", "athlon64_svm")),
    *(Case(cpu, "pvh") for cpu in HARDWARE),
    Case("default", guest="pv"),
    Case("default", guest="pv", processors=2),
    *(Case(cpu, guest="pvh") for cpu in HARDWARE),
    *(Case(cpu, guest="pvh", processors=2) for cpu in ("sapphire_rapids", "epyc_genoa")),
    *(Case(cpu, "pvh", "pvh") for cpu in ("sapphire_rapids", "epyc_genoa")),
]
slow = cast(Callable[..., Callable[..., None]], pytest.mark.slow)


def run(case: Case, tmp_path: Path, options: str = "") -> Run:
    xen = "com1=115200,8n1 console=com1 noreboot=1 dom0_mem=" + ("512M" if case.guest else "384M")
    if case.dom0 == "pvh":
        xen += " dom0=pvh dom0-iommu=none no-real-mode"
    xen += options
    linux = "console=hvc0 cryptomgr.notests gk.run=xen" + (f" gk.guest={case.guest}" if case.guest else "")
    initrd = guest("xen-xl.cpio.gz" if case.guest else "xen.cpio.gz")
    return boot(
        tmp_path, "--memory", "1G", "--cpu", case.cpu, "--smp", str(case.processors), "--kernel", guest("xen.elf"),
        "--append", xen, "--module", f"{guest('xen.vmlinux')} {linux}", "--module", initrd,
    )  # fmt: skip


def check(done: Run, case: Case) -> None:
    assert done.code == 0, done
    first, then, *rest = done.marks
    kernel = f" x86_64 cpus={case.processors}"
    assert first.startswith("dom0 booted Linux 6.1.") and first.endswith(kernel), done
    assert then == f"dom0 hypervisor=xen 4.17 guest_type={case.dom0.upper()}"
    assert rest[0].split() == ["dom0", "capabilities=control_d"]
    assert rest[-1] == "dom0 end=poweroff"
    if case.guest:
        assert rest[1:3] == ["dom0 xenstored up", f"dom0 guest created type={case.guest}"], done
        assert rest[3].startswith("guest booted Linux 6.1."), done
        assert rest[4:-1] == ["guest end=poweroff", "dom0 guest ended"], done


@pytest.mark.parametrize("case", QUICK, ids=str)
def test_a_dom0_boots(case: Case, tmp_path: Path) -> None:
    check(run(case, tmp_path), case)


def test_shadow_stacks_of_xen_with_svm(tmp_path: Path) -> None:
    """Xen's own supervisor shadow stacks across VMRUN; without SPEC_CTRL it takes retpolines, which they refuse."""
    case = Case("epyc_genoa", "pvh")
    done = run(case, tmp_path, " loglvl=all")
    assert "BTI-Thunk: JMP" in done.serial, done
    assert "Enabling Supervisor Shadow Stacks" in done.serial, done
    check(done, case)


@slow
@pytest.mark.parametrize("case", [case for case in SLOW if case not in QUICK], ids=str)
def test_the_whole_table(case: Case, tmp_path: Path) -> None:
    check(run(case, tmp_path), case)


@slow
@pytest.mark.parametrize("medium", [("--cdrom", "xen.iso"), ("--disk", "xen.img")], ids=lambda medium: medium[1])
def test_by_grub(medium: tuple[str, str], tmp_path: Path) -> None:
    option, name = medium
    done = boot(tmp_path, "--memory", "1G", option, guest(name), "--snapshot")
    assert "GK-MARK grub up" in done.serial, done
    done.serial = done.serial.replace("GK-MARK grub up", "")
    check(done, Case("default"))
