"""x87 instructions: the escape opcodes D8 to DF and WAIT (Intel SDM volume 2D, tables A-7 to A-22; AMD APM volume 3,
appendix A.1.4).

Departs from the manual's tables by the undocumented aliases that silicon has and the AMD manual's older editions list:
FCOM at DC D0, FCOMP at DC D8 and DE D0, FXCH at DD C8 and DF C8, FSTP at DF D0 and DF D8, FSTP without checks at D9 D8,
FFREEP at DF C0.  FNENI, FNDISI (8087) and FNSETPM (80287) do nothing.  The 10-byte and longer operands are those of
SDM volume 1, figures 8-9 to 8-12.
"""

from __future__ import annotations

_MEMORY_ARITHMETIC = """
{o} /0 | F{i}ADD  | ST0, {m} | - | x87, mem
{o} /1 | F{i}MUL  | ST0, {m} | - | x87, mem
{o} /2 | F{i}COM  | {m}      | - | x87, mem, ro
{o} /3 | F{i}COMP | {m}      | - | x87, mem, ro
{o} /4 | F{i}SUB  | ST0, {m} | - | x87, mem
{o} /5 | F{i}SUBR | ST0, {m} | - | x87, mem
{o} /6 | F{i}DIV  | ST0, {m} | - | x87, mem
{o} /7 | F{i}DIVR | ST0, {m} | - | x87, mem
"""

