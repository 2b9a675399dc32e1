"""String instructions and XLAT (SDM 1, 7.3.9; SDM 2D, table A-2; INS and OUTS are system rows).

X is seg:rSI with the segment overridable, Y is ES:rDI; both with the address size (`asz`).
F3 and F2 both repeat MOVS, STOS and LODS (`rep`); they select the condition of CMPS and SCAS (`repz`).
"""

ROWS = """
A4 | MOVS | Yb, Xb | r=d | rep,asz,wo
A5 | MOVS | Yv, Xv | r=d | rep,asz,wo
A6 | CMPS | Xb, Yb | w=oszapc r=oszapcd | repz,asz,ro,undefined=operand_order
A7 | CMPS | Xv, Yv | w=oszapc r=oszapcd | repz,asz,ro,undefined=operand_order
AA | STOS | Yb, AL | r=d | rep,asz,wo
AB | STOS | Yv, rAXv | r=d | rep,asz,wo
AC | LODS | AL, Xb | r=d | rep,asz,wo
AD | LODS | rAXv, Xv | r=d | rep,asz,wo
AE | SCAS | AL, Yb | w=oszapc r=oszapcd | repz,asz,ro
AF | SCAS | rAXv, Yv | w=oszapc r=oszapcd | repz,asz,ro
D7 | XLAT | AL, Xb | - | asz
"""
