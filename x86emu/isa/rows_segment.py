"""Segment registers and descriptor tables (SDM 2D, tables A-2, A-3 and A-6 groups 6, 7 and 15; SDM 2A to 2C).

MOV Sw,Ew always reads 16 bits.  LGDT and LIDT have an operand size (a 24-bit base with 16 bits); SGDT and SIDT look at
the mode alone.  In 64-bit mode their operand is ten bytes whatever the prefixes.  LAR, LSL, VERR, VERW write ZF only.
"""

ROWS = """
06 | PUSH | ES, !v | - | i64,ro
07 | POP | ES, !v | - | i64
0E | PUSH | CS, !v | - | i64,ro
16 | PUSH | SS, !v | - | i64,ro
17 | POP | SS, !v | - | i64,end
1E | PUSH | DS, !v | - | i64,ro
1F | POP | DS, !v | - | i64
0F A0 | PUSH | FS, !v | - | d64,ro,feature=i386
0F A1 | POP | FS, !v | - | d64,feature=i386
0F A8 | PUSH | GS, !v | - | d64,ro,feature=i386
0F A9 | POP | GS, !v | - | d64,feature=i386
8C | MOV | Rv, Sw | - | wo,reg
8C | MOV | Mw, Sw | - | wo,mem
8E | MOV | Sw, Ew | - | wo
8E /1 | MOV | Sw, Ew | - | wo,end,noaccess,handler=UD2
C4 | LES | Gz, Mp | - | wo,mem,i64
C5 | LDS | Gz, Mp | - | wo,mem,i64
0F B2 | LSS | Gv, Mp | - | wo,mem,end,feature=i386
0F B4 | LFS | Gv, Mp | - | wo,mem,feature=i386
0F B5 | LGS | Gv, Mp | - | wo,mem,feature=i386
63 | ARPL | Ew, Gw | w=z | i64,prot,feature=i286
0F 02 | LAR | Gv, Ew | w=z | prot,feature=i286
0F 03 | LSL | Gv, Ew | w=z | prot,feature=i286
# group 6
0F 00 /0 | SLDT | Rv | - | wo,reg,prot,feature=i286
0F 00 /0 | SLDT | Mw | - | wo,mem,prot,feature=i286
0F 00 /1 | STR | Rv | - | wo,reg,prot,feature=i286
0F 00 /1 | STR | Mw | - | wo,mem,prot,feature=i286
0F 00 /2 | LLDT | Ew | - | ro,prot,cpl0,end,feature=i286
0F 00 /3 | LTR | Ew | - | ro,prot,cpl0,end,feature=i286
0F 00 /4 | VERR | Ew | w=z | ro,prot,feature=i286
0F 00 /5 | VERW | Ew | w=z | ro,prot,feature=i286
# group 7
0F 01 /0 | SGDT | Ms | - | wo,mem,feature=i286
0F 01 /1 | SIDT | Ms | - | wo,mem,feature=i286
0F 01 /2 | LGDT | Ms, !v | - | ro,mem,cpl0,end,feature=i286
0F 01 /3 | LIDT | Ms, !v | - | ro,mem,cpl0,end,feature=i286
0F 01 F8 | SWAPGS | - | - | o64,cpl0,feature=lm
# group 15
F3 0F AE /0 | RDFSBASE | Ry | - | wo,reg,o64,feature=fsgsbase
F3 0F AE /1 | RDGSBASE | Ry | - | wo,reg,o64,feature=fsgsbase
F3 0F AE /2 | WRFSBASE | Ry | - | ro,reg,o64,feature=fsgsbase
F3 0F AE /3 | WRGSBASE | Ry | - | ro,reg,o64,feature=fsgsbase
"""
