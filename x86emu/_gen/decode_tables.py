"""Compiles the instruction rows (isa/table.py) into the packed records that core/decode.pyx reads.

A RowInfo says how to recognise an encoding and where its operands come from; a Plan, one for each operand size and for
register or memory, says which handler runs and which loads and stores are put around it where the handler has only a
register form.  The layouts are those of core/decode.pyx.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from x86emu.isa.features import feature_named
from x86emu.isa.intercepts import intercept_of
from x86emu.isa.table import Operand, Row, load_rows

SIZES = "wdq"
PREFIX = {"": 0, "NP": 1, "66": 2, "F3": 3, "F2": 4, "66F3": 5, "66F2": 6, "NFx": 7}
ATTRIBUTE_BITS = {
    "lock": 0x1, "end": 0x2, "i64": 0x4, "o64": 0x8, "prot": 0x10, "asz": 0x20, "x87": 0x40, "mmx": 0x80,
    "sse": 0x100, "noaccess": 0x200, "W0": 0x400, "W1": 0x800, "B0": 0x1000, "unaligned": 0x2000,
}  # fmt: skip
ADDRESS_SIZE_SHIFT = 14  # two bits of attributes: 1, 2, 3 = the row is for address size 16, 32, 64 only
LITERALS = {"CL", "DX", "1", "3", "ST0", "STi", "XMM0"}
GPR_NUMBERS = {"AX": 0, "CX": 1, "DX": 2, "BX": 3, "AL": 0, "CL": 1, "DL": 2, "BL": 3, "AH": 4, "CH": 5, "DH": 6,
               "BH": 7, "EAX": 0, "ECX": 1, "EDX": 2, "EBX": 3}  # fmt: skip
SEGMENTS = {"ES": 0, "CS": 1, "SS": 2, "DS": 3, "FS": 4, "GS": 5}
BYTES = {"b": 1, "w": 2, "d": 4, "q": 8, "x": 16, "y": 32, "t": 10}
VECTOR_SIZE = {"ps": "x", "pd": "x", "dq": "x", "x": "x", "qq": "y", "sd": "q", "pi": "q", "ss": "d", "q": "q",
               "d": "d", "w": "w", "b": "b"}  # fmt: skip
BY_LENGTH = ("x", "ps", "pd")
"""Sizes that VEX.256 doubles."""

# How a slot (dst, src, third) gets its register number
KIND_NONE, KIND_REG, KIND_RM, KIND_OPCODE, KIND_FIXED, KIND_TMP, KIND_VVVV = range(7)
CLASS_GPR, CLASS_BYTE, CLASS_PLAIN, CLASS_REX, CLASS_SEGMENT = range(5)
IMMEDIATES = {"b": 1, "w": 2, "z": 3, "v": 4, "d": 9, "q": 10}
IMMEDIATE_FAR, IMMEDIATE_OFFSET, IMMEDIATE_JB, IMMEDIATE_JZ, IMMEDIATE_REGISTER = 5, 6, 7, 8, 11

# An opcode's shape: ModRM follows; its mod field means nothing; nothing follows on AMD's; bits 7:4 the immediate's kind
SHAPE_MODRM, SHAPE_NO_MOD, SHAPE_INTEL = 1, 2, 4

# RowInfo.vex
VEX_LENGTHS = {"": 0, "128": 1, "256": 2, "LIG": 3}
VEX_NO_VVVV, VEX_AVX, VEX_VSIB, VEX_ELEMENTS = 4, 8, 16, 32

# What surrounds a register-form handler when the operand is in memory
SYNTH_NONE, SYNTH_LOAD, SYNTH_RMW, SYNTH_STORE = range(4)

ALL_FLAGS = 0x8D5
# Instructions that cannot fault when their operands are registers and immediates: flags before them may be dropped.
CANNOT_FAULT = frozenset(
    """ADD OR ADC SBB AND SUB XOR CMP TEST INC DEC NOT NEG MOV MOVZX MOVSX MOVSXD LEA XCHG NOP BSWAP CBW CWD IMUL MUL
    SHL SHR SAR ROL ROR RCL RCR SHLD SHRD BT BTS BTR BTC BSF BSR TZCNT LZCNT POPCNT SAHF LAHF CLC STC CMC CLD STD
    XADD CMPXCHG ADCX ADOX CRC32 ANDN BEXTR BLSI BLSMSK BLSR BZHI MULX PDEP PEXT RORX SARX SHLX SHRX""".split()
) | {  # fmt: skip
    f"{kind}{condition}"
    for kind in ("SET", "CMOV")
    for condition in "O NO B NB Z NZ BE NBE S NS P NP L NL LE NLE".split()
}
# Rows whose handler replaces all six flags, the undefined ones too.
REPLACES_ALL = frozenset("ADD OR ADC SBB AND SUB XOR CMP TEST NEG".split())
# Those that do so with an immediate count unless it is 0 (RowInfo.shift).
SHIFTS = ("SHL", "SHR", "SAR")


def resolve_size(size: str, operand_size: str, vex: str = "") -> str:
    """The letter behind R or M for an operand's size under an operand-size letter (w, d, q) and a vector length.

    In what comes out `x` is 128 and `y` is 256 bits."""
    if vex == "256" and size in BY_LENGTH:
        return "y"
    if size == "v":
        return operand_size
    if size == "z":
        return "w" if operand_size == "w" else "d"
    if size == "y":
        return "q" if operand_size == "q" else "d"
    return VECTOR_SIZE.get(size, size)


def operand_name(operand: Operand, operand_size: str, memory: bool, address_size: str, vex: str = "") -> str:
    """One part of a handler's name (the conventions are in docs/architecture.md)."""
    letter, size = operand.letter, resolve_size(operand.size, operand_size, vex)
    if letter == "fixed":
        if operand.name in LITERALS:
            return operand.name
        return "S" if operand.name in SEGMENTS else f"R{size}"
    if letter == "!":
        return address_size if operand.size == "address" else size
    if letter in "BGZR" or (letter == "E" and not memory):
        return f"R{size}"
    if letter in "EMO" or (letter in "QW" and memory):
        return f"M{size}" if operand.size else "M"
    if letter == "J":
        return f"J{operand_size}"
    if letter == "A":
        return f"A{operand_size}"
    if letter in "XY":
        return f"{letter}{size}"
    if letter in "PNQ":
        return "P"
    if letter in "HLVUW":
        return "Y" if size == "y" else "V"
    return letter  # I S C D


