"""MMX instructions and the later ones on MMX registers (SDM 1, chapter 9; SDM 2D, tables A-3 to A-5, column NP).

They need neither CR4.OSFXSR nor alignment. The low-half unpack instructions read 32 bits of memory.
X stands here for the memory at DS:rDI (segment overridable) that MASKMOVQ stores to.
"""

ROWS = """
# ----- moves -----
NP 0F 6E | MOVD | Pq, Ey | - | wo,mmx,feature=mmx
NP 0F 7E | MOVD | Ey, Pq | - | wo,mmx,feature=mmx,undefined=mmx_fault
NP 0F 6F | MOVQ | Pq, Qq | - | wo,mmx,feature=mmx
NP 0F 7F | MOVQ | Qq, Pq | - | wo,mmx,feature=mmx,undefined=mmx_fault
NP 0F E7 | MOVNTQ | Mq, Pq | - | wo,mem,mmx,feature=sse,undefined=mmx_fault
NP 0F F7 | MASKMOVQ | Pq, Nq, Xb | - | ro,reg,asz,mmx,feature=sse,undefined=mmx_fault
NP 0F D7 | PMOVMSKB | Gd, Nq | - | wo,reg,mmx,feature=sse
NP 0F C4 | PINSRW | Pq, Rd, Ib | - | reg,mmx,feature=sse
NP 0F C4 | PINSRW | Pq, Mw, Ib | - | mem,mmx,feature=sse
NP 0F C5 | PEXTRW | Gd, Nq, Ib | - | wo,reg,mmx,feature=sse
NP 0F 70 | PSHUFW | Pq, Qq, Ib | - | wo,mmx,feature=sse
NP 0F 77 | EMMS | - | - | mmx,feature=mmx
# ----- arithmetic, logic, comparison, packing -----
NP 0F 60 | PUNPCKLBW | Pq, Qd | - | mmx,feature=mmx
NP 0F 61 | PUNPCKLWD | Pq, Qd | - | mmx,feature=mmx
NP 0F 62 | PUNPCKLDQ | Pq, Qd | - | mmx,feature=mmx
NP 0F 63 | PACKSSWB | Pq, Qq | - | mmx,feature=mmx
NP 0F 64 | PCMPGTB | Pq, Qq | - | mmx,feature=mmx
NP 0F 65 | PCMPGTW | Pq, Qq | - | mmx,feature=mmx
NP 0F 66 | PCMPGTD | Pq, Qq | - | mmx,feature=mmx
NP 0F 67 | PACKUSWB | Pq, Qq | - | mmx,feature=mmx
NP 0F 68 | PUNPCKHBW | Pq, Qq | - | mmx,feature=mmx
NP 0F 69 | PUNPCKHWD | Pq, Qq | - | mmx,feature=mmx
NP 0F 6A | PUNPCKHDQ | Pq, Qq | - | mmx,feature=mmx
NP 0F 6B | PACKSSDW | Pq, Qq | - | mmx,feature=mmx
NP 0F 74 | PCMPEQB | Pq, Qq | - | mmx,feature=mmx
NP 0F 75 | PCMPEQW | Pq, Qq | - | mmx,feature=mmx
NP 0F 76 | PCMPEQD | Pq, Qq | - | mmx,feature=mmx
NP 0F D1 | PSRLW | Pq, Qq | - | mmx,feature=mmx
NP 0F D2 | PSRLD | Pq, Qq | - | mmx,feature=mmx
NP 0F D3 | PSRLQ | Pq, Qq | - | mmx,feature=mmx
NP 0F D4 | PADDQ | Pq, Qq | - | mmx,feature=sse2
NP 0F D5 | PMULLW | Pq, Qq | - | mmx,feature=mmx
NP 0F D8 | PSUBUSB | Pq, Qq | - | mmx,feature=mmx
NP 0F D9 | PSUBUSW | Pq, Qq | - | mmx,feature=mmx
NP 0F DA | PMINUB | Pq, Qq | - | mmx,feature=sse
NP 0F DB | PAND | Pq, Qq | - | mmx,feature=mmx
NP 0F DC | PADDUSB | Pq, Qq | - | mmx,feature=mmx
NP 0F DD | PADDUSW | Pq, Qq | - | mmx,feature=mmx
NP 0F DE | PMAXUB | Pq, Qq | - | mmx,feature=sse
NP 0F DF | PANDN | Pq, Qq | - | mmx,feature=mmx
NP 0F E0 | PAVGB | Pq, Qq | - | mmx,feature=sse
NP 0F E1 | PSRAW | Pq, Qq | - | mmx,feature=mmx
NP 0F E2 | PSRAD | Pq, Qq | - | mmx,feature=mmx
NP 0F E3 | PAVGW | Pq, Qq | - | mmx,feature=sse
NP 0F E4 | PMULHUW | Pq, Qq | - | mmx,feature=sse
NP 0F E5 | PMULHW | Pq, Qq | - | mmx,feature=mmx
NP 0F E8 | PSUBSB | Pq, Qq | - | mmx,feature=mmx
NP 0F E9 | PSUBSW | Pq, Qq | - | mmx,feature=mmx
NP 0F EA | PMINSW | Pq, Qq | - | mmx,feature=sse
NP 0F EB | POR | Pq, Qq | - | mmx,feature=mmx
NP 0F EC | PADDSB | Pq, Qq | - | mmx,feature=mmx
NP 0F ED | PADDSW | Pq, Qq | - | mmx,feature=mmx
NP 0F EE | PMAXSW | Pq, Qq | - | mmx,feature=sse
NP 0F EF | PXOR | Pq, Qq | - | mmx,feature=mmx
NP 0F F1 | PSLLW | Pq, Qq | - | mmx,feature=mmx
NP 0F F2 | PSLLD | Pq, Qq | - | mmx,feature=mmx
NP 0F F3 | PSLLQ | Pq, Qq | - | mmx,feature=mmx
NP 0F F4 | PMULUDQ | Pq, Qq | - | mmx,feature=sse2
NP 0F F5 | PMADDWD | Pq, Qq | - | mmx,feature=mmx
NP 0F F6 | PSADBW | Pq, Qq | - | mmx,feature=sse
NP 0F F8 | PSUBB | Pq, Qq | - | mmx,feature=mmx
NP 0F F9 | PSUBW | Pq, Qq | - | mmx,feature=mmx
NP 0F FA | PSUBD | Pq, Qq | - | mmx,feature=mmx
NP 0F FB | PSUBQ | Pq, Qq | - | mmx,feature=sse2
NP 0F FC | PADDB | Pq, Qq | - | mmx,feature=mmx
NP 0F FD | PADDW | Pq, Qq | - | mmx,feature=mmx
NP 0F FE | PADDD | Pq, Qq | - | mmx,feature=mmx
# ----- shifts by an immediate -----
NP 0F 71 /2 | PSRLW | Nq, Ib | - | reg,mmx,feature=mmx
NP 0F 71 /4 | PSRAW | Nq, Ib | - | reg,mmx,feature=mmx
NP 0F 71 /6 | PSLLW | Nq, Ib | - | reg,mmx,feature=mmx
NP 0F 72 /2 | PSRLD | Nq, Ib | - | reg,mmx,feature=mmx
NP 0F 72 /4 | PSRAD | Nq, Ib | - | reg,mmx,feature=mmx
NP 0F 72 /6 | PSLLD | Nq, Ib | - | reg,mmx,feature=mmx
NP 0F 73 /2 | PSRLQ | Nq, Ib | - | reg,mmx,feature=mmx
NP 0F 73 /6 | PSLLQ | Nq, Ib | - | reg,mmx,feature=mmx
# ----- SSSE3 -----
NP 0F 38 00 | PSHUFB | Pq, Qq | - | mmx,feature=ssse3
NP 0F 38 01 | PHADDW | Pq, Qq | - | mmx,feature=ssse3
NP 0F 38 02 | PHADDD | Pq, Qq | - | mmx,feature=ssse3
NP 0F 38 03 | PHADDSW | Pq, Qq | - | mmx,feature=ssse3
NP 0F 38 04 | PMADDUBSW | Pq, Qq | - | mmx,feature=ssse3
NP 0F 38 05 | PHSUBW | Pq, Qq | - | mmx,feature=ssse3
NP 0F 38 06 | PHSUBD | Pq, Qq | - | mmx,feature=ssse3
NP 0F 38 07 | PHSUBSW | Pq, Qq | - | mmx,feature=ssse3
NP 0F 38 08 | PSIGNB | Pq, Qq | - | mmx,feature=ssse3
NP 0F 38 09 | PSIGNW | Pq, Qq | - | mmx,feature=ssse3
NP 0F 38 0A | PSIGND | Pq, Qq | - | mmx,feature=ssse3
NP 0F 38 0B | PMULHRSW | Pq, Qq | - | mmx,feature=ssse3
NP 0F 38 1C | PABSB | Pq, Qq | - | mmx,wo,feature=ssse3
NP 0F 38 1D | PABSW | Pq, Qq | - | mmx,wo,feature=ssse3
NP 0F 38 1E | PABSD | Pq, Qq | - | mmx,wo,feature=ssse3
NP 0F 3A 0F | PALIGNR | Pq, Qq, Ib | - | mmx,feature=ssse3
"""
