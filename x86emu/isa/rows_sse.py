"""SSE instructions (SDM 1, chapter 10; SDM 2D, table A-3, columns NP and F3). Those on MMX registers: rows_mmx.

Memory operands of 16 bytes must be aligned (#GP(0)) unless the row says `unaligned`.
"""

ROWS = """
# ----- moves -----
NP 0F 10 | MOVUPS | Vps, Wps | - | wo,unaligned,sse,feature=sse
NP 0F 11 | MOVUPS | Wps, Vps | - | wo,unaligned,sse,feature=sse
F3 0F 10 | MOVSS | Vss, Wss | - | sse,feature=sse
F3 0F 11 | MOVSS | Wss, Vss | - | sse,feature=sse
NP 0F 12 | MOVLPS | Vq, Mq | - | mem,sse,feature=sse
NP 0F 12 | MOVHLPS | Vq, Uq | - | reg,sse,feature=sse
NP 0F 13 | MOVLPS | Mq, Vq | - | wo,mem,sse,feature=sse
NP 0F 16 | MOVHPS | Vdq, Mq | - | mem,sse,feature=sse
NP 0F 16 | MOVLHPS | Vdq, Uq | - | reg,sse,feature=sse
NP 0F 17 | MOVHPS | Mq, Vdq | - | wo,mem,sse,feature=sse
NP 0F 28 | MOVAPS | Vps, Wps | - | wo,sse,feature=sse
NP 0F 29 | MOVAPS | Wps, Vps | - | wo,sse,feature=sse
NP 0F 2B | MOVNTPS | Mps, Vps | - | wo,mem,sse,feature=sse
NP 0F 50 | MOVMSKPS | Gd, Ups | - | wo,reg,sse,feature=sse
# ----- conversions -----
NP 0F 2A | CVTPI2PS | Vps, Qpi | - | sse,feature=sse,undefined=mmx_fault
F3 0F 2A | CVTSI2SS | Vss, Ey | - | sse,feature=sse
NP 0F 2C | CVTTPS2PI | Ppi, Wq | - | wo,sse,feature=sse,undefined=mmx_fault
NP 0F 2D | CVTPS2PI | Ppi, Wq | - | wo,sse,feature=sse,undefined=mmx_fault
F3 0F 2C | CVTTSS2SI | Gy, Wss | - | wo,sse,feature=sse
F3 0F 2D | CVTSS2SI | Gy, Wss | - | wo,sse,feature=sse
# ----- comparison -----
NP 0F 2E | UCOMISS | Vss, Wss | w=oszapc | ro,sse,feature=sse
NP 0F 2F | COMISS | Vss, Wss | w=oszapc | ro,sse,feature=sse
NP 0F C2 | CMPPS | Vps, Wps, Ib | - | sse,feature=sse
F3 0F C2 | CMPSS | Vss, Wss, Ib | - | sse,feature=sse
# ----- arithmetic -----
NP 0F 51 | SQRTPS | Vps, Wps | - | sse,wo,feature=sse
F3 0F 51 | SQRTSS | Vss, Wss | - | sse,feature=sse
NP 0F 58 | ADDPS | Vps, Wps | - | sse,feature=sse
F3 0F 58 | ADDSS | Vss, Wss | - | sse,feature=sse
NP 0F 59 | MULPS | Vps, Wps | - | sse,feature=sse
F3 0F 59 | MULSS | Vss, Wss | - | sse,feature=sse
NP 0F 5C | SUBPS | Vps, Wps | - | sse,feature=sse
F3 0F 5C | SUBSS | Vss, Wss | - | sse,feature=sse
NP 0F 5D | MINPS | Vps, Wps | - | sse,feature=sse
F3 0F 5D | MINSS | Vss, Wss | - | sse,feature=sse
NP 0F 5E | DIVPS | Vps, Wps | - | sse,feature=sse
F3 0F 5E | DIVSS | Vss, Wss | - | sse,feature=sse
NP 0F 5F | MAXPS | Vps, Wps | - | sse,feature=sse
F3 0F 5F | MAXSS | Vss, Wss | - | sse,feature=sse
NP 0F 52 | RSQRTPS | Vps, Wps | - | sse,wo,feature=sse,approximate=12bits
F3 0F 52 | RSQRTSS | Vss, Wss | - | sse,feature=sse,approximate=12bits
NP 0F 53 | RCPPS | Vps, Wps | - | sse,wo,feature=sse,approximate=12bits
F3 0F 53 | RCPSS | Vss, Wss | - | sse,feature=sse,approximate=12bits
# ----- logic, shuffling -----
NP 0F 54 | ANDPS | Vps, Wps | - | sse,feature=sse
NP 0F 55 | ANDNPS | Vps, Wps | - | sse,feature=sse
NP 0F 56 | ORPS | Vps, Wps | - | sse,feature=sse
NP 0F 57 | XORPS | Vps, Wps | - | sse,feature=sse
NP 0F 14 | UNPCKLPS | Vps, Wps | - | sse,feature=sse
NP 0F 15 | UNPCKHPS | Vps, Wps | - | sse,feature=sse
NP 0F C6 | SHUFPS | Vps, Wps, Ib | - | sse,feature=sse
"""
