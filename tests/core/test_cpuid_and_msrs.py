"""CPUID, RDMSR, WRMSR, time stamps (SDM 2A CPUID; SDM 4; SDM 3B 18.17; APM 2 appendix A)."""

from __future__ import annotations

import pytest

from tests.core.bare_machine import CODE, DATA, BareMachine, Fault

GP = (13, 0)
UD = (6, None)
EFER, FS_BASE, GS_BASE, KERNEL_GS_BASE, PAT, TSC, TSC_ADJUST, TSC_AUX, APIC_BASE = (
    0xC0000080, 0xC0000100, 0xC0000101, 0xC0000102, 0x277, 0x10, 0x3B, 0xC0000103, 0x1B,
)  # fmt: skip


def cpuid(m: BareMachine, leaf: int, subleaf: int = 0) -> tuple[int, int, int, int]:
    m.run("0fa2", rax=leaf, rcx=subleaf)
    return m.cpu.rax, m.cpu.rbx, m.cpu.rcx, m.cpu.rdx


def test_cpuid_gives_the_models_leaves() -> None:
    m = BareMachine(model="nehalem_ept")
    model = m.engine.model
    for leaf, subleaf, *registers in model.cpuid_leaves(1, 0):
        found = cpuid(m, leaf, subleaf or 0)
        if leaf == 1:  # MONITOR is told while MISC_ENABLE has it on
            assert found[2] & ~8 == registers[2] & ~8
        else:
            assert found == tuple(registers), hex(leaf)


def test_leaves_beyond_the_last_by_vendor() -> None:
    assert cpuid(BareMachine(model="default"), 0x40000000) == (0, 0, 0, 0)
    intel = BareMachine(model="nehalem_ept")
    assert cpuid(intel, 0x1234, 1) == cpuid(intel, 0xB, 1)


def test_an_invalid_topology_level_still_tells_the_id() -> None:
    eax, ebx, ecx, edx = cpuid(BareMachine(model="default"), 0xB, 7)
    assert (eax, ebx, ecx, edx) == (0, 0, 7, 0)


def test_bits_that_follow_registers() -> None:
    m = BareMachine()
    assert not cpuid(m, 1)[2] & 1 << 27
    assert not cpuid(m, 7)[2] & 1 << 4
    m.run("0f22e0", rax=m.cpu.cr4 | 0x440000)
    assert cpuid(m, 1)[2] & 1 << 27
    assert cpuid(m, 7)[2] & 1 << 4
    assert cpuid(m, 0xD)[1] == 576
    m.run("0f01d1", rax=0x203, rdx=0, rcx=0)
    assert cpuid(m, 0xD)[1] == 2696
    assert cpuid(m, 0xD, 1)[1] == 584


def test_apic_bit_follows_the_enable() -> None:
    m = BareMachine(apic=True)
    assert cpuid(m, 1)[3] & 0x200
    base = m.rdmsr(APIC_BASE)
    assert base & 0xFFFFF900 == 0xFEE00900
    m.wrmsr(APIC_BASE, base & ~0x800)
    assert not cpuid(m, 1)[3] & 0x200
    assert not cpuid(m, 0x80000001)[3] & 0x200


def test_cpuid_limit() -> None:
    m = BareMachine(model="nehalem_ept")
    m.wrmsr(0x1A0, m.rdmsr(0x1A0) | 1 << 22)
    assert cpuid(m, 0)[0] == 3


def test_execute_disable_can_be_taken_away() -> None:
    """MISC_ENABLE bit 34 (SDM 4, table 2-2): CPUID does not tell NX, EFER.NXE cannot be set."""
    m = BareMachine(model="nehalem_ept")
    m.wrmsr(0x1A0, m.rdmsr(0x1A0) | 1 << 34)
    assert m.rdmsr(0x1A0) >> 34 == 1
    assert not cpuid(m, 0x80000001)[3] & 1 << 20
    assert m.fault("0f30", rcx=EFER, rax=0xD00, rdx=0) == GP
    m.wrmsr(0x1A0, m.rdmsr(0x1A0) & ~(1 << 34))
    assert cpuid(m, 0x80000001)[3] & 1 << 20
    m.wrmsr(EFER, 0xD00)


def test_bits_of_misc_enable() -> None:
    m = BareMachine(model="nehalem_ept")
    before = m.rdmsr(0x1A0)
    m.wrmsr(0x1A0, 0xFFFF_FFFF_FFFF_FFFF)
    assert m.rdmsr(0x1A0) == before | 0x4_00C5_0009, "what the processor lacks stays as it is"