def handler_name(row: Row, mnemonic: str, operand_size: str, memory: bool, address_size: str = "d") -> str:
    """The handler that a row asks for in one operand size, with its ModRM operand in a register or in memory."""
    explicit = row.attributes.get("handler")
    if explicit:
        return str(explicit)
    mnemonic = str(row.attributes.get("like", mnemonic))
    name = "_".join([mnemonic, *(operand_name(o, operand_size, memory, address_size, row.vex) for o in row.operands)])
    return f"{name}_{row.attributes['variant']}" if row.has("variant") else name


def is_memory_operand(operand: Operand) -> bool:
    return operand.letter in "EMQWO" and operand.letter != ""


def slot_of(operand: Operand, operand_size: str, temporary: bool) -> tuple[int, int] | None:
    """(kind | class << 4, argument) of an operand that takes a register slot, or None."""
    letter = operand.letter
    size = resolve_size(operand.size, operand_size)
    if letter in ("E", "G", "Z", "R", "O"):
        klass = CLASS_BYTE if size == "b" else CLASS_GPR
        kind = KIND_TMP if temporary else {"E": KIND_RM, "R": KIND_RM, "G": KIND_REG, "Z": KIND_OPCODE, "O": 0}[letter]
        return kind | klass << 4, 0
    if letter == "B":
        return KIND_VVVV | CLASS_GPR << 4, 0
    if letter == "H":
        return KIND_VVVV | CLASS_REX << 4, 0
    if letter == "M":
        return (KIND_TMP | CLASS_GPR << 4, 0) if temporary else None
    if letter in ("P", "N", "Q"):
        kind = KIND_TMP if temporary else KIND_REG if letter == "P" else KIND_RM
        return kind | CLASS_PLAIN << 4, 8
    if letter in ("V", "U", "W"):
        kind = KIND_TMP if temporary else KIND_REG if letter == "V" else KIND_RM
        return kind | CLASS_REX << 4, 16
    if letter == "S":
        return KIND_REG | CLASS_SEGMENT << 4, 0
    if letter in ("C", "D"):
        return KIND_REG | CLASS_REX << 4, 0
    if letter == "fixed":
        if operand.name == "STi":
            return KIND_RM | CLASS_PLAIN << 4, 0
        if operand.name in LITERALS:
            return None
        if operand.name in SEGMENTS:
            return KIND_FIXED | CLASS_PLAIN << 4, SEGMENTS[operand.name]
        name = operand.name[1:3] if operand.name.startswith("r") else operand.name
        return KIND_FIXED | (CLASS_BYTE if size == "b" else CLASS_GPR) << 4, GPR_NUMBERS[name]
    return None


