"""Linux with KVM inside, which starts an unmodified Linux, or one that has KVM itself and starts a third.

The guest is tests/guests/src/nested: the first kernel loads kvm-intel or kvm-amd, and has a small VMM or Debian's QEMU
(with SeaBIOS on q35, with qboot on microvm) boot the same kernel.  A few of all combinations run always, the whole
table of docs/virtualization.md by `make test-slow`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from tests.boot.kit import Run, boot, guest

INTEL = {"nehalem_ept": True, "sapphire_rapids": True, "pentium4_vtx": False}
AMD = {"epyc_genoa": True, "phenom_rvi": True, "athlon64_svm": False}
# Where KVM uses the preemption timer: nehalem_ept's signature is on its list of processors with an erratum of it.
TIMER = {"sapphire_rapids"}
# What a model's KVM uses for guest-physical addresses: the processor's second level of tables, or KVM's shadow tables.
SECOND_LEVEL = INTEL | AMD


@dataclass(frozen=True)
class Case:
    """One boot: the model, who runs the guest at each level, and whether KVM is told to leave nested paging alone."""

    cpu: str
    vmm: str
    shadow: bool = False
    processors: int = 1
    vcpus: int = 1

    @property
    def module(self) -> str:
        return "kvm_intel" if self.cpu in INTEL else "kvm_amd"

    @property
    def paging(self) -> str:
        return "ept" if self.cpu in INTEL else "npt"

    def __str__(self) -> str:
        parts = [self.cpu, self.vmm.replace(",", "-in-")]
        parts += [f"{self.paging}=0"] if self.shadow else []
        parts += [f"{self.processors}x{self.vcpus}"] if self.processors > 1 else []
        return "-".join(parts)


QUICK = [
    Case("sapphire_rapids", "q35"),
    Case("epyc_genoa", "q35"),
    Case("pentium4_vtx", "small"),
    Case("athlon64_svm", "small"),
    Case("epyc_genoa", "small", shadow=True),
    Case("sapphire_rapids", "q35", processors=2, vcpus=2),
    Case("epyc_genoa", "q35", processors=2, vcpus=2),
    Case("sapphire_rapids", "small,small"),
    Case("epyc_genoa", "small,small"),
]
WHOLE = [
    *(Case(cpu, "q35,small") for cpu in SECOND_LEVEL),
    *(Case(cpu, "q35", shadow=True) for cpu, has in SECOND_LEVEL.items() if has),
    *(Case(cpu, "q35") for cpu in SECOND_LEVEL),
    *(Case(cpu, "small,small", shadow=True) for cpu in ("sapphire_rapids", "epyc_genoa")),
    *(Case(cpu, "small") for cpu in SECOND_LEVEL),
    *(Case(cpu, "small", shadow=True) for cpu, has in SECOND_LEVEL.items() if has),
    *(Case(cpu, "q35", processors=2, vcpus=2) for cpu in SECOND_LEVEL),
    *(Case(cpu, "microvm") for cpu in ("nehalem_ept", "epyc_genoa")),
    *(Case(cpu, "q35,q35") for cpu in ("sapphire_rapids", "epyc_genoa")),
]


def cases() -> list[object]:
    slow = [pytest.param(case, id=str(case), marks=pytest.mark.slow) for case in WHOLE if case not in QUICK]
    return [*(pytest.param(case, id=str(case)) for case in QUICK), *slow]


def expected(case: Case) -> list[str]:
    """The marks of a run, in order, as regular expressions."""
    vmms = case.vmm.split(",")
    kernel = r"Linux \S+ x86_64"
    marks = [rf"level1 booted {kernel} cpus={case.processors}"]
    for level, vmm in enumerate(vmms, 1):
        marks.append(f"level{level} {case.module} loaded")
        marks += ["smoke real-mode guest", "smoke 64-bit guest OK"] if vmm == "small" else []
        marks += [f"level{level} starts a guest by {vmm}", rf"level{level + 1} booted {kernel} cpus={case.vcpus}"]
    marks.append(f"level{len(vmms) + 1} end=reboot")
    for level in range(len(vmms), 0, -1):
        marks += [f"level{level} guest ended", f"level{level} end={'reboot' if level > 1 else 'poweroff'}"]
    return marks


def exits(run: Run) -> dict[str, int]:
    """Exits of all processors by reason."""
    found: dict[str, int] = {}
    for processor in cast(list[list[dict[str, int | str]]], run.counters["exits"]):
        for row in processor:
            reason = str(row["reason"])
            found[reason] = found.get(reason, 0) + int(row["count"])
    return found


@pytest.mark.parametrize("case", cases())
def test_kvm(case: Case, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    words = f"console=ttyS0,115200 cryptomgr.notests gk.run=nested gk.vmm={case.vmm} gk.guest=cryptomgr.notests"
    words += f" gk.vcpus={case.vcpus}"
    if case.shadow:
        words += f" {case.module}.{case.paging}=0"
    run = boot(
        tmp_path, "--kernel", guest("linux64.vmlinuz"), "--initrd", guest("nested.cpio.gz"), "--append", words,
        "--cpu", case.cpu, "--smp", str(case.processors), "--memory", "1G" if "," in case.vmm else "768M",
        patience=1500,
    )  # fmt: skip
    assert run.code == 0, run
    marks = expected(case)
    assert len(run.marks) == len(marks), (run.marks, run)
    for mark, pattern in zip(run.marks, marks, strict=True):
        assert re.fullmatch(pattern, mark), (pattern, mark)
    second_level = SECOND_LEVEL[case.cpu] and not case.shadow
    assert f" {case.paging}={'Y' if second_level else 'N'} " in run.serial
    by_reason = exits(run)
    if case.cpu in INTEL:
        timer = case.cpu in TIMER
        assert f" preemption_timer={'Y' if timer else 'N'} " in run.serial
        if case.vmm.startswith("q35"):  # the small VMM's guest has no APIC timer
            assert (by_reason.get("preemption timer", 0) > 0) == timer, by_reason
    # Few where KVM may leave large executable pages whole: ARCH_CAPABILITIES says IF_PSCHANGE_MC_NO.
    assert (by_reason.get("EPT violation", 0) + by_reason.get("NPF", 0) > 100) == second_level, by_reason
    if "," in case.vmm:
        assert by_reason["VMRESUME" if case.cpu in INTEL else "VMRUN"] > 1000, by_reason
    seconds = cast(float, run.counters["cpu_seconds"])
    record_property("figure", f"{case}: {seconds:.1f} s of CPU time, {sum(by_reason.values())} exits")
