"""The VMX-preemption timer: rate, phase, saved value, what it counts and what not (SDM 3C, 26.5.1, 27.7.4; 3D, A.6).

One instruction takes one nanosecond, one increment of the TSC.  The host's code behind an exit is a HLT, so an exit
happened one increment before the run ended.
"""

from __future__ import annotations

import struct

import pytest

from tests.core.bare_machine import CODE
from tests.virt.vmx_guest import BITMAPS, GUEST, GUEST_DATA, HOST_RIP, LAUNCH, RESUME, VmxGuest
from x86emu.isa.models import resolve_model
from x86emu.isa.vmx_capabilities import EXIT, PIN, PRIMARY, SECONDARY, timer_shift

SPIN, LONG_TRACES = "ebfe", "90" * 29 + "ebe1"
EXPIRED = 52
HOST_LOOP = 0x123000
MASK = (1 << 64) - 1


class TimedGuest(VmxGuest):
    """A guest with the timer, which saves its value."""

    def __init__(self, model: str = "sapphire_rapids", value: int = 0, processors: int = 1, index: int = 0) -> None:
        super().__init__(model, processors=processors, index=index)
        self.shift = timer_shift(self.features)
        self.control(PIN, "preemption_timer")
        self.control(EXIT, "save_preemption_timer")
        self.set(preemption_timer_value=value)

    @property
    def tsc(self) -> int:
        signals = self.machine.signals[self.cpu.index]
        return int(self.machine.clock.now() + signals.tsc_offset) & MASK

    def at_phase(self, phase: int) -> None:
        """The guest's first instruction is executed when the TSC's bits below those that count are these."""
        self.machine.wrmsr(0x10, 1 << 20)
        ahead = (phase - self.tsc - 1) % (1 << self.shift)  # VMLAUNCH takes one
        self.machine.wrmsr(0x10, (1 << 20) + ahead)
        assert (self.tsc + 1) % (1 << self.shift) == phase

    def expiry(self, entered: int, value: int) -> int:
        """The TSC when the timer reaches 0."""
        return ((entered >> self.shift) + value) << self.shift


@pytest.mark.parametrize(("model", "shift"), [("nehalem_ept", 5), ("haswell", 5), ("sapphire_rapids", 7)])
def test_the_capability_msr_tells_the_rate(model: str, shift: int) -> None:
    guest = TimedGuest(model)
    assert guest.machine.rdmsr(0x485) & 31 == shift == guest.shift


def test_processors_without_the_timer_tell_no_rate() -> None:
    features = resolve_model("pentium4_vtx").features
    assert "vmx" in features
    assert VmxGuest("pentium4_vtx").machine.rdmsr(0x485) & 31 == 0


@pytest.mark.parametrize("model", ["nehalem_ept", "sapphire_rapids"])
@pytest.mark.parametrize("code", [SPIN, LONG_TRACES], ids=["short", "long"])
def test_it_expires_exactly_when_the_bit_of_the_tsc_changes(model: str, code: str) -> None:
    guest = TimedGuest(model)
    last = (1 << guest.shift) - 1
    for phase in (0, 1, 17, last - 1, last):
        for value in (1, 2, 3, 100):
            guest.at_phase(phase)
            entered = guest.tsc + 1
            guest.set(preemption_timer_value=value)
            assert guest.run(code) == EXPIRED
            assert guest.tsc - 1 == guest.expiry(entered, value), (phase, value)
            assert guest.get("preemption_timer_value") == 0


def test_how_a_run_is_cut_changes_nothing() -> None:
    ends = []
    for limit in (100000, 1, 7, 1000):
        guest = TimedGuest(value=20)
        guest.at_phase(5)
        guest.memory.write(CODE, bytes.fromhex(LAUNCH) + b"\xf4")
        guest.memory.write(GUEST, bytes.fromhex(LONG_TRACES))
        guest.cpu.rip, guest.cpu.activity = CODE, 0
        while guest.machine.engine.run(limit) != "halted":
            pass
        assert guest.get("exit_reason") == EXPIRED
        ends.append((guest.tsc, guest.get("guest_rip"), guest.cpu.instructions, guest.cpu.saved_state()))
    assert ends == ends[:1] * 4


def test_the_largest_value_is_far_off() -> None:
    guest = TimedGuest(value=0xFFFFFFFF)
    guest.at_phase(0)
    assert guest.run("b9e8030000ffc975fc") == 18  # 1 + 2 * 1000 instructions
    assert guest.get("preemption_timer_value") == 0xFFFFFFFF - (2001 >> 7)


