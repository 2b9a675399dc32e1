"""SSE2 instructions (SDM 1, chapter 11; SDM 2D, table A-3, columns 66, F3 and F2). Those on MMX registers: rows_mmx.

Memory operands of 16 bytes must be aligned (#GP(0)) unless the row says `unaligned`.
X stands here for the memory at DS:rDI (segment overridable) that MASKMOVDQU stores to.
"""

ROWS = """
# ----- moves -----
66 0F 10 | MOVUPD | Vpd, Wpd | - | wo,unaligned,sse,feature=sse2
66 0F 11 | MOVUPD | Wpd, Vpd | - | wo,unaligned,sse,feature=sse2
F2 0F 10 | MOVSD | Vsd, Wsd | - | sse,feature=sse2
F2 0F 11 | MOVSD | Wsd, Vsd | - | sse,feature=sse2
66 0F 12 | MOVLPD | Vq, Mq | - | mem,sse,feature=sse2
66 0F 13 | MOVLPD | Mq, Vq | - | wo,mem,sse,feature=sse2
66 0F 16 | MOVHPD | Vdq, Mq | - | mem,sse,feature=sse2
66 0F 17 | MOVHPD | Mq, Vdq | - | wo,mem,sse,feature=sse2
66 0F 28 | MOVAPD | Vpd, Wpd | - | wo,sse,feature=sse2
66 0F 29 | MOVAPD | Wpd, Vpd | - | wo,sse,feature=sse2
66 0F 2B | MOVNTPD | Mpd, Vpd | - | wo,mem,sse,feature=sse2
66 0F 50 | MOVMSKPD | Gd, Upd | - | wo,reg,sse,feature=sse2
66 0F 6E | MOVD | Vdq, Ey | - | wo,sse,feature=sse2
66 0F 7E | MOVD | Ey, Vdq | - | wo,sse,feature=sse2
66 0F 6F | MOVDQA | Vdq, Wdq | - | wo,sse,feature=sse2
66 0F 7F | MOVDQA | Wdq, Vdq | - | wo,sse,feature=sse2
F3 0F 6F | MOVDQU | Vdq, Wdq | - | wo,unaligned,sse,feature=sse2
F3 0F 7F | MOVDQU | Wdq, Vdq | - | wo,unaligned,sse,feature=sse2
F3 0F 7E | MOVQ | Vq, Wq | - | wo,sse,feature=sse2
66 0F D6 | MOVQ | Wq, Vq | - | wo,sse,feature=sse2
F3 0F D6 | MOVQ2DQ | Vdq, Nq | - | wo,reg,sse,feature=sse2
F2 0F D6 | MOVDQ2Q | Pq, Uq | - | wo,reg,sse,feature=sse2
66 0F E7 | MOVNTDQ | Mdq, Vdq | - | wo,mem,sse,feature=sse2
66 0F F7 | MASKMOVDQU | Vdq, Udq, Xb | - | ro,reg,asz,sse,feature=sse2,undefined=fault_address
66 0F D7 | PMOVMSKB | Gd, Udq | - | wo,reg,sse,feature=sse2
66 0F C4 | PINSRW | Vdq, Rd, Ib | - | reg,sse,feature=sse2
66 0F C4 | PINSRW | Vdq, Mw, Ib | - | mem,sse,feature=sse2
66 0F C5 | PEXTRW | Gd, Udq, Ib | - | wo,reg,sse,feature=sse2
# ----- conversions -----
66 0F 2A | CVTPI2PD | Vpd, Qpi | - | wo,sse,feature=sse2
F2 0F 2A | CVTSI2SD | Vsd, Ey | - | sse,feature=sse2
66 0F 2C | CVTTPD2PI | Ppi, Wpd | - | wo,sse,feature=sse2,undefined=mmx_fault
66 0F 2D | CVTPD2PI | Ppi, Wpd | - | wo,sse,feature=sse2,undefined=mmx_fault
F2 0F 2C | CVTTSD2SI | Gy, Wsd | - | wo,sse,feature=sse2
F2 0F 2D | CVTSD2SI | Gy, Wsd | - | wo,sse,feature=sse2
NP 0F 5A | CVTPS2PD | Vpd, Wq | - | wo,sse,feature=sse2
66 0F 5A | CVTPD2PS | Vps, Wpd | - | wo,sse,feature=sse2
F3 0F 5A | CVTSS2SD | Vsd, Wss | - | sse,feature=sse2
F2 0F 5A | CVTSD2SS | Vss, Wsd | - | sse,feature=sse2
NP 0F 5B | CVTDQ2PS | Vps, Wdq | - | wo,sse,feature=sse2
66 0F 5B | CVTPS2DQ | Vdq, Wps | - | wo,sse,feature=sse2
F3 0F 5B | CVTTPS2DQ | Vdq, Wps | - | wo,sse,feature=sse2
66 0F E6 | CVTTPD2DQ | Vdq, Wpd | - | wo,sse,feature=sse2
F2 0F E6 | CVTPD2DQ | Vdq, Wpd | - | wo,sse,feature=sse2
F3 0F E6 | CVTDQ2PD | Vpd, Wq | - | wo,sse,feature=sse2
# ----- comparison -----
66 0F 2E | UCOMISD | Vsd, Wsd | w=oszapc | ro,sse,feature=sse2
66 0F 2F | COMISD | Vsd, Wsd | w=oszapc | ro,sse,feature=sse2
66 0F C2 | CMPPD | Vpd, Wpd, Ib | - | sse,feature=sse2
F2 0F C2 | CMPSD | Vsd, Wsd, Ib | - | sse,feature=sse2
# ----- floating-point arithmetic, logic, shuffling -----
66 0F 51 | SQRTPD | Vpd, Wpd | - | sse,wo,feature=sse2
F2 0F 51 | SQRTSD | Vsd, Wsd | - | sse,feature=sse2
66 0F 58 | ADDPD | Vpd, Wpd | - | sse,feature=sse2
F2 0F 58 | ADDSD | Vsd, Wsd | - | sse,feature=sse2
66 0F 59 | MULPD | Vpd, Wpd | - | sse,feature=sse2
F2 0F 59 | MULSD | Vsd, Wsd | - | sse,feature=sse2
66 0F 5C | SUBPD | Vpd, Wpd | - | sse,feature=sse2
F2 0F 5C | SUBSD | Vsd, Wsd | - | sse,feature=sse2
66 0F 5D | MINPD | Vpd, Wpd | - | sse,feature=sse2
F2 0F 5D | MINSD | Vsd, Wsd | - | sse,feature=sse2
66 0F 5E | DIVPD | Vpd, Wpd | - | sse,feature=sse2
F2 0F 5E | DIVSD | Vsd, Wsd | - | sse,feature=sse2
66 0F 5F | MAXPD | Vpd, Wpd | - | sse,feature=sse2
F2 0F 5F | MAXSD | Vsd, Wsd | - | sse,feature=sse2
66 0F 54 | ANDPD | Vpd, Wpd | - | sse,feature=sse2
66 0F 55 | ANDNPD | Vpd, Wpd | - | sse,feature=sse2
66 0F 56 | ORPD | Vpd, Wpd | - | sse,feature=sse2
66 0F 57 | XORPD | Vpd, Wpd | - | sse,feature=sse2
66 0F 14 | UNPCKLPD | Vpd, Wpd | - | sse,feature=sse2
66 0F 15 | UNPCKHPD | Vpd, Wpd | - | sse,feature=sse2
66 0F C6 | SHUFPD | Vpd, Wpd, Ib | - | sse,feature=sse2
# ----- integers -----
66 0F 60 | PUNPCKLBW | Vdq, Wdq | - | sse,feature=sse2
66 0F 61 | PUNPCKLWD | Vdq, Wdq | - | sse,feature=sse2
66 0F 62 | PUNPCKLDQ | Vdq, Wdq | - | sse,feature=sse2
66 0F 63 | PACKSSWB | Vdq, Wdq | - | sse,feature=sse2
66 0F 64 | PCMPGTB | Vdq, Wdq | - | sse,feature=sse2
66 0F 65 | PCMPGTW | Vdq, Wdq | - | sse,feature=sse2
66 0F 66 | PCMPGTD | Vdq, Wdq | - | sse,feature=sse2
66 0F 67 | PACKUSWB | Vdq, Wdq | - | sse,feature=sse2
66 0F 68 | PUNPCKHBW | Vdq, Wdq | - | sse,feature=sse2
66 0F 69 | PUNPCKHWD | Vdq, Wdq | - | sse,feature=sse2
66 0F 6A | PUNPCKHDQ | Vdq, Wdq | - | sse,feature=sse2
66 0F 6B | PACKSSDW | Vdq, Wdq | - | sse,feature=sse2
66 0F 74 | PCMPEQB | Vdq, Wdq | - | sse,feature=sse2
66 0F 75 | PCMPEQW | Vdq, Wdq | - | sse,feature=sse2
66 0F 76 | PCMPEQD | Vdq, Wdq | - | sse,feature=sse2
66 0F D1 | PSRLW | Vdq, Wdq | - | sse,feature=sse2
66 0F D2 | PSRLD | Vdq, Wdq | - | sse,feature=sse2
66 0F D3 | PSRLQ | Vdq, Wdq | - | sse,feature=sse2
66 0F D4 | PADDQ | Vdq, Wdq | - | sse,feature=sse2
66 0F D5 | PMULLW | Vdq, Wdq | - | sse,feature=sse2
66 0F D8 | PSUBUSB | Vdq, Wdq | - | sse,feature=sse2
66 0F D9 | PSUBUSW | Vdq, Wdq | - | sse,feature=sse2
66 0F DA | PMINUB | Vdq, Wdq | - | sse,feature=sse2
66 0F DB | PAND | Vdq, Wdq | - | sse,feature=sse2
66 0F DC | PADDUSB | Vdq, Wdq | - | sse,feature=sse2
66 0F DD | PADDUSW | Vdq, Wdq | - | sse,feature=sse2
66 0F DE | PMAXUB | Vdq, Wdq | - | sse,feature=sse2
66 0F DF | PANDN | Vdq, Wdq | - | sse,feature=sse2
66 0F E0 | PAVGB | Vdq, Wdq | - | sse,feature=sse2
66 0F E1 | PSRAW | Vdq, Wdq | - | sse,feature=sse2
66 0F E2 | PSRAD | Vdq, Wdq | - | sse,feature=sse2
66 0F E3 | PAVGW | Vdq, Wdq | - | sse,feature=sse2
66 0F E4 | PMULHUW | Vdq, Wdq | - | sse,feature=sse2
66 0F E5 | PMULHW | Vdq, Wdq | - | sse,feature=sse2
66 0F E8 | PSUBSB | Vdq, Wdq | - | sse,feature=sse2
66 0F E9 | PSUBSW | Vdq, Wdq | - | sse,feature=sse2
66 0F EA | PMINSW | Vdq, Wdq | - | sse,feature=sse2
66 0F EB | POR | Vdq, Wdq | - | sse,feature=sse2
66 0F EC | PADDSB | Vdq, Wdq | - | sse,feature=sse2
66 0F ED | PADDSW | Vdq, Wdq | - | sse,feature=sse2
66 0F EE | PMAXSW | Vdq, Wdq | - | sse,feature=sse2
66 0F EF | PXOR | Vdq, Wdq | - | sse,feature=sse2
66 0F F1 | PSLLW | Vdq, Wdq | - | sse,feature=sse2
66 0F F2 | PSLLD | Vdq, Wdq | - | sse,feature=sse2
66 0F F3 | PSLLQ | Vdq, Wdq | - | sse,feature=sse2
66 0F F4 | PMULUDQ | Vdq, Wdq | - | sse,feature=sse2
66 0F F5 | PMADDWD | Vdq, Wdq | - | sse,feature=sse2
66 0F F6 | PSADBW | Vdq, Wdq | - | sse,feature=sse2
66 0F F8 | PSUBB | Vdq, Wdq | - | sse,feature=sse2
66 0F F9 | PSUBW | Vdq, Wdq | - | sse,feature=sse2
66 0F FA | PSUBD | Vdq, Wdq | - | sse,feature=sse2
66 0F FB | PSUBQ | Vdq, Wdq | - | sse,feature=sse2
66 0F FC | PADDB | Vdq, Wdq | - | sse,feature=sse2
66 0F FD | PADDW | Vdq, Wdq | - | sse,feature=sse2
66 0F FE | PADDD | Vdq, Wdq | - | sse,feature=sse2
66 0F 6C | PUNPCKLQDQ | Vdq, Wdq | - | sse,feature=sse2
66 0F 6D | PUNPCKHQDQ | Vdq, Wdq | - | sse,feature=sse2
66 0F 70 | PSHUFD | Vdq, Wdq, Ib | - | wo,sse,feature=sse2
F3 0F 70 | PSHUFHW | Vdq, Wdq, Ib | - | wo,sse,feature=sse2
F2 0F 70 | PSHUFLW | Vdq, Wdq, Ib | - | wo,sse,feature=sse2
# ----- shifts by an immediate -----
66 0F 71 /2 | PSRLW | Udq, Ib | - | reg,sse,feature=sse2
66 0F 71 /4 | PSRAW | Udq, Ib | - | reg,sse,feature=sse2
66 0F 71 /6 | PSLLW | Udq, Ib | - | reg,sse,feature=sse2
66 0F 72 /2 | PSRLD | Udq, Ib | - | reg,sse,feature=sse2
66 0F 72 /4 | PSRAD | Udq, Ib | - | reg,sse,feature=sse2
66 0F 72 /6 | PSLLD | Udq, Ib | - | reg,sse,feature=sse2
66 0F 73 /2 | PSRLQ | Udq, Ib | - | reg,sse,feature=sse2
66 0F 73 /6 | PSLLQ | Udq, Ib | - | reg,sse,feature=sse2
66 0F 73 /3 | PSRLDQ | Udq, Ib | - | reg,sse,feature=sse2
66 0F 73 /7 | PSLLDQ | Udq, Ib | - | reg,sse,feature=sse2
"""
