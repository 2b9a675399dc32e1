"""All CPUID leaves of a processor model (Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E).

The leaves depend on the model, on how many processors the machine has, and on which of them answers.  What depends on
registers (OSXSAVE, OSPKE, the APIC's enable bit, the XSAVE area's present size) is left to the instruction.

Topology: the processors of a machine are the cores of one package, one thread each; APIC ids count from 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from x86emu.isa.features import FEATURES

if TYPE_CHECKING:
    from x86emu.isa.models import CpuModel

Leaf = tuple[int, int | None, int, int, int, int]
"""leaf, subleaf (None: any), EAX, EBX, ECX, EDX."""

TSC_HZ = 1_000_000_000
"""Virtual time has one TSC tick a nanosecond."""
CRYSTAL_HZ = 25_000_000
BUS_MHZ = 100

_AMD_COPIES = 0x0183F3FF
"""Bits of leaf 1 EDX that AMD repeats in leaf 80000001h EDX (APM 3, E.4.2)."""


def feature_bits(model: CpuModel, leaf: int, subleaf: int, register: str) -> int:
    """The feature bits of one output register."""
    return sum(
        1 << feature.bit
        for name in model.features
        if (feature := FEATURES[name]).leaf == leaf and feature.subleaf == subleaf and feature.register == register
    )


def _text_registers(text: str, length: int) -> list[int]:
    raw = text.encode("ascii").ljust(length, b"\0")
    return [int.from_bytes(raw[at : at + 4], "little") for at in range(0, length, 4)]


def _bits_for(count: int) -> int:
    """Bits that number count things."""
    return max(count - 1, 0).bit_length()


def _basic(model: CpuModel, processors: int, index: int) -> list[Leaf]:
    b, d, c = _text_registers(model.vendor, 12)
    leaves: list[Leaf] = [(0, None, model.max_basic, b, c, d)]
    logical = 1 << _bits_for(processors)
    edx = feature_bits(model, 1, 0, "edx")
    if processors > 1 and {"apic", "p6"} <= model.features:
        edx |= 1 << 28
    ebx = index << 24 | (logical << 16 if edx >> 28 & 1 else 0) | (8 << 8 if "clflush" in model.features else 0)
    if model.max_basic >= 1:
        leaves.append((1, None, model.signature, ebx, feature_bits(model, 1, 0, "ecx"), edx))
    if model.vendor == "GenuineIntel" and model.max_basic >= 2:
        eax, ebx, ecx, descriptors = model.cache_descriptors
        leaves.append((2, None, eax, ebx, ecx, descriptors))
    return leaves


def _caches(model: CpuModel, processors: int) -> list[Leaf]:
    """Leaf 4 (deterministic cache parameters) or AMD's 8000001Dh, which has the same form."""
    leaf = 4 if model.vendor == "GenuineIntel" else 0x8000001D
    found: list[Leaf] = []
    cores = (1 << _bits_for(processors)) - 1
    for number, cache in enumerate(model.caches):
        sets = cache.kib * 1024 // (cache.ways * cache.line)
        eax = cache.kind | cache.level << 5 | 1 << 8
        if cache.shared:
            eax |= cores << 14
        if leaf == 4:
            eax |= min(cores, 63) << 26
        found.append((leaf, number, eax, (cache.ways - 1) << 22 | (cache.line - 1), sets - 1, 0))
    return found


def _extended_topology(processors: int, index: int) -> list[Leaf]:
    return [
        (0x0B, 0, 0, 1, 0x100, index),
        (0x0B, 1, _bits_for(processors), processors, 0x201, index),
    ]


def _xsave(model: CpuModel) -> list[Leaf]:
    components = 3
    size = 576
    found: list[Leaf] = []
    if "avx" in model.features:
        components |= 4
        size = 576 + 256
        found.append((0x0D, 2, 256, 576, 0, 0))
    if "pku" in model.features:
        components |= 0x200
        size = 2688 + 8
        found.append((0x0D, 9, 8, 2688, 0, 0))
    supervisor = 0
    if "xsaves" in model.features and model.features & {"cet_ss", "cet_ibt"}:
        supervisor = 0x1800
        found += [(0x0D, 11, 16, 0, 1, 0), (0x0D, 12, 24, 0, 1, 0)]
    return [
        (0x0D, 0, components, 576, size, 0),
        (0x0D, 1, feature_bits(model, 0x0D, 1, "eax"), 576, supervisor, 0),
        *found,
    ]


_ASSOCIATIVITY = {0: 0, 1: 1, 2: 2, 4: 4, 8: 6, 16: 8, 32: 10, 48: 11, 64: 12, 96: 13, 128: 14}
"""AMD's codes of leaf 80000006h (APM 3, table E-4)."""


