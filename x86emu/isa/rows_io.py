"""Port input and output (SDM 2D, table A-2; SDM 2A IN, INS; SDM 2B OUT, OUTS; SDM 1 chapter 19).

The operand of the port is 8 or 16 bits, of the data 8, 16 or 32 bits: REX.W has no effect (`z`).
INS and OUTS repeat with F3 and with F2.
"""

ROWS = """
E4 | IN | AL, Ib | - | wo
E5 | IN | rAXz, Ib | - | wo
EC | IN | AL, DX | - | wo
ED | IN | rAXz, DX | - | wo
E6 | OUT | Ib, AL | - | ro
E7 | OUT | Ib, rAXz | - | ro
EE | OUT | DX, AL | - | ro
EF | OUT | DX, rAXz | - | ro
6C | INS | Yb, DX | r=d | rep,asz,wo,feature=i186
6D | INS | Yz, DX | r=d | rep,asz,wo,feature=i186
6E | OUTS | DX, Xb | r=d | rep,asz,ro,feature=i186
6F | OUTS | DX, Xz | r=d | rep,asz,ro,feature=i186
"""
