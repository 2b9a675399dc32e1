"""AVX floating-point instructions: arithmetic, comparison, conversion, and F16C (SDM 1, chapter 14; SDM 2A to 2C).

The rows are those of SSE with one operand more. A memory operand need not be aligned. Scalar forms keep bits 127:32 or
127:64 of the first source; VEX.128 clears bits 255:128 of the destination.
"""

ROWS = """
# ----- packed arithmetic -----
VEX.128/256.NP.0F.WIG 58 | VADDPS | Vps, Hps, Wps | - | avx,wo,feature=avx
VEX.128/256.NP.0F.WIG 59 | VMULPS | Vps, Hps, Wps | - | avx,wo,feature=avx
VEX.128/256.NP.0F.WIG 5C | VSUBPS | Vps, Hps, Wps | - | avx,wo,feature=avx
VEX.128/256.NP.0F.WIG 5D | VMINPS | Vps, Hps, Wps | - | avx,wo,feature=avx
VEX.128/256.NP.0F.WIG 5E | VDIVPS | Vps, Hps, Wps | - | avx,wo,feature=avx
VEX.128/256.NP.0F.WIG 5F | VMAXPS | Vps, Hps, Wps | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG 58 | VADDPD | Vpd, Hpd, Wpd | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG 59 | VMULPD | Vpd, Hpd, Wpd | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG 5C | VSUBPD | Vpd, Hpd, Wpd | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG 5D | VMINPD | Vpd, Hpd, Wpd | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG 5E | VDIVPD | Vpd, Hpd, Wpd | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG 5F | VMAXPD | Vpd, Hpd, Wpd | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG D0 | VADDSUBPD | Vpd, Hpd, Wpd | - | avx,wo,feature=avx
VEX.128/256.F2.0F.WIG D0 | VADDSUBPS | Vps, Hps, Wps | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG 7C | VHADDPD | Vpd, Hpd, Wpd | - | avx,wo,feature=avx
VEX.128/256.F2.0F.WIG 7C | VHADDPS | Vps, Hps, Wps | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG 7D | VHSUBPD | Vpd, Hpd, Wpd | - | avx,wo,feature=avx
VEX.128/256.F2.0F.WIG 7D | VHSUBPS | Vps, Hps, Wps | - | avx,wo,feature=avx
VEX.128/256.66.0F3A.WIG 40 | VDPPS | Vps, Hps, Wps, Ib | - | avx,wo,feature=avx
VEX.128/256.NP.0F.WIG 51 | VSQRTPS | Vps, Wps | - | avx,wo,feature=avx
VEX.128/256.NP.0F.WIG 52 | VRSQRTPS | Vps, Wps | - | avx,wo,feature=avx,approximate=12bits
VEX.128/256.NP.0F.WIG 53 | VRCPPS | Vps, Wps | - | avx,wo,feature=avx,approximate=12bits
VEX.128/256.66.0F.WIG 51 | VSQRTPD | Vpd, Wpd | - | avx,wo,feature=avx
VEX.128/256.66.0F3A.WIG 08 | VROUNDPS | Vps, Wps, Ib | - | avx,wo,feature=avx
VEX.128/256.66.0F3A.WIG 09 | VROUNDPD | Vpd, Wpd, Ib | - | avx,wo,feature=avx
VEX.128.66.0F3A.WIG 41 | VDPPD | Vpd, Hpd, Wpd, Ib | - | avx,wo,feature=avx
# ----- scalar arithmetic -----
VEX.LIG.F3.0F.WIG 51 | VSQRTSS | Vdq, Hdq, Wss | - | avx,wo,feature=avx
VEX.LIG.F3.0F.WIG 58 | VADDSS | Vdq, Hdq, Wss | - | avx,wo,feature=avx
VEX.LIG.F3.0F.WIG 59 | VMULSS | Vdq, Hdq, Wss | - | avx,wo,feature=avx
VEX.LIG.F3.0F.WIG 5C | VSUBSS | Vdq, Hdq, Wss | - | avx,wo,feature=avx
VEX.LIG.F3.0F.WIG 5D | VMINSS | Vdq, Hdq, Wss | - | avx,wo,feature=avx
VEX.LIG.F3.0F.WIG 5E | VDIVSS | Vdq, Hdq, Wss | - | avx,wo,feature=avx
VEX.LIG.F3.0F.WIG 5F | VMAXSS | Vdq, Hdq, Wss | - | avx,wo,feature=avx
VEX.LIG.F3.0F.WIG 52 | VRSQRTSS | Vdq, Hdq, Wss | - | avx,wo,feature=avx,approximate=12bits
VEX.LIG.F3.0F.WIG 53 | VRCPSS | Vdq, Hdq, Wss | - | avx,wo,feature=avx,approximate=12bits
VEX.LIG.F2.0F.WIG 51 | VSQRTSD | Vdq, Hdq, Wsd | - | avx,wo,feature=avx
VEX.LIG.F2.0F.WIG 58 | VADDSD | Vdq, Hdq, Wsd | - | avx,wo,feature=avx
VEX.LIG.F2.0F.WIG 59 | VMULSD | Vdq, Hdq, Wsd | - | avx,wo,feature=avx
VEX.LIG.F2.0F.WIG 5C | VSUBSD | Vdq, Hdq, Wsd | - | avx,wo,feature=avx
VEX.LIG.F2.0F.WIG 5D | VMINSD | Vdq, Hdq, Wsd | - | avx,wo,feature=avx
VEX.LIG.F2.0F.WIG 5E | VDIVSD | Vdq, Hdq, Wsd | - | avx,wo,feature=avx
VEX.LIG.F2.0F.WIG 5F | VMAXSD | Vdq, Hdq, Wsd | - | avx,wo,feature=avx
VEX.LIG.66.0F3A.WIG 0A | VROUNDSS | Vdq, Hdq, Wss, Ib | - | avx,wo,feature=avx
VEX.LIG.66.0F3A.WIG 0B | VROUNDSD | Vdq, Hdq, Wsd, Ib | - | avx,wo,feature=avx
# ----- comparison -----
VEX.128/256.NP.0F.WIG C2 | VCMPPS | Vps, Hps, Wps, Ib | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG C2 | VCMPPD | Vpd, Hpd, Wpd, Ib | - | avx,wo,feature=avx
VEX.LIG.F3.0F.WIG C2 | VCMPSS | Vdq, Hdq, Wss, Ib | - | avx,wo,feature=avx
VEX.LIG.F2.0F.WIG C2 | VCMPSD | Vdq, Hdq, Wsd, Ib | - | avx,wo,feature=avx
VEX.LIG.NP.0F.WIG 2E | VUCOMISS | Vss, Wss | w=oszapc | avx,ro,like=UCOMISS,feature=avx
VEX.LIG.NP.0F.WIG 2F | VCOMISS | Vss, Wss | w=oszapc | avx,ro,like=COMISS,feature=avx
VEX.LIG.66.0F.WIG 2E | VUCOMISD | Vsd, Wsd | w=oszapc | avx,ro,like=UCOMISD,feature=avx
VEX.LIG.66.0F.WIG 2F | VCOMISD | Vsd, Wsd | w=oszapc | avx,ro,like=COMISD,feature=avx
VEX.128/256.66.0F38.W0 0E | VTESTPS | Vps, Wps | w=oszapc | avx,ro,feature=avx
VEX.128/256.66.0F38.W0 0F | VTESTPD | Vpd, Wpd | w=oszapc | avx,ro,feature=avx
# ----- conversions -----
VEX.LIG.F3.0F.WIG 5A | VCVTSS2SD | Vdq, Hdq, Wss | - | avx,wo,feature=avx
VEX.LIG.F2.0F.WIG 5A | VCVTSD2SS | Vdq, Hdq, Wsd | - | avx,wo,feature=avx
VEX.LIG.F3.0F.WIG 2A | VCVTSI2SS | Vdq, Hdq, Ey | - | avx,wo,feature=avx
VEX.LIG.F2.0F.WIG 2A | VCVTSI2SD | Vdq, Hdq, Ey | - | avx,wo,feature=avx
VEX.LIG.F3.0F.WIG 2C | VCVTTSS2SI | Gy, Wss | - | avx,wo,like=CVTTSS2SI,feature=avx
VEX.LIG.F3.0F.WIG 2D | VCVTSS2SI | Gy, Wss | - | avx,wo,like=CVTSS2SI,feature=avx
VEX.LIG.F2.0F.WIG 2C | VCVTTSD2SI | Gy, Wsd | - | avx,wo,like=CVTTSD2SI,feature=avx
VEX.LIG.F2.0F.WIG 2D | VCVTSD2SI | Gy, Wsd | - | avx,wo,like=CVTSD2SI,feature=avx
VEX.128.NP.0F.WIG 5A | VCVTPS2PD | Vdq, Wq | - | avx,wo,feature=avx
VEX.256.NP.0F.WIG 5A | VCVTPS2PD | Vqq, Wdq | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG 5A | VCVTPD2PS | Vdq, Wpd | - | avx,wo,feature=avx
VEX.128/256.NP.0F.WIG 5B | VCVTDQ2PS | Vps, Wx | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG 5B | VCVTPS2DQ | Vx, Wps | - | avx,wo,feature=avx
VEX.128/256.F3.0F.WIG 5B | VCVTTPS2DQ | Vx, Wps | - | avx,wo,feature=avx
VEX.128/256.66.0F.WIG E6 | VCVTTPD2DQ | Vdq, Wpd | - | avx,wo,feature=avx
VEX.128/256.F2.0F.WIG E6 | VCVTPD2DQ | Vdq, Wpd | - | avx,wo,feature=avx
VEX.128.F3.0F.WIG E6 | VCVTDQ2PD | Vdq, Wq | - | avx,wo,feature=avx
VEX.256.F3.0F.WIG E6 | VCVTDQ2PD | Vqq, Wdq | - | avx,wo,feature=avx
VEX.128.66.0F38.W0 13 | VCVTPH2PS | Vdq, Wq | - | avx,wo,unaligned,feature=f16c
VEX.256.66.0F38.W0 13 | VCVTPH2PS | Vqq, Wdq | - | avx,wo,feature=f16c
VEX.128.66.0F3A.W0 1D | VCVTPS2PH | Wq, Vdq, Ib | - | avx,wo,unaligned,feature=f16c
VEX.256.66.0F3A.W0 1D | VCVTPS2PH | Wdq, Vqq, Ib | - | avx,wo,unaligned,feature=f16c
# ----- the control and status register -----
VEX.LZ.NP.0F.WIG AE /2 | VLDMXCSR | Md | - | mem,ro,avx,like=LDMXCSR,feature=avx
VEX.LZ.NP.0F.WIG AE /3 | VSTMXCSR | Md | - | mem,wo,avx,like=STMXCSR,feature=avx
"""
