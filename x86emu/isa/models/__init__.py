"""Processor models as data, one file each, and the reading of `--cpu MODEL[,+feature][,-feature]`.

A model lists what its real processor has; what the core does not implement (x86emu.isa.features.NOT_IMPLEMENTED) is
taken out when it is resolved, so that a guest never sees a CPUID bit without what stands behind it.  For the same
reason the models up to the Pentium have no CPUID bits of later processors: a guest of any of them sees just that
processor.
"""

from __future__ import annotations

import builtins
import difflib
import importlib
import pkgutil
from dataclasses import dataclass, field, replace

from x86emu.errors import UserInputError
from x86emu.isa import cpuid
from x86emu.isa.features import (
    FEATURES,
    IMPLEMENTED,
    NOT_IMPLEMENTED,
    feature_named,
    missing_needs,
    with_needs,
)

# The model file max.py becomes the attribute `max` of this package, so the function is called by its full name.

DATA, CODE, UNIFIED = 1, 2, 3
"""Kinds of caches, as CPUID leaf 4 numbers them."""


@dataclass(frozen=True)
class Cache:
    """One cache as CPUID tells it; nothing else depends on it."""

    level: int
    kind: int
    kib: int
    ways: int
    line: int = 64
    shared: bool = False
    """By all processors of the package."""


@dataclass(frozen=True)
class CpuModel:
    """One processor model. Everything that a guest can find out about its processor."""

    name: str
    description: str
    vendor: str
    """GenuineIntel or AuthenticAMD."""
    family: int
    """Family, model and stepping as the manuals write them, extended fields folded in."""
    model: int
    stepping: int
    brand: str
    """Processor brand string, at most 47 characters; empty where the processor has none."""
    features: frozenset[str]
    max_basic: int
    """Highest basic CPUID leaf."""
    max_extended: int = 0
    """Highest extended CPUID leaf; 0 for none."""
    physical_bits: int = 32
    linear_bits: int = 32
    caches: tuple[Cache, ...] = ()
    cache_descriptors: tuple[int, int, int, int] = (1, 0, 0, 0)
    """Registers of leaf 2 (Intel)."""
    microcode: int = 0
    asids: int = 0
    """Address-space identifiers (SVM)."""
    hidden: frozenset[str] = field(default_factory=frozenset)
    """Features of the real processor that were taken out because the core does not implement them."""

    @property
    def signature(self) -> int:
        """Leaf 1 EAX, and EDX after reset: extended family and model folded out (SDM 2A, figure 3-6)."""
        family, extended_family = (15, self.family - 15) if self.family >= 15 else (self.family, 0)
        return extended_family << 20 | (self.model >> 4) << 16 | family << 8 | (self.model & 15) << 4 | self.stepping

    @property
    def feature_numbers(self) -> list[int]:
        """Numbers of the features, ascending, for the core."""
        return sorted(FEATURES[name].number for name in self.features)

    def cpuid_leaves(self, processors: int, index: int) -> list[cpuid.Leaf]:
        """All CPUID leaves of processor index of processors."""
        return cpuid.cpuid_leaves(self, processors, index)


def feature_set(*texts: str) -> frozenset[str]:
    """Features named in texts, separated by blanks; further names are resolved."""
    return frozenset(feature_named(name).name for text in texts for name in text.split())


# Groups that the model files share.
I8086 = "base pre386 pre186"
I286 = "base i186 i286 pre386"
I386 = "base i186 i286 i386 smm"
I486 = f"{I386} i486"
PENTIUM = f"{I486} cpuid pentium fpu vme de pse tsc msr mce cx8"
P6 = f"{PENTIUM} p6 pae apic sep mtrr pge mca cmov pat pse36 mmx fxsr sse"
X86_64 = f"{P6} sse2 clflush lm syscall nx"
X86_64_V2 = f"{X86_64} sse3 ssse3 sse4_1 sse4_2 cx16 popcnt lahf_lm"
X86_64_V3 = f"{X86_64_V2} xsave avx avx2 bmi1 bmi2 f16c fma abm movbe"


