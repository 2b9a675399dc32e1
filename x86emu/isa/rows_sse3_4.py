"""SSE3, SSSE3, SSE4.1 and SSE4.2 instructions on XMM registers (SDM 1, chapter 12; SDM 2D, tables A-3 to A-5).

CRC32 and POPCNT: rows_integer. Memory operands of 16 bytes must be aligned (#GP(0)) unless the row says `unaligned`.
"""

ROWS = """
# ----- SSE3 -----
F3 0F 12 | MOVSLDUP | Vps, Wps | - | wo,sse,feature=sse3
F3 0F 16 | MOVSHDUP | Vps, Wps | - | wo,sse,feature=sse3
F2 0F 12 | MOVDDUP | Vdq, Wq | - | wo,sse,feature=sse3
F2 0F F0 | LDDQU | Vdq, Mdq | - | wo,mem,unaligned,sse,feature=sse3
66 0F D0 | ADDSUBPD | Vpd, Wpd | - | sse,feature=sse3
F2 0F D0 | ADDSUBPS | Vps, Wps | - | sse,feature=sse3
66 0F 7C | HADDPD | Vpd, Wpd | - | sse,feature=sse3
F2 0F 7C | HADDPS | Vps, Wps | - | sse,feature=sse3
66 0F 7D | HSUBPD | Vpd, Wpd | - | sse,feature=sse3
F2 0F 7D | HSUBPS | Vps, Wps | - | sse,feature=sse3
# ----- SSSE3 -----
66 0F 38 00 | PSHUFB | Vdq, Wdq | - | sse,feature=ssse3
66 0F 38 01 | PHADDW | Vdq, Wdq | - | sse,feature=ssse3
66 0F 38 02 | PHADDD | Vdq, Wdq | - | sse,feature=ssse3
66 0F 38 03 | PHADDSW | Vdq, Wdq | - | sse,feature=ssse3
66 0F 38 04 | PMADDUBSW | Vdq, Wdq | - | sse,feature=ssse3
66 0F 38 05 | PHSUBW | Vdq, Wdq | - | sse,feature=ssse3
66 0F 38 06 | PHSUBD | Vdq, Wdq | - | sse,feature=ssse3
66 0F 38 07 | PHSUBSW | Vdq, Wdq | - | sse,feature=ssse3
66 0F 38 08 | PSIGNB | Vdq, Wdq | - | sse,feature=ssse3
66 0F 38 09 | PSIGNW | Vdq, Wdq | - | sse,feature=ssse3
66 0F 38 0A | PSIGND | Vdq, Wdq | - | sse,feature=ssse3
66 0F 38 0B | PMULHRSW | Vdq, Wdq | - | sse,feature=ssse3
66 0F 38 1C | PABSB | Vdq, Wdq | - | sse,wo,feature=ssse3
66 0F 38 1D | PABSW | Vdq, Wdq | - | sse,wo,feature=ssse3
66 0F 38 1E | PABSD | Vdq, Wdq | - | sse,wo,feature=ssse3
66 0F 3A 0F | PALIGNR | Vdq, Wdq, Ib | - | sse,feature=ssse3
# ----- SSE4.1 -----
66 0F 38 10 | PBLENDVB | Vdq, Wdq, XMM0 | - | sse,feature=sse4_1
66 0F 38 14 | BLENDVPS | Vdq, Wdq, XMM0 | - | sse,feature=sse4_1
66 0F 38 15 | BLENDVPD | Vdq, Wdq, XMM0 | - | sse,feature=sse4_1
66 0F 38 17 | PTEST | Vdq, Wdq | w=oszapc | ro,sse,feature=sse4_1
66 0F 38 20 | PMOVSXBW | Vdq, Wq | - | wo,sse,feature=sse4_1
66 0F 38 30 | PMOVZXBW | Vdq, Wq | - | wo,sse,feature=sse4_1
66 0F 38 21 | PMOVSXBD | Vdq, Wd | - | wo,sse,feature=sse4_1
66 0F 38 31 | PMOVZXBD | Vdq, Wd | - | wo,sse,feature=sse4_1
66 0F 38 22 | PMOVSXBQ | Vdq, Ww | - | wo,sse,feature=sse4_1
66 0F 38 32 | PMOVZXBQ | Vdq, Ww | - | wo,sse,feature=sse4_1
66 0F 38 23 | PMOVSXWD | Vdq, Wq | - | wo,sse,feature=sse4_1
66 0F 38 33 | PMOVZXWD | Vdq, Wq | - | wo,sse,feature=sse4_1
66 0F 38 24 | PMOVSXWQ | Vdq, Wd | - | wo,sse,feature=sse4_1
66 0F 38 34 | PMOVZXWQ | Vdq, Wd | - | wo,sse,feature=sse4_1
66 0F 38 25 | PMOVSXDQ | Vdq, Wq | - | wo,sse,feature=sse4_1
66 0F 38 35 | PMOVZXDQ | Vdq, Wq | - | wo,sse,feature=sse4_1
66 0F 38 2A | MOVNTDQA | Vdq, Mdq | - | wo,mem,sse,feature=sse4_1
66 0F 38 28 | PMULDQ | Vdq, Wdq | - | sse,feature=sse4_1
66 0F 38 29 | PCMPEQQ | Vdq, Wdq | - | sse,feature=sse4_1
66 0F 38 2B | PACKUSDW | Vdq, Wdq | - | sse,feature=sse4_1
66 0F 38 38 | PMINSB | Vdq, Wdq | - | sse,feature=sse4_1
66 0F 38 39 | PMINSD | Vdq, Wdq | - | sse,feature=sse4_1
66 0F 38 3A | PMINUW | Vdq, Wdq | - | sse,feature=sse4_1
66 0F 38 3B | PMINUD | Vdq, Wdq | - | sse,feature=sse4_1
66 0F 38 3C | PMAXSB | Vdq, Wdq | - | sse,feature=sse4_1
66 0F 38 3D | PMAXSD | Vdq, Wdq | - | sse,feature=sse4_1
66 0F 38 3E | PMAXUW | Vdq, Wdq | - | sse,feature=sse4_1
66 0F 38 3F | PMAXUD | Vdq, Wdq | - | sse,feature=sse4_1
66 0F 38 40 | PMULLD | Vdq, Wdq | - | sse,feature=sse4_1
66 0F 38 41 | PHMINPOSUW | Vdq, Wdq | - | wo,sse,feature=sse4_1
66 0F 3A 08 | ROUNDPS | Vps, Wps, Ib | - | wo,sse,feature=sse4_1
66 0F 3A 09 | ROUNDPD | Vpd, Wpd, Ib | - | wo,sse,feature=sse4_1
66 0F 3A 0A | ROUNDSS | Vss, Wss, Ib | - | sse,feature=sse4_1
66 0F 3A 0B | ROUNDSD | Vsd, Wsd, Ib | - | sse,feature=sse4_1
66 0F 3A 0C | BLENDPS | Vps, Wps, Ib | - | sse,feature=sse4_1
66 0F 3A 0D | BLENDPD | Vpd, Wpd, Ib | - | sse,feature=sse4_1
66 0F 3A 0E | PBLENDW | Vdq, Wdq, Ib | - | sse,feature=sse4_1
66 0F 3A 14 | PEXTRB | Rd, Vdq, Ib | - | wo,reg,sse,feature=sse4_1
66 0F 3A 14 | PEXTRB | Mb, Vdq, Ib | - | wo,mem,sse,feature=sse4_1
66 0F 3A 15 | PEXTRW | Rd, Vdq, Ib | - | wo,reg,sse,feature=sse4_1
66 0F 3A 15 | PEXTRW | Mw, Vdq, Ib | - | wo,mem,sse,feature=sse4_1
66 0F 3A 16 | PEXTRD | Ey, Vdq, Ib | - | wo,sse,feature=sse4_1
66 0F 3A 17 | EXTRACTPS | Ed, Vdq, Ib | - | wo,sse,feature=sse4_1
66 0F 3A 20 | PINSRB | Vdq, Rd, Ib | - | reg,sse,feature=sse4_1
66 0F 3A 20 | PINSRB | Vdq, Mb, Ib | - | mem,sse,feature=sse4_1
66 0F 3A 21 | INSERTPS | Vdq, Udq, Ib | - | reg,sse,feature=sse4_1
66 0F 3A 21 | INSERTPS | Vdq, Md, Ib | - | mem,sse,feature=sse4_1
66 0F 3A 22 | PINSRD | Vdq, Ey, Ib | - | sse,feature=sse4_1
66 0F 3A 40 | DPPS | Vps, Wps, Ib | - | sse,feature=sse4_1
66 0F 3A 41 | DPPD | Vpd, Wpd, Ib | - | sse,feature=sse4_1
66 0F 3A 42 | MPSADBW | Vdq, Wdq, Ib | - | sse,feature=sse4_1
# ----- SSE4.2 -----
66 0F 38 37 | PCMPGTQ | Vdq, Wdq | - | sse,feature=sse4_2
66 0F 3A 60 | PCMPESTRM | Vdq, Wdq, Ib, !y | w=oszapc | ro,unaligned,sse,feature=sse4_2
66 0F 3A 61 | PCMPESTRI | Vdq, Wdq, Ib, !y | w=oszapc | ro,unaligned,sse,feature=sse4_2
66 0F 3A 62 | PCMPISTRM | Vdq, Wdq, Ib | w=oszapc | ro,unaligned,sse,feature=sse4_2
66 0F 3A 63 | PCMPISTRI | Vdq, Wdq, Ib | w=oszapc | ro,unaligned,sse,feature=sse4_2
"""