@dataclass
class Plan:
    """What runs for one row, operand size and kind of ModRM operand."""

    handler: int = 0
    handler_nf: int = 0
    handler_cf: int = 0
    before: int = 0
    after: int = 0
    memory_bytes: int = 1
    access: int = 0  # 1 read, 2 write
    cannot_fault: int = 0
    slots: tuple[tuple[int, int], ...] = ((0, 0), (0, 0), (0, 0))

    def pack(self) -> bytes:
        flat = [value for slot in self.slots for value in slot]
        return struct.pack(
            "<4H10BH", self.handler, self.handler_nf, self.before, self.after, min(self.memory_bytes, 255),
            self.access, self.cannot_fault, 0, *flat, self.handler_cf,
        )  # fmt: skip


class Compiler:
    """Turns rows into tables; knows which handlers exist."""

    def __init__(self, handlers: set[str]) -> None:
        self.available = handlers
        self.names: list[str] = [""]
        self.numbers: dict[str, int] = {"": 0}
        self.plans: list[bytes] = [Plan().pack()]
        self.plan_numbers: dict[bytes, int] = {self.plans[0]: 0}
        self.missing: list[str] = []

    def number(self, name: str) -> int:
        if name not in self.numbers:
            self.numbers[name] = len(self.names)
            self.names.append(name)
        return self.numbers[name]

    def plan(self, row: Row, mnemonic: str, operand_size: str, memory: bool, address_size: str) -> int:
        """The number of the plan; 0 (which decodes to #UD) where no handler fits."""
        in_memory = (k for k, o in enumerate(row.operands) if is_memory_operand(o) and (memory or o.letter == "O"))
        memory_at = next(in_memory, None)
        name = handler_name(row, mnemonic, operand_size, memory, address_size)
        plan = Plan()
        synthesized = False
        if name not in self.available and memory_at is not None and not row.has("noaccess"):
            operand = row.operands[memory_at]
            register_name = handler_name(row, mnemonic, operand_size, False, address_size)
            if operand.letter in "MO":
                size = resolve_size(operand.size, operand_size)
                register_name = name.replace(f"_M{size}", f"_R{size}", 1)
            if register_name in self.available and register_name != name:
                name, synthesized = register_name, True
        if name not in self.available:
            self.missing.append(f"{name}  ({row.source}: {row})")
            return 0
        plan.handler = self.number(name)
        if f"{name}_nf" in self.available:
            plan.handler_nf = self.number(f"{name}_nf")
        if f"{name}_cf" in self.available:
            plan.handler_cf = self.number(f"{name}_cf")
        if memory_at is not None:
            operand = row.operands[memory_at]
            size = resolve_size(operand.size, operand_size, row.vex)
            plan.memory_bytes = BYTES.get(size, 1)
            if size == "p":
                plan.memory_bytes = {"w": 4, "d": 6, "q": 10}[operand_size]
            elif size == "a":
                plan.memory_bytes = {"w": 4, "d": 8, "q": 8}[operand_size]
            elif size == "s":
                plan.memory_bytes = 6
            plan.access = 1 if memory_at else 1 if row.has("ro") else 2 if row.has("wo") else 3
            if synthesized:
                bank = {"P": "P", "Q": "P", "V": "V", "W": "V"}.get(operand.letter, "")
                letter = size
                if bank == "V" and (size in "xy" and row.vex or row.has("unaligned")):
                    letter = f"{size}u"
                if plan.access == 3:
                    plan.before = self.number(f"LOADRMW{bank}_{letter}")
                    plan.after = self.number(f"STORE{bank}_{letter}")
                elif plan.access == 2:
                    plan.after = self.number(f"STORE{bank}_{letter}")
                else:
                    plan.before = self.number(f"LOAD{bank}_{letter}")
        elif mnemonic in CANNOT_FAULT and not any(o.letter in "XYO" for o in row.operands):
            plan.cannot_fault = 1
        if row.has("noaccess"):
            plan.cannot_fault = 1
        slots: list[tuple[int, int]] = []
        for k, operand in enumerate(row.operands):
            if k == memory_at and not synthesized:
                continue
            slot = slot_of(operand, operand_size, temporary=(k == memory_at))
            if slot is not None:
                if operand.name == "STi" and not slots:
                    slots.append((0, 0))  # always the second slot, Insn.src
                slots.append(slot)
        plan.slots = tuple((slots + [(0, 0)] * 3)[:3])
        packed = plan.pack()
        if packed not in self.plan_numbers:
            self.plan_numbers[packed] = len(self.plans)
            self.plans.append(packed)
        return self.plan_numbers[packed]

    def row_info(self, row: Row, mnemonic: str, prefix: str, address_size: int) -> bytes:
        """RowInfo: see core/decode.pyx."""
        attributes = 0
        for name, bit in ATTRIBUTE_BITS.items():
            if row.has(name):
                attributes |= bit
        attributes |= address_size << ADDRESS_SIZE_SHIFT
        letter = "dwdq"[address_size]
        immediates = immediates_of(row)
        plans = []
        for size in SIZES:
            for memory in (False, True):
                possible = not (
                    (row.has("i64") and size == "q")
                    or (memory and (row.has("reg") or row.modrm is not None))
                    or (not memory and (row.has("mem") or any(o.letter == "M" for o in row.operands)))
                    or (memory and not any(o.letter in "EMQW" for o in row.operands))
                    or (row.has("f64") and row.has("o64") and size != "q")
                    or (row.has("d64") and row.has("o64") and size == "d")
                    or (row.has("W1") and size != "q" and not row.vex)
                    or (row.has("W0") and size == "q" and not row.vex)
                    or (row.vex and size == "w")
                    or (size == "q" and address_size == 1)
                    or (size != "q" and address_size == 3 and not (size == "w" and row.has("f64") and row.has("end")))
                    or (any(o.letter == "A" for o in row.operands) and size == "q")
                )
                plans.append(self.plan(row, mnemonic, size, memory, letter) if possible else 0)
        vex = VEX_LENGTHS[row.vex]
        if row.vex and not any(o.letter in "BH" for o in row.operands):
            vex |= VEX_NO_VVVV
        for name, bit in (("avx", VEX_AVX), ("vsib", VEX_VSIB), ("elements", VEX_ELEMENTS)):
            vex |= bit if row.has(name) else 0
        mask = 0 if row.modrm is None else 0xF8 if row.modrm_plus_i else 0xFF
        kill = row.flags_written & ALL_FLAGS
        if mnemonic in REPLACES_ALL:
            kill = ALL_FLAGS
        if mnemonic.startswith(("REP_", "REPE_", "REPNE_")):
            kill = 0
        reads = row.flags_read & ALL_FLAGS
        mod = 1 if row.has("mem") else 2 if row.has("reg") or row.modrm is not None else 0
        if any(o.letter == "M" for o in row.operands):
            mod = 1
        if any(o.letter in "CD" for o in row.operands):
            mod = 3  # ModRM.mod is ignored: always a register
        elif any(o.letter in "NUR" for o in row.operands):
            mod = 2
        return struct.pack(
            "<14B3H7H2B", PREFIX[prefix], mask, row.modrm or 0, mod, feature_named(row.feature).number,
            2 if row.has("f64") else 1 if row.has("d64") else 0, immediates[0], immediates[1],
            int(row.attributes.get("aux", 0)) & 0xFF, 1 if row.has_modrm else 0,
            1 if any(o.letter == "S" for o in row.operands) else 0, 1 if row.has("pops") else 0,
            *intercept_of(row, mnemonic), attributes, kill, reads,
            *plans, (row.flags_written | row.flags_undefined) & ALL_FLAGS, vex,
            int(mnemonic in SHIFTS and any(o.letter == "I" for o in row.operands)),
        )  # fmt: skip


