"""AES, carry-less multiplication and Galois field instructions with VEX, and GFNI without (SDM 2A, 2B by name)."""

ROWS = """
VEX.128/256.66.0F38.WIG DC | VAESENC | Vx, Hx, Wx | - | avx,wo,feature=aes/vaes
VEX.128/256.66.0F38.WIG DD | VAESENCLAST | Vx, Hx, Wx | - | avx,wo,feature=aes/vaes
VEX.128/256.66.0F38.WIG DE | VAESDEC | Vx, Hx, Wx | - | avx,wo,feature=aes/vaes
VEX.128/256.66.0F38.WIG DF | VAESDECLAST | Vx, Hx, Wx | - | avx,wo,feature=aes/vaes
VEX.128.66.0F38.WIG DB | VAESIMC | Vx, Wx | - | avx,wo,feature=aes
VEX.128.66.0F3A.WIG DF | VAESKEYGENASSIST | Vx, Wx, Ib | - | avx,wo,feature=aes
VEX.128/256.66.0F3A.WIG 44 | VPCLMULQDQ | Vx, Hx, Wx, Ib | - | avx,wo,feature=pclmulqdq/vpclmulqdq
# ----- GFNI -----
66 0F 38 CF | GF2P8MULB | Vdq, Wdq | - | sse,feature=gfni
66 0F 3A CE | GF2P8AFFINEQB | Vdq, Wdq, Ib | - | sse,feature=gfni
66 0F 3A CF | GF2P8AFFINEINVQB | Vdq, Wdq, Ib | - | sse,feature=gfni
VEX.128/256.66.0F38.W0 CF | VGF2P8MULB | Vx, Hx, Wx | - | avx,wo,feature=gfni
VEX.128/256.66.0F3A.W1 CE | VGF2P8AFFINEQB | Vx, Hx, Wx, Ib | - | avx,wo,feature=gfni
VEX.128/256.66.0F3A.W1 CF | VGF2P8AFFINEINVQB | Vx, Hx, Wx, Ib | - | avx,wo,feature=gfni
"""