def test_machine_check_control_takes_all_or_nothing() -> None:
    """SDM 3B 16.3.2.1, for processors of family 6."""
    m = BareMachine(model="nehalem_ept")
    m.wrmsr(0x400, 0xFFFF_FFFF_FFFF_FFFF)
    assert m.rdmsr(0x400) == 0xFFFF_FFFF_FFFF_FFFF
    assert m.fault("0f30", rcx=0x400, rax=0xAAAAAAAA, rdx=0) == GP
    m.wrmsr(0x400, 0)
    assert m.rdmsr(0x400) == 0


def test_protection_keys_of_supervisor_pages() -> None:
    m = BareMachine(model="sapphire_rapids")
    assert cpuid(m, 7)[2] >> 31
    m.wrmsr(0x6E1, 0xFFFF_FFFF)
    assert m.rdmsr(0x6E1) == 0xFFFF_FFFF == m.cpu.pkrs
    assert m.fault("0f30", rcx=0x6E1, rax=0, rdx=1) == GP
    other = BareMachine(model="haswell")
    assert other.fault("0f32", rcx=0x6E1) == GP
    assert other.fault("0f22e0", rax=other.cpu.cr4 | 1 << 24) == GP


def test_cpuid_is_no_instruction_of_the_80386() -> None:
    assert BareMachine("protected", "i80386").fault("0fa2") == UD
    assert BareMachine("protected", "i80386").fault("0f32") == UD


@pytest.mark.parametrize("number", [0x12345678, 0x3A, 0x480, 0xC0010008, 0x4A])
def test_unknown_msrs(number: int) -> None:
    m = BareMachine()
    with pytest.raises(Fault) as read:
        m.rdmsr(number)
    assert read.value.args == GP
    m = BareMachine()
    with pytest.raises(Fault):
        m.wrmsr(number, 0)


def test_msrs_by_vendor() -> None:
    assert BareMachine(model="default").fault("0f32", rcx=0x1A0) == GP
    assert BareMachine(model="nehalem_ept").fault("0f32", rcx=0xC0010010) == GP
    m = BareMachine(model="default")
    m.wrmsr(0xC001001A, 0x10000000)
    assert m.rdmsr(0xC001001A) == 0x10000000


def test_msrs_are_for_cpl_0() -> None:
    assert BareMachine(cpl=3).fault("0f32", rcx=TSC) == GP
    assert BareMachine(cpl=3).fault("0f30", rcx=TSC) == GP


def test_efer_checks() -> None:
    m = BareMachine()
    assert m.rdmsr(EFER) == 0xD00
    assert m.fault("0f30", rcx=EFER, rax=0xC00, rdx=0) == GP  # LME with paging on
    assert BareMachine(model="default").fault("0f30", rcx=EFER, rax=0x1D00, rdx=0) == GP  # SVME without SVM
    assert m.fault("0f30", rcx=EFER, rax=0xD00, rdx=1) == GP
    m.wrmsr(EFER, 0x901)  # LMA is read-only and stays
    assert m.rdmsr(EFER) == 0xD01


def test_segment_bases_are_canonical_and_used() -> None:
    m = BareMachine()
    m.memory.write(DATA + 8, b"\x5a")
    m.wrmsr(FS_BASE, DATA)
    m.run("648a042508000000")
    assert m.cpu.rax & 0xFF == 0x5A
    assert m.rdmsr(FS_BASE) == DATA == m.cpu.fs.base
    for number in (FS_BASE, GS_BASE, KERNEL_GS_BASE, 0xC0000082):
        assert m.fault("0f30", rcx=number, rax=0, rdx=0x80000000) == GP
        m.wrmsr(number, 0xFFFF800000000000)
        assert m.rdmsr(number) == 0xFFFF800000000000


def test_pat_types() -> None:
    m = BareMachine()
    assert m.rdmsr(PAT) == 0x0007040600070406
    m.wrmsr(PAT, 0x0007050600070106)
    assert m.fault("0f30", rcx=PAT, rax=0x02, rdx=0) == GP
    assert m.rdmsr(PAT) == 0x0007050600070106


def test_memory_type_ranges() -> None:
    m = BareMachine()
    assert m.rdmsr(0xFE) == 0x508
    m.wrmsr(0x200, 0x80000006)
    m.wrmsr(0x201, 0xFF80000800)
    assert m.fault("0f30", rcx=0x200, rax=0x80000002, rdx=0) == GP
    assert m.fault("0f30", rcx=0x200, rax=0x80000106, rdx=0) == GP
    assert m.fault("0f30", rcx=0x201, rax=0x80000400, rdx=0) == GP
    assert m.fault("0f30", rcx=0x201, rax=0x800, rdx=0x80000000) == GP
    assert m.fault("0f30", rcx=0x210, rax=0, rdx=0) == GP
    m.wrmsr(0x26F, 0x0606060606060505)
    assert m.rdmsr(0x26F) == 0x0606060606060505
    assert m.fault("0f30", rcx=0x250, rax=7, rdx=0) == GP
    m.wrmsr(0x2FF, 0xC06)
    assert m.fault("0f30", rcx=0x2FF, rax=0x1000, rdx=0) == GP