@pytest.mark.parametrize("model", ["nehalem_ept", "sapphire_rapids"])
def test_the_saved_value_is_what_is_left(model: str) -> None:
    guest = TimedGuest(model)
    for phase in (0, 1, (1 << guest.shift) - 1):
        for turns in (1, 15, 16, 17, 63, 64, 200):
            guest.at_phase(phase)
            guest.set(preemption_timer_value=500)
            entered = guest.tsc + 1
            assert guest.run(f"b9{turns:02x}000000ffc975fc") == 18
            left = guest.tsc - 1
            assert left - entered == 1 + 2 * turns
            counted = (left >> guest.shift) - (entered >> guest.shift)
            assert guest.get("preemption_timer_value") == 500 - max(counted, 1)


def test_it_counts_in_the_guest_alone() -> None:
    guest = TimedGuest(value=50)
    guest.at_phase(3)
    guest.memory.write(GUEST, bytes.fromhex("b91f000000ffc975fc0fa2ebf3"))  # 63 instructions and CPUID, for ever
    instruction, counted, exits = LAUNCH, 0, 0
    while True:
        entered = guest.tsc + 1
        reason = guest.enter(instruction)
        counted += max((guest.tsc - 1 >> guest.shift) - (entered >> guest.shift), reason != EXPIRED)
        assert guest.get("preemption_timer_value") == 50 - counted
        if reason == EXPIRED:
            break
        assert reason == 10
        guest.set(guest_rip=guest.get("guest_rip") + 2)
        instruction, exits = RESUME, exits + 1
        guest.machine.run("90" * (37 * exits % 200))  # the host's time does not count
    assert counted == 50 and exits >= 40


def test_without_the_exit_control_the_field_stays() -> None:
    guest = TimedGuest(value=3)
    guest.set(exit_controls=guest.get("exit_controls") & ~(1 << EXIT["save_preemption_timer"]))
    for _ in range(2):
        guest.at_phase(0)
        entered = guest.tsc + 1
        assert guest.run(SPIN) == EXPIRED
        assert guest.tsc - 1 == guest.expiry(entered, 3)
        assert guest.get("preemption_timer_value") == 3


@pytest.mark.parametrize("activity", [0, 1])
def test_a_value_of_0_exits_before_the_first_instruction(activity: int) -> None:
    guest = TimedGuest(value=0)
    guest.set(guest_activity=activity)
    entered = guest.tsc + 1
    assert guest.run("90") == EXPIRED
    assert guest.get("guest_rip") == GUEST
    assert guest.tsc - 1 == entered


@pytest.mark.parametrize("activity", [1, 2], ids=["hlt", "shutdown"])
def test_it_wakes_a_halted_guest_at_its_time(activity: int) -> None:
    guest = TimedGuest()
    for phase in (0, 77):
        guest.at_phase(phase)
        guest.set(preemption_timer_value=1000, guest_activity=activity)
        entered = guest.tsc + 1
        assert guest.run("90") == EXPIRED
        assert guest.tsc - 1 == guest.expiry(entered, 1000)
        assert guest.get("guest_activity") == activity
        assert guest.get("guest_rip") == GUEST


def test_hlt_in_the_guest_leaves_it_counting() -> None:
    guest = TimedGuest(value=1000)
    guest.at_phase(9)
    entered = guest.tsc + 1
    assert guest.run("9090f4") == EXPIRED
    assert guest.tsc - 1 == guest.expiry(entered, 1000)
    assert guest.get("guest_rip") == GUEST + 3


def test_a_guest_that_waits_for_sipi_is_left_alone() -> None:
    guest = TimedGuest(value=2)
    guest.set(guest_activity=3)
    guest.memory.write(CODE, bytes.fromhex(LAUNCH) + b"\xf4")
    guest.cpu.rip, guest.cpu.activity = CODE, 0
    assert guest.machine.engine.run(100000) == "halted"
    assert guest.cpu.activity == 3
    guest.machine.clock.advance(1000)
    guest.machine.signals[0].sipi(0x12)
    assert guest.machine.engine.run(100000) == "halted"
    assert (guest.get("exit_reason"), guest.get("exit_qualification")) == (4, 0x12)
    assert guest.get("preemption_timer_value") == 0


def test_an_entry_and_its_exit_take_one_count_at_least() -> None:
    """They take no time here; on silicon they take so much that software never sees the value it has loaded."""
    guest = TimedGuest()
    for value, saved in ((100, 99), (1, 0)):
        guest.at_phase(10)
        guest.set(preemption_timer_value=value)
        assert guest.run("90") == 18
        assert guest.get("preemption_timer_value") == saved


def test_a_guests_tsc_offset_and_ratio_have_no_part_in_it() -> None:
    guest = TimedGuest(value=10)
    guest.control(PRIMARY, "use_tsc_offsetting")
    guest.control(SECONDARY, "use_tsc_scaling")
    guest.set(tsc_offset=12345, tsc_multiplier=3 << 47)
    guest.at_phase(70)
    entered = guest.tsc + 1
    assert guest.run(SPIN) == EXPIRED
    assert guest.tsc - 1 == guest.expiry(entered, 10)