def names() -> list[str]:
    """Names of all models, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def load_model(name: str) -> CpuModel:
    """The model of that name without the features that the core does not implement.

    Raises UserInputError, naming near matches or all models, where there is none.
    """
    key = name.strip().lower().replace("-", "_")
    if key not in names():
        near = difflib.get_close_matches(key, names(), n=3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise UserInputError(f"There is no processor model called {name!r}; {hint}The models are {', '.join(names())}.")
    model: CpuModel = importlib.import_module(f"x86emu.isa.models.{key}").MODEL
    offered = model.features & IMPLEMENTED
    # A feature whose base is not implemented goes with it.
    while lost := {name for name, _ in missing_needs(offered)}:
        offered -= lost
    return replace(model, features=offered, hidden=model.features - offered)


def resolve_model(text: str) -> CpuModel:
    """The model for `NAME[,+feature][,-feature]`, as the command line takes it; an empty name is `default`.

    `+feature` brings what the feature needs; `-feature` takes what needs it.  Raises UserInputError for a name that
    does not exist, a feature that the core does not implement, and wishes that contradict each other.
    """
    name, *wishes = (part.strip() for part in text.split(","))
    model = load_model(name or "default")
    added: set[str] = set()
    removed: set[str] = set()
    for wish in wishes:
        if wish[:1] not in ("+", "-"):
            raise UserInputError(
                f"{wish!r} in the processor model {text!r} is neither +feature nor -feature; write for example "
                f"{model.name},+x2apic,-rdrand."
            )
        feature = feature_named(wish[1:]).name
        if wish[0] == "+" and feature in NOT_IMPLEMENTED:
            raise UserInputError(f"The feature {feature} cannot be added to {model.name}: {NOT_IMPLEMENTED[feature]}.")
        (added if wish[0] == "+" else removed).add(feature)
    if both := added & removed:
        raise UserInputError(f"The processor model {text!r} both adds and removes {', '.join(sorted(both))}.")
    wanted = with_needs(added)
    if unmet := sorted(wanted & NOT_IMPLEMENTED.keys()):
        raise UserInputError(
            f"The processor model {text!r} cannot be: {', '.join(sorted(added))} needs {unmet[0]}, and "
            f"{NOT_IMPLEMENTED[unmet[0]]}."
        )
    if clash := sorted(wanted & removed):
        raise UserInputError(
            f"The processor model {text!r} cannot be: it removes {clash[0]}, which {_who_needs(clash[0], added)} needs."
        )
    features = (model.features | wanted) - removed
    while lost := {name for name, _ in missing_needs(features)}:
        features -= lost
    if "base" not in features:
        raise UserInputError(f"The processor model {text!r} cannot be: no processor lacks the base instructions.")
    return _with_room(replace(model, features=features))


model_named = resolve_model


def _who_needs(need: str, names: set[str]) -> str:
    return next((name for name in sorted(names) if need in with_needs([name])), "another feature")


def _with_room(model: CpuModel) -> CpuModel:
    """Raises the highest leaves and the address widths so that every feature can be told."""
    leaves = [FEATURES[name].leaf or 0 for name in model.features]
    basic = builtins.max([model.max_basic, *(leaf for leaf in leaves if leaf < 0x80000000)])
    extended = builtins.max([model.max_extended, *(leaf for leaf in leaves if leaf >= 0x80000000)])
    if "x2apic" in model.features and basic >= 5:
        basic = builtins.max(basic, 0x0B)
    if "xsave" in model.features:
        basic = builtins.max(basic, 0x0D)
    if "lm" in model.features:
        extended = builtins.max(extended, 0x80000008)
    asids = (model.asids or 64) if "svm" in model.features else model.asids
    linear = 57 if "la57" in model.features else 48 if "lm" in model.features else 32
    physical = model.physical_bits
    if "lm" in model.features:
        physical = builtins.max(physical, 40)
    elif "pae" in model.features or "pse36" in model.features:
        physical = builtins.max(physical, 36)
    if "cpuid" not in model.features:
        basic = extended = 0
    return replace(
        model, max_basic=basic, max_extended=extended, linear_bits=linear, physical_bits=physical, asids=asids
    )
