; A hypervisor for AMD-V in one file: it sets up a guest in 64-bit mode with nested paging, has it do one thing after the
; other that its control block intercepts, and checks every field that an exit writes (AMD64 Architecture Programmer's
; Manual, volume 2, chapter 15 and appendix B).
;
; It is a multiboot 1 kernel, a flat file with its own ELF header.  Each case is a row of the table at the end: what to
; intercept, the guest's instruction, and the exit that must come of it.  One line a case goes to COM1, "ok NAME" or
; "BAD NAME field got wanted", then a summary; the number of wrong cases goes to the debug-exit port F4h.
;
; Memory, identity mapped for host and guest alike:
HOST_TABLES   equ 0x200000              ; PML4, PDPT, four page directories of 2-MiB pages: 4 GiB
NESTED_TABLES equ 0x210000              ; the same for the guest, but only the first GiB
VMCB          equ 0x220000
HOST_SAVE     equ 0x221000
IO_MAP        equ 0x222000              ; 12 KiB, all ones: every port is intercepted if any is
MSR_MAP       equ 0x226000              ; 8 KiB, all ones
GUEST_STACK   equ 0x230000
HOST_IDT      equ 0x228000
SCRATCH       equ 0x231000              ; an operand for instructions that want memory
UNMAPPED      equ 0x40000000            ; the guest's tables map it, the nested ones do not

; No guest has an IDT, so that what is not intercepted ends in a shutdown.
;
; Fields of the control block (appendix B)
%define FIELD(offset) [abs VMCB + offset]
INTERCEPTS    equ 0x000                 ; words of 32 bits: CR, DR, exceptions, 3, 4, 5
IOPM_BASE     equ 0x040
MSRPM_BASE    equ 0x048
ASID          equ 0x058
V_TPR         equ 0x060
SHADOW        equ 0x068
EXITCODE      equ 0x070
EXITINFO1     equ 0x078
EXITINFO2     equ 0x080
EXITINTINFO   equ 0x088
NP_ENABLE     equ 0x090
EVENTINJ      equ 0x0A8
N_CR3         equ 0x0B0
NRIP          equ 0x0C8
ES_           equ 0x400                 ; selector, attributes, limit, base
CS_           equ 0x410
SS_           equ 0x420
DS_           equ 0x430
GDTR_         equ 0x460
IDTR_         equ 0x480
CPL_          equ 0x4CB
EFER_         equ 0x4D0
CR4_          equ 0x548
CR3_          equ 0x550
CR0_          equ 0x558
DR7_          equ 0x560
DR6_          equ 0x568
RFLAGS_       equ 0x570
RIP_          equ 0x578
RSP_          equ 0x5D8
RAX_          equ 0x5F8
PAT_          equ 0x668

        bits 32
        org 0x100000
elf:    db 0x7F, "ELF", 1, 1, 1
        times 9 db 0
        dw 2, 3                         ; executable, i386
        dd 1, start, program - elf, 0, 0
        dw 52, 32, 1, 0, 0, 0
program:
        dd 1, 0, elf, elf, file_end - elf, memory_end - elf, 7, 0x1000
        align 4
        dd 0x1BADB002, 3, -(0x1BADB002 + 3)     ; multiboot header

; ---------------------------------------------------------------- into 64-bit mode

start:  cli
        mov esp, stack_top
        mov dx, 0x3F8 + 3               ; nobody has programmed COM1 yet: 8 bits, no parity, one stop bit
        mov al, 3
        out dx, al
        mov edi, HOST_TABLES            ; PML4 -> PDPT -> four directories of 2-MiB pages
        mov ecx, 4
        call make_tables
        mov edi, NESTED_TABLES
        mov ecx, 1
        call make_tables
        mov eax, cr4
        or eax, 0x620                   ; PAE, OSFXSR, OSXMMEXCPT
        mov cr4, eax
        mov eax, HOST_TABLES
        mov cr3, eax
        mov ecx, 0xC0000080             ; EFER: LME, NXE, SVME
        rdmsr
        or eax, 0x1900
        wrmsr
        mov eax, cr0
        or eax, 0x80000021              ; PG, NE, PE
        and eax, ~0x60000000            ; caches on
        mov cr0, eax
        lgdt [gdt_pointer]
        jmp 8:start64

; make_tables  - at EDI for ECX GiB: user pages, as nested paging counts every access as the user's (15.25.6)
make_tables:
        push ecx
        lea eax, [edi + 0x1007]
        mov [edi], eax
        lea ebx, [edi + 0x1000]
        lea eax, [edi + 0x2007]
