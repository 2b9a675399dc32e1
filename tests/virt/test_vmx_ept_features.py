"""What hangs on extended page tables: levels, execution by mode, sub-pages, the log, #VE, EPTP switching, HLAT
(SDM 3C, 26.5.6, 26.5.7, 29.3; 3A, 4.5.1)."""

from __future__ import annotations

import struct

from tests.core.bare_machine import IDT, PML4
from tests.virt.vmx_guest import GUEST, GUEST_DATA, TABLES, VmxGuest
from x86emu.isa.vmx_capabilities import SECONDARY, TERTIARY

MODEL = "sapphire_rapids"
LOG, AREA, LIST, OTHER_TABLES, SUB_PAGES = 0x138000, 0x139000, 0x13A000, 0x140000, 0x150000
STORE, LOAD = "8903", "8b03"  # mov [rbx], eax; mov eax, [rbx]


def leaf(guest: VmxGuest, page: int, entry: int) -> None:
    guest.memory.write(TABLES + 0x3000 + (page >> 12) * 8, struct.pack("<Q", entry))


def leaf_of(guest: VmxGuest, page: int) -> int:
    return int.from_bytes(guest.memory.read(TABLES + 0x3000 + (page >> 12) * 8, 8), "little")


def test_five_levels() -> None:
    guest = VmxGuest(MODEL)
    guest.memory.write(OTHER_TABLES, struct.pack("<Q", TABLES | 7))
    guest.set(ept_pointer=OTHER_TABLES | 0x26)
    assert guest.run(LOAD, rbx=GUEST_DATA) == 18
    guest.memory.write(OTHER_TABLES, struct.pack("<Q", TABLES | 0x87))  # PS is reserved there
    assert guest.run(LOAD, rbx=GUEST_DATA) == 49


def test_execution_by_mode() -> None:
    guest = VmxGuest(MODEL)
    guest.control(SECONDARY, "mode_based_execute")
    # the guest's page tables map everything for users: bit 10 counts, not bit 2
    for level in range(2):
        guest.memory.write(TABLES + 0x1000 * level, struct.pack("<Q", TABLES + 0x1000 * (level + 1) | 0x407))
    guest.memory.write(TABLES + 0x2000, struct.pack("<2Q", TABLES + 0x3407, TABLES + 0x4407))
    for page in range(1024):
        guest.map_page(page << 12, page << 12, 0x403)
    assert guest.run("90") == 18
    leaf(guest, GUEST, GUEST | 0x37)
    assert guest.run("90") == 48
    # fetch; readable, writable, executable for supervisors only; linear, final; user page, writable
    assert guest.get("exit_qualification") == 4 | 7 << 3 | 0x180 | 0x600
    assert guest.get("guest_linear_address") == guest.get("guest_physical_address") == GUEST


def test_sub_page_write_permission() -> None:
    guest = VmxGuest(MODEL + ",+spp")
    guest.control(SECONDARY, "sub_page_write_permission")
    guest.set(sub_page_permission_pointer=SUB_PAGES)
    for level in range(3):
        guest.memory.write(SUB_PAGES + 0x1000 * level, struct.pack("<Q", SUB_PAGES + 0x1000 * (level + 1) | 1))
    guest.memory.write(SUB_PAGES + 0x3000 + (GUEST_DATA >> 12) * 8, struct.pack("<Q", 1 << 2 * 3))  # region 3
    leaf(guest, GUEST_DATA, GUEST_DATA | 0x35 | 1 << 61)
    assert guest.run(STORE + STORE, rbx=GUEST_DATA + 3 * 128, rax=0x77) == 18
    assert guest.memory.read(GUEST_DATA + 3 * 128, 1) == b"\x77"
    assert guest.run(STORE, rbx=GUEST_DATA + 2 * 128) == 48
    assert guest.get("exit_qualification") & 7 == 2
    assert guest.run(STORE, rbx=GUEST_DATA + 4 * 128 - 2) == 48  # reaches into the next region
    guest.memory.write(SUB_PAGES, struct.pack("<Q", 0))
    assert guest.run(STORE, rbx=GUEST_DATA + 3 * 128) == 66
    assert guest.get("exit_qualification") == 0x980 & 0x800
    guest.memory.write(SUB_PAGES, struct.pack("<Q", SUB_PAGES + 0x1000 | 3))
    assert guest.run(STORE, rbx=GUEST_DATA + 3 * 128) == 66
    assert guest.get("exit_qualification") == 0


