"""The feature table: numbers, CPUID bits, needs."""

from __future__ import annotations

import pytest

from x86emu.errors import UserInputError
from x86emu.isa.features import (
    ALIASES,
    FEATURES,
    IMPLEMENTED,
    NOT_IMPLEMENTED,
    VMX_FEATURES,
    feature_named,
    missing_needs,
    with_needs,
)
from x86emu.isa.table import load_rows


def test_numbers_are_the_order_and_fit_the_core() -> None:
    assert [f.number for f in FEATURES.values()] == list(range(len(FEATURES)))
    assert len(FEATURES) <= 256
    assert FEATURES["base"].number == 0


def test_no_two_features_share_a_cpuid_bit() -> None:
    places = [(f.leaf, f.subleaf, f.register, f.bit) for f in FEATURES.values() if f.leaf is not None]
    assert len(places) == len(set(places))
    assert all(f.register in ("eax", "ebx", "ecx", "edx") for f in FEATURES.values() if f.leaf is not None)


@pytest.mark.parametrize(
    ("name", "place"),
    [  # SDM 2A, CPUID tables 3-10, 3-11; APM 3 E.4
        ("sse3", (1, 0, "ecx", 0)),
        ("xsave", (1, 0, "ecx", 26)),
        ("pat", (1, 0, "edx", 16)),
        ("lm", (0x80000001, 0, "edx", 29)),
        ("smap", (7, 0, "ebx", 20)),
        ("pku", (7, 0, "ecx", 3)),
        ("xsavec", (13, 1, "eax", 1)),
    ],
)
def test_places(name: str, place: tuple[int, int, str, int]) -> None:
    f = FEATURES[name]
    assert (f.leaf, f.subleaf, f.register, f.bit) == place


def test_needs_name_features_and_aliases_are_no_names() -> None:
    for feature in FEATURES.values():
        assert all(need in FEATURES for need in feature.needs), feature
    assert not set(ALIASES) & set(FEATURES)
    assert set(NOT_IMPLEMENTED) <= set(FEATURES)
    assert not missing_needs(with_needs(IMPLEMENTED) - set(NOT_IMPLEMENTED))


def test_names_are_found_however_written() -> None:
    assert feature_named("SSE4.1").name == "sse4_1"
    assert feature_named("lzcnt").name == "abm"
    assert feature_named("tsc-deadline").name == "tsc_deadline"
    with pytest.raises(UserInputError, match="near matches: .*popcnt"):
        feature_named("popcnd")


def test_missing_needs_are_told() -> None:
    assert missing_needs(frozenset({"sse2"})) == [("sse2", "sse")]
    assert "pae" in with_needs({"lm"})


def test_every_feature_with_instructions_has_rows() -> None:
    # Features that are no instructions: register bits, MSRs, behaviour, and what the cpuid of a model merely tells.
    silent = set(
        """apic arat cmp_legacy constant_tsc de erms fdp_excptn_only fpu fsrm fsrs fxsr_opt fzrm htt hypervisor la57
        lfence_serializing mca mce misalignsse mmxext mp mtrr null_sel_clr_base nx pae pat pcid pdpe1gb pentium pge pse
        pse36 smep ss topoext tsc_adjust tsc_deadline umip vme x2apic xgetbv1 zero_fcs_fds
        npt lbrv svm_lock nrip_save tsc_scale vmcb_clean flushbyasid decodeassists pausefilter pfthreshold
        v_vmsave_vmload vgif branch16 avic x2avic gmet vnmi idle_hlt svme_addr_chk perfctr_core pks cet_ibt
        arch_capabilities spec_ctrl stibp flush_l1d ssbd intel_psfd ipred_ctrl rrsba_ctrl bhi_ctrl
        ibpb ibrs amd_stibp ibrs_always_on stibp_always_on ibrs_preferred ibrs_same_mode amd_ssbd amd_psfd btc_no
        ibpb_ret""".split()
    )
    silent |= VMX_FEATURES
    with_rows = {row.feature for row in load_rows()}
    assert IMPLEMENTED - silent <= with_rows
    assert not silent & with_rows
