"""The ACPI tables: put in place by a small interpreter of the loader's commands, then read back field by field."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from x86emu.machine import acpi, aml
from x86emu.machine.acpi import AcpiConfig

CONFIG = AcpiConfig(processors=(0, 1, 2, 3))


def load(files: dict[str, bytes]) -> tuple[bytearray, dict[str, int]]:
    """Does what firmware does with etc/table-loader; returns memory and where each file went."""
    memory = bytearray(1 << 20)
    at: dict[str, int] = {}
    free = 0x10000
    commands = files[acpi.LOADER_FILE]
    assert len(commands) % acpi.COMMAND_BYTES == 0
    for start in range(0, len(commands), acpi.COMMAND_BYTES):
        (command,) = struct.unpack_from("<I", commands, start)
        body = commands[start + 4 : start + acpi.COMMAND_BYTES]

        def text(offset: int, body: bytes = body) -> str:
            return body[offset : offset + 56].rstrip(b"\0").decode()

        if command == acpi.COMMAND_ALLOCATE:
            alignment, _zone = struct.unpack_from("<IB", body, 56)
            free = (free + alignment - 1) & -alignment
            at[text(0)] = free
            data = files[text(0)]
            memory[free : free + len(data)] = data
            free += len(data)
        elif command == acpi.COMMAND_ADD_POINTER:
            offset, size = struct.unpack_from("<IB", body, 112)
            where = at[text(0)] + offset
            value = int.from_bytes(memory[where : where + size], "little") + at[text(56)]
            memory[where : where + size] = value.to_bytes(size, "little")
        else:
            assert command == acpi.COMMAND_ADD_CHECKSUM
            checksum, first, length = struct.unpack_from("<III", body, 56)
            base = at[text(0)]
            memory[base + checksum] = -sum(memory[base + first : base + first + length]) & 0xFF
    return memory, at


def tables(config: AcpiConfig) -> dict[bytes, bytes]:
    memory, at = load(acpi.build(config))
    rsdp = memory[at[acpi.RSDP_FILE] :][:36]
    assert rsdp[:8] == b"RSD PTR " and sum(rsdp[:20]) & 0xFF == 0 and sum(rsdp) & 0xFF == 0
    rsdt_at, length, xsdt_at = struct.unpack_from("<IIQ", rsdp, 16)
    assert length == 36

    def table(address: int) -> bytes:
        size = struct.unpack_from("<I", memory, address + 4)[0]
        return bytes(memory[address : address + size])

    found = {}
    rsdt, xsdt = table(rsdt_at), table(xsdt_at)
    assert [x for (x,) in struct.iter_unpack("<I", rsdt[36:])] == [x for (x,) in struct.iter_unpack("<Q", xsdt[36:])]
    for entry in (rsdt, xsdt, *(table(x) for (x,) in struct.iter_unpack("<I", rsdt[36:]))):
        found[entry[:4]] = entry
    facs_at, dsdt_at = struct.unpack_from("<II", found[b"FACP"], 36)
    found[b"DSDT"] = table(dsdt_at)
    for entry in found.values():
        assert sum(entry) & 0xFF == 0, entry[:4]
    found[b"FACS"] = table(facs_at)
    assert facs_at % 64 == 0
    return found


def test_every_table_is_found_and_sums_to_zero() -> None:
    found = tables(CONFIG)
    assert set(found) == {b"RSDT", b"XSDT", b"FACP", b"APIC", b"HPET", b"DSDT", b"FACS"}
    assert b"HPET" not in tables(AcpiConfig(hpet=False))
    assert b"APIC" not in tables(AcpiConfig(apic=False))


def test_fadt_names_the_board() -> None:
    fadt = tables(CONFIG)[b"FACP"]
    assert (len(fadt), fadt[8]) == (244, 3)
    assert struct.unpack_from("<HI", fadt, 46) == (9, 0xB2)
    assert struct.unpack_from("<I", fadt, 56)[0] == 0x600
    assert struct.unpack_from("<I", fadt, 64)[0] == 0x604
    assert struct.unpack_from("<I", fadt, 76)[0] == 0x608
    assert fadt[88:93] == bytes([4, 2, 0, 4, 4])
    assert struct.unpack_from("<BBBBQ", fadt, 208) == (1, 32, 0, 3, 0x608)


def test_madt_lists_processors_io_apic_and_overrides() -> None:
    body = tables(CONFIG)[b"APIC"][44:]
    entries = []
    while body:
        entries.append(body[: body[1]])
        body = body[body[1] :]
    assert [entry[3] for entry in entries if entry[0] == 0] == [0, 1, 2, 3]
    assert [struct.unpack("<II", entry[4:]) for entry in entries if entry[0] == 1] == [(0xFEC00000, 0)]
    overrides = {entry[3]: struct.unpack("<IH", entry[4:]) for entry in entries if entry[0] == 2}
    assert overrides == {0: (2, 0), 5: (5, 13), 9: (9, 13), 10: (10, 13), 11: (11, 13)}
    assert [entry[2:] for entry in entries if entry[0] == 4] == [b"\xff\0\0\1"]


def test_system_states_are_those_of_the_dsdt() -> None:
    assert acpi.system_states(AcpiConfig(sleep_states=(3, 5))) == bytes([0x80, 0, 0, 0x81, 0, 0x80])


def test_package_length_forms() -> None:
    assert aml.package_length(62) == b"\x3f"
    assert aml.package_length(63) == bytes([0x40 | (65 & 15), 65 >> 4])
    assert aml.package_length(0x1000) == bytes([0x80 | (0x1003 & 15), 0x00, 0x01])


def test_names_and_ids() -> None:
    assert aml.name_string("\\_SB.PCI0.ISA") == b"\\\x2f\x03_SB_PCI0ISA_"
    assert aml.name_string("^^A.B") == b"^^\x2eA___B___"
    assert aml.eisa_id("PNP0A03") == b"\x0c\x41\xd0\x0a\x03"
    with pytest.raises(ValueError, match="one to four"):
        aml.name_segment("TOOLONG")
    with pytest.raises(ValueError, match="EISA"):
        aml.eisa_id("pnp0")


@pytest.mark.skipif(shutil.which("iasl") is None, reason="iasl is not installed: apt-get install acpica-tools")
def test_iasl_disassembles_and_recompiles_every_table(tmp_path: Path) -> None:
    for signature, table in tables(CONFIG).items():
        file = tmp_path / f"{signature.decode().lower()}.aml"
        file.write_bytes(table)
        done = subprocess.run(["iasl", "-d", file.name], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "rror" not in done.stderr.replace("0 Error", ""), done.stderr
    done = subprocess.run(["iasl", "-f", "dsdt.dsl"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "0 Errors" in done.stdout, done.stdout + done.stderr
    source = (tmp_path / "dsdt.dsl").read_text()
    for words in ("Device (LNKD)", "Name (_PRT", "Processor (C003, 0x03", '_HID, EisaId ("PNP0103")', "Name (\\_S5"):
        assert words in source, words
