"""Near control transfer (SDM 2D, table A-2 and A-3; SDM 2A to 2C: Jcc, JMP, CALL, RET, LOOP).

In 64-bit mode near branches have a 64-bit operand size (`f64`) and ignore 66h as on Intel processors; AMD's take it,
and so do the models with the feature branch16.
The pseudo operand !a gives the handler a suffix by address size (which counter LOOP and JCXZ use).
Far transfers, interrupts and returns from them are system rows.
"""

ROWS = """
70 | JO | Jb | r=o | end,f64
71 | JNO | Jb | r=o | end,f64
72 | JB | Jb | r=c | end,f64
73 | JNB | Jb | r=c | end,f64
74 | JZ | Jb | r=z | end,f64
75 | JNZ | Jb | r=z | end,f64
76 | JBE | Jb | r=cz | end,f64
77 | JNBE | Jb | r=cz | end,f64
78 | JS | Jb | r=s | end,f64
79 | JNS | Jb | r=s | end,f64
7A | JP | Jb | r=p | end,f64
7B | JNP | Jb | r=p | end,f64
7C | JL | Jb | r=so | end,f64
7D | JNL | Jb | r=so | end,f64
7E | JLE | Jb | r=szo | end,f64
7F | JNLE | Jb | r=szo | end,f64
0F 80 | JO | Jz | r=o | end,f64,feature=i386
0F 81 | JNO | Jz | r=o | end,f64,feature=i386
0F 82 | JB | Jz | r=c | end,f64,feature=i386
0F 83 | JNB | Jz | r=c | end,f64,feature=i386
0F 84 | JZ | Jz | r=z | end,f64,feature=i386
0F 85 | JNZ | Jz | r=z | end,f64,feature=i386
0F 86 | JBE | Jz | r=cz | end,f64,feature=i386
0F 87 | JNBE | Jz | r=cz | end,f64,feature=i386
0F 88 | JS | Jz | r=s | end,f64,feature=i386
0F 89 | JNS | Jz | r=s | end,f64,feature=i386
0F 8A | JP | Jz | r=p | end,f64,feature=i386
0F 8B | JNP | Jz | r=p | end,f64,feature=i386
0F 8C | JL | Jz | r=so | end,f64,feature=i386
0F 8D | JNL | Jz | r=so | end,f64,feature=i386
0F 8E | JLE | Jz | r=szo | end,f64,feature=i386
0F 8F | JNLE | Jz | r=szo | end,f64,feature=i386
E0 | LOOPNE | Jb, !a | r=z | end,f64
E1 | LOOPE | Jb, !a | r=z | end,f64
E2 | LOOP | Jb, !a | - | end,f64
E3 | JCXZ | Jb, !a | - | end,f64
E8 | CALL | Jz | - | end,f64
E9 | JMP | Jz | - | end,f64
EB | JMP | Jb | - | end,f64
C2 | RET | Iw, !v | - | end,f64
C3 | RET | !v | - | end,f64
FF /2 | CALL | Ev | - | ro,end,f64
FF /4 | JMP | Ev | - | ro,end,f64
"""