def test_machine_check_banks() -> None:
    m = BareMachine(model="nehalem_ept")
    banks = m.rdmsr(0x179) & 0xFF
    m.wrmsr(0x400 + 4 * (banks - 1) + 1, 0)
    assert m.fault("0f30", rcx=0x401, rax=1, rdx=0) == GP
    assert m.fault("0f32", rcx=0x400 + 4 * banks) == GP


def test_time_stamp_counts_instructions_and_can_be_set() -> None:
    m = BareMachine()
    m.run("0f31 89c6 90 90 0f31")
    assert m.cpu.rax - m.cpu.rsi == 4
    m.wrmsr(TSC, 0x123400000000)
    now = m.rdmsr(TSC)
    assert 0x123400000000 < now < 0x123400001000
    adjust = m.rdmsr(TSC_ADJUST)
    m.wrmsr(TSC_ADJUST, (adjust + (1 << 40)) % (1 << 64))
    assert m.rdmsr(TSC) - now in range(1 << 40, (1 << 40) + 0x1000)


def test_rdtscp_and_rdpid_tell_the_processor() -> None:
    m = BareMachine()
    m.wrmsr(TSC_AUX, 0x1003)
    m.run("0f01f9", rcx=0)
    assert m.cpu.rcx == 0x1003
    m.run("f30fc7f8", rax=0)
    assert m.cpu.rax == 0x1003
    assert m.fault("0f30", rcx=TSC_AUX, rax=0, rdx=1) == GP


def test_time_stamp_disable() -> None:
    m = BareMachine(cpl=3)
    m.run("0f31")
    m = BareMachine(cpl=3)
    m.cpu.cr4 |= 4
    assert m.fault("0f31") == GP


def test_performance_counters_are_amds() -> None:
    assert BareMachine(model="nehalem_ept").fault("0f33", rcx=0) == GP
    assert BareMachine(model="phenom_rvi").fault("0f33", rcx=4) == GP


def test_tsc_deadline_interrupts_on_the_tsc() -> None:
    m = BareMachine(apic=True)
    m.wrmsr(TSC, 0x10000000)
    m.wrmsr(APIC_BASE, 0xFEE00D00)  # x2APIC
    m.wrmsr(0x80F, 0x1FF)
    m.wrmsr(0x832, 0x40040)  # LVT timer: TSC deadline, vector 40h
    m.wrmsr(0x6E0, m.rdmsr(TSC) + 5000)
    with pytest.raises(Fault) as interrupt:
        m.run("fb eb fe", budget=20000)
    assert interrupt.value.args[0] == 0x40
    assert m.rdmsr(0x6E0) == 0


def test_the_tsc_counts_with_the_p0_frequency_where_it_is_invariant() -> None:
    assert BareMachine(model="epyc_genoa").rdmsr(0xC001_0015) & 1 << 24
    assert not BareMachine(model="athlon64_svm").rdmsr(0xC001_0015) & 1 << 24


def test_intels_c_state_control_keeps_what_is_written() -> None:
    for number in (0xE2, 0x1FC):  # SDM 4, tables of Nehalem and later: read by idle drivers without asking
        m = BareMachine(model="sapphire_rapids")
        assert m.rdmsr(number) == 0
        m.wrmsr(number, 6)
        assert m.rdmsr(number) == 6
        with pytest.raises(Fault):
            BareMachine(model="pentium4_vtx").rdmsr(number)


def test_no_processor_reads_an_earlier_time_than_another_has_read() -> None:
    # L: mov rsi, [rbx]; rdtsc; shl rdx, 32; or rdx, rax; cmp rdx, rsi; jbe H; mov [rbx], rdx; dec ecx; jnz L
    # lock inc dword [rbx + 8]; H: hlt
    m = BareMachine(processors=2)
    m.memory.write(CODE, bytes.fromhex("488b330f3148c1e2204809c24839f2760b488913ffc975e8f0ff4308f4"))
    for cpu in m.engine.cpus:
        cpu.rip, cpu.rbx, cpu.rcx, cpu.rflags, cpu.activity = CODE, DATA, 3000, 2, 0
    assert m.engine.run(100_000) == "halted"
    assert int.from_bytes(m.memory.read(DATA + 8, 4), "little") == 2