@pytest.mark.parametrize("written", [0x123456789010, 0x30, MASK - 500])
def test_a_write_of_the_tsc_is_no_increment_but_sets_the_phase(written: int) -> None:
    guest = TimedGuest(value=10)
    guest.control(PRIMARY, "use_msr_bitmaps")
    guest.memory.write(BITMAPS + 0x2000, bytes(4096))
    guest.at_phase(20)
    entered = guest.tsc + 1
    low, high = (struct.pack("<I", written >> k & 0xFFFFFFFF).hex() for k in (0, 32))
    assert guest.run(f"b910000000b8{low}ba{high}0f30{SPIN}") == EXPIRED
    assert entered % 128 == 20
    assert guest.tsc - 1 == guest.expiry(written, 10) & MASK


def test_the_host_tsc_from_the_entry_list_sets_the_phase() -> None:
    guest = TimedGuest(value=10)
    guest.set(entry_msr_load_count=1, entry_msr_load_address=GUEST_DATA)
    guest.memory.write(GUEST_DATA, struct.pack("<QQ", 0x10, 0x5000 + 100))
    assert guest.run(SPIN) == EXPIRED
    assert guest.tsc - 1 == guest.expiry(0x5000 + 100, 10)


@pytest.mark.parametrize("turns", [10, 600])
def test_it_counts_in_smm_and_expires_behind_rsm(turns: int) -> None:
    guest = TimedGuest(value=8)
    guest.at_phase(0)
    handler = f"b9{struct.pack('<H', turns).hex()}4975fd0faa"  # mov cx, turns; dec cx; jnz; rsm
    guest.memory.write(0x38000, bytes.fromhex(handler))
    guest.memory.write(CODE, bytes.fromhex(LAUNCH) + b"\xf4")
    guest.memory.write(GUEST, bytes.fromhex(SPIN))
    guest.cpu.rip, guest.cpu.activity = CODE, 0
    entered = guest.tsc + 1
    guest.machine.engine.run(10)
    assert guest.cpu.guest_mode == 2
    guest.machine.signals[0].pulse_smi()
    behind_rsm = guest.tsc + 2 + 2 * turns
    assert guest.machine.engine.run(10000) == "halted"
    assert guest.get("exit_reason") == EXPIRED
    assert guest.tsc - 1 == max(guest.expiry(entered, 8), behind_rsm)


def test_a_guest_in_shutdown_waits_for_an_nmi() -> None:
    guest = TimedGuest(value=1 << 20)
    guest.control(PIN, "nmi_exiting")
    guest.set(pin_controls=guest.get("pin_controls") & ~(1 << PIN["preemption_timer"]), guest_activity=2)
    guest.set(exit_controls=guest.get("exit_controls") & ~(1 << EXIT["save_preemption_timer"]))
    guest.memory.write(CODE, bytes.fromhex(LAUNCH) + b"\xf4")
    guest.cpu.rip, guest.cpu.activity = CODE, 0
    assert guest.machine.engine.run(1000) == "halted"
    assert guest.cpu.guest_mode == 2
    guest.machine.signals[0].pulse_nmi()
    assert guest.machine.engine.run(1000) == "halted"
    assert (guest.get("exit_reason"), guest.get("guest_activity")) == (0, 2)


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("code", [SPIN, LONG_TRACES, "f4"], ids=["short", "long", "halted"])
@pytest.mark.parametrize("value", [1, 7, 300])
def test_with_several_processors_it_expires_at_the_same_time(index: int, code: str, value: int) -> None:
    guest = TimedGuest(value=value, processors=2, index=index)
    engine, other = guest.machine.engine, guest.machine.engine.cpus[1 - index]
    guest.set(exit_msr_store_count=1, exit_msr_store_address=GUEST_DATA)
    guest.memory.write(GUEST_DATA, struct.pack("<QQ", 0x10, 0))
    guest.at_phase(33)
    guest.memory.write(HOST_LOOP, bytes.fromhex(SPIN))
    other.rip, other.activity = HOST_LOOP, 0
    other.cs.set(8, 0, 0xFFFFFFFF, 0xA09B)
    guest.memory.write(CODE, bytes.fromhex(LAUNCH) + b"\xf4")
    guest.memory.write(GUEST, bytes.fromhex(code))
    guest.cpu.rip, guest.cpu.activity = CODE, 0
    entered = guest.tsc + 1
    engine.run(4 * (value << guest.shift) + 4 * engine.quantum)
    assert guest.cpu.rip == HOST_RIP + 1
    assert guest.get("exit_reason") == EXPIRED
    assert struct.unpack("<Q", guest.memory.read(GUEST_DATA + 8, 8))[0] == guest.expiry(entered, value)
