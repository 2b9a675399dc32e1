"""Processor models, their CPUID leaves, and the reading of model names."""

from __future__ import annotations

import pytest

from x86emu.errors import UserInputError
from x86emu.isa.features import FEATURES, IMPLEMENTED, missing_needs
from x86emu.isa.models import load_model, names, resolve_model


def leaf(model_name: str, number: int, subleaf: int = 0, processors: int = 1, index: int = 0) -> tuple[int, ...]:
    for found in resolve_model(model_name).cpuid_leaves(processors, index):
        if found[0] == number and found[1] in (None, subleaf):
            return found[2:]
    raise LookupError(f"{model_name} has no leaf {number:X}h")


@pytest.mark.parametrize("name", names())
def test_every_model_is_consistent(name: str) -> None:
    model = load_model(name)
    assert model.name == name
    assert model.features <= IMPLEMENTED
    assert not missing_needs(model.features)
    assert len(model.brand) < 48
    assert model.hidden.isdisjoint(model.features)
    leaves = model.cpuid_leaves(4, 3)
    assert len({entry[:2] for entry in leaves}) == len(leaves)
    assert all(0 <= value < 1 << 32 for entry in leaves for value in entry[2:])
    assert max(entry[0] for entry in leaves if entry[0] < 0x80000000) == model.max_basic
    if model.max_extended:
        assert max(entry[0] for entry in leaves) == model.max_extended


@pytest.mark.parametrize("name", names())
def test_cpuid_tells_every_feature_of_the_model(name: str) -> None:
    model = load_model(name)
    answers = {entry[:2]: entry[2:] for entry in model.cpuid_leaves(1, 0)}
    for feature in model.features:
        where = FEATURES[feature]
        if where.leaf is None or "cpuid" not in model.features:
            continue
        registers = answers.get((where.leaf, None)) or answers[where.leaf, where.subleaf]
        value = registers[("eax", "ebx", "ecx", "edx").index(where.register)]
        assert value >> where.bit & 1, feature


def test_no_vendor_specific_feature_on_the_other_vendor() -> None:
    for name in names():
        model = load_model(name)
        assert ("mmxext" in model.features) == (model.vendor == "AuthenticAMD"), name


@pytest.mark.parametrize(
    ("name", "signature"),
    [("i80386", 0x308), ("pentium", 0x52C),
     ("pentium4_vtx", 0xF4A), ("athlon64_svm", 0x50FF2), ("phenom_rvi", 0x100F23),
     ("nehalem_ept", 0x106A5), ("haswell", 0x306C3), ("sapphire_rapids", 0x806F8), ("epyc_genoa", 0xA10F11)],
)  # fmt: skip
def test_signatures(name: str, signature: int) -> None:
    assert load_model(name).signature == signature


def test_vendor_and_brand_text() -> None:
    _, ebx, ecx, edx = leaf("default", 0)
    assert b"".join(v.to_bytes(4, "little") for v in (ebx, edx, ecx)) == b"AuthenticAMD"
    text = b"".join(v.to_bytes(4, "little") for n in range(3) for v in leaf("nehalem_ept", 0x80000002 + n))
    assert text.rstrip(b"\0").decode() == load_model("nehalem_ept").brand


def test_topology_of_four_processors() -> None:
    assert leaf("default", 0x0B, 1, 4, 2) == (2, 4, 0x201, 2)
    assert leaf("default", 0x0B, 0, 4, 2) == (0, 1, 0x100, 2)
    _, ebx, _, edx = leaf("default", 1, 0, 4, 2)
    assert ebx >> 24 == 2 and ebx >> 16 & 0xFF == 4 and edx >> 28 & 1
    assert leaf("default", 0x80000008, 0, 4)[2] & 0xFF == 3
    assert leaf("default", 1, 0, 1)[3] >> 28 & 1 == 0


def test_xsave_sizes() -> None:
    assert leaf("default,-avx", 0x0D, 0)[:3] == (3, 576, 576)
    assert leaf("default", 0x0D, 0)[:3] == (7, 576, 832)
    assert leaf("default", 0x0D, 2)[:2] == (256, 576)
    assert leaf("default,+pku", 0x0D, 0)[:3] == (0x207, 576, 2696)
    assert leaf("default,+pku", 0x0D, 9)[:2] == (8, 2688)


def test_tsc_frequency_is_a_gigahertz() -> None:
    denominator, numerator, crystal, _ = leaf("sapphire_rapids", 0x15)
    assert crystal * numerator // denominator == 1_000_000_000
    assert leaf("sapphire_rapids", 0x16)[0] == 1000


def test_cache_parameters_give_the_size() -> None:
    eax, ebx, ecx, _ = leaf("nehalem_ept", 4, 3)
    assert eax & 0x1F == 3 and eax >> 5 & 7 == 3
    assert ((ebx >> 22) + 1) * ((ebx & 0xFFF) + 1) * (ecx + 1) == 8192 * 1024


def test_features_are_added_with_their_needs_and_taken_with_what_needs_them() -> None:
    assert "xgetbv1" in resolve_model("default,+xgetbv1").features
    assert {"pae", "lm", "sse2"} <= resolve_model("pentium,+lm").features
    assert resolve_model("pentium,+lm").linear_bits == 48
    assert "sse4_1" not in resolve_model("default,-ssse3").features
    assert resolve_model(",-rdrand").name == "default"
    assert resolve_model("default,+la57").linear_bits == 57
    assert resolve_model("Epyc-Genoa").name == "epyc_genoa"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nehalem", "did you mean nehalem_ept"),
        ("z80", "The models are athlon64_svm, default"),
        ("default,+avx512f", "cannot be added to default: vector registers wider"),
        ("default,+smx", "safer mode extensions are not modelled"),
        ("default,+turbo", "no processor feature called 'turbo'"),
        ("default,popcnt", "neither .feature nor -feature"),
        ("default,+aes,-aes", "both adds and removes aes"),
        ("pentium,+lm,-pae", "removes pae, which lm needs"),
        ("default,-base", "base instructions"),
    ],
)
def test_bad_wishes_are_told(text: str, message: str) -> None:
    with pytest.raises(UserInputError, match=message):
        resolve_model(text)