.directory:
        mov [ebx], eax
        add ebx, 8
        add eax, 0x1000
        loop .directory
        pop ecx
        shl ecx, 9                      ; 512 entries each
        lea ebx, [edi + 0x2000]
        mov eax, 0x87                   ; present, writable, user, large
.entry: mov [ebx], eax
        add ebx, 8
        add eax, 0x200000
        loop .entry
        ret

        align 8
gdt:    dq 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF    ; 64-bit code, data
gdt_pointer:
        dw $ - gdt - 1
        dd gdt, 0

idt_pointer:
        dw 3 * 16 - 1
        dq HOST_IDT

        bits 64
        default abs
nmi_handler:
        iretq
start64:
        mov ax, 16
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov dword [HOST_IDT + 2 * 16], (nmi_handler - elf + 0x100000) & 0xFFFF | 8 << 16    ; the NMI case ends in the host
        mov dword [HOST_IDT + 2 * 16 + 4], (nmi_handler - elf + 0x100000) & 0xFFFF0000 | 0x8E00
        lidt [idt_pointer]
        mov edi, IO_MAP
        mov ecx, 0x6000 / 8
        mov rax, -1
        rep stosq
        mov ecx, 0xC0010117             ; VM_HSAVE_PA
        mov eax, HOST_SAVE
        xor edx, edx
        wrmsr

; ---------------------------------------------------------------- one case after the other

        mov ebp, cases
next:   cmp rbp, cases_end
        je summary
        call fill_control_block
        mov rax, [rbp + CASE.prepare]
        test rax, rax
        jz .run
        call rax
.run:   mov eax, VMCB
        mov rbx, 0x1234
        mov rcx, 0xC0000080             ; for RDMSR and WRMSR: EFER
        xor edx, edx
        mov r15, rbp
        clgi                            ; nothing is to come in between (15.17)
        vmrun
        stgi
        mov r14, rax
        mov rbp, r15
        call check
        add rbp, CASE_size
        jmp next

; fill_control_block  - a guest in the host's mode, whose first instruction is the case's
fill_control_block:
        mov edi, VMCB
        mov ecx, 4096 / 8
        xor eax, eax
        rep stosq
        mov eax, [rbp + CASE.word]
        mov ecx, [rbp + CASE.bit]
        bts [VMCB + INTERCEPTS + rax * 4], ecx
        or dword FIELD(INTERCEPTS + 16), 3      ; VMRUN must be intercepted (15.5.1), VMMCALL ends what does not exit
        mov dword FIELD(IOPM_BASE), IO_MAP
        mov dword FIELD(MSRPM_BASE), MSR_MAP
        mov dword FIELD(ASID), 1
        mov byte FIELD(NP_ENABLE), 1
        mov dword FIELD(N_CR3), NESTED_TABLES
        mov dword FIELD(ES_), 0x0C93 << 16 | 16
        mov dword FIELD(CS_), 0x0A9B << 16 | 8
        mov dword FIELD(SS_), 0x0C93 << 16 | 16
        mov dword FIELD(DS_), 0x0C93 << 16 | 16
        mov dword FIELD(ES_ + 4), -1
        mov dword FIELD(CS_ + 4), -1
        mov dword FIELD(SS_ + 4), -1
        mov dword FIELD(DS_ + 4), -1
        mov dword FIELD(GDTR_ + 4), 23
        mov dword FIELD(GDTR_ + 8), gdt
        mov ecx, 0xC0000080
        rdmsr
        mov FIELD(EFER_), eax
        mov rax, cr0
        mov FIELD(CR0_), rax
        mov rax, cr3
        mov FIELD(CR3_), rax
        mov rax, cr4
        mov FIELD(CR4_), rax
        mov dword FIELD(DR6_), 0xFFFF0FF0
        mov dword FIELD(DR7_), 0x400
        mov dword FIELD(RFLAGS_), 2
        mov rax, [rbp + CASE.code]
        mov FIELD(RIP_), rax
        mov dword FIELD(RSP_), GUEST_STACK
        mov dword FIELD(RAX_), SCRATCH
        mov rax, 0x0007040600070406
        mov FIELD(PAT_), rax
        ret

; ---------------------------------------------------------------- what an exit has written

%macro EXPECT 3                         ; name of a field, what it is (RDX), what it must be (RCX)
        mov rdx, %2
        mov rcx, %3
        mov rsi, %%name
        call expect
        jmp %%over
%%name: db %1, 0
%%over:
%endmacro

