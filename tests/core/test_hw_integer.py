"""Integer instructions against captures of a processor, by family and mode (flags that the manual leaves undefined are
not compared)."""

import re

import pytest

from tests.conform_hw import Case, check

FAMILIES = {
    "arithmetic": r"(ADC|ADD|AND|CMP|DEC|INC|NEG|NOT|OR|SBB|SUB|TEST|XOR)_R?[A-Z]",
    "shifts": r"(RCL|RCR|ROL|ROR|SAL|SAR|SHL|SHR|SHLD|SHRD)_R",
    "bits": r"(BSF|BSR|BT|BTC|BTR|BTS|LZCNT|TZCNT|POPCNT|BSWAP|CRC32|ADCX|ADOX)_R",
    "multiplication": r"(MUL|IMUL|DIV|IDIV)_R",
    "moves": r"(MOV|MOVZX|MOVSX|MOVSXD|MOVBE|XCHG|LEA)_(?!.*(SREG|CR|DR|XMM))",
    "exchange": r"(XADD|CMPXCHG\w*|MOVNTI)_",
    "conditions": r"(CMOV|SET)(O|NO|B|AE|E|NE|BE|A|S|NS|P|NP|L|GE|LE|G)_",
    "stack": r"((PUSH|POP)[QDW]?_(R|IMM)|PUSHA|POPA|ENTER|LEAVE|PUSHF|POPF)",
    "strings": r"(MOVS|STOS|LODS|CMPS|SCAS)[BWDQ]_|XLAT",
    "flags": r"(CLC|STC|CMC|CLD|STD|LAHF|SAHF|SALC|CBW|CWDE|CDQE|CWD|CDQ|CQO)$",
    "decimal": r"(DAA|DAS|AAA|AAS|AAM|AAD)",
    "hints": r"(NOP|RESERVEDNOP|PREFETCH|CLFLUSH|LFENCE|MFENCE|SFENCE|PAUSE|ENDBR)",
}


def undefined_result(case: Case) -> bool:
    """Results, not only flags, that the manual leaves undefined: 16-bit SHLD and SHRD beyond 16, 16-bit BSWAP."""
    if case["n"] == "BSWAP_R16":
        return True
    if re.match(r"SH[LR]D_RM16", case["n"]):
        count = int(case["b"][-2:], 16) if case["n"].endswith("IMM8") else int(case["r"]["rcx"], 16)
        return count & 31 > 16
    return False


@pytest.mark.parametrize("mode", [64, 32])
@pytest.mark.parametrize("family", FAMILIES)
def test_family_behaves_as_captured(family: str, mode: int) -> None:
    if (family, mode) == ("decimal", 64):
        pytest.skip("decimal instructions do not exist in 64-bit mode")
    pattern = re.compile(FAMILIES[family])
    check(mode, lambda case: pattern.match(case["n"]) is not None, at_least=10, ignore=undefined_result)
