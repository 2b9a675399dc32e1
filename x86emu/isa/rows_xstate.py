"""Saving and restoring the x87, MMX, SSE and extended state (SDM 1, 10.5 and chapter 13; SDM 2A to 2C).

The memory operand has a size of its own (512 bytes, or what XCR0 asks for), so the handlers take the address.
FXSAVE and FXRSTOR raise #NM by CR0.EM and CR0.TS as x87 instructions do; LDMXCSR and STMXCSR are SSE instructions.
With REX.W the instructions are the 64-bit forms, which keep 64-bit x87 pointers.
"""

ROWS = """
NP 0F AE /0 | FXSAVE | M | - | mem,wo,W0,x87,feature=fxsr
NP 0F AE /0 | FXSAVE64 | M | - | mem,wo,W1,x87,feature=fxsr
NP 0F AE /1 | FXRSTOR | M | - | mem,ro,W0,x87,feature=fxsr
NP 0F AE /1 | FXRSTOR64 | M | - | mem,ro,W1,x87,feature=fxsr
NP 0F AE /2 | LDMXCSR | Md | - | mem,ro,sse,feature=sse
NP 0F AE /3 | STMXCSR | Md | - | mem,wo,sse,feature=sse
NP 0F AE /4 | XSAVE | M | - | mem,wo,W0,feature=xsave
NP 0F AE /4 | XSAVE64 | M | - | mem,wo,W1,feature=xsave
NP 0F AE /5 | XRSTOR | M | - | mem,ro,W0,feature=xsave
NP 0F AE /5 | XRSTOR64 | M | - | mem,ro,W1,feature=xsave
NP 0F AE /6 | XSAVEOPT | M | - | mem,wo,W0,feature=xsaveopt
NP 0F AE /6 | XSAVEOPT64 | M | - | mem,wo,W1,feature=xsaveopt
NP 0F C7 /4 | XSAVEC | M | - | mem,wo,W0,feature=xsavec
NP 0F C7 /4 | XSAVEC64 | M | - | mem,wo,W1,feature=xsavec
NP 0F C7 /5 | XSAVES | M | - | mem,wo,W0,cpl0,feature=xsaves
NP 0F C7 /5 | XSAVES64 | M | - | mem,wo,W1,cpl0,feature=xsaves
NP 0F C7 /3 | XRSTORS | M | - | mem,ro,W0,cpl0,feature=xsaves
NP 0F C7 /3 | XRSTORS64 | M | - | mem,ro,W1,cpl0,feature=xsaves
"""