check:  mov byte [wrong], 0
        EXPECT "exitcode", FIELD(EXITCODE), [rbp + CASE.exit]
        EXPECT "exitinfo1", FIELD(EXITINFO1), [rbp + CASE.info1]
        EXPECT "exitinfo2", FIELD(EXITINFO2), [rbp + CASE.info2]
        EXPECT "exitintinfo", FIELD(EXITINTINFO), 0
        mov eax, FIELD(EVENTINJ)
        shr eax, 31
        EXPECT "valid bit of eventinj", rax, 0
        EXPECT "rip", FIELD(RIP_), [rbp + CASE.rip]
        EXPECT "nrip", FIELD(NRIP), [rbp + CASE.nrip]
        EXPECT "rsp", FIELD(RSP_), GUEST_STACK
        EXPECT "rax", FIELD(RAX_), SCRATCH
        EXPECT "rflags", FIELD(RFLAGS_), [rbp + CASE.rflags]
        EXPECT "cs", FIELD(CS_), 0xFFFFFFFF0A9B0008
        EXPECT "ss", FIELD(SS_), 0xFFFFFFFF0C930010
        EXPECT "interrupt shadow", FIELD(SHADOW), 0
        EXPECT "rbx, which is not switched", rbx, 0x1234
        movzx eax, byte FIELD(CPL_)
        EXPECT "cpl", rax, 0
        mov rax, cr0
        EXPECT "cr0", FIELD(CR0_), rax
        EXPECT "the host's rax", r14, VMCB
        inc dword [count]
        cmp byte [wrong], 0
        jne .bad
        mov rsi, text_ok
        call print
        mov rsi, [rbp + CASE.name]
        call print
        mov rsi, text_line
        jmp print
.bad:   inc dword [bad]
        ret

; expect  - RDX must be RCX; the field's name is at RSI
expect: cmp rdx, rcx
        je .same
        mov byte [wrong], 1
        push rcx
        push rdx
        push rsi
        mov rsi, text_bad
        call print
        mov rsi, [rbp + CASE.name]
        call print
        mov al, " "
        call character
        pop rsi
        call print
        mov al, " "
        call character
        pop rax
        call hexadecimal
        mov al, " "
        call character
        pop rax
        call hexadecimal
        mov rsi, text_line
        call print
.same:  ret

summary:
        mov rsi, text_cases
        call print
        mov eax, [count]
        call hexadecimal
        mov rsi, text_wrong
        call print
        mov eax, [bad]
        call hexadecimal
        mov rsi, text_line
        call print
.drained:
        mov dx, 0x3F8 + 5
        in al, dx
        test al, 0x40                   ; transmitter empty
        jz .drained
        mov eax, [bad]
        out 0xF4, eax
.halt:  hlt
        jmp .halt

; ---------------------------------------------------------------- preparations that a row does not say

prepare_asid:                           ; a control block that breaks a rule: ASID 0
        mov dword FIELD(ASID), 0
        ret
prepare_virtual_interrupt:              ; V_IRQ of a priority above the virtual TPR, and IF set
        mov dword FIELD(V_TPR), 0x000F0100
        or dword FIELD(RFLAGS_), 0x200
        ret
prepare_nmi:                            ; pending from before: GIF holds it off until the guest runs
        clgi
        mov esi, 0xFEE00300             ; the local APIC's interrupt command register
        mov dword [rsi], 0x44400        ; NMI to this processor itself
        ret
prepare_event:                          ; an injected #UD that no IDT takes: the shutdown is the guest's
        mov dword FIELD(EVENTINJ), 0x80000306
        ret

; ---------------------------------------------------------------- texts

; print  - the zero-terminated text at RSI
print:  lodsb
        test al, al
        jz .done
        call character
        jmp print
.done:  ret

; hexadecimal  - RAX as sixteen digits
hexadecimal:
        mov ecx, 16
.next:  rol rax, 4
        push rax
        and al, 15
        add al, "0"
        cmp al, "9"
        jbe .digit
        add al, "a" - "0" - 10
.digit: call character
        pop rax
        dec ecx
        jnz .next
        ret

; character  - AL to COM1
character:
        push rdx
        push rax
        mov dx, 0x3F8 + 5
.wait:  in al, dx
        test al, 0x20
        jz .wait
        pop rax
        mov dx, 0x3F8
        out dx, al
        pop rdx
        ret

text_ok:    db "ok ", 0
text_bad:   db "BAD ", 0
text_cases: db "cases ", 0
text_wrong: db " wrong ", 0
text_line:  db 13, 10, 0

; ---------------------------------------------------------------- the cases

struc CASE
.name:    resq 1
.code:    resq 1
.prepare: resq 1
.word:    resd 1
.bit:     resd 1
.exit:    resq 1
.info1:   resq 1
.info2:   resq 1
.rip:     resq 1
.nrip:    resq 1
.rflags:  resq 1
endstruc

