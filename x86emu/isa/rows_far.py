"""Far control transfer and fast system calls (SDM 2D, tables A-2, A-3; SDM 2A: CALL, JMP; 2B: RET, SYSCALL, SYSENTER).

The indirect forms keep a 32-bit operand size in 64-bit mode unless REX.W is given.  SYSCALL and SYSRET have no mode
attribute: AMD's processors have them in legacy and compatibility mode too, so the handlers decide.  SYSENTER and
SYSEXIT likewise (AMD: not in long mode).
"""

ROWS = """
9A | CALL | Ap | - | end,i64
EA | JMP | Ap | - | end,i64
FF /3 | CALL | Mp, !v | - | ro,mem,end
FF /5 | JMP | Mp, !v | - | ro,mem,end
CA | RETF | Iw, !v | - | end
CB | RETF | !v | - | end
0F 05 | SYSCALL | - | r=oszapc | end,feature=syscall
0F 07 | SYSRET | !v | w=oszapc | end,feature=syscall
0F 34 | SYSENTER | - | - | end,feature=sep
0F 35 | SYSEXIT | !v | - | end,feature=sep
"""
