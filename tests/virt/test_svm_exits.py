"""Each kind of exit once: code, EXITINFO, guest RIP and next RIP (AMD APM volume 2, 15.6 to 15.14, appendix C)."""

from __future__ import annotations

import pytest

from tests.virt.svm_guest import GUEST, GUEST_DATA, IO_MAP, MSR_MAP, SvmGuest
from x86emu.virt.svm.exits import BY_NAME

VMMCALL = 0x81

# exit | guest code before the instruction | the instruction | EXITINFO1 | EXITINFO2
BIT_EXITS = [
    ("IDTR_READ", "", "0f010c2500001300", 0, 0),
    ("GDTR_READ", "", "0f01042500001300", 0, 0),
    ("LDTR_READ", "", "0f00c0", 0, 0),
    ("TR_READ", "", "0f00c8", 0, 0),
    ("IDTR_WRITE", "", "0f011c2500001300", 0, 0),
    ("GDTR_WRITE", "", "0f01142500001300", 0, 0),
    ("LDTR_WRITE", "", "0f00d0", 0, 0),
    ("TR_WRITE", "", "0f00d8", 0, 0),
    ("RDTSC", "", "0f31", 0, 0),
    ("RDPMC", "", "0f33", 0, 0),
    ("PUSHF", "", "9c", 0, 0),
    ("POPF", "", "9d", 0, 0),
    ("CPUID", "", "0fa2", 0, 0),
    ("RSM", "", "0faa", 0, 0),
    ("IRET", "", "48cf", 0, 0),
    ("SWINT", "", "cd42", 0x42, 0),
    ("INVD", "", "0f08", 0, 0),
    ("PAUSE", "", "f390", 0, 0),
    ("HLT", "", "f4", 0, 0),
    ("INVLPG", "48b80050000000000000", "0f013c0500100000", 0x6000, 0),
    ("INVLPGA", "", "0f01df", 0, 0),
    ("VMRUN", "", "0f01d8", 0, 0),
    ("VMMCALL", "", "0f01d9", 0, 0),
    ("VMLOAD", "", "0f01da", 0, 0),
    ("VMSAVE", "", "0f01db", 0, 0),
    ("STGI", "", "0f01dc", 0, 0),
    ("CLGI", "", "0f01dd", 0, 0),
    ("RDTSCP", "", "0f01f9", 0, 0),
    ("ICEBP", "", "f1", 0, 0),
    ("WBINVD", "", "0f09", 0, 0),
    ("MONITOR", "", "0f01c8", 0, 0),
    ("MWAIT", "", "0f01c9", 0, 0),
    ("XSETBV", "0f20e00d000004000f22e0", "0f01d1", 0, 0),
    ("INVPCID", "b802000000", "660f3882042500001300", GUEST_DATA, 2),
    ("INVLPGB", "31c031c931d2", "0f01fe", 0, 0),
    ("TLBSYNC", "", "0f01ff", 0, 0),
    ("CR0_READ", "", "0f20c3", 1 << 63 | 3, 0),
    ("CR3_READ", "", "410f20d8", 1 << 63 | 8, 0),
    ("CR4_READ", "", "0f20e1", 1 << 63 | 1, 0),
    ("CR8_READ", "", "440f20c2", 1 << 63 | 2, 0),
    ("CR0_WRITE", "0f20c0", "0f22c0", 1 << 63, 0),
    ("CR3_WRITE", "0f20d8", "0f22d8", 1 << 63, 0),
    ("CR4_WRITE", "0f20e6", "0f22e6", 1 << 63 | 6, 0),
    ("CR8_WRITE", "", "440f22c7", 1 << 63 | 7, 0),
    ("DR0_READ", "", "0f21c3", 3, 0),
    ("DR7_WRITE", "", "0f23f9", 1, 0),
    ("DR6_READ", "", "0f21f2", 2, 0),
    ("DR3_WRITE", "", "410f23d9", 9, 0),
]


def with_intercept(guest: SvmGuest, name: str) -> None:
    exit_ = BY_NAME[name]
    word = int.from_bytes(guest.memory.read(0x100000 + 4 * exit_.word, 4), "little") | 1 << exit_.bit
    guest.memory.write(0x100000 + 4 * exit_.word, word.to_bytes(4, "little"))


@pytest.mark.parametrize(("name", "before", "code", "info1", "info2"), BIT_EXITS, ids=[row[0] for row in BIT_EXITS])
def test_instruction_exit(name: str, before: str, code: str, info1: int, info2: int) -> None:
    guest = SvmGuest()
    with_intercept(guest, name)
    # Flags set before must be saved as they are, though nothing in the guest reads them.
    assert guest.run("f9" + before + code) == BY_NAME[name].code
    at = GUEST + 1 + len(before) // 2
    assert guest.get("rip") == at
    assert guest.get("nrip") == at + len(code) // 2
    assert (guest.get("exitinfo1"), guest.get("exitinfo2")) == (info1, info2)
    if not before:
        assert guest.get("rflags") & 1
    assert guest.get("exitintinfo") == 0
    assert guest.cpu.gif == 0