def specificity(row: Row, prefix: str) -> tuple[int, ...]:
    """Sort key: the row that says more about an encoding is tried first."""
    return (
        0 if row.has("variant") else 1,
        0 if row.modrm is not None and not row.modrm_plus_i else 1 if row.modrm is not None else 2,
        0 if prefix in ("66F3", "66F2") else 1 if prefix in ("F3", "F2") else 2 if prefix else 3,
        0 if row.has("W0") or row.has("W1") else 1,
        0 if row.has("mem") or row.has("reg") else 1,
        0 if row.extension is not None else 1,
        0 if row.has("B0") else 1,
        1 if row.plus_r else 0,
    )


def clones(row: Row) -> list[tuple[str, str, int]]:
    """(mnemonic, prefix, address size) of the RowInfos a row makes: repeated strings and address-size suffixes."""
    made = [(row.mnemonic, row.prefix)]
    if row.has("rep"):
        made += [(f"REP_{row.mnemonic}", "F3"), (f"REP_{row.mnemonic}", "F2")]
    if row.has("repz"):
        made += [(f"REPE_{row.mnemonic}", "F3"), (f"REPNE_{row.mnemonic}", "F2")]
    sizes = (1, 2, 3) if any(o.size == "address" for o in row.operands) else (0,)
    return [(mnemonic, prefix, size) for mnemonic, prefix in made for size in sizes]


