"""The ACPI tables of the i440FX PC and the commands by which the firmware puts them in place.

Tables: ACPI Specification 6.4, section 5.2 (RSDP 5.2.5, RSDT 5.2.7, XSDT 5.2.8, FADT 5.2.9, FACS 5.2.10, MADT 5.2.12)
and the HPET Specification 1.0a section 3.2.4.  Loader: QEMU's interface of files etc/acpi/tables, etc/acpi/rsdp and
etc/table-loader, commands of 128 bytes.  Departures: the FADT is revision 3 (ACPI 2.0), which every system since 2001
reads and which needs no reset register; the DSDT is revision 1, so integers are 32 bits wide for old interpreters.

The numbers are those of the board: PM base 600h and SCI 9 (82371AB), PIRQ route registers 60h-63h of function 1.0
(82371SB datasheet 2.2.6), I/O APIC 0 at FEC00000h whose pins equal the ISA lines but for the timer on pin 2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from x86emu.machine import aml

OEM_ID = b"X86EMU"
OEM_TABLE_ID = b"X86EMUPC"
CREATOR_ID = b"X86E"

PM_BASE = 0x600
PM1_EVENT, PM1_CONTROL, PM_TIMER, GPE0 = PM_BASE, PM_BASE + 4, PM_BASE + 8, PM_BASE + 0xC
SCI = 9
SMI_COMMAND_PORT = 0xB2
ACPI_ENABLE, ACPI_DISABLE = 0xF1, 0xF0
IO_APIC_BASE = 0xFEC0_0000
LOCAL_APIC_BASE = 0xFEE0_0000
HPET_BASE = 0xFED0_0000
HPET_BLOCK_ID = 0x8086_A201
LEVEL_LINES = (5, 9, 10, 11)  # ISA lines that PCI interrupts and the SCI are routed to
PCI_HOLE_END = 0xFEBF_FFFF

TABLES_FILE = "etc/acpi/tables"
RSDP_FILE = "etc/acpi/rsdp"
LOADER_FILE = "etc/table-loader"

# Sleep types that the 82371AB understands in PM1_CNT bits 12:10 (datasheet 7.2.2).
SLEEP_TYPES = {3: 1, 4: 2, 5: 0}


@dataclass(frozen=True)
class AcpiConfig:
    """What the tables depend on.  ``processors`` are local APIC ids in order; memory is in bytes."""

    processors: tuple[int, ...] = (0,)
    memory_below_4g: int = 256 << 20
    apic: bool = True
    hpet: bool = True
    sleep_states: tuple[int, ...] = (3, 5)
    gpe0_port: int = GPE0
    irq0_override: bool = True
    serial_ports: int = 1


def sdt(signature: bytes, revision: int, body: bytes) -> bytes:
    """A system description table: header of 36 bytes (5.2.6) with the checksum left 0 for the loader."""
    return (
        struct.pack("<4sIBB6s8sI4sI", signature, 36 + len(body), revision, 0, OEM_ID, OEM_TABLE_ID, 1, CREATOR_ID, 1)
        + body
    )


def generic_address(port: int, bits: int) -> bytes:
    """Generic Address Structure of an I/O port (5.2.3.2), byte-count access size; port 0 is "none"."""
    if port == 0:
        return bytes(12)
    return struct.pack("<BBBBQ", 1, bits, 0, {8: 1, 16: 2, 32: 3}[bits], port)


def facs() -> bytes:
    return struct.pack("<4sIIIIIQB31x", b"FACS", 64, 0, 0, 0, 0, 0, 1)


def fadt(config: AcpiConfig) -> bytes:
    """Fixed description table, revision 3, 244 bytes.  FACS and DSDT pointers are 0 for the loader to fill."""
    # WBINVD works; HLT on every processor; no fixed sleep button.  Not TMR_VAL_EXT: the timer has 24 bits.
    flags = 1 << 0 | 1 << 2 | 1 << 5
    legacy_devices, keyboard_controller = 1 << 0, 1 << 1
    body = struct.pack(
        "<IIBBHIBBBB",
        0, 0,                       # FACS, DSDT: offsets 36, 40
        0, 0,                       # reserved, preferred profile: unspecified
        SCI, SMI_COMMAND_PORT, ACPI_ENABLE, ACPI_DISABLE, 0, 0,
    )  # fmt: skip
    body += struct.pack("<IIIIIIII", PM1_EVENT, 0, PM1_CONTROL, 0, 0, PM_TIMER, config.gpe0_port, 0)
    body += struct.pack(
        "<BBBBBBBBHHHHBBBBBHBI",
        4, 2, 0, 4, 4, 0, 0, 0,     # lengths: PM1 event and control, PM2, timer, GPE0, GPE1; GPE1 base; C-states
        0xFFF, 0xFFF,               # no C2, no C3
        0, 0, 0, 0,                 # flush size and stride, duty offset and width
        0, 0, 0x32,                 # no day or month alarm; the century is in CMOS byte 32h
        legacy_devices | keyboard_controller, 0, flags,
    )  # fmt: skip
    body += generic_address(0, 8) + bytes([0]) + bytes(3)  # no reset register
    body += bytes(16)  # X_FIRMWARE_CTRL and X_DSDT: the 32-bit pointers are used
    body += generic_address(PM1_EVENT, 32) + generic_address(0, 32)
    body += generic_address(PM1_CONTROL, 16) + generic_address(0, 16)
    body += generic_address(0, 8)
    body += generic_address(PM_TIMER, 32)
    body += generic_address(config.gpe0_port, 32) + generic_address(0, 8)
    return sdt(b"FACP", 3, body)


def madt(config: AcpiConfig) -> bytes:
    """Interrupt controllers: local APICs, one I/O APIC, overrides for the timer and the level lines, LINT1 as NMI."""
    body = struct.pack("<II", LOCAL_APIC_BASE, 1)  # PCAT_COMPAT: there is an 8259 pair as well
    for uid, apic_id in enumerate(config.processors):
        if apic_id < 0xFF:
            body += struct.pack("<BBBBI", 0, 8, uid & 0xFF, apic_id, 1)
        else:
            body += struct.pack("<BBHIII", 9, 16, 0, apic_id, 1, uid)
    body += struct.pack("<BBBBII", 1, 12, 0, 0, IO_APIC_BASE, 0)
    if config.irq0_override:
        body += struct.pack("<BBBBIH", 2, 10, 0, 0, 2, 0)
    active_high_level = 0b1101
    for line in LEVEL_LINES:
        body += struct.pack("<BBBBIH", 2, 10, 0, line, line, active_high_level)
    body += struct.pack("<BBBHB", 4, 6, 0xFF, 0, 1)
    return sdt(b"APIC", 3, body)


def hpet() -> bytes:
    base = struct.pack("<BBBBQ", 0, 64, 0, 0, HPET_BASE)
    return sdt(b"HPET", 1, struct.pack("<I", HPET_BLOCK_ID) + base + struct.pack("<BHB", 0, 100, 0))


# The differentiated definition block.


def _link_device(letter: str, uid: int) -> bytes:
    """Interrupt link device over one PIRQ route register: bit 7 disables, bits 3:0 are the ISA line."""
    register = aml.name_string(f"\\_SB.PCI0.ISA.PRQ{letter}")
    fixed = aml.resource_template(aml.interrupt(0))
    gsi_offset = 5  # of the interrupt number inside the template's first descriptor
    return aml.device(
        f"LNK{letter}",
        aml.name("_HID", aml.eisa_id("PNP0C0F")),
        aml.name("_UID", aml.integer(uid)),
        aml.name("_PRS", aml.resource_template(aml.interrupt(5, 10, 11))),
        aml.method(
            "_STA", 0,
            aml.if_(aml.and_(register, aml.integer(0x80)), aml.return_(aml.integer(0x09))),
            aml.return_(aml.integer(0x0B)),
        ),
        aml.method("_DIS", 0, aml.or_(register, aml.integer(0x80), register)),
        aml.method(
            "_CRS", 0,
            aml.name("RESS", fixed),
            aml.create_dword_field(aml.name_string("RESS"), gsi_offset, "GSI"),
            aml.store(aml.and_(register, aml.integer(0x0F)), aml.name_string("GSI")),
            aml.if_(aml.and_(register, aml.integer(0x80)), aml.store(aml.ZERO_OP, aml.name_string("GSI"))),
            aml.return_(aml.name_string("RESS")),
            serialized=True,
        ),
        aml.method(
            "_SRS", 1,
            aml.create_dword_field(aml.ARG0, gsi_offset, "GSI"),
            aml.store(aml.name_string("GSI"), register),
        ),
    )  # fmt: skip


def _system_control_link() -> bytes:
    """The SCI as a link device: fixed to line 9, for systems that look it up by the _PRT."""
    resource = aml.resource_template(aml.interrupt(SCI))
    return aml.device(
        "LNKS",
        aml.name("_HID", aml.eisa_id("PNP0C0F")),
        aml.name("_UID", aml.integer(4)),
        aml.name("_PRS", resource),
        aml.name("_CRS", resource),
        aml.method("_STA", 0, aml.return_(aml.integer(0x0B))),
        aml.method("_DIS", 0),
        aml.method("_SRS", 1),
    )


def interrupt_routing() -> bytes:
    """_PRT: pin p of slot s reaches PIRQ (s - 1 + p) mod 4; the PM function of slot 1 is wired to the SCI."""
    entries = []
    for slot in range(1, 32):
        for pin in range(4):
            link = "LNKS" if (slot, pin) == (1, 0) else "LNK" + "ABCD"[(slot - 1 + pin) % 4]
            entries.append(
                aml.package(aml.integer(slot << 16 | 0xFFFF), aml.integer(pin), aml.name_string(link), aml.ZERO_OP)
            )
    return aml.name("_PRT", aml.package(*entries))


def _isa_device(path: str, pnp: str, *resources: bytes, uid: int | None = None) -> bytes:
    terms = [aml.name("_HID", aml.eisa_id(pnp))]
    if uid is not None:
        terms.append(aml.name("_UID", aml.integer(uid)))
    terms.append(aml.name("_STA", aml.integer(0x0F)))
    terms.append(aml.name("_CRS", aml.resource_template(*resources)))
    return aml.device(path, *terms)


SERIAL_PORTS = ((0x3F8, 4), (0x2F8, 3), (0x3E8, 4), (0x2E8, 3))


def _isa_bridge(config: AcpiConfig) -> bytes:
    serial_ports = (
        _isa_device(f"COM{uid}", "PNP0501", aml.io(base, 8, 8), aml.irq_no_flags(irq), uid=uid)
        for uid, (base, irq) in enumerate(SERIAL_PORTS[: config.serial_ports], 1)
    )
    return aml.device(
        "ISA",
        aml.name("_ADR", aml.integer(1 << 16)),
        aml.operation_region("PIRQ", aml.PCI_CONFIG, 0x60, 4),
        aml.field("PIRQ", aml.BYTE_ACCESS, *((f"PRQ{letter}", 8) for letter in "ABCD")),
        _isa_device("RTC", "PNP0B00", aml.io(0x70, 8, 0x10), aml.irq_no_flags(8)),
        _isa_device("KBD", "PNP0303", aml.io(0x60, 1), aml.io(0x64, 1), aml.irq_no_flags(1)),
        _isa_device("MOU", "PNP0F13", aml.irq_no_flags(12)),
        *serial_ports,
        _isa_device("LPT1", "PNP0400", aml.io(0x378, 3), aml.irq_no_flags(7), uid=1),
        _isa_device("DMAC", "PNP0200", aml.io(0, 16), aml.io(0x81, 15), aml.io(0xC0, 32), aml.dma(4)),
        _isa_device("FDC0", "PNP0700", aml.io(0x3F2, 4), aml.io(0x3F7, 1), aml.irq_no_flags(6), aml.dma(2)),
        _isa_device("TIMR", "PNP0100", aml.io(0x40, 4)),
        _isa_device("SPKR", "PNP0800", aml.io(0x61, 1)),
        _isa_device("FPU", "PNP0C04", aml.io(0xF0, 16), aml.irq_no_flags(13)),
        # Motherboard resources: debug console, ELCR, APM, fw_cfg, PM block, SMBus block.
        _isa_device(
            "MBRD", "PNP0C02",
            aml.io(0x402, 1), aml.io(0x4D0, 2), aml.io(0xB2, 2), aml.io(0x92, 1),
            aml.io(PM_BASE, 0x40), aml.io(0x700, 0x10), uid=1,
        ),
        aml.device(
            "FWCF",
            aml.name("_HID", aml.string("QEMU0002")),
            aml.name("_STA", aml.integer(0x0B)),
            aml.name("_CRS", aml.resource_template(aml.io(0x510, 12))),
        ),
    )  # fmt: skip


def _pci_root(config: AcpiConfig) -> bytes:
    first = 0x8000_0000
    for boundary in (0x8000_0000, 0xC000_0000):
        # The firmware gives out addresses from the first of these that lies above memory.
        if config.memory_below_4g > boundary:
            first = 0xC000_0000 if boundary == 0x8000_0000 else 0xE000_0000
    windows = aml.resource_template(
        aml.word_bus_number(0, 0xFF),
        aml.io(0xCF8, 8),
        aml.word_io(0x0000, 0x0CF7),
        aml.word_io(0x0D00, 0xFFFF),
        aml.dword_memory(0xA_0000, 0xB_FFFF, cacheable=True),
        aml.dword_memory(first, PCI_HOLE_END),
    )
    return aml.device(
        "PCI0",
        aml.name("_HID", aml.eisa_id("PNP0A03")),
        aml.name("_ADR", aml.ZERO_OP),
        aml.name("_UID", aml.ZERO_OP),
        aml.name("_CRS", windows),
        interrupt_routing(),
        _isa_bridge(config),
    )


def _hpet_device() -> bytes:
    return aml.device(
        "HPET",
        aml.name("_HID", aml.eisa_id("PNP0103")),
        aml.name("_UID", aml.ZERO_OP),
        aml.name("_STA", aml.integer(0x0F)),
        aml.name("_CRS", aml.resource_template(aml.memory32_fixed(HPET_BASE, 0x400, writable=False))),
    )


def dsdt(config: AcpiConfig) -> bytes:
    """The DSDT: PCI root with ISA bridge, link devices, HPET, processors, sleep states, PIC/APIC mode method."""
    links = aml.scope(
        "\\_SB",
        *(_link_device(letter, uid) for uid, letter in enumerate("ABCD")),
        _system_control_link(),
    )
    processors = aml.scope(
        "\\_SB", *(aml.processor(f"C{uid:03X}", uid & 0xFF) for uid in range(len(config.processors)))
    )
    sleep = b"".join(
        aml.name(f"\\_S{state}", aml.package(*(aml.integer(SLEEP_TYPES[state]),) * 2, aml.ZERO_OP, aml.ZERO_OP))
        for state in config.sleep_states
    )
    root = aml.scope("\\_SB", _pci_root(config), *([_hpet_device()] if config.hpet else []))
    return sdt(b"DSDT", 1, root + links + processors + sleep)


# The loader.

COMMAND_BYTES = 128
COMMAND_ALLOCATE, COMMAND_ADD_POINTER, COMMAND_ADD_CHECKSUM = 1, 2, 3
ZONE_HIGH, ZONE_F_SEGMENT = 1, 2


@dataclass
class TableLoader:
    """Builds etc/table-loader: a list of commands that the firmware executes in order."""

    commands: list[bytes] = field(default_factory=list)

    def _add(self, command: int, body: bytes) -> None:
        self.commands.append((struct.pack("<I", command) + body).ljust(COMMAND_BYTES, b"\0"))

    def allocate(self, file: str, alignment: int, zone: int) -> None:
        self._add(COMMAND_ALLOCATE, struct.pack("<56sIB", file.encode(), alignment, zone))

    def add_pointer(self, pointer_file: str, pointee_file: str, offset: int, size: int) -> None:
        """Adds the address of ``pointee_file`` to the little-endian integer at ``offset`` of ``pointer_file``."""
        self._add(
            COMMAND_ADD_POINTER, struct.pack("<56s56sIB", pointer_file.encode(), pointee_file.encode(), offset, size)
        )

    def add_checksum(self, file: str, checksum_offset: int, start: int, length: int) -> None:
        self._add(COMMAND_ADD_CHECKSUM, struct.pack("<56sIII", file.encode(), checksum_offset, start, length))

    def bytes(self) -> bytes:
        return b"".join(self.commands)


def build(config: AcpiConfig) -> dict[str, bytes]:
    """The three files: etc/acpi/tables (all tables), etc/acpi/rsdp and etc/table-loader."""
    loader = TableLoader()
    loader.allocate(RSDP_FILE, 16, ZONE_F_SEGMENT)
    loader.allocate(TABLES_FILE, 64, ZONE_HIGH)
    blob = bytearray()

    def place(table: bytes, *, checksum: bool = True) -> int:
        offset = len(blob)
        blob.extend(table)
        if checksum:
            loader.add_checksum(TABLES_FILE, offset + 9, offset, len(table))
        return offset

    def point(at: int, size: int, target: int) -> None:
        blob[at : at + size] = target.to_bytes(size, "little")
        loader.add_pointer(TABLES_FILE, TABLES_FILE, at, size)

    facs_at = place(facs(), checksum=False)
    dsdt_at = place(dsdt(config))
    # Checksums are the last thing done to a table: they must cover the pointers that the firmware has filled in.
    fadt_at = place(fadt(config), checksum=False)
    point(fadt_at + 36, 4, facs_at)
    point(fadt_at + 40, 4, dsdt_at)
    loader.add_checksum(TABLES_FILE, fadt_at + 9, fadt_at, len(blob) - fadt_at)
    listed = [fadt_at]
    if config.apic:
        listed.append(place(madt(config)))
    if config.hpet:
        listed.append(place(hpet()))
    roots = {}
    for signature, size in ((b"RSDT", 4), (b"XSDT", 8)):
        table = sdt(signature, 1, bytes(size * len(listed)))
        at = roots[signature] = place(table, checksum=False)
        for index, target in enumerate(listed):
            point(at + 36 + size * index, size, target)
        loader.add_checksum(TABLES_FILE, at + 9, at, len(table))

    rsdp = struct.pack("<8sB6sBIIQB3x", b"RSD PTR ", 0, OEM_ID, 2, roots[b"RSDT"], 36, roots[b"XSDT"], 0)
    loader.add_pointer(RSDP_FILE, TABLES_FILE, 16, 4)
    loader.add_pointer(RSDP_FILE, TABLES_FILE, 24, 8)
    loader.add_checksum(RSDP_FILE, 8, 0, 20)
    loader.add_checksum(RSDP_FILE, 32, 0, 36)
    return {TABLES_FILE: bytes(blob), RSDP_FILE: rsdp, LOADER_FILE: loader.bytes()}


def system_states(config: AcpiConfig) -> bytes:
    """The file etc/system-states: for S0..S5 bit 7 "supported" and the sleep type."""
    states = bytearray(6)
    states[0] = 0x80
    for state in config.sleep_states:
        states[state] = 0x80 | SLEEP_TYPES[state]
    return bytes(states)