@pytest.mark.parametrize(
    ("name", "code"),
    [(row[0], row[1] + row[2]) for row in BIT_EXITS if row[0] in ("RDTSC", "CPUID", "PUSHF", "CR0_READ", "CR3_WRITE")],
)
def test_not_intercepted(name: str, code: str) -> None:
    guest = SvmGuest()
    assert guest.run(code) == VMMCALL


def test_selective_cr0_write() -> None:
    guest = SvmGuest()
    with_intercept(guest, "CR0_SEL_WRITE")
    assert guest.run("0f20c083f0080f22c00f20c00d000000400f22c0") == 0x65  # TS: passes; CD: exits
    assert guest.get("rip") == GUEST + 9 + 3 + 5
    guest = SvmGuest()
    with_intercept(guest, "CR0_SEL_WRITE")
    assert guest.run("0f06" + "0f01f0") == 0x65  # CLTS passes, LMSW exits whatever it changes
    assert guest.get("rip") == GUEST + 2


@pytest.mark.parametrize(
    ("code", "port", "info"),
    [
        ("ec", 0x3F8, 0x211), ("66ed", 0x3F8, 0x221), ("ed", 0x3F8, 0x241), ("ee", 0x3F8, 0x210),
        ("66ef", 0x3F8, 0x220),
        ("ef", 0x3F8, 0x240), ("6c", 0x3F8, 0x215), ("f36d", 0x3F8, 0x24D), ("f36e", 0x3F8, 0x21C | 3 << 10),
        ("e460", 0x60, 0x211),
    ],
)  # fmt: skip
def test_port_exit(code: str, port: int, info: int) -> None:
    guest = SvmGuest()
    with_intercept(guest, "IOIO")
    guest.memory.write(IO_MAP + port // 8, bytes([1 << port % 8]))
    before = "baf8030000" + "b902000000"
    assert guest.run(before + code) == 0x7B
    assert guest.get("exitinfo1") == info | port << 16
    assert guest.get("exitinfo2") == GUEST + 10 + len(code) // 2
    assert guest.get("rip") == GUEST + 10


def test_port_map_lets_pass() -> None:
    guest = SvmGuest()
    with_intercept(guest, "IOIO")
    guest.memory.write(IO_MAP + 0x3F9 // 8, bytes([2]))
    assert guest.run("baf8030000ec") == VMMCALL
    assert guest.run("baf803000066ed") == 0x7B  # a word reaches into the next port
    assert guest.run("baf8030000b900000000f36c") == VMMCALL  # no iteration, no access


@pytest.mark.parametrize(
    ("msr", "bit"),
    [(0x174, 0x174 * 2), (0xC0000080, 0x4000 + 0x80 * 2), (0xC0010114, 0x8000 + 0x114 * 2)],
)
def test_msr_exit(msr: int, bit: int) -> None:
    guest = SvmGuest()
    with_intercept(guest, "MSR")
    load = "b9" + msr.to_bytes(4, "little").hex()
    assert guest.run(load + "0f32") == VMMCALL
    guest.memory.write(MSR_MAP + bit // 8, bytes([1 << bit % 8]))
    assert (guest.run(load + "0f32"), guest.get("exitinfo1")) == (0x7C, 0)
    guest.memory.write(MSR_MAP + bit // 8, bytes([2 << bit % 8]))
    assert (guest.run(load + "0f30"), guest.get("exitinfo1")) == (0x7C, 1)
    assert guest.get("nrip") == GUEST + 7


def test_msr_outside_the_map_exits() -> None:
    guest = SvmGuest()
    with_intercept(guest, "MSR")
    assert guest.run("b900000040" + "0f32") == 0x7C


@pytest.mark.parametrize(
    ("vector", "code", "info1", "info2"),  # the guest's page tables end at 4 MiB
    [
        (0, "31c9f7f1", 0, 0), (3, "cc", 0, 0), (6, "0f0b", 0, 0), (13, "b8ffff00008ed8", 0xFFFC, 0),
        (14, "8b042500005010", 0, 0x10500000), (1, "f1", 0, 0),
    ],
)  # fmt: skip
def test_exception_exit(vector: int, code: str, info1: int, info2: int) -> None:
    guest = SvmGuest()
    guest.set(intercept_exceptions=1 << vector)
    assert guest.run(code) == 0x40 + vector
    assert (guest.get("exitinfo1"), guest.get("exitinfo2")) == (info1, info2)


def test_intercepted_page_fault_leaves_cr2() -> None:
    guest = SvmGuest()
    guest.set(intercept_exceptions=1 << 14, cr2=0x1234)
    assert guest.run("c6042500005010ff") == 0x4E
    assert guest.get("cr2") == 0x1234
    assert (guest.get("exitinfo1"), guest.get("exitinfo2")) == (2, 0x10500000)
    assert guest.get("bytes_fetched") == 15
    assert guest.get("instruction_bytes").to_bytes(15, "little")[:8].hex() == "c6042500005010ff"


def test_shutdown_exit() -> None:
    guest = SvmGuest()
    guest.set(intercept_misc1=1 << 31)
    guest.memory.write(0x100000 + 0x484, bytes(4))  # IDTR limit 0
    assert guest.run("0f0b") == 0x7F


def test_nested_exception_tells_what_was_delivered() -> None:
    guest = SvmGuest()
    guest.set(intercept_exceptions=1 << 13)
    guest.memory.write(0x100000 + 0x484, (6 * 16 - 1).to_bytes(4, "little"))  # no room for vector 6
    assert guest.run("0f0b") == 0x4D
    assert guest.get("exitinfo1") == 6 * 8 + 2 + 1
    assert guest.get("exitintinfo") == 0x80000306
    assert guest.get("rip") == GUEST


class TestNestedPaging:
    def test_not_present(self) -> None:
        guest = SvmGuest()
        guest.map_page(GUEST_DATA, 0, 0)
        assert guest.run("8b042508001300") == 0x400
        assert guest.get("exitinfo1") == 1 << 32 | 4
        assert guest.get("exitinfo2") == GUEST_DATA + 8
        assert guest.get("rip") == GUEST
        assert guest.get("instruction_bytes").to_bytes(15, "little")[:7].hex() == "8b042508001300"

    def test_write_to_read_only(self) -> None:
        guest = SvmGuest()
        guest.map_page(GUEST_DATA, GUEST_DATA, 5)
        assert guest.run("8b042508001300890425100013" + "00") == 0x400
        assert guest.get("exitinfo1") == 1 << 32 | 7
        assert guest.get("exitinfo2") == GUEST_DATA + 0x10

    def test_supervisor_nested_page(self) -> None:
        guest = SvmGuest()
        guest.map_page(GUEST_DATA, GUEST_DATA, 3)
        assert guest.run("8b042508001300") == 0x400
        assert guest.get("exitinfo1") == 1 << 32 | 5

    def test_no_execute(self) -> None:
        guest = SvmGuest()
        guest.map_page(GUEST_DATA, GUEST_DATA, 7 | 1 << 63)
        assert guest.run("b800001300ffe0") == 0x400
        assert guest.get("exitinfo1") == 1 << 32 | 0x15
        assert guest.get("exitinfo2") == GUEST_DATA
        assert guest.get("rip") == GUEST_DATA

    def test_reserved_bit(self) -> None:
        guest = SvmGuest()
        guest.map_page(GUEST_DATA, GUEST_DATA, 7 | 1 << 51)
        assert guest.run("8b042508001300") == 0x400
        assert guest.get("exitinfo1") == 1 << 32 | 0xD

    def test_table_walk_counts_as_a_write(self) -> None:
        guest = SvmGuest()
        guest.map_page(0x1000, 0x1000, 5)  # the guest's PML4
        assert guest.run("90") == 0x400
        assert guest.get("exitinfo1") == 1 << 33 | 7
        assert guest.get("exitinfo2") == 0x1000

    def test_accessed_and_dirty(self) -> None:
        guest = SvmGuest()
        entry = 0x110000 + 0x3000 + (GUEST_DATA >> 12) * 8
        assert guest.run("8b042508001300") == VMMCALL
        assert guest.memory.read(entry, 1)[0] == 0x27
        assert guest.run("890425080013" + "00") == VMMCALL
        assert guest.memory.read(entry, 1)[0] == 0x67

    def test_moved_page_after_flush(self) -> None:
        guest = SvmGuest()
        guest.memory.write(GUEST_DATA, b"\x11")
        guest.memory.write(GUEST_DATA + 0x1000, b"\x22")
        code = "8a0425000013" + "00"
        guest.run(code)
        assert guest.get("rax") & 0xFF == 0x11
        guest.map_page(GUEST_DATA, GUEST_DATA + 0x1000)
        guest.set(tlb_control=3, rip=GUEST)
        guest.run(code)
        assert guest.get("rax") & 0xFF == 0x22
        assert guest.memory.read(GUEST_DATA, 1) == b"\x11"

    def test_asids_keep_translations_apart(self) -> None:
        guest = SvmGuest()
        guest.memory.write(GUEST_DATA, b"\x11")
        guest.memory.write(GUEST_DATA + 0x1000, b"\x22")
        code = "8a0425000013" + "00"
        guest.run(code)
        guest.map_page(GUEST_DATA, GUEST_DATA + 0x1000)
        guest.set(guest_asid=2, rip=GUEST)
        guest.run(code)
        assert guest.get("rax") & 0xFF == 0x22