def test_the_page_modification_log() -> None:
    guest = VmxGuest(MODEL)
    guest.set(ept_pointer=TABLES | 0x5E, pml_address=LOG, pml_index=511)
    guest.control(SECONDARY, "enable_pml")
    for page in range(1024):
        leaf(guest, page << 12, page << 12 | 0x337)  # all accessed and dirty
    leaf(guest, GUEST_DATA, GUEST_DATA | 0x37)
    assert guest.run(LOAD + STORE + STORE, rbx=GUEST_DATA + 8) == 18
    assert guest.get("pml_index") == 510
    assert struct.unpack("<Q", guest.memory.read(LOG + 511 * 8, 8)) == (GUEST_DATA,)
    assert leaf_of(guest, GUEST_DATA) & 0x300 == 0x300
    leaf(guest, GUEST_DATA, GUEST_DATA | 0x37)
    guest.set(pml_index=0xFFFF)
    assert guest.run(STORE, rbx=GUEST_DATA) == 62
    assert guest.get("guest_rip") == GUEST
    assert leaf_of(guest, GUEST_DATA) & 0x200 == 0


def virtualization_exceptions() -> VmxGuest:
    guest = VmxGuest(MODEL)
    guest.control(SECONDARY, "ept_violation_ve")
    guest.set(virtualization_exception_information=AREA, eptp_index=7)
    handler = GUEST + 0x80
    guest.memory.write(IDT + 20 * 16, struct.pack("<HHBBHII", handler & 0xFFFF, 8, 0, 0x8E, handler >> 16, 0, 0))
    guest.memory.write(handler, b"\x0f\x01\xc1")
    leaf(guest, GUEST_DATA, 0)
    return guest


def test_virtualization_exceptions() -> None:
    guest = virtualization_exceptions()
    assert guest.run(STORE, rbx=GUEST_DATA + 4) == 18
    assert guest.get("guest_rip") == GUEST + 0x80
    area = struct.unpack("<IIQQQH", guest.memory.read(AREA, 34))
    assert area == (48, 0xFFFFFFFF, 0x782, GUEST_DATA + 4, GUEST_DATA + 4, 7)
    assert guest.run(STORE, rbx=GUEST_DATA) == 48  # the area is still in use
    guest.memory.write(AREA + 4, bytes(4))
    leaf(guest, GUEST_DATA, 1 << 63)
    assert guest.run(STORE, rbx=GUEST_DATA) == 48  # suppressed
    leaf(guest, GUEST_DATA, 0)
    guest.set(exception_bitmap=1 << 20)
    assert guest.run(STORE, rbx=GUEST_DATA) == 0
    assert guest.get("exit_interruption_information") == 0x80000314