; Rows are collected in two sections: the guest's code with the names, and the table.
%assign case_number 0
%define case_rows
%macro ROW 10+                          ; name, word, bit, exit, info1, info2, rip: 0 at, 1 behind it, nrip, prepare, code
%%name: db %1, 0
%%code: %10
%%end:  vmmcall
%define row_%[case_number] %%name, %%code, %9, %2, %3, %4, %5, %6, %7, %8, %%end
%assign case_number case_number + 1
%endmacro
%define BIT63 0x8000000000000000
NEXT equ 0x7777                         ; stands for the address of the next instruction
;   name           word bit  exit   info1            info2    rip nrip prepare  instruction
ROW "cr0 read",       0,  0, 0x000, BIT63 | 3,           0,     0, 1, 0, mov rbx, cr0
ROW "cr3 read",       0,  3, 0x003, BIT63 | 8,           0,     0, 1, 0, mov r8, cr3
ROW "cr4 read",       0,  4, 0x004, BIT63 | 1,           0,     0, 1, 0, mov rcx, cr4
ROW "cr8 read",       0,  8, 0x008, BIT63 | 2,           0,     0, 1, 0, mov rdx, cr8
ROW "cr0 write",      0, 16, 0x010, BIT63 | 0,           0,     0, 1, 0, mov cr0, rax
ROW "cr3 write",      0, 19, 0x013, BIT63 | 6,           0,     0, 1, 0, mov cr3, rsi
ROW "cr4 write",      0, 20, 0x014, BIT63 | 7,           0,     0, 1, 0, mov cr4, rdi
ROW "cr8 write",      0, 24, 0x018, BIT63 | 9,           0,     0, 1, 0, mov cr8, r9
ROW "smsw",           0,  0, 0x000, 0,                   0,     0, 1, 0, smsw eax
ROW "clts",           0, 16, 0x010, 0,                   0,     0, 1, 0, clts
ROW "dr0 read",       1,  0, 0x020, 3,                   0,     0, 1, 0, mov rbx, dr0
ROW "dr6 read",       1,  6, 0x026, 10,                  0,     0, 1, 0, mov r10, dr6
ROW "dr0 write",      1, 16, 0x030, 1,                   0,     0, 1, 0, mov dr0, rcx
ROW "dr7 write",      1, 23, 0x037, 0,                   0,     0, 1, 0, mov dr7, rax
ROW "#BP",            2,  3, 0x043, 0,                   0,     0, 1, 0, int3
ROW "#UD",            2,  6, 0x046, 0,                   0,     0, 0, 0, ud2
ROW "#GP",            2, 13, 0x04D, 0,                   0,     0, 0, 0, db 0x48, 0xA1, 0, 0, 0, 0, 0, 0, 0, 0x80
ROW "NMI",            3,  1, 0x061, 0,                   0,     0, 0, prepare_nmi, nop
ROW "vintr",          3,  4, 0x064, 0,                   0,     0, 0, prepare_virtual_interrupt, nop
ROW "selective cr0",  3,  5, 0x065, 0,                   0,     0, 1, 0, lmsw ax
ROW "sidt",           3,  6, 0x066, 0,                   0,     0, 1, 0, sidt [SCRATCH]
ROW "sgdt",           3,  7, 0x067, 0,                   0,     0, 1, 0, sgdt [SCRATCH]
ROW "sldt",           3,  8, 0x068, 0,                   0,     0, 1, 0, sldt [SCRATCH]
ROW "str",            3,  9, 0x069, 0,                   0,     0, 1, 0, str [SCRATCH]
ROW "lidt",           3, 10, 0x06A, 0,                   0,     0, 1, 0, lidt [SCRATCH]
ROW "lgdt",           3, 11, 0x06B, 0,                   0,     0, 1, 0, lgdt [SCRATCH]
ROW "lldt",           3, 12, 0x06C, 0,                   0,     0, 1, 0, lldt [SCRATCH]
ROW "ltr",            3, 13, 0x06D, 0,                   0,     0, 1, 0, ltr [SCRATCH]
ROW "rdtsc",          3, 14, 0x06E, 0,                   0,     0, 1, 0, rdtsc
ROW "rdpmc",          3, 15, 0x06F, 0,                   0,     0, 1, 0, rdpmc
ROW "pushf",          3, 16, 0x070, 0,                   0,     0, 1, 0, pushfq
ROW "popf",           3, 17, 0x071, 0,                   0,     0, 1, 0, popfq
ROW "cpuid",          3, 18, 0x072, 0,                   0,     0, 1, 0, cpuid
ROW "rsm",            3, 19, 0x073, 0,                   0,     0, 1, 0, rsm
ROW "iret",           3, 20, 0x074, 0,                   0,     0, 1, 0, iretq
ROW "int n",          3, 21, 0x075, 0x42,                0,     0, 1, 0, int 0x42
ROW "invd",           3, 22, 0x076, 0,                   0,     0, 1, 0, invd
ROW "pause",          3, 23, 0x077, 0,                   0,     0, 1, 0, pause
ROW "hlt",            3, 24, 0x078, 0,                   0,     0, 1, 0, hlt
ROW "invlpg",         3, 25, 0x079, SCRATCH,             0,     0, 1, 0, invlpg [SCRATCH]
ROW "invlpga",        3, 26, 0x07A, 0,                   0,     0, 1, 0, invlpga
ROW "in",             3, 27, 0x07B, 0x60 << 16 | 0x211,  NEXT,  0, 1, 0, in al, 0x60
ROW "out",            3, 27, 0x07B, 0x80 << 16 | 0x240,  NEXT,  0, 1, 0, out 0x80, eax
ROW "rdmsr",          3, 28, 0x07C, 0,                   0,     0, 1, 0, rdmsr
ROW "wrmsr",          3, 28, 0x07C, 1,                   0,     0, 1, 0, wrmsr
ROW "shutdown",       3, 31, 0x07F, 0,                   0,     0, 0, 0, ud2
ROW "injected #UD",   3, 31, 0x07F, 0,                   0,     0, 0, prepare_event, nop
ROW "vmrun",          4,  0, 0x080, 0,                   0,     0, 1, 0, vmrun
ROW "vmmcall",        4,  1, 0x081, 0,                   0,     0, 1, 0, vmmcall
ROW "vmload",         4,  2, 0x082, 0,                   0,     0, 1, 0, vmload
ROW "vmsave",         4,  3, 0x083, 0,                   0,     0, 1, 0, vmsave
ROW "stgi",           4,  4, 0x084, 0,                   0,     0, 1, 0, stgi
ROW "clgi",           4,  5, 0x085, 0,                   0,     0, 1, 0, clgi
ROW "rdtscp",         4,  7, 0x087, 0,                   0,     0, 1, 0, rdtscp
ROW "int1",           4,  8, 0x088, 0,                   0,     0, 1, 0, db 0xF1
ROW "wbinvd",         4,  9, 0x089, 0,                   0,     0, 1, 0, wbinvd
ROW "monitor",        4, 10, 0x08A, 0,                   0,     0, 1, 0, monitor
ROW "mwait",          4, 11, 0x08B, 0,                   0,     0, 1, 0, mwait
ROW "cr0 write trap", 4, 16, 0x090, 0x80000031,          0,     1, 1, 0, clts
ROW "cr8 write trap", 4, 24, 0x098, 0,                   0,     1, 1, 0, mov cr8, rdx
ROW "invlpgb",        5,  0, 0x0A0, 0,                   0,     0, 1, 0, db 0x0F, 0x01, 0xFE
ROW "invpcid",        5,  2, 0x0A2, SCRATCH,             SCRATCH, 0, 1, 0, invpcid rax, [SCRATCH]
ROW "tlbsync",        5,  4, 0x0A4, 0,                   0,     0, 1, 0, db 0x0F, 0x01, 0xFF
ROW "nested fault",   4,  0, 0x400, 0x100000004,  UNMAPPED + 8, 0, 0, 0, mov rdi, [UNMAPPED + 8]
ROW "nested write",   4,  0, 0x400, 0x100000006,  UNMAPPED + 8, 0, 0, 0, mov [UNMAPPED + 8], rdi
ROW "refused",        4,  0, -1,    0,                   0,     0, 2, prepare_asid, nop

        align 8
%macro EMIT 11                          ; name, code, prepare, word, bit, exit, info1, info2, rip, nrip, end
        dq %1, %2, %3
        dd %4, %5
        dq %6, %7
  %if %8 = NEXT
        dq %11
  %else
        dq %8
  %endif
  %if %9 = 1
        dq %11
  %else
        dq %2
  %endif
  %if %10 = 1
        dq %11
  %else
        dq 0
  %endif
  %ifidn %3, prepare_virtual_interrupt
        dq 0x202
  %else
        dq 2
  %endif
%endmacro
cases:
%assign k 0
%rep case_number
        EMIT row_%[k]
  %assign k k + 1
%endrep
cases_end:
        align 16
file_end:
count         equ file_end
bad           equ file_end + 4
wrong         equ file_end + 8
stack_top     equ file_end + 4096
memory_end    equ stack_top
