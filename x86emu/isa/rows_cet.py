"""Control-flow enforcement (SDM 1, chapter 17; SDM 2A to 2D: CLRSSBSY, ENDBR32, INCSSP, RDSSP, RSTORSSP, WRSS ...).

RDSSP, ENDBR32 and ENDBR64 lie among the hinting NOPs (0F 1E), which they are without the feature and while it is off;
the rows of those are in rows_integer.py.  WRUSS writes as user mode whatever the CPL.
"""

ROWS = """
F3 0F 01 E8 | SETSSBSY | - | - | feature=cet_ss
F3 0F 01 EA | SAVEPREVSSP | - | r=c | feature=cet_ss
F3 0F 01 /5 | RSTORSSP | Mq | w=oszapc | mem,feature=cet_ss
F3 0F 1E /1 | RDSSPD | Rd | - | reg,W0,feature=cet_ss
F3 0F 1E /1 | RDSSPQ | Rq | - | reg,W1,feature=cet_ss
F3 0F AE /5 | INCSSPD | Rd | - | reg,ro,W0,feature=cet_ss
F3 0F AE /5 | INCSSPQ | Rq | - | reg,ro,W1,feature=cet_ss
F3 0F AE /6 | CLRSSBSY | Mq | w=oszapc | mem,feature=cet_ss
NP 0F 38 F6 | WRSSD | Md, Gd | - | mem,wo,W0,feature=cet_ss
NP 0F 38 F6 | WRSSQ | Mq, Gq | - | mem,wo,W1,feature=cet_ss
66 0F 38 F5 | WRUSSD | Md, Gd | - | mem,wo,W0,feature=cet_ss
66 0F 38 F5 | WRUSSQ | Mq, Gq | - | mem,wo,W1,feature=cet_ss
"""