def immediates_of(row: Row) -> list[int]:
    """Kinds of the immediates of a row: two of them, 0 for none."""
    kinds = []
    for operand in row.operands:
        if operand.letter == "I":
            kinds.append(IMMEDIATES[operand.size])
        elif operand.letter == "L":
            kinds.append(IMMEDIATE_REGISTER)
        elif operand.letter == "A":
            kinds.append(IMMEDIATE_FAR)
        elif operand.letter == "O":
            kinds.append(IMMEDIATE_OFFSET)
        elif operand.letter == "J":
            kinds.append(IMMEDIATE_JB if operand.size == "b" else IMMEDIATE_JZ)
    return (kinds + [0, 0])[:2]


def shapes() -> bytes:
    """What follows each opcode of each map (SHAPE_* of core/decode.pxd) whatever its row, and where it has none.

    Processors find the end of an instruction by its opcode alone, before they find it undefined: maps 0F38 and 0F3A
    have ModRM throughout, the latter an immediate byte too, with VEX as without; VEX's map of 0F is as the legacy one.
    """
    rows: dict[tuple[int, int], list[Row]] = {}
    for row in load_rows():
        if row.feature in ("pre186", "pre386"):
            continue
        for opcode in range(row.opcode[-1], row.opcode[-1] + (8 if row.plus_r else 1)):
            rows.setdefault((row.map, opcode), []).append(row)

    def shape(opcode_map: int, opcode: int) -> int:
        if opcode_map >= 2:
            return SHAPE_MODRM | (IMMEDIATES["b"] << 4 if opcode_map == 3 else 0)
        here = rows.get((opcode_map, opcode), [])
        if not here:
            return SHAPE_MODRM | SHAPE_INTEL if opcode_map == 1 and opcode >= 0x40 else 0
        plain = [row for row in here if not row.prefix] or [row for row in here if row.prefix == "NP"] or here
        result = SHAPE_MODRM if any(row.has_modrm for row in here) else 0
        if any(operand.letter in "CD" for row in here for operand in row.operands):
            result |= SHAPE_NO_MOD
        return result | max(immediates_of(row)[0] for row in plain) << 4

    return bytes(shape(m if m < 4 else m - 3, opcode) for m in range(7) for opcode in range(256))


