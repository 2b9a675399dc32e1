"""Interrupts, returns from them, the interrupt flag (SDM 2D, tables A-2, A-3; SDM 2A: INT n, IRET, CLI; 2B: STI, RSM).

CLI does not end a trace: events are looked at only between traces, and a cleared IF can only hold them off.
"""

ROWS = """
62 | BOUND | Gv, Ma | - | ro,mem,i64,feature=i186
CC | INT3 | - | - | end
CD | INT | Ib | - | end
CE | INTO | - | r=o | end,i64
CF | IRET | !v | w=oszapc | end
F1 | INT1 | - | - | end,feature=i386
FA | CLI | - | w=i | -
FB | STI | - | w=i | end
0F AA | RSM | - | w=oszapc | end,feature=smm
"""
