"""AES, PCLMULQDQ and SHA instructions (SDM 2A to 2C, under their names; SDM 1, 12.13), and AMD's SSE4A (APM 4).

Memory operands of 16 bytes must be aligned (#GP(0)) but for SHA: the manual gives it exception type 4, yet AMD's
processors (family 25) accept any address, and a stricter model would break what runs there.
"""

ROWS = """
# ----- AES -----
66 0F 38 DB | AESIMC | Vdq, Wdq | - | wo,sse,feature=aes
66 0F 38 DC | AESENC | Vdq, Wdq | - | sse,feature=aes
66 0F 38 DD | AESENCLAST | Vdq, Wdq | - | sse,feature=aes
66 0F 38 DE | AESDEC | Vdq, Wdq | - | sse,feature=aes
66 0F 38 DF | AESDECLAST | Vdq, Wdq | - | sse,feature=aes
66 0F 3A DF | AESKEYGENASSIST | Vdq, Wdq, Ib | - | wo,sse,feature=aes
# ----- carry-less multiplication -----
66 0F 3A 44 | PCLMULQDQ | Vdq, Wdq, Ib | - | sse,feature=pclmulqdq
# ----- SHA -----
NP 0F 38 C8 | SHA1NEXTE | Vdq, Wdq | - | unaligned,sse,feature=sha,undefined=alignment
NP 0F 38 C9 | SHA1MSG1 | Vdq, Wdq | - | unaligned,sse,feature=sha,undefined=alignment
NP 0F 38 CA | SHA1MSG2 | Vdq, Wdq | - | unaligned,sse,feature=sha,undefined=alignment
NP 0F 38 CB | SHA256RNDS2 | Vdq, Wdq, XMM0 | - | unaligned,sse,feature=sha,undefined=alignment
NP 0F 38 CC | SHA256MSG1 | Vdq, Wdq | - | unaligned,sse,feature=sha,undefined=alignment
NP 0F 38 CD | SHA256MSG2 | Vdq, Wdq | - | unaligned,sse,feature=sha,undefined=alignment
NP 0F 3A CC | SHA1RNDS4 | Vdq, Wdq, Ib | - | unaligned,sse,feature=sha,undefined=alignment
# ----- SSE4A (AMD APM volume 4) -----
66 0F 78 /0 | EXTRQ | Uq, Ib, Ib | - | reg,sse,feature=sse4a
66 0F 79 | EXTRQ | Vq, Uq | - | reg,sse,feature=sse4a
F2 0F 78 | INSERTQ | Vq, Uq, Ib, Ib | - | reg,sse,feature=sse4a
F2 0F 79 | INSERTQ | Vq, Udq | - | reg,sse,feature=sse4a
F2 0F 2B | MOVNTSD | Mq, Vq | - | wo,mem,sse,feature=sse4a
F3 0F 2B | MOVNTSS | Md, Vd | - | wo,mem,sse,feature=sse4a
"""
