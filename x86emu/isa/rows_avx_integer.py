"""AVX and AVX2 instructions on integers in XMM and YMM registers (SDM 1, chapter 14; SDM 2B and 2C by name).

What crosses no lane of 128 bits; broadcasts, permutations and whatever else moves data: rows_avx_move.
"""

ROWS = """
# ----- element by element, or lane by lane -----
VEX.128/256.66.0F.WIG 60 | VPUNPCKLBW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG 61 | VPUNPCKLWD | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG 62 | VPUNPCKLDQ | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG 63 | VPACKSSWB | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG 64 | VPCMPGTB | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG 65 | VPCMPGTW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG 66 | VPCMPGTD | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG 67 | VPACKUSWB | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG 68 | VPUNPCKHBW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG 69 | VPUNPCKHWD | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG 6A | VPUNPCKHDQ | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG 6B | VPACKSSDW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG 74 | VPCMPEQB | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG 75 | VPCMPEQW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG 76 | VPCMPEQD | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG D4 | VPADDQ | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG D5 | VPMULLW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG D8 | VPSUBUSB | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG D9 | VPSUBUSW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG DA | VPMINUB | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG DB | VPAND | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG DC | VPADDUSB | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG DD | VPADDUSW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG DE | VPMAXUB | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG DF | VPANDN | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG E0 | VPAVGB | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG E3 | VPAVGW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG E4 | VPMULHUW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG E5 | VPMULHW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG E8 | VPSUBSB | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG E9 | VPSUBSW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG EA | VPMINSW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG EB | VPOR | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG EC | VPADDSB | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG ED | VPADDSW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG EE | VPMAXSW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG EF | VPXOR | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG F4 | VPMULUDQ | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG F5 | VPMADDWD | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG F6 | VPSADBW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG F8 | VPSUBB | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG F9 | VPSUBW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG FA | VPSUBD | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG FB | VPSUBQ | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG FC | VPADDB | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG FD | VPADDW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG FE | VPADDD | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG 6C | VPUNPCKLQDQ | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG 6D | VPUNPCKHQDQ | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 00 | VPSHUFB | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 01 | VPHADDW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 02 | VPHADDD | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 03 | VPHADDSW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 04 | VPMADDUBSW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 05 | VPHSUBW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 06 | VPHSUBD | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 07 | VPHSUBSW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 08 | VPSIGNB | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 09 | VPSIGNW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 0A | VPSIGND | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 0B | VPMULHRSW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F3A.WIG 0F | VPALIGNR | Vx, Hx, Wx, Ib | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 28 | VPMULDQ | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 29 | VPCMPEQQ | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 2B | VPACKUSDW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 38 | VPMINSB | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 39 | VPMINSD | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 3A | VPMINUW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 3B | VPMINUD | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 3C | VPMAXSB | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 3D | VPMAXSD | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 3E | VPMAXUW | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 3F | VPMAXUD | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 40 | VPMULLD | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F3A.WIG 0E | VPBLENDW | Vx, Hx, Wx, Ib | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F3A.WIG 42 | VMPSADBW | Vx, Hx, Wx, Ib | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 37 | VPCMPGTQ | Vx, Hx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG 70 | VPSHUFD | Vx, Wx, Ib | - | avx,wo,feature=avx/avx2
VEX.128/256.F3.0F.WIG 70 | VPSHUFHW | Vx, Wx, Ib | - | avx,wo,feature=avx/avx2
VEX.128/256.F2.0F.WIG 70 | VPSHUFLW | Vx, Wx, Ib | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 1C | VPABSB | Vx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 1D | VPABSW | Vx, Wx | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F38.WIG 1E | VPABSD | Vx, Wx | - | avx,wo,feature=avx/avx2
VEX.128.66.0F38.WIG 41 | VPHMINPOSUW | Vx, Wx | - | avx,wo,feature=avx
# ----- extension -----
VEX.128.66.0F38.WIG 20 | VPMOVSXBW | Vdq, Wq | - | avx,wo,feature=avx
VEX.256.66.0F38.WIG 20 | VPMOVSXBW | Vqq, Wdq | - | avx,wo,feature=avx2
VEX.128.66.0F38.WIG 21 | VPMOVSXBD | Vdq, Wd | - | avx,wo,feature=avx
VEX.256.66.0F38.WIG 21 | VPMOVSXBD | Vqq, Wq | - | avx,wo,feature=avx2
VEX.128.66.0F38.WIG 22 | VPMOVSXBQ | Vdq, Ww | - | avx,wo,feature=avx
VEX.256.66.0F38.WIG 22 | VPMOVSXBQ | Vqq, Wd | - | avx,wo,feature=avx2
VEX.128.66.0F38.WIG 23 | VPMOVSXWD | Vdq, Wq | - | avx,wo,feature=avx
VEX.256.66.0F38.WIG 23 | VPMOVSXWD | Vqq, Wdq | - | avx,wo,feature=avx2
VEX.128.66.0F38.WIG 24 | VPMOVSXWQ | Vdq, Wd | - | avx,wo,feature=avx
VEX.256.66.0F38.WIG 24 | VPMOVSXWQ | Vqq, Wq | - | avx,wo,feature=avx2
VEX.128.66.0F38.WIG 25 | VPMOVSXDQ | Vdq, Wq | - | avx,wo,feature=avx
VEX.256.66.0F38.WIG 25 | VPMOVSXDQ | Vqq, Wdq | - | avx,wo,feature=avx2
VEX.128.66.0F38.WIG 30 | VPMOVZXBW | Vdq, Wq | - | avx,wo,feature=avx
VEX.256.66.0F38.WIG 30 | VPMOVZXBW | Vqq, Wdq | - | avx,wo,feature=avx2
VEX.128.66.0F38.WIG 31 | VPMOVZXBD | Vdq, Wd | - | avx,wo,feature=avx
VEX.256.66.0F38.WIG 31 | VPMOVZXBD | Vqq, Wq | - | avx,wo,feature=avx2
VEX.128.66.0F38.WIG 32 | VPMOVZXBQ | Vdq, Ww | - | avx,wo,feature=avx
VEX.256.66.0F38.WIG 32 | VPMOVZXBQ | Vqq, Wd | - | avx,wo,feature=avx2
VEX.128.66.0F38.WIG 33 | VPMOVZXWD | Vdq, Wq | - | avx,wo,feature=avx
VEX.256.66.0F38.WIG 33 | VPMOVZXWD | Vqq, Wdq | - | avx,wo,feature=avx2
VEX.128.66.0F38.WIG 34 | VPMOVZXWQ | Vdq, Wd | - | avx,wo,feature=avx
VEX.256.66.0F38.WIG 34 | VPMOVZXWQ | Vqq, Wq | - | avx,wo,feature=avx2
VEX.128.66.0F38.WIG 35 | VPMOVZXDQ | Vdq, Wq | - | avx,wo,feature=avx
VEX.256.66.0F38.WIG 35 | VPMOVZXDQ | Vqq, Wdq | - | avx,wo,feature=avx2
# ----- shifts -----
VEX.128/256.66.0F.WIG D1 | VPSRLW | Vx, Hx, Wdq | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG D2 | VPSRLD | Vx, Hx, Wdq | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG D3 | VPSRLQ | Vx, Hx, Wdq | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG E1 | VPSRAW | Vx, Hx, Wdq | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG E2 | VPSRAD | Vx, Hx, Wdq | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG F1 | VPSLLW | Vx, Hx, Wdq | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG F2 | VPSLLD | Vx, Hx, Wdq | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG F3 | VPSLLQ | Vx, Hx, Wdq | - | avx,wo,feature=avx/avx2
VEX.128/256.66.0F.WIG 71 /2 | VPSRLW | Hx, Ux, Ib | - | reg,wo,avx,feature=avx/avx2
VEX.128/256.66.0F.WIG 71 /4 | VPSRAW | Hx, Ux, Ib | - | reg,wo,avx,feature=avx/avx2
VEX.128/256.66.0F.WIG 71 /6 | VPSLLW | Hx, Ux, Ib | - | reg,wo,avx,feature=avx/avx2
VEX.128/256.66.0F.WIG 72 /2 | VPSRLD | Hx, Ux, Ib | - | reg,wo,avx,feature=avx/avx2
VEX.128/256.66.0F.WIG 72 /4 | VPSRAD | Hx, Ux, Ib | - | reg,wo,avx,feature=avx/avx2
VEX.128/256.66.0F.WIG 72 /6 | VPSLLD | Hx, Ux, Ib | - | reg,wo,avx,feature=avx/avx2
VEX.128/256.66.0F.WIG 73 /2 | VPSRLQ | Hx, Ux, Ib | - | reg,wo,avx,feature=avx/avx2
VEX.128/256.66.0F.WIG 73 /6 | VPSLLQ | Hx, Ux, Ib | - | reg,wo,avx,feature=avx/avx2
VEX.128/256.66.0F.WIG 73 /3 | VPSRLDQ | Hx, Ux, Ib | - | reg,wo,avx,feature=avx/avx2
VEX.128/256.66.0F.WIG 73 /7 | VPSLLDQ | Hx, Ux, Ib | - | reg,wo,avx,feature=avx/avx2
VEX.128/256.66.0F38.W0 45 | VPSRLVD | Vx, Hx, Wx | - | avx,wo,feature=avx2
VEX.128/256.66.0F38.W1 45 | VPSRLVQ | Vx, Hx, Wx | - | avx,wo,feature=avx2
VEX.128/256.66.0F38.W0 46 | VPSRAVD | Vx, Hx, Wx | - | avx,wo,feature=avx2
VEX.128/256.66.0F38.W0 47 | VPSLLVD | Vx, Hx, Wx | - | avx,wo,feature=avx2
VEX.128/256.66.0F38.W1 47 | VPSLLVQ | Vx, Hx, Wx | - | avx,wo,feature=avx2
# ----- tests and strings -----
VEX.128/256.66.0F38.WIG 17 | VPTEST | Vx, Wx | w=oszapc | avx,ro,like=PTEST,feature=avx
VEX.128.66.0F3A.WIG 60 | VPCMPESTRM | Vdq, Wdq, Ib, !y | w=oszapc | avx,ro,feature=avx
VEX.128.66.0F3A.WIG 61 | VPCMPESTRI | Vdq, Wdq, Ib, !y | w=oszapc | avx,ro,like=PCMPESTRI,feature=avx
VEX.128.66.0F3A.WIG 62 | VPCMPISTRM | Vdq, Wdq, Ib | w=oszapc | avx,ro,feature=avx
VEX.128.66.0F3A.WIG 63 | VPCMPISTRI | Vdq, Wdq, Ib | w=oszapc | avx,ro,like=PCMPISTRI,feature=avx
# ----- AVX-VNNI: sums of products, accumulated -----
VEX.128/256.66.0F38.W0 50 | VPDPBUSD | Vx, Hx, Wx | - | avx,feature=avx_vnni
VEX.128/256.66.0F38.W0 51 | VPDPBUSDS | Vx, Hx, Wx | - | avx,feature=avx_vnni
VEX.128/256.66.0F38.W0 52 | VPDPWSSD | Vx, Hx, Wx | - | avx,feature=avx_vnni
VEX.128/256.66.0F38.W0 53 | VPDPWSSDS | Vx, Hx, Wx | - | avx,feature=avx_vnni
"""