def test_eptp_switching() -> None:
    guest = VmxGuest(MODEL)
    guest.control(SECONDARY, "enable_vm_functions")
    guest.set(vm_function_controls=1, eptp_list_address=LIST)
    # a second set of tables in which GUEST_DATA is another page
    for table in range(5):
        guest.memory.write(OTHER_TABLES + 0x1000 * table, guest.memory.read(TABLES + 0x1000 * table, 4096))
    for table in range(2):
        guest.memory.write(OTHER_TABLES + 0x1000 * table, struct.pack("<Q", OTHER_TABLES + 0x1000 * (table + 1) | 7))
    guest.memory.write(OTHER_TABLES + 0x2000, struct.pack("<Q", OTHER_TABLES + 0x3000 | 7))
    guest.memory.write(OTHER_TABLES + 0x3000 + (GUEST_DATA >> 12) * 8, struct.pack("<Q", GUEST_DATA + 0x1000 | 0x37))
    guest.memory.write(LIST + 8 * 5, struct.pack("<Q", OTHER_TABLES | 0x1E))
    guest.memory.write(GUEST_DATA, b"\x11")
    guest.memory.write(GUEST_DATA + 0x1000, b"\x22")
    assert guest.run("8a13" + "0f01d4" + "8a33", rax=0, rcx=5, rbx=GUEST_DATA, rdx=0) == 18  # dl, then dh
    assert guest.cpu.rdx == 0x2211
    assert guest.get("ept_pointer") == OTHER_TABLES | 0x1E
    assert guest.get("eptp_index") == 5
    for registers in ({"rax": 0, "rcx": 512}, {"rax": 0, "rcx": 4}, {"rax": 1, "rcx": 5}):
        assert guest.run("0f01d4", **registers) == 59
        assert (guest.get("guest_rip"), guest.get("exit_instruction_length")) == (GUEST, 3)
    guest.set(exception_bitmap=1 << 6)
    assert guest.run("0f01d4", rax=64, rcx=5) == 0  # #UD


def test_hlat_translates_and_restarts() -> None:
    guest = VmxGuest(MODEL + ",+hlat")
    guest.control(TERTIARY, "enable_hlat")
    tables = OTHER_TABLES  # HLAT's own: two levels to the directory, the data's 2 MiB elsewhere
    guest.memory.write(tables, struct.pack("<Q", tables + 0x1007))
    guest.memory.write(tables + 0x1000, struct.pack("<Q", tables + 0x2007))
    guest.memory.write(tables + 0x2000, struct.pack("<2Q", 0x87, 0x000087))
    guest.set(hlat_pointer=tables, hlat_prefix_size=0)
    guest.memory.write(GUEST_DATA, b"\x5a")
    assert guest.run(LOAD, rbx=0x200000 + GUEST_DATA) == 18
    assert guest.cpu.rax & 0xFF == 0x5A
    # an entry that says restart: ordinary paging goes on from the start
    guest.memory.write(tables + 0x2000, struct.pack("<2Q", 0x87, 0x000087 | 0x800))
    guest.memory.write(0x200000 + GUEST_DATA, b"\x3c")
    assert guest.run(LOAD, rbx=0x200000 + GUEST_DATA) == 18
    assert guest.cpu.rax & 0xFF == 0x3C
    # no entry: a page fault that says so
    guest.memory.write(tables + 0x2000, struct.pack("<2Q", 0x87, 0))
    guest.set(exception_bitmap=1 << 14)
    assert guest.run(LOAD, rbx=0x200000) == 0
    assert guest.get("exit_interruption_error_code") == 0x80
    # a prefix that the address has not
    guest.set(hlat_prefix_size=16)
    assert guest.run(LOAD, rbx=0x200000 + GUEST_DATA) == 18
    assert guest.cpu.rax & 0xFF == 0x3C


def test_paging_write_and_verification() -> None:
    guest = VmxGuest(MODEL + ",+ept_paging_write")
    guest.set(ept_pointer=TABLES | 0x5E)
    leaf(guest, PML4, PML4 | 0x35)  # a paging structure that is read-only in EPT
    assert guest.run("90") == 48
    guest.control(TERTIARY, "ept_paging_write")
    leaf(guest, PML4, PML4 | 0x35 | 1 << 58)
    assert guest.run("90") == 18
    guest.control(TERTIARY, "guest_paging_verification")
    leaf(guest, GUEST_DATA, GUEST_DATA | 0x37 | 1 << 57)
    assert guest.run(LOAD, rbx=GUEST_DATA) == 48
    assert guest.get("exit_qualification") >> 15 & 1
    for page in (0x2000, 0x3000):
        leaf(guest, page, page | 0x37 | 1 << 58)
    assert guest.run(LOAD, rbx=GUEST_DATA) == 18