def _amd_caches(model: CpuModel) -> list[Leaf]:
    by_kind = {(cache.level, cache.kind): cache for cache in model.caches}
    data, code, second, third = (by_kind.get(key) for key in ((1, 1), (1, 2), (2, 3), (3, 3)))
    first = [cache.kib << 24 | cache.ways << 16 | 1 << 8 | cache.line if cache else 0 for cache in (data, code)]
    found: list[Leaf] = [(0x80000005, None, 0xFF08FF08, 0xFF20FF20, first[0], first[1])]
    ecx = second.kib << 16 | _ASSOCIATIVITY[second.ways] << 12 | 1 << 8 | second.line if second else 0
    edx = third.kib // 512 << 18 | _ASSOCIATIVITY[third.ways] << 12 | 1 << 8 | third.line if third else 0
    found.append((0x80000006, None, 0, 0x42004200, ecx, edx))
    return found


def _extended(model: CpuModel, processors: int, index: int) -> list[Leaf]:
    amd = model.vendor == "AuthenticAMD"
    b, d, c = _text_registers(model.vendor, 12)
    top = model.max_extended
    edx = feature_bits(model, 0x80000001, 0, "edx")
    if amd:
        edx |= feature_bits(model, 1, 0, "edx") & _AMD_COPIES
    ecx = feature_bits(model, 0x80000001, 0, "ecx")
    if amd and processors > 1:
        ecx |= 1 << 1
    leaves: list[Leaf] = [(0x80000000, None, top, b if amd else 0, c if amd else 0, d if amd else 0)]
    leaves.append((0x80000001, None, model.signature if amd else 0, 0, ecx, edx))
    words = _text_registers(model.brand, 48)
    for n in range(3):
        w = words[4 * n : 4 * n + 4]
        leaves.append((0x80000002 + n, None, w[0], w[1], w[2], w[3]))
    if amd:
        leaves += _amd_caches(model)
    elif second := next((cache for cache in model.caches if cache.level == 2), None):
        code = _ASSOCIATIVITY.get(second.ways, 6)
        leaves.append((0x80000006, None, 0, 0, second.kib << 16 | code << 12 | second.line, 0))
    leaves.append((0x80000007, None, 0, 0, 0, feature_bits(model, 0x80000007, 0, "edx")))
    widths = model.physical_bits | model.linear_bits << 8
    cores = (processors - 1 | _bits_for(processors) << 12) if amd else 0
    leaves.append((0x80000008, None, widths, feature_bits(model, 0x80000008, 0, "ebx"), cores, 0))
    if "svm" in model.features:
        leaves.append((0x8000000A, None, 1, model.asids, 0, feature_bits(model, 0x8000000A, 0, "edx")))
    if top >= 0x8000001A and amd:
        leaves.append((0x8000001A, None, 1, 0, 0, 0))
    if "topoext" in model.features:
        leaves += _caches(model, processors)
        leaves.append((0x8000001E, None, index, index, 0, 0))
    if top >= 0x80000021:
        leaves.append((0x80000021, None, feature_bits(model, 0x80000021, 0, "eax"), 0, 0, 0))
    return leaves


def cpuid_leaves(model: CpuModel, processors: int, index: int) -> list[Leaf]:
    """Every leaf that processor `index` of `processors` answers.

    A leaf or subleaf that is absent here reads as zero, but for Intel's rule on leaves beyond the last one.
    The highest basic and extended leaf are always present.
    """
    leaves = _basic(model, processors, index)
    top = model.max_basic
    if model.vendor == "GenuineIntel" and top >= 4:
        leaves += _caches(model, processors)
    if top >= 5:
        line = 64 if "monitor" in model.features else 0
        leaves.append((5, None, line, line, 3 if line else 0, 0x10 if line else 0))
    if top >= 6:
        leaves.append((6, None, feature_bits(model, 6, 0, "eax"), 0, feature_bits(model, 6, 0, "ecx"), 0))
    if top >= 7:
        more = feature_bits(model, 7, 1, "eax")
        ebx, ecx, edx = (feature_bits(model, 7, 0, register) for register in ("ebx", "ecx", "edx"))
        speculation = feature_bits(model, 7, 2, "edx")
        leaves.append((7, 0, 2 if speculation else 1 if more else 0, ebx, ecx, edx))
        if more:
            leaves.append((7, 1, more, 0, 0, 0))
        if speculation:
            leaves.append((7, 2, 0, 0, 0, speculation))
    if top >= 0x0B and "apic" in model.features and "x2apic" in model.features:
        leaves += _extended_topology(processors, index)
    if top >= 0x0D and "xsave" in model.features:
        leaves += _xsave(model)
    if model.vendor == "GenuineIntel" and top >= 0x15:
        leaves.append((0x15, None, 1, TSC_HZ // CRYSTAL_HZ, CRYSTAL_HZ, 0))
    if model.vendor == "GenuineIntel" and top >= 0x16:
        mhz = TSC_HZ // 1_000_000
        leaves.append((0x16, None, mhz, mhz, BUS_MHZ, 0))
    if not any(leaf[0] == top for leaf in leaves):
        leaves.append((top, None, 0, 0, 0, 0))
    if model.max_extended:
        extended = _extended(model, processors, index)
        leaves += [leaf for leaf in extended if leaf[0] <= model.max_extended]
        if not any(leaf[0] == model.max_extended for leaf in leaves):
            leaves.append((model.max_extended, None, 0, 0, 0, 0))
    return leaves
