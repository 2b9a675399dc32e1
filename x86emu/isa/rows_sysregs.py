"""System registers, MSRs, CPUID, time stamps, halting, caches (SDM 2D, tables A-3, A-6 and B; SDM 2A to 2C).

MOV to and from control and debug registers ignores ModRM.mod (SDM 2B, MOV: "always treated as 11b") and 66h; the
operand is 64 bits wide in 64-bit mode and 32 bits elsewhere.  The manual calls the arithmetic flags undefined after
these moves; processors leave them, and so do we.

RDMSR, RDTSC and CPUID serialize or are ordered; a machine that executes in order needs nothing for that, so they may
stand within a trace.  CLAC and STAC change the rights of data accesses and end it.
"""

ROWS = """
# ----- control and debug registers -----
0F 20 | MOV | Rd, C | - | i64,wo,cpl0,feature=i386
0F 20 | MOV | Rq, C | - | o64,wo,cpl0
0F 21 | MOV | Rd, D | - | i64,wo,cpl0,feature=i386
0F 21 | MOV | Rq, D | - | o64,wo,cpl0
0F 22 | MOV | C, Rd | - | i64,wo,cpl0,end,feature=i386
0F 22 | MOV | C, Rq | - | o64,wo,cpl0,end
0F 23 | MOV | D, Rd | - | i64,wo,cpl0,end,feature=i386
0F 23 | MOV | D, Rq | - | o64,wo,cpl0,end
0F 01 /4 | SMSW | Rv | - | reg,wo,feature=i286
0F 01 /4 | SMSW | Mw | - | mem,wo,feature=i286
0F 01 /6 | LMSW | Ew | - | ro,cpl0,end,feature=i286
0F 06 | CLTS | - | - | cpl0,end,feature=i286
# ----- TLB and caches -----
0F 01 /7 | INVLPG | M | - | mem,ro,noaccess,cpl0,end,feature=i486
66 0F 38 82 | INVPCID | Gd, M | - | mem,i64,ro,cpl0,end,feature=invpcid
66 0F 38 82 | INVPCID | Gq, M | - | mem,o64,ro,cpl0,end,feature=invpcid
66 0F AE /6 | CLWB | Mb | - | mem,ro,handler=CLFLUSHOPT_Mb,feature=clwb
0F 08 | INVD | - | - | cpl0,feature=i486
0F 09 | WBINVD | - | - | cpl0,feature=i486
F3 0F 09 | WBNOINVD | - | - | cpl0,like=WBINVD,feature=wbnoinvd
NP 0F 1C /0 | CLDEMOTE | Mb | - | mem,noaccess,handler=NOP,feature=cldemote
0F 01 FC | CLZERO | !a | - | f64,feature=clzero
NP 0F 01 E8 | SERIALIZE | - | - | end,feature=serialize
# ----- halting -----
F4 | HLT | - | - | cpl0,end
0F 01 C8 | MONITOR | - | - | cpl0,asz,feature=monitor
0F 01 C9 | MWAIT | - | - | cpl0,end,feature=monitor
# ----- time, counters, identification -----
0F 31 | RDTSC | - | - | feature=tsc
0F 01 F9 | RDTSCP | - | - | feature=rdtscp
0F 33 | RDPMC | - | - | feature=p6
0F A2 | CPUID | - | - | feature=cpuid
# ----- model-specific registers -----
0F 30 | WRMSR | - | - | cpl0,end,feature=msr
0F 32 | RDMSR | - | - | cpl0,feature=msr
# ----- extended control registers, SMAP, protection keys -----
NP 0F 01 D0 | XGETBV | - | - | feature=xsave
NP 0F 01 D1 | XSETBV | - | - | cpl0,end,feature=xsave
NP 0F 01 CA | CLAC | - | - | cpl0,end,feature=smap
NP 0F 01 CB | STAC | - | - | cpl0,end,feature=smap
NP 0F 01 EE | RDPKRU | - | - | feature=pku
NP 0F 01 EF | WRPKRU | - | - | end,feature=pku
"""
