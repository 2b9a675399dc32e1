"""Integer instructions: data transfer, arithmetic, logic, shifts, bits (SDM 2D, tables A-2 to A-6; SDM 2A to 2C).

Columns: opcode | mnemonic | operands | flags | attributes.  Shifts and rotates by CL or by an immediate read all flags,
since a masked count of zero leaves them alone.  Where two rows share an opcode, a row whose feature the processor model
lacks is passed over: F3 0F BC is BSF on a processor without BMI1 (SDM 2B, TZCNT).  PREFETCH and PREFETCHW belong to
every processor with long mode as well as to those with their own bit (APM 3, PREFETCHlevel).

Attributes used here beyond the common ones:
  B0         not with REX.B (90h is NOP; with REX.B it exchanges R8 and rAX, the row 90+r)
  noaccess   the memory operand is an address only: no segment check and no access (LEA, NOP Ev, PREFETCH)
"""

ROWS = """
# ----- arithmetic and logic, one-byte map 00-3F -----
00 | ADD | Eb, Gb | w=oszapc | lock
01 | ADD | Ev, Gv | w=oszapc | lock
02 | ADD | Gb, Eb | w=oszapc | -
03 | ADD | Gv, Ev | w=oszapc | -
04 | ADD | AL, Ib | w=oszapc | -
05 | ADD | rAXv, Iz | w=oszapc | -
08 | OR | Eb, Gb | w=oszpc u=a | lock
09 | OR | Ev, Gv | w=oszpc u=a | lock
0A | OR | Gb, Eb | w=oszpc u=a | -
0B | OR | Gv, Ev | w=oszpc u=a | -
0C | OR | AL, Ib | w=oszpc u=a | -
0D | OR | rAXv, Iz | w=oszpc u=a | -
10 | ADC | Eb, Gb | w=oszapc r=c | lock
11 | ADC | Ev, Gv | w=oszapc r=c | lock
12 | ADC | Gb, Eb | w=oszapc r=c | -
13 | ADC | Gv, Ev | w=oszapc r=c | -
14 | ADC | AL, Ib | w=oszapc r=c | -
15 | ADC | rAXv, Iz | w=oszapc r=c | -
18 | SBB | Eb, Gb | w=oszapc r=c | lock
19 | SBB | Ev, Gv | w=oszapc r=c | lock
1A | SBB | Gb, Eb | w=oszapc r=c | -
1B | SBB | Gv, Ev | w=oszapc r=c | -
1C | SBB | AL, Ib | w=oszapc r=c | -
1D | SBB | rAXv, Iz | w=oszapc r=c | -
20 | AND | Eb, Gb | w=oszpc u=a | lock
21 | AND | Ev, Gv | w=oszpc u=a | lock
22 | AND | Gb, Eb | w=oszpc u=a | -
23 | AND | Gv, Ev | w=oszpc u=a | -
24 | AND | AL, Ib | w=oszpc u=a | -
25 | AND | rAXv, Iz | w=oszpc u=a | -
28 | SUB | Eb, Gb | w=oszapc | lock
29 | SUB | Ev, Gv | w=oszapc | lock
2A | SUB | Gb, Eb | w=oszapc | -
2B | SUB | Gv, Ev | w=oszapc | -
2C | SUB | AL, Ib | w=oszapc | -
2D | SUB | rAXv, Iz | w=oszapc | -
30 | XOR | Eb, Gb | w=oszpc u=a | lock
31 | XOR | Ev, Gv | w=oszpc u=a | lock
32 | XOR | Gb, Eb | w=oszpc u=a | -
33 | XOR | Gv, Ev | w=oszpc u=a | -
34 | XOR | AL, Ib | w=oszpc u=a | -
35 | XOR | rAXv, Iz | w=oszpc u=a | -
38 | CMP | Eb, Gb | w=oszapc | ro
39 | CMP | Ev, Gv | w=oszapc | ro
3A | CMP | Gb, Eb | w=oszapc | ro
3B | CMP | Gv, Ev | w=oszapc | ro
3C | CMP | AL, Ib | w=oszapc | ro
3D | CMP | rAXv, Iz | w=oszapc | ro
# ----- group 1 -----
80 /0 | ADD | Eb, Ib | w=oszapc | lock
80 /1 | OR | Eb, Ib | w=oszpc u=a | lock
80 /2 | ADC | Eb, Ib | w=oszapc r=c | lock
80 /3 | SBB | Eb, Ib | w=oszapc r=c | lock
80 /4 | AND | Eb, Ib | w=oszpc u=a | lock
80 /5 | SUB | Eb, Ib | w=oszapc | lock
80 /6 | XOR | Eb, Ib | w=oszpc u=a | lock
80 /7 | CMP | Eb, Ib | w=oszapc | ro
81 /0 | ADD | Ev, Iz | w=oszapc | lock
81 /1 | OR | Ev, Iz | w=oszpc u=a | lock
81 /2 | ADC | Ev, Iz | w=oszapc r=c | lock
81 /3 | SBB | Ev, Iz | w=oszapc r=c | lock
81 /4 | AND | Ev, Iz | w=oszpc u=a | lock
81 /5 | SUB | Ev, Iz | w=oszapc | lock
81 /6 | XOR | Ev, Iz | w=oszpc u=a | lock
81 /7 | CMP | Ev, Iz | w=oszapc | ro
82 /0 | ADD | Eb, Ib | w=oszapc | lock,i64
82 /1 | OR | Eb, Ib | w=oszpc u=a | lock,i64
82 /2 | ADC | Eb, Ib | w=oszapc r=c | lock,i64
82 /3 | SBB | Eb, Ib | w=oszapc r=c | lock,i64
82 /4 | AND | Eb, Ib | w=oszpc u=a | lock,i64
82 /5 | SUB | Eb, Ib | w=oszapc | lock,i64
82 /6 | XOR | Eb, Ib | w=oszpc u=a | lock,i64
82 /7 | CMP | Eb, Ib | w=oszapc | ro,i64
83 /0 | ADD | Ev, Ib | w=oszapc | lock
83 /1 | OR | Ev, Ib | w=oszpc u=a | lock
83 /2 | ADC | Ev, Ib | w=oszapc r=c | lock
83 /3 | SBB | Ev, Ib | w=oszapc r=c | lock
83 /4 | AND | Ev, Ib | w=oszpc u=a | lock
83 /5 | SUB | Ev, Ib | w=oszapc | lock
83 /6 | XOR | Ev, Ib | w=oszpc u=a | lock
83 /7 | CMP | Ev, Ib | w=oszapc | ro
# ----- INC, DEC, NOT, NEG, TEST, MUL, DIV (groups 3, 4, 5) -----
40+r | INC | Zv | w=oszap | i64
48+r | DEC | Zv | w=oszap | i64
FE /0 | INC | Eb | w=oszap | lock
FE /1 | DEC | Eb | w=oszap | lock
FF /0 | INC | Ev | w=oszap | lock
FF /1 | DEC | Ev | w=oszap | lock
84 | TEST | Eb, Gb | w=oszpc u=a | ro
85 | TEST | Ev, Gv | w=oszpc u=a | ro
A8 | TEST | AL, Ib | w=oszpc u=a | ro
A9 | TEST | rAXv, Iz | w=oszpc u=a | ro
F6 /0 | TEST | Eb, Ib | w=oszpc u=a | ro
F6 /1 | TEST | Eb, Ib | w=oszpc u=a | ro
F6 /2 | NOT | Eb | - | lock
F6 /3 | NEG | Eb | w=oszapc | lock
F6 /4 | MUL | Eb | w=oc u=szap | ro
F6 /5 | IMUL | Eb | w=oc u=szap | ro
F6 /6 | DIV | Eb | u=oszapc | ro
F6 /7 | IDIV | Eb | u=oszapc | ro
F7 /0 | TEST | Ev, Iz | w=oszpc u=a | ro
F7 /1 | TEST | Ev, Iz | w=oszpc u=a | ro
F7 /2 | NOT | Ev | - | lock
F7 /3 | NEG | Ev | w=oszapc | lock
F7 /4 | MUL | Ev | w=oc u=szap | ro
F7 /5 | IMUL | Ev | w=oc u=szap | ro
F7 /6 | DIV | Ev | u=oszapc | ro
F7 /7 | IDIV | Ev | u=oszapc | ro
69 | IMUL | Gv, Ev, Iz | w=oc u=szap | wo,feature=i186
6B | IMUL | Gv, Ev, Ib | w=oc u=szap | wo,feature=i186
0F AF | IMUL | Gv, Ev | w=oc u=szap | feature=i386
# ----- moves -----
88 | MOV | Eb, Gb | - | wo
89 | MOV | Ev, Gv | - | wo
8A | MOV | Gb, Eb | - | wo
8B | MOV | Gv, Ev | - | wo
8D | LEA | Gv, M | - | wo,mem,noaccess
A0 | MOV | AL, Ob | - | wo
A1 | MOV | rAXv, Ov | - | wo
A2 | MOV | Ob, AL | - | wo
A3 | MOV | Ov, rAXv | - | wo
B0+r | MOV | Zb, Ib | - | wo
B8+r | MOV | Zv, Iv | - | wo
C6 /0 | MOV | Eb, Ib | - | wo
C7 /0 | MOV | Ev, Iz | - | wo
0F B6 | MOVZX | Gv, Eb | - | wo,feature=i386
0F B7 | MOVZX | Gv, Ew | - | wo,feature=i386
0F BE | MOVSX | Gv, Eb | - | wo,feature=i386
0F BF | MOVSX | Gv, Ew | - | wo,feature=i386
63 | MOVSXD | Gv, Ez | - | wo,o64
86 | XCHG | Eb, Gb | - | lock
87 | XCHG | Ev, Gv | - | lock
90 | NOP | - | - | B0
90+r | XCHG | Zv, rAXv | - | -
F3 90 | PAUSE | - | - | end,B0
98 | CBW | !v | - | -
99 | CWD | !v | - | -
9E | SAHF | - | w=szapc | i64
9E | SAHF | - | w=szapc | o64,feature=lahf_lm
9F | LAHF | - | r=szapc | i64
9F | LAHF | - | r=szapc | o64,feature=lahf_lm
D6 | SALC | - | r=c | i64
0F C8+r | BSWAP | Zv | - | feature=i486,undefined=word
NFx 0F 38 F0 | MOVBE | Gv, Mv | - | wo,mem,feature=movbe
NFx 0F 38 F1 | MOVBE | Mv, Gv | - | wo,mem,feature=movbe
NP 0F C3 | MOVNTI | My, Gy | - | wo,mem,feature=sse2
# ----- exchange and compare -----
0F B0 | CMPXCHG | Eb, Gb | w=oszapc | lock,feature=i486
0F B1 | CMPXCHG | Ev, Gv | w=oszapc | lock,feature=i486
0F C0 | XADD | Eb, Gb | w=oszapc | lock,feature=i486
0F C1 | XADD | Ev, Gv | w=oszapc | lock,feature=i486
0F C7 /1 | CMPXCHG8B | Mq | w=z | lock,mem,W0,feature=cx8
0F C7 /1 | CMPXCHG16B | Mdq | w=z | lock,mem,W1,o64,feature=cx16
# ----- stack -----
50+r | PUSH | Zv | - | ro,d64
58+r | POP | Zv | - | wo,d64
60 | PUSHA | !v | - | i64,feature=i186
61 | POPA | !v | - | i64,feature=i186
68 | PUSH | Iz, !v | - | d64,feature=i186
6A | PUSH | Ib, !v | - | d64,feature=i186
8F /0 | POP | Ev | - | wo,d64,pops
FF /6 | PUSH | Ev | - | ro,d64
9C | PUSHF | !v | r=oszapc | d64
9D | POPF | !v | w=oszapc | d64,end
C8 | ENTER | Iw, Ib, !v | - | d64,feature=i186,undefined=frame
C9 | LEAVE | !v | - | d64,feature=i186
# ----- flags -----
F5 | CMC | - | w=c r=c | -
F8 | CLC | - | w=c | -
F9 | STC | - | w=c | -
FC | CLD | - | w=d | -
FD | STD | - | w=d | -
# ----- shifts and rotates (group 2; /6 is an undocumented twin of /4) -----
C0 /0 | ROL | Eb, Ib | w=c r=oc u=o | feature=i186
C0 /1 | ROR | Eb, Ib | w=c r=oc u=o | feature=i186
C0 /2 | RCL | Eb, Ib | w=c r=oc u=o | feature=i186
C0 /3 | RCR | Eb, Ib | w=c r=oc u=o | feature=i186
C0 /4 | SHL | Eb, Ib | w=szpc r=oszapc u=oa | feature=i186,undefined=carry
C0 /5 | SHR | Eb, Ib | w=szpc r=oszapc u=oa | feature=i186,undefined=carry
C0 /6 | SHL | Eb, Ib | w=szpc r=oszapc u=oa | feature=i186,undefined=carry
C0 /7 | SAR | Eb, Ib | w=szpc r=oszapc u=oa | feature=i186
C1 /0 | ROL | Ev, Ib | w=c r=oc u=o | feature=i186
C1 /1 | ROR | Ev, Ib | w=c r=oc u=o | feature=i186
C1 /2 | RCL | Ev, Ib | w=c r=oc u=o | feature=i186
C1 /3 | RCR | Ev, Ib | w=c r=oc u=o | feature=i186
C1 /4 | SHL | Ev, Ib | w=szpc r=oszapc u=oa | feature=i186,undefined=carry
C1 /5 | SHR | Ev, Ib | w=szpc r=oszapc u=oa | feature=i186,undefined=carry
C1 /6 | SHL | Ev, Ib | w=szpc r=oszapc u=oa | feature=i186,undefined=carry
C1 /7 | SAR | Ev, Ib | w=szpc r=oszapc u=oa | feature=i186
D0 /0 | ROL | Eb, 1 | w=oc | -
D0 /1 | ROR | Eb, 1 | w=oc | -
D0 /2 | RCL | Eb, 1 | w=oc r=c | -
D0 /3 | RCR | Eb, 1 | w=oc r=c | -
D0 /4 | SHL | Eb, 1 | w=oszpc u=a | -
D0 /5 | SHR | Eb, 1 | w=oszpc u=a | -
D0 /6 | SHL | Eb, 1 | w=oszpc u=a | -
D0 /7 | SAR | Eb, 1 | w=oszpc u=a | -
D1 /0 | ROL | Ev, 1 | w=oc | -
D1 /1 | ROR | Ev, 1 | w=oc | -
D1 /2 | RCL | Ev, 1 | w=oc r=c | -
D1 /3 | RCR | Ev, 1 | w=oc r=c | -
D1 /4 | SHL | Ev, 1 | w=oszpc u=a | -
D1 /5 | SHR | Ev, 1 | w=oszpc u=a | -
D1 /6 | SHL | Ev, 1 | w=oszpc u=a | -
D1 /7 | SAR | Ev, 1 | w=oszpc u=a | -
D2 /0 | ROL | Eb, CL | w=c r=oc u=o | -
D2 /1 | ROR | Eb, CL | w=c r=oc u=o | -
D2 /2 | RCL | Eb, CL | w=c r=oc u=o | -
D2 /3 | RCR | Eb, CL | w=c r=oc u=o | -
D2 /4 | SHL | Eb, CL | w=szpc r=oszapc u=oa | undefined=carry
D2 /5 | SHR | Eb, CL | w=szpc r=oszapc u=oa | undefined=carry
D2 /6 | SHL | Eb, CL | w=szpc r=oszapc u=oa | undefined=carry
D2 /7 | SAR | Eb, CL | w=szpc r=oszapc u=oa | -
D3 /0 | ROL | Ev, CL | w=c r=oc u=o | -
D3 /1 | ROR | Ev, CL | w=c r=oc u=o | -
D3 /2 | RCL | Ev, CL | w=c r=oc u=o | -
D3 /3 | RCR | Ev, CL | w=c r=oc u=o | -
D3 /4 | SHL | Ev, CL | w=szpc r=oszapc u=oa | undefined=carry
D3 /5 | SHR | Ev, CL | w=szpc r=oszapc u=oa | undefined=carry
D3 /6 | SHL | Ev, CL | w=szpc r=oszapc u=oa | undefined=carry
D3 /7 | SAR | Ev, CL | w=szpc r=oszapc u=oa | -
0F A4 | SHLD | Ev, Gv, Ib | w=szpc r=oszapc u=oa | feature=i386,undefined=count
0F A5 | SHLD | Ev, Gv, CL | w=szpc r=oszapc u=oa | feature=i386,undefined=count
0F AC | SHRD | Ev, Gv, Ib | w=szpc r=oszapc u=oa | feature=i386,undefined=count
0F AD | SHRD | Ev, Gv, CL | w=szpc r=oszapc u=oa | feature=i386,undefined=count
# ----- bits -----
0F A3 | BT | Ev, Gv | w=c u=osap | ro,asz,feature=i386
0F AB | BTS | Ev, Gv | w=c u=osap | lock,asz,feature=i386
0F B3 | BTR | Ev, Gv | w=c u=osap | lock,asz,feature=i386
0F BB | BTC | Ev, Gv | w=c u=osap | lock,asz,feature=i386
0F BA /4 | BT | Ev, Ib | w=c u=osap | ro,feature=i386
0F BA /5 | BTS | Ev, Ib | w=c u=osap | lock,feature=i386
0F BA /6 | BTR | Ev, Ib | w=c u=osap | lock,feature=i386
0F BA /7 | BTC | Ev, Ib | w=c u=osap | lock,feature=i386
0F BC | BSF | Gv, Ev | w=z u=osapc | feature=i386,undefined=zero_source
0F BD | BSR | Gv, Ev | w=z u=osapc | feature=i386,undefined=zero_source
F3 0F BC | TZCNT | Gv, Ev | w=zc u=osap | wo,feature=bmi1
F3 0F BD | LZCNT | Gv, Ev | w=zc u=osap | wo,feature=lzcnt
F3 0F B8 | POPCNT | Gv, Ev | w=oszapc | wo,feature=popcnt
F2 0F 38 F0 | CRC32 | Gy, Eb | - | feature=sse4_2
F2 0F 38 F1 | CRC32 | Gy, Ev | - | feature=sse4_2
NP 0F 38 F9 | MOVDIRI | My, Gy | - | mem,wo,like=MOV,feature=movdiri
66 0F 38 F8 | MOVDIR64B | Gq, M | - | mem,ro,asz,elements,feature=movdir64b
66 0F 38 F6 | ADCX | Gy, Ey | w=c r=c | feature=adx
F3 0F 38 F6 | ADOX | Gy, Ey | w=o r=o | feature=adx
# ----- decimal -----
27 | DAA | - | w=szapc r=ac u=o | i64
2F | DAS | - | w=szapc r=ac u=o | i64
37 | AAA | - | w=ac r=a u=oszp | i64
3F | AAS | - | w=ac r=a u=oszp | i64
D4 | AAM | Ib | w=szp u=oac | i64
D5 | AAD | Ib | w=szp u=oac | i64
# ----- SETcc, CMOVcc -----
0F 90 | SETO | Eb | r=o | wo,feature=i386
0F 91 | SETNO | Eb | r=o | wo,feature=i386
0F 92 | SETB | Eb | r=c | wo,feature=i386
0F 93 | SETNB | Eb | r=c | wo,feature=i386
0F 94 | SETZ | Eb | r=z | wo,feature=i386
0F 95 | SETNZ | Eb | r=z | wo,feature=i386
0F 96 | SETBE | Eb | r=cz | wo,feature=i386
0F 97 | SETNBE | Eb | r=cz | wo,feature=i386
0F 98 | SETS | Eb | r=s | wo,feature=i386
0F 99 | SETNS | Eb | r=s | wo,feature=i386
0F 9A | SETP | Eb | r=p | wo,feature=i386
0F 9B | SETNP | Eb | r=p | wo,feature=i386
0F 9C | SETL | Eb | r=so | wo,feature=i386
0F 9D | SETNL | Eb | r=so | wo,feature=i386
0F 9E | SETLE | Eb | r=szo | wo,feature=i386
0F 9F | SETNLE | Eb | r=szo | wo,feature=i386
0F 40 | CMOVO | Gv, Ev | r=o | feature=cmov
0F 41 | CMOVNO | Gv, Ev | r=o | feature=cmov
0F 42 | CMOVB | Gv, Ev | r=c | feature=cmov
0F 43 | CMOVNB | Gv, Ev | r=c | feature=cmov
0F 44 | CMOVZ | Gv, Ev | r=z | feature=cmov
0F 45 | CMOVNZ | Gv, Ev | r=z | feature=cmov
0F 46 | CMOVBE | Gv, Ev | r=cz | feature=cmov
0F 47 | CMOVNBE | Gv, Ev | r=cz | feature=cmov
0F 48 | CMOVS | Gv, Ev | r=s | feature=cmov
0F 49 | CMOVNS | Gv, Ev | r=s | feature=cmov
0F 4A | CMOVP | Gv, Ev | r=p | feature=cmov
0F 4B | CMOVNP | Gv, Ev | r=p | feature=cmov
0F 4C | CMOVL | Gv, Ev | r=so | feature=cmov
0F 4D | CMOVNL | Gv, Ev | r=so | feature=cmov
0F 4E | CMOVLE | Gv, Ev | r=szo | feature=cmov
0F 4F | CMOVNLE | Gv, Ev | r=szo | feature=cmov
# ----- random numbers, processor number -----
NFx 0F C7 /6 | RDRAND | Rv | w=oszapc | wo,reg,feature=rdrand
NFx 0F C7 /7 | RDSEED | Rv | w=oszapc | wo,reg,feature=rdseed
F3 0F C7 /7 | RDPID | Ry | - | wo,reg,f64,feature=rdpid
# ----- fences, cache lines, hints -----
NP 0F AE /5 | LFENCE | - | - | reg,feature=sse2,handler=NOP
NP 0F AE /6 | MFENCE | - | - | reg,feature=sse2,handler=NOP
NP 0F AE /7 | SFENCE | - | - | reg,feature=sse,handler=NOP
NP 0F AE /7 | CLFLUSH | Mb | - | ro,mem,feature=clflush
66 0F AE /7 | CLFLUSHOPT | Mb | - | ro,mem,feature=clflushopt
0F 0D /0 | PREFETCH | Mb | - | mem,noaccess,handler=NOP,feature=prefetchw
0F 0D /0 | PREFETCH | Mb | - | mem,noaccess,handler=NOP,feature=lm
0F 0D /1 | PREFETCHW | Mb | - | mem,noaccess,handler=NOP,feature=prefetchw
0F 0D /1 | PREFETCHW | Mb | - | mem,noaccess,handler=NOP,feature=lm
0F 0D | PREFETCH | Mb | - | mem,noaccess,handler=NOP,feature=prefetchw
0F 0D | PREFETCH | Mb | - | mem,noaccess,handler=NOP,feature=lm
0F 18 /0 | PREFETCHNTA | Mb | - | mem,noaccess,handler=NOP,feature=sse
0F 18 /1 | PREFETCHT0 | Mb | - | mem,noaccess,handler=NOP,feature=sse
0F 18 /2 | PREFETCHT1 | Mb | - | mem,noaccess,handler=NOP,feature=sse
0F 18 /3 | PREFETCHT2 | Mb | - | mem,noaccess,handler=NOP,feature=sse
0F 18 | NOP | Ev | - | noaccess,handler=NOP,feature=p6
0F 19 | NOP | Ev | - | noaccess,handler=NOP,feature=p6
0F 1A | NOP | Ev | - | noaccess,handler=NOP,feature=p6
0F 1B | NOP | Ev | - | noaccess,handler=NOP,feature=p6
0F 1C | NOP | Ev | - | noaccess,handler=NOP,feature=p6
0F 1D | NOP | Ev | - | noaccess,handler=NOP,feature=p6
F3 0F 1E FA | ENDBR64 | - | - | handler=ENDBR,aux=1,feature=p6
F3 0F 1E FB | ENDBR32 | - | - | handler=ENDBR,feature=p6
0F 1E | NOP | Ev | - | noaccess,handler=NOP,feature=p6
0F 1F | NOP | Ev | - | noaccess,handler=NOP,feature=p6
# ----- undefined on purpose -----
0F 0B | UD2 | - | - | end
0F B9 | UD1 | Gv, Ev | - | end,noaccess,handler=UD2
0F FF | UD0 | Gv, Ev | - | end,noaccess,handler=UD2
"""