_REGISTERS = """
# ----- D8 -----
D8 C0+i | FADD   | ST0, STi | - | x87
D8 C8+i | FMUL   | ST0, STi | - | x87
D8 D0+i | FCOM   | STi      | - | x87, ro
D8 D8+i | FCOMP  | STi      | - | x87, ro
D8 E0+i | FSUB   | ST0, STi | - | x87
D8 E8+i | FSUBR  | ST0, STi | - | x87
D8 F0+i | FDIV   | ST0, STi | - | x87
D8 F8+i | FDIVR  | ST0, STi | - | x87
# ----- D9 -----
D9 /0   | FLD    | Md       | - | x87, mem, ro
D9 /2   | FST    | Md       | - | x87, mem, wo
D9 /3   | FSTP   | Md       | - | x87, mem, wo
D9 /4   | FLDENV | M, !v    | - | x87, mem, ro
D9 /5   | FLDCW  | Mw       | - | x87, mem, ro
D9 /6   | FNSTENV | M, !v   | - | x87, mem, wo
D9 /7   | FNSTCW | Mw       | - | x87, mem, wo
D9 C0+i | FLD    | STi      | - | x87, ro
D9 C8+i | FXCH   | ST0, STi | - | x87
D9 D0   | FNOP   | -        | - | x87
D9 D8+i | FSTPNCE | STi     | - | x87, wo
D9 E0   | FCHS   | -        | - | x87
D9 E1   | FABS   | -        | - | x87
D9 E4   | FTST   | -        | - | x87
D9 E5   | FXAM   | -        | - | x87
D9 E8   | FLD1   | -        | - | x87
D9 E9   | FLDL2T | -        | - | x87
D9 EA   | FLDL2E | -        | - | x87
D9 EB   | FLDPI  | -        | - | x87
D9 EC   | FLDLG2 | -        | - | x87
D9 ED   | FLDLN2 | -        | - | x87
D9 EE   | FLDZ   | -        | - | x87
D9 F0   | F2XM1  | -        | - | x87,approximate=one_ulp
D9 F1   | FYL2X  | -        | - | x87,approximate=one_ulp
D9 F2   | FPTAN  | -        | - | x87,approximate=one_ulp
D9 F3   | FPATAN | -        | - | x87,approximate=one_ulp
D9 F4   | FXTRACT | -       | - | x87
D9 F5   | FPREM1 | -        | - | x87
D9 F6   | FDECSTP | -       | - | x87
D9 F7   | FINCSTP | -       | - | x87
D9 F8   | FPREM  | -        | - | x87
D9 F9   | FYL2XP1 | -       | - | x87,approximate=one_ulp
D9 FA   | FSQRT  | -        | - | x87
D9 FB   | FSINCOS | -       | - | x87,approximate=one_ulp
D9 FC   | FRNDINT | -       | - | x87
D9 FD   | FSCALE | -        | - | x87
D9 FE   | FSIN   | -        | - | x87,approximate=one_ulp
D9 FF   | FCOS   | -        | - | x87,approximate=one_ulp
# ----- DA -----
DA C0+i | FCMOVB  | ST0, STi | r=c  | x87, feature=cmov
DA C8+i | FCMOVE  | ST0, STi | r=z  | x87, feature=cmov
DA D0+i | FCMOVBE | ST0, STi | r=cz | x87, feature=cmov
DA D8+i | FCMOVU  | ST0, STi | r=p  | x87, feature=cmov
DA E9   | FUCOMPP | -        | -    | x87
# ----- DB -----
DB /0   | FILD   | Md       | - | x87, mem, ro
DB /1   | FISTTP | Md       | - | x87, mem, wo, feature=sse3
DB /2   | FIST   | Md       | - | x87, mem, wo
DB /3   | FISTP  | Md       | - | x87, mem, wo
DB /5   | FLD    | Mt       | - | x87, mem, ro, undefined=partial
DB /7   | FSTP   | Mt       | - | x87, mem, wo, undefined=partial
DB C0+i | FCMOVNB  | ST0, STi | r=c  | x87, feature=cmov
DB C8+i | FCMOVNE  | ST0, STi | r=z  | x87, feature=cmov
DB D0+i | FCMOVNBE | ST0, STi | r=cz | x87, feature=cmov
DB D8+i | FCMOVNU  | ST0, STi | r=p  | x87, feature=cmov
DB E0   | FNENI  | -        | - | x87
DB E1   | FNDISI | -        | - | x87
DB E2   | FNCLEX | -        | - | x87
DB E3   | FNINIT | -        | - | x87
DB E4   | FNSETPM | -       | - | x87
DB E8+i | FUCOMI | ST0, STi | w=oszapc | x87, ro, feature=cmov
DB F0+i | FCOMI  | ST0, STi | w=oszapc | x87, ro, feature=cmov
# ----- DC -----
DC C0+i | FADD   | STi, ST0 | - | x87
DC C8+i | FMUL   | STi, ST0 | - | x87
DC D0+i | FCOM   | STi      | - | x87, ro
DC D8+i | FCOMP  | STi      | - | x87, ro
DC E0+i | FSUBR  | STi, ST0 | - | x87
DC E8+i | FSUB   | STi, ST0 | - | x87
DC F0+i | FDIVR  | STi, ST0 | - | x87
DC F8+i | FDIV   | STi, ST0 | - | x87
# ----- DD -----
DD /0   | FLD    | Mq       | - | x87, mem, ro
DD /1   | FISTTP | Mq       | - | x87, mem, wo, feature=sse3
DD /2   | FST    | Mq       | - | x87, mem, wo
DD /3   | FSTP   | Mq       | - | x87, mem, wo
DD /4   | FRSTOR | M, !v    | - | x87, mem, ro
DD /6   | FNSAVE | M, !v    | - | x87, mem, wo
DD /7   | FNSTSW | Mw       | - | x87, mem, wo
DD C0+i | FFREE  | STi      | - | x87
DD C8+i | FXCH   | ST0, STi | - | x87
DD D0+i | FST    | STi      | - | x87, wo
DD D8+i | FSTP   | STi      | - | x87, wo
DD E0+i | FUCOM  | STi      | - | x87, ro
DD E8+i | FUCOMP | STi      | - | x87, ro
# ----- DE -----
DE C0+i | FADDP  | STi, ST0 | - | x87
DE C8+i | FMULP  | STi, ST0 | - | x87
DE D0+i | FCOMP  | STi      | - | x87, ro
DE D9   | FCOMPP | -        | - | x87
DE E0+i | FSUBRP | STi, ST0 | - | x87
DE E8+i | FSUBP  | STi, ST0 | - | x87
DE F0+i | FDIVRP | STi, ST0 | - | x87
DE F8+i | FDIVP  | STi, ST0 | - | x87
# ----- DF -----
DF /0   | FILD   | Mw       | - | x87, mem, ro
DF /1   | FISTTP | Mw       | - | x87, mem, wo, feature=sse3
DF /2   | FIST   | Mw       | - | x87, mem, wo
DF /3   | FISTP  | Mw       | - | x87, mem, wo
DF /4   | FBLD   | Mt       | - | x87, mem, ro, undefined=partial
DF /5   | FILD   | Mq       | - | x87, mem, ro
DF /6   | FBSTP  | Mt       | - | x87, mem, wo, undefined=partial
DF /7   | FISTP  | Mq       | - | x87, mem, wo
DF C0+i | FFREEP | STi      | - | x87
DF C8+i | FXCH   | ST0, STi | - | x87
DF D0+i | FSTP   | STi      | - | x87, wo
DF D8+i | FSTP   | STi      | - | x87, wo
DF E0   | FNSTSW | AX       | - | x87, wo
DF E8+i | FUCOMIP | ST0, STi | w=oszapc | x87, ro, feature=cmov
DF F0+i | FCOMIP  | ST0, STi | w=oszapc | x87, ro, feature=cmov
# ----- WAIT: #NM by CR0.MP and CR0.TS, which the handler checks -----
9B      | WAIT   | -        | - | -
"""

ROWS = _REGISTERS + "".join(
    _MEMORY_ARITHMETIC.format(o=opcode, i=integer, m=operand)
    for opcode, integer, operand in (("D8", "", "Md"), ("DA", "I", "Md"), ("DC", "", "Mq"), ("DE", "I", "Mw"))
)