def generate(handlers: set[str]) -> tuple[str, list[str]]:
    """Text of decode_tables.py, and the operand forms that have no handler."""
    compiler = Compiler(handlers)
    candidates: dict[tuple[int, int, int], list[tuple[tuple[int, ...], int]]] = {}
    infos: list[bytes] = []
    descriptions: list[str] = []
    for row in load_rows():
        for mnemonic, prefix, address_size in clones(row):
            number = len(infos)
            infos.append(compiler.row_info(row, mnemonic, prefix, address_size))
            descriptions.append(f"{mnemonic} {row.source}")
            last = row.opcode[-1]
            for opcode in range(last, last + 8) if row.plus_r else [last]:
                if row.extension is not None:
                    extensions = [row.extension]
                elif row.modrm is not None:
                    extensions = [(row.modrm >> 3) & 7]
                else:
                    extensions = list(range(8))
                for extension in extensions:
                    key = (row.map, opcode, extension)
                    candidates.setdefault(key, []).append((specificity(row, prefix), number))
    starts: list[tuple[int, int]] = []
    order: list[int] = []
    for opcode_map in range(7):
        for opcode in range(256):
            for extension in range(8):
                found = sorted(candidates.get((opcode_map, opcode, extension), []))
                starts.append((len(order), len(found)))
                order += [number for _, number in found]
    # A__B does both instructions in one record, A__and__B in two; A__index__B is an index and a branch by it.
    fused = [(name.split("__")[0], name.split("__")[-1], name) for name in sorted(handlers)
             if "__" in name and "__index__" not in name and not name.endswith(("_at_base", "_indexed"))]
    index = [(*name.split("__index__"), name) for name in sorted(handlers) if "__index__" in name]
    for parts in (*fused, *index):
        for part in parts:
            compiler.number(part)
    # NAME_cet, NAME_shadow, NAME_tracked: what runs in place of NAME under control-flow enforcement
    enforced = [
        (name.removesuffix(suffix), name, kind)
        for kind, suffix in enumerate(("_cet", "_shadow", "_tracked"))
        for name in sorted(handlers)
        if name.endswith(suffix)
    ]
    for general, special, _ in enforced:
        compiler.number(general)
        compiler.number(special)
    addressed: dict[str, list[tuple[int, int]]] = {"_at_base": [], "_indexed": []}
    for suffix, pairs in addressed.items():
        for name in sorted(handlers):
            if name.endswith(suffix):
                pairs.append((compiler.number(name.removesuffix(suffix)), compiler.number(name)))
    text = [
        '"""Generated by x86emu._gen.decode_tables from the instruction rows."""',
        f"NAMES = {compiler.names!r}",
        f"ROWS = {b''.join(infos)!r}",
        f"ROW_NAMES = {descriptions!r}",
        f"PLANS = {b''.join(compiler.plans)!r}",
        f"STARTS = {b''.join(struct.pack('<2H', *s) for s in starts)!r}",
        f"ORDER = {struct.pack(f'<{len(order)}H', *order)!r}",
        f"SHAPES = {shapes()!r}",
        f"ENFORCED = {[(compiler.numbers[a], compiler.numbers[b], kind) for a, b, kind in enforced]!r}",
        f"AT_BASE = {addressed['_at_base']!r}",
        f"INDEXED = {addressed['_indexed']!r}",
        f"INDEX = {[tuple(map(compiler.numbers.__getitem__, parts)) for parts in index]!r}",
        f"FUSED = {[(*map(compiler.numbers.__getitem__, parts), '__and__' in parts[2]) for parts in fused]!r}",
    ]
    return "\n".join(text) + "\n", compiler.missing
