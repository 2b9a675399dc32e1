"""VMX instructions (Intel SDM volume 3C, chapter 31; SDM 2D, tables A-3 and A-6).

Operands are 64 bits wide in 64-bit mode and 32 bits elsewhere, whatever 66h says; pointers are always 64 bits.
"""

ROWS = """
NP 0F 01 C1 | VMCALL | - | w=oszapc | end,feature=vmx
NP 0F 01 C2 | VMLAUNCH | - | w=oszapc | prot,cpl0,end,feature=vmx
NP 0F 01 C3 | VMRESUME | - | w=oszapc | prot,cpl0,end,feature=vmx
NP 0F 01 C4 | VMXOFF | - | w=oszapc | prot,cpl0,end,feature=vmx
NP 0F 01 D4 | VMFUNC | - | - | end,feature=vmx
NP 0F C7 /6 | VMPTRLD | Mq | w=oszapc | mem,ro,prot,cpl0,end,feature=vmx
66 0F C7 /6 | VMCLEAR | Mq | w=oszapc | mem,ro,prot,cpl0,end,feature=vmx
F3 0F C7 /6 | VMXON | Mq | w=oszapc | mem,ro,prot,cpl0,end,feature=vmx
NP 0F C7 /7 | VMPTRST | Mq | w=oszapc | mem,wo,prot,cpl0,end,feature=vmx
NP 0F 78 | VMREAD | Ed, Gd | w=oszapc | wo,i64,prot,cpl0,feature=vmx
NP 0F 78 | VMREAD | Eq, Gq | w=oszapc | wo,o64,prot,cpl0,feature=vmx
NP 0F 79 | VMWRITE | Gd, Ed | w=oszapc | ro,i64,prot,cpl0,feature=vmx
NP 0F 79 | VMWRITE | Gq, Eq | w=oszapc | ro,o64,prot,cpl0,feature=vmx
66 0F 38 80 | INVEPT | Gd, M | w=oszapc | mem,ro,i64,prot,cpl0,end,feature=vmx
66 0F 38 80 | INVEPT | Gq, M | w=oszapc | mem,ro,o64,prot,cpl0,end,feature=vmx
66 0F 38 81 | INVVPID | Gd, M | w=oszapc | mem,ro,i64,prot,cpl0,end,feature=vmx
66 0F 38 81 | INVVPID | Gq, M | w=oszapc | mem,ro,o64,prot,cpl0,end,feature=vmx
"""
