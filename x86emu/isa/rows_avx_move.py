"""AVX and AVX2 instructions that move data: loads and stores, masked and gathering ones, insertions, permutations
(SDM 1, chapter 14; SDM 2B and 2C by name).

Memory operands need not be aligned but for VMOVAPS, VMOVAPD, VMOVDQA and the non-temporal moves. Masked moves and
gathers touch memory only where the mask has its sign bit set.
"""

ROWS = """
# ----- whole registers -----
VEX.128/256.NP.0F.WIG 10 | VMOVUPS | Vps, Wps | - | avx,wo,feature=avx
VEX.128/256.NP.0F.WIG 11 | VMOVUPS | Wps, Vps | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG 10 | VMOVUPD | Vpd, Wpd | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG 11 | VMOVUPD | Wpd, Vpd | - | avx,wo,feature=avx
VEX.128/256.NP.0F.WIG 28 | VMOVAPS | Vps, Wps | - | avx,wo,feature=avx
VEX.128/256.NP.0F.WIG 29 | VMOVAPS | Wps, Vps | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG 28 | VMOVAPD | Vpd, Wpd | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG 29 | VMOVAPD | Wpd, Vpd | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG 6F | VMOVDQA | Vx, Wx | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG 7F | VMOVDQA | Wx, Vx | - | avx,wo,feature=avx
VEX.128/256.F3.0F.WIG 6F | VMOVDQU | Vx, Wx | - | avx,wo,feature=avx
VEX.128/256.F3.0F.WIG 7F | VMOVDQU | Wx, Vx | - | avx,wo,feature=avx
VEX.128/256.NP.0F.WIG 2B | VMOVNTPS | Mps, Vps | - | mem,wo,avx,feature=avx
VEX.128/256.66.0F.WIG 2B | VMOVNTPD | Mpd, Vpd | - | mem,wo,avx,feature=avx
VEX.128/256.66.0F.WIG E7 | VMOVNTDQ | Mx, Vx | - | mem,wo,avx,feature=avx
VEX.128/256.66.0F38.WIG 2A | VMOVNTDQA | Vx, Mx | - | mem,wo,avx,feature=avx/avx2
VEX.128/256.F2.0F.WIG F0 | VLDDQU | Vx, Mx | - | mem,wo,avx,feature=avx
VEX.128.NP.0F.WIG 77 | VZEROUPPER | - | - | avx,feature=avx
VEX.256.NP.0F.WIG 77 | VZEROALL | - | - | avx,feature=avx
# ----- parts of registers -----
VEX.LIG.F3.0F.WIG 10 | VMOVSS | Vdq, Hdq, Udq | - | reg,wo,avx,feature=avx
VEX.LIG.F3.0F.WIG 11 | VMOVSS | Udq, Hdq, Vdq | - | reg,wo,avx,feature=avx
VEX.LIG.F3.0F.WIG 10 | VMOVSS | Vdq, Md | - | mem,wo,avx,feature=avx
VEX.LIG.F3.0F.WIG 11 | VMOVSS | Md, Vdq | - | mem,wo,avx,like=MOVSS,feature=avx
VEX.LIG.F2.0F.WIG 10 | VMOVSD | Vdq, Hdq, Udq | - | reg,wo,avx,feature=avx
VEX.LIG.F2.0F.WIG 11 | VMOVSD | Udq, Hdq, Vdq | - | reg,wo,avx,feature=avx
VEX.LIG.F2.0F.WIG 10 | VMOVSD | Vdq, Mq | - | mem,wo,avx,feature=avx
VEX.LIG.F2.0F.WIG 11 | VMOVSD | Mq, Vdq | - | mem,wo,avx,like=MOVSD,feature=avx
VEX.128.NP.0F.WIG 12 | VMOVLPS | Vdq, Hdq, Mq | - | mem,wo,avx,feature=avx
VEX.128.NP.0F.WIG 12 | VMOVHLPS | Vdq, Hdq, Udq | - | reg,wo,avx,feature=avx
VEX.128.NP.0F.WIG 13 | VMOVLPS | Mq, Vdq | - | mem,wo,avx,like=MOVLPS,feature=avx
VEX.128.NP.0F.WIG 16 | VMOVHPS | Vdq, Hdq, Mq | - | mem,wo,avx,feature=avx
VEX.128.NP.0F.WIG 16 | VMOVLHPS | Vdq, Hdq, Udq | - | reg,wo,avx,feature=avx
VEX.128.NP.0F.WIG 17 | VMOVHPS | Mq, Vdq | - | mem,wo,avx,like=MOVHPS,feature=avx
VEX.128.66.0F.WIG 12 | VMOVLPD | Vdq, Hdq, Mq | - | mem,wo,avx,like=VMOVLPS,feature=avx
VEX.128.66.0F.WIG 13 | VMOVLPD | Mq, Vdq | - | mem,wo,avx,like=MOVLPD,feature=avx
VEX.128.66.0F.WIG 16 | VMOVHPD | Vdq, Hdq, Mq | - | mem,wo,avx,like=VMOVHPS,feature=avx
VEX.128.66.0F.WIG 17 | VMOVHPD | Mq, Vdq | - | mem,wo,avx,like=MOVHPD,feature=avx
VEX.128/256.F3.0F.WIG 12 | VMOVSLDUP | Vps, Wps | - | avx,wo,feature=avx
VEX.128/256.F3.0F.WIG 16 | VMOVSHDUP | Vps, Wps | - | avx,wo,feature=avx
VEX.128.F2.0F.WIG 12 | VMOVDDUP | Vdq, Wq | - | avx,wo,feature=avx
VEX.256.F2.0F.WIG 12 | VMOVDDUP | Vqq, Wqq | - | avx,wo,feature=avx
VEX.128.66.0F.WIG 6E | VMOVD | Vdq, Ey | - | avx,wo,feature=avx
VEX.128.66.0F.WIG 7E | VMOVD | Ey, Vdq | - | avx,wo,like=MOVD,feature=avx
VEX.128.F3.0F.WIG 7E | VMOVQ | Vdq, Wq | - | avx,wo,feature=avx
VEX.128.66.0F.WIG D6 | VMOVQ | Wq, Vdq | - | avx,wo,feature=avx
# ----- to general registers -----
VEX.128/256.NP.0F.WIG 50 | VMOVMSKPS | Gd, Ups | - | reg,wo,avx,like=MOVMSKPS,feature=avx
VEX.128/256.66.0F.WIG 50 | VMOVMSKPD | Gd, Upd | - | reg,wo,avx,like=MOVMSKPD,feature=avx
VEX.128/256.66.0F.WIG D7 | VPMOVMSKB | Gd, Ux | - | reg,wo,avx,like=PMOVMSKB,feature=avx/avx2
VEX.128.66.0F.WIG C5 | VPEXTRW | Gd, Udq, Ib | - | reg,wo,avx,like=PEXTRW,feature=avx
VEX.128.66.0F3A.WIG 14 | VPEXTRB | Rd, Vdq, Ib | - | reg,wo,avx,like=PEXTRB,feature=avx
VEX.128.66.0F3A.WIG 14 | VPEXTRB | Mb, Vdq, Ib | - | mem,wo,avx,like=PEXTRB,feature=avx
VEX.128.66.0F3A.WIG 15 | VPEXTRW | Rd, Vdq, Ib | - | reg,wo,avx,like=PEXTRW,feature=avx
VEX.128.66.0F3A.WIG 15 | VPEXTRW | Mw, Vdq, Ib | - | mem,wo,avx,like=PEXTRW,feature=avx
VEX.128.66.0F3A.WIG 16 | VPEXTRD | Ey, Vdq, Ib | - | avx,wo,like=PEXTRD,feature=avx
VEX.128.66.0F3A.WIG 17 | VEXTRACTPS | Ed, Vdq, Ib | - | avx,wo,like=EXTRACTPS,feature=avx
# ----- insertion -----
VEX.128.66.0F.WIG C4 | VPINSRW | Vdq, Hdq, Rd, Ib | - | reg,wo,avx,feature=avx
VEX.128.66.0F.WIG C4 | VPINSRW | Vdq, Hdq, Mw, Ib | - | mem,wo,avx,feature=avx
VEX.128.66.0F3A.WIG 20 | VPINSRB | Vdq, Hdq, Rd, Ib | - | reg,wo,avx,feature=avx
VEX.128.66.0F3A.WIG 20 | VPINSRB | Vdq, Hdq, Mb, Ib | - | mem,wo,avx,feature=avx
VEX.128.66.0F3A.WIG 22 | VPINSRD | Vdq, Hdq, Ey, Ib | - | avx,wo,feature=avx
VEX.128.66.0F3A.WIG 21 | VINSERTPS | Vdq, Hdq, Udq, Ib | - | reg,wo,avx,feature=avx
VEX.128.66.0F3A.WIG 21 | VINSERTPS | Vdq, Hdq, Md, Ib | - | mem,wo,avx,feature=avx
VEX.256.66.0F3A.W0 18 | VINSERTF128 | Vqq, Hqq, Wdq, Ib | - | avx,wo,feature=avx
VEX.256.66.0F3A.W0 19 | VEXTRACTF128 | Wdq, Vqq, Ib | - | avx,wo,feature=avx
VEX.256.66.0F3A.W0 38 | VINSERTI128 | Vqq, Hqq, Wdq, Ib | - | avx,wo,like=VINSERTF128,feature=avx2
VEX.256.66.0F3A.W0 39 | VEXTRACTI128 | Wdq, Vqq, Ib | - | avx,wo,like=VEXTRACTF128,feature=avx2
# ----- logic, shuffles and blends of floating-point operands -----
VEX.128/256.NP.0F.WIG 54 | VANDPS | Vps, Hps, Wps | - | avx,wo,feature=avx
VEX.128/256.NP.0F.WIG 55 | VANDNPS | Vps, Hps, Wps | - | avx,wo,feature=avx
VEX.128/256.NP.0F.WIG 56 | VORPS | Vps, Hps, Wps | - | avx,wo,feature=avx
VEX.128/256.NP.0F.WIG 57 | VXORPS | Vps, Hps, Wps | - | avx,wo,feature=avx
VEX.128/256.NP.0F.WIG 14 | VUNPCKLPS | Vps, Hps, Wps | - | avx,wo,feature=avx
VEX.128/256.NP.0F.WIG 15 | VUNPCKHPS | Vps, Hps, Wps | - | avx,wo,feature=avx
VEX.128/256.NP.0F.WIG C6 | VSHUFPS | Vps, Hps, Wps, Ib | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG 54 | VANDPD | Vpd, Hpd, Wpd | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG 55 | VANDNPD | Vpd, Hpd, Wpd | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG 56 | VORPD | Vpd, Hpd, Wpd | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG 57 | VXORPD | Vpd, Hpd, Wpd | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG 14 | VUNPCKLPD | Vpd, Hpd, Wpd | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG 15 | VUNPCKHPD | Vpd, Hpd, Wpd | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG C6 | VSHUFPD | Vpd, Hpd, Wpd, Ib | - | avx,wo,feature=avx
VEX.128/256.66.0F3A.WIG 0C | VBLENDPS | Vps, Hps, Wps, Ib | - | avx,wo,feature=avx
VEX.128/256.66.0F3A.WIG 0D | VBLENDPD | Vpd, Hpd, Wpd, Ib | - | avx,wo,feature=avx
# ----- blends by a register -----
VEX.128/256.66.0F3A.W0 4A | VBLENDVPS | Vps, Hps, Wps, Lps | - | avx,wo,feature=avx
VEX.128/256.66.0F3A.W0 4B | VBLENDVPD | Vpd, Hpd, Wpd, Lpd | - | avx,wo,feature=avx
VEX.128/256.66.0F3A.W0 4C | VPBLENDVB | Vx, Hx, Wx, Lx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F3A.W0 02 | VPBLENDD | Vx, Hx, Wx, Ib | - | avx,wo,feature=avx2
# ----- broadcasts -----
VEX.128/256.66.0F38.W0 18 | VBROADCASTSS | Vps, Md | - | mem,wo,avx,feature=avx
VEX.128/256.66.0F38.W0 18 | VBROADCASTSS | Vps, Udq | - | reg,wo,avx,feature=avx2
VEX.256.66.0F38.W0 19 | VBROADCASTSD | Vpd, Mq | - | mem,wo,avx,feature=avx
VEX.256.66.0F38.W0 19 | VBROADCASTSD | Vpd, Udq | - | reg,wo,avx,feature=avx2
VEX.256.66.0F38.W0 1A | VBROADCASTF128 | Vqq, Wdq | - | mem,wo,avx,feature=avx
VEX.256.66.0F38.W0 5A | VBROADCASTI128 | Vqq, Wdq | - | mem,wo,avx,like=VBROADCASTF128,feature=avx2
VEX.128/256.66.0F38.W0 78 | VPBROADCASTB | Vx, Wb | - | avx,wo,feature=avx2
VEX.128/256.66.0F38.W0 79 | VPBROADCASTW | Vx, Ww | - | avx,wo,feature=avx2
VEX.128/256.66.0F38.W0 58 | VPBROADCASTD | Vx, Wd | - | avx,wo,feature=avx2
VEX.128/256.66.0F38.W0 59 | VPBROADCASTQ | Vx, Wq | - | avx,wo,feature=avx2
# ----- permutations -----
VEX.128/256.66.0F38.W0 0C | VPERMILPS | Vps, Hps, Wps | - | avx,wo,feature=avx
VEX.128/256.66.0F38.W0 0D | VPERMILPD | Vpd, Hpd, Wpd | - | avx,wo,feature=avx
VEX.128/256.66.0F3A.W0 04 | VPERMILPS | Vps, Wps, Ib | - | avx,wo,feature=avx
VEX.128/256.66.0F3A.W0 05 | VPERMILPD | Vpd, Wpd, Ib | - | avx,wo,feature=avx
VEX.256.66.0F3A.W0 06 | VPERM2F128 | Vqq, Hqq, Wqq, Ib | - | avx,wo,feature=avx
VEX.256.66.0F3A.W0 46 | VPERM2I128 | Vqq, Hqq, Wqq, Ib | - | avx,wo,like=VPERM2F128,feature=avx2
VEX.256.66.0F38.W0 36 | VPERMD | Vqq, Hqq, Wqq | - | avx,wo,feature=avx2
VEX.256.66.0F38.W0 16 | VPERMPS | Vqq, Hqq, Wqq | - | avx,wo,like=VPERMD,feature=avx2
VEX.256.66.0F3A.W1 00 | VPERMQ | Vqq, Wqq, Ib | - | avx,wo,feature=avx2
VEX.256.66.0F3A.W1 01 | VPERMPD | Vqq, Wqq, Ib | - | avx,wo,like=VPERMQ,feature=avx2
# ----- masked moves -----
VEX.128.66.0F.WIG F7 | VMASKMOVDQU | Vdq,Udq,Xb | - | ro,reg,asz,avx,like=MASKMOVDQU,feature=avx,undefined=fault_address
VEX.128/256.66.0F38.W0 2C | VMASKMOVPS | Vps, Hps, Mps | - | mem,wo,elements,avx,undefined=fault_address,feature=avx
VEX.128/256.66.0F38.W0 2E | VMASKMOVPS | Mps, Hps, Vps | - | mem,wo,elements,avx,undefined=fault_address,feature=avx
VEX.128/256.66.0F38.W0 2D | VMASKMOVPD | Vpd, Hpd, Mpd | - | mem,wo,elements,avx,undefined=fault_address,feature=avx
VEX.128/256.66.0F38.W0 2F | VMASKMOVPD | Mpd, Hpd, Vpd | - | mem,wo,elements,avx,undefined=fault_address,feature=avx
VEX.128/256.66.0F38.W0 8C | VPMASKMOVD | Vx, Hx, Mx | - | mem,wo,elements,avx,undefined=fault_address,feature=avx2
VEX.128/256.66.0F38.W0 8E | VPMASKMOVD | Mx, Hx, Vx | - | mem,wo,elements,avx,undefined=fault_address,feature=avx2
VEX.128/256.66.0F38.W1 8C | VPMASKMOVQ | Vx, Hx, Mx | - | mem,wo,elements,avx,undefined=fault_address,feature=avx2
VEX.128/256.66.0F38.W1 8E | VPMASKMOVQ | Mx, Hx, Vx | - | mem,wo,elements,avx,undefined=fault_address,feature=avx2
# ----- gathers: element by element from the lowest; each done clears its sign in the mask -----
VEX.128.66.0F38.W0 90 | VPGATHERDD | Vdq, Md, Hdq | - | mem,asz,vsib=128,avx,feature=avx2
VEX.256.66.0F38.W0 90 | VPGATHERDD | Vqq, Md, Hqq | - | mem,asz,vsib=256,avx,feature=avx2
VEX.128.66.0F38.W1 90 | VPGATHERDQ | Vdq, Mq, Hdq | - | mem,asz,vsib=128,avx,feature=avx2
VEX.256.66.0F38.W1 90 | VPGATHERDQ | Vqq, Mq, Hqq | - | mem,asz,vsib=128,avx,feature=avx2
VEX.128.66.0F38.W0 91 | VPGATHERQD | Vdq, Md, Hdq | - | mem,asz,vsib=128,avx,feature=avx2
VEX.256.66.0F38.W0 91 | VPGATHERQD | Vdq, Md, Hdq | - | mem,asz,vsib=256,avx,variant=long,feature=avx2
VEX.128.66.0F38.W1 91 | VPGATHERQQ | Vdq, Mq, Hdq | - | mem,asz,vsib=128,avx,feature=avx2
VEX.256.66.0F38.W1 91 | VPGATHERQQ | Vqq, Mq, Hqq | - | mem,asz,vsib=256,avx,feature=avx2
VEX.128.66.0F38.W0 92 | VGATHERDPS | Vdq, Md, Hdq | - | mem,asz,vsib=128,avx,feature=avx2
VEX.256.66.0F38.W0 92 | VGATHERDPS | Vqq, Md, Hqq | - | mem,asz,vsib=256,avx,feature=avx2
VEX.128.66.0F38.W1 92 | VGATHERDPD | Vdq, Mq, Hdq | - | mem,asz,vsib=128,avx,feature=avx2
VEX.256.66.0F38.W1 92 | VGATHERDPD | Vqq, Mq, Hqq | - | mem,asz,vsib=128,avx,feature=avx2
VEX.128.66.0F38.W0 93 | VGATHERQPS | Vdq, Md, Hdq | - | mem,asz,vsib=128,avx,feature=avx2
VEX.256.66.0F38.W0 93 | VGATHERQPS | Vdq, Md, Hdq | - | mem,asz,vsib=256,avx,variant=long,feature=avx2
VEX.128.66.0F38.W1 93 | VGATHERQPD | Vdq, Mq, Hdq | - | mem,asz,vsib=128,avx,feature=avx2
VEX.256.66.0F38.W1 93 | VGATHERQPD | Vqq, Mq, Hqq | - | mem,asz,vsib=256,avx,feature=avx2
"""
