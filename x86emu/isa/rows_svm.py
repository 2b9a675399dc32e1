"""Secure virtual machine instructions (AMD APM volume 3, general-purpose and system instructions; APM 2, chapter 15).

rAX is as wide as the address size says.  VMMCALL is legal at every CPL; it is #UD unless intercepted.
"""

ROWS = """
0F 01 D8 | VMRUN | - | - | prot,cpl0,end,asz,feature=svm
0F 01 D9 | VMMCALL | - | - | end,feature=svm
0F 01 DA | VMLOAD | - | - | prot,cpl0,end,asz,feature=svm
0F 01 DB | VMSAVE | - | - | prot,cpl0,end,asz,feature=svm
0F 01 DC | STGI | - | - | prot,cpl0,end,feature=svm
0F 01 DD | CLGI | - | - | prot,cpl0,end,feature=svm
0F 01 DE | SKINIT | - | - | prot,cpl0,end,feature=svm
0F 01 DF | INVLPGA | - | - | prot,cpl0,end,asz,feature=svm
NP 0F 01 FE | INVLPGB | - | - | prot,cpl0,end,asz,feature=invlpgb
NP 0F 01 FF | TLBSYNC | - | - | prot,cpl0,end,feature=invlpgb
"""
