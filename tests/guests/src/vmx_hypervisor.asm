; A hypervisor as small as it can be (Intel SDM volume 3C, chapters 24 to 28): a multiboot kernel that enters 64-bit mode
; and VMX operation, builds one VMCS, runs one-instruction guests under it, takes each kind of exit once, and compares
; every exit field with a table.  It writes a line for each exit to COM1 and ends the machine by port F4h: 0 where all
; were as the table says, else 1.
;
;   nasm -f bin -o vmx_hypervisor.elf vmx_hypervisor.asm
;
; The guests are 64-bit code in the same address space: host and guest share page tables, segments and EPT's identity map.

LOAD    equ 0x100000
COM1    equ 0x3F8
; memory that the image does not hold, zeroed at the start
AREA    equ 0x200000
PML4    equ AREA
PDPT    equ AREA + 0x1000
PDS     equ AREA + 0x2000               ; four page directories: 4 GiB by 2-MiB pages
EPT4    equ AREA + 0x6000
EPT3    equ AREA + 0x7000
EPT2    equ AREA + 0x8000               ; four
VMXON_  equ AREA + 0xC000
VMCS    equ AREA + 0xD000
VAPIC   equ AREA + 0xE000
IOMAP   equ AREA + 0xF000               ; two pages
STACK   equ AREA + 0x13000
GSTACK  equ AREA + 0x14000
DATA    equ AREA + 0x14000              ; a page that guests use as an operand
AREA_END equ AREA + 0x16000
HOLE    equ 0x600000                    ; EPT maps nothing here
ODD     equ 0x800000                    ; and here it has a misconfigured entry
APICPG  equ 0xA00000                    ; the APIC-access page
LAPIC   equ 0xFEE00000

; primary, secondary and pin controls by the manual's bits
PIN_EXT equ 1 << 0
PIN_NMI equ 1 << 3
PIN_VNMI equ 1 << 5
PIN_TIMER equ 1 << 6
P_INTWIN equ 1 << 2
P_HLT   equ 1 << 7
P_INVLPG equ 1 << 9
P_MWAIT equ 1 << 10
P_RDPMC equ 1 << 11
P_RDTSC equ 1 << 12
P_CR3LD equ 1 << 15
P_CR3ST equ 1 << 16
P_CR8LD equ 1 << 19
P_TPR   equ 1 << 21
P_NMIWIN equ 1 << 22
P_DR    equ 1 << 23
P_IO    equ 1 << 24
P_MTF   equ 1 << 27
P_MON   equ 1 << 29
P_PAUSE equ 1 << 30
P_SEC   equ 1 << 31
S_APIC  equ 1 << 0
S_EPT   equ 1 << 1
S_TABLE equ 1 << 2
S_RDTSCP equ 1 << 3
S_WBINVD equ 1 << 6
S_UNRESTRICTED equ 1 << 7
S_REGS  equ 1 << 8
S_RDRAND equ 1 << 11
S_INVPCID equ 1 << 12
S_VMFUNC equ 1 << 13
S_RDSEED equ 1 << 16

; VMCS fields (appendix B)
%define GUEST_RIP 0x681E
%define GUEST_RSP 0x681C
%define GUEST_RFLAGS 0x6820

bits 32
org LOAD
elf:    ; a 32-bit ELF header and one segment by hand
        db 0x7F, "ELF", 1, 1, 1, 0
        times 8 db 0
        dw 2, 3
        dd 1, start, program - elf, 0, 0
        dw 52, 32, 1, 40, 0, 0
program:
        dd 1, 0, LOAD, LOAD, end - elf, end - elf, 7, 0x1000
align 4
        dd 0x1BADB002, 0, -0x1BADB002   ; multiboot 1

start:  cld
        mov esp, STACK
        mov edi, AREA
        mov ecx, (AREA_END - AREA) / 4
        xor eax, eax
        rep stosd
        mov dword [PML4], PDPT + 7
        mov dword [EPT4], EPT3 + 7
        xor ecx, ecx
.pdpt:  mov eax, ecx
        shl eax, 12
        lea edx, [eax + PDS + 7]
        mov [PDPT + ecx * 8], edx
        lea edx, [eax + EPT2 + 7]
        mov [EPT3 + ecx * 8], edx
        inc ecx
        cmp ecx, 4
        jb .pdpt
        xor ecx, ecx
.pages: mov eax, ecx
        shl eax, 21
        lea edx, [eax + 0x83]
        mov [PDS + ecx * 8], edx
        lea edx, [eax + 0xB7]           ; EPT: read, write, execute, write-back, 2 MiB
        mov [EPT2 + ecx * 8], edx
        inc ecx
        cmp ecx, 2048
        jb .pages
        mov dword [EPT2 + (HOLE >> 21) * 8], 0
        mov dword [EPT2 + (ODD >> 21) * 8], ODD + 0xB2      ; writable and not readable
        mov eax, cr4
        or eax, 0x42620                 ; PAE, OSFXSR, OSXMMEXCPT, VMXE, OSXSAVE
        mov cr4, eax
        mov eax, PML4
        mov cr3, eax
        mov ecx, 0xC0000080
        rdmsr
        or eax, 0x100
        wrmsr
        mov eax, cr0
        or eax, 0x80000021              ; paging, protection, NE
        mov cr0, eax
        lgdt [gdtr]
        jmp 8:in_long_mode
align 8
gdt:    dq 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF
        dw 103
        dw tss - elf
        db LOAD >> 16, 0x89, 0, 0
        dq 0
gdtr:   dw gdtr - gdt - 1
        dd gdt, 0
align 8
tss:    times 104 db 0

; ---------------------------------------------------------------- VMX operation
bits 64
default abs

; vmwrite field, value (an immediate or register)
%macro put 2
        mov rax, %2
        mov edx, %1
        vmwrite rdx, rax
        jbe broken
%endmacro
%macro get 1
        mov edx, %1
        vmread rax, rdx
%endmacro

in_long_mode:
        mov ax, 16
        mov ds, eax
        mov es, eax
        mov fs, eax
        mov gs, eax
        mov ss, eax
        mov ax, 24
        ltr ax
        mov dx, COM1 + 3                ; 8 data bits
        mov al, 3
        out dx, al
        mov ecx, 0x3A                   ; IA32_FEATURE_CONTROL: lock, VMXON outside SMX
        rdmsr
        test al, 1
        jnz .locked
        or eax, 5
        wrmsr
.locked:
        mov ebx, LAPIC                  ; the local APIC in xAPIC mode, enabled by software
        mov dword [rbx + 0xF0], 0x1FF
        mov ecx, 0x480
        rdmsr
        mov [VMXON_], eax
        mov [VMCS], eax
        mov [revision], eax
        vmxon [vmxon_pointer]
        jbe broken
        vmclear [vmcs_pointer]
        jbe broken
        vmptrld [vmcs_pointer]
        jbe broken

        ; ---- what stays the same for all guests
        mov ecx, 0x48F                  ; IA32_VMX_TRUE_EXIT_CTLS
        mov ebx, 1 << 9 | 1 << 15       ; 64-bit host, acknowledge interrupt on exit
        call control
        put 0x400C, rax
        mov ecx, 0x490
        mov ebx, 1 << 9                 ; IA-32e mode guest
        call control
        put 0x4012, rax
        put 0x2800, -1                  ; VMCS link pointer
        put 0x201A, EPT4 + 0x1E
        put 0x2000, IOMAP
        put 0x2002, IOMAP + 0x1000
        put 0x2012, VAPIC
        put 0x2014, APICPG
        mov rax, cr0
        mov rbx, rax
        put 0x6800, rbx
        put 0x6C00, rbx
        mov rbx, cr3
        put 0x6802, rbx
        put 0x6C02, rbx
        mov rbx, cr4
        put 0x6804, rbx
        put 0x6C04, rbx
        put 0x681A, 0x400               ; DR7
        ; selectors
        put 0x0800, 16
        put 0x0802, 8
        put 0x0804, 16
        put 0x0806, 16
        put 0x0808, 16
        put 0x080A, 16
        put 0x080E, 24
        put 0x0C00, 16
        put 0x0C02, 8
        put 0x0C04, 16
        put 0x0C06, 16
        put 0x0C08, 16
        put 0x0C0A, 16
        put 0x0C0C, 24
        mov ebx, 0x4800                 ; limits of ES to GS
.limit: mov edx, ebx
        mov eax, -1
        vmwrite rdx, rax
        add ebx, 2
        cmp ebx, 0x480C
        jb .limit
        put 0x480E, 103
        put 0x4810, gdtr - gdt - 1
        put 0x4814, 0xC093              ; access rights
        put 0x4816, 0xA09B
        put 0x4818, 0xC093
        put 0x481A, 0xC093
        put 0x481C, 0xC093
        put 0x481E, 0xC093
        put 0x4820, 0x10000             ; LDTR unusable
        put 0x4822, 0x8B
        put 0x6814, tss                 ; TR base
        put 0x6816, gdt
        put 0x6C0A, tss
        put 0x6C0C, gdt
        put 0x6C14, STACK
        put 0x6C16, exited

; ---------------------------------------------------------------- one case after the other
; A case: where the guest starts and where it is expected to stop, controls, and the expected fields.
struc case_
        .start  resq 1
        .stop   resq 1
        .name   resq 1
        .qualification resq 1
        .pin    resd 1
        .primary resd 1
        .secondary resd 1
        .exceptions resd 1
        .reason resd 1
        .length resd 1
        .event  resd 1
        .information resd 1
        .rflags resd 1
        .size:
endstruc

        mov r15, cases
next:   cmp r15, cases_end
        jae done
        mov ecx, 0x48D
        mov ebx, [r15 + case_.pin]
        call control
        put 0x4000, rax
        mov ecx, 0x48E
        mov ebx, [r15 + case_.primary]
        or ebx, P_SEC
        call control
        put 0x4002, rax
        mov ecx, 0x48B
        mov ebx, [r15 + case_.secondary]
        or ebx, S_EPT | S_UNRESTRICTED
        call control
        put 0x401E, rax
        mov ebx, [r15 + case_.exceptions]
        put 0x4004, rbx
        mov rbx, [r15 + case_.start]
        put GUEST_RIP, rbx
        put GUEST_RSP, GSTACK
        mov ebx, [r15 + case_.rflags]
        put GUEST_RFLAGS, rbx
        put 0x4824, 0                   ; interruptibility
        put 0x4826, 0                   ; activity
        put 0x6822, 0                   ; pending debug exceptions
        put 0x482E, 0                   ; preemption timer
        put 0x401C, 3                   ; TPR threshold
        mov dword [VAPIC + 0x80], 0x40
        mov [current], r15
        cmp byte [launched], 0
        jne .resume
        mov byte [launched], 1
        vmlaunch
        jmp broken
.resume:
        vmresume
        jmp broken

exited: mov r15, [current]
        xor r14d, r14d                  ; wrong fields
        get 0x4402
        mov ebx, [r15 + case_.reason]
        mov rsi, text_reason
        call compare
        get 0x6400
        mov rbx, [r15 + case_.qualification]
        mov rsi, text_qualification
        call compare
        test dword [r15 + case_.reason], 1 << 31
        jnz .told                       ; a failed entry writes no more fields
        get 0x440C
        mov ebx, [r15 + case_.length]
        cmp ebx, -1                     ; undefined for this exit
        je .undefined
        mov rsi, text_length
        call compare
.undefined:
        get GUEST_RIP
        mov rbx, [r15 + case_.stop]
        mov rsi, text_rip
        call compare
        get 0x4404
        mov ebx, [r15 + case_.event]
        mov rsi, text_event
        call compare
        get 0x440E
        mov ebx, [r15 + case_.information]
        mov rsi, text_information
        call compare
        get 0x4408
        xor ebx, ebx
        mov rsi, text_vectoring
        call compare
        get GUEST_RSP
        mov ebx, GSTACK
        mov rsi, text_rsp
        call compare
.told:  mov rsi, text_ok
        test r14d, r14d
        jz .print
        mov rsi, text_wrong
        inc dword [wrong]
.print: call print
        mov rsi, [r15 + case_.name]
        call print
        mov rsi, text_line
        call print
        inc dword [count]
        mov ebx, LAPIC
        mov dword [rbx + 0xB0], 0       ; EOI, for the external interrupt
        add r15, case_.size
        jmp next

done:   vmxoff
        mov eax, [count]
        call hex
        mov rsi, text_done
        call print
        mov eax, [wrong]
        test eax, eax
        setnz al
        movzx eax, al
        jmp finish
broken: mov rsi, text_broken
        call print
        mov edx, 0x4400
        vmread rax, rdx
        call hex
        mov eax, 2
finish: mov dx, 0xF4
        out dx, eax
        cli
        hlt

; control(ecx: capability MSR, ebx: wanted) -> rax: the wanted bits that may be 1, and those that must
control:
        rdmsr
        or eax, ebx
        and eax, edx
        ret
; compare(rax: found, rbx: expected, rsi: what)
compare:
        cmp rax, rbx
        je .same
        inc r14d
        push rax
        call print
        pop rax
        call hex
        mov rsi, text_not
        call print
        mov rax, rbx
        call hex
        mov rsi, text_line
        call print
.same:  ret
hex:    mov r9, rax
        mov r8d, 16
.digit: rol r9, 4
        mov eax, r9d
        and eax, 15
        mov al, [digits + rax]
        call char
        dec r8d
        jnz .digit
        ret
print:  lodsb
        test al, al
        jz .end
        call char
        jmp print
.end:   ret
char:   mov dx, COM1
        out dx, al
        ret

; ---------------------------------------------------------------- the guests
; .at and .after: where a guest is expected to stop
%macro guest 1
g_%1:
%endmacro
guest cpuid
        cpuid
guest hlt
        hlt
guest invd
        invd
guest invlpg
        mov ebx, 0x123456
.at:    invlpg [rbx]
guest rdpmc
        rdpmc
guest rdtsc
        rdtsc
guest vmcall
        vmcall
guest vmclear
        mov ebx, DATA
.at:    vmclear [rbx + 0x10]
guest vmlaunch
        vmlaunch
guest vmptrld
        mov ebx, DATA
        mov ecx, 2
.at:    vmptrld [rbx + rcx * 8 + 8]
guest vmptrst
        mov ebx, DATA
.at:    vmptrst [rbx]
guest vmread
        vmread rdx, rcx
guest vmresume
        vmresume
guest vmwrite
        mov ebx, DATA
.at:    vmwrite rcx, [rbx + 4]
guest vmxoff
        vmxoff
guest vmxon
        mov ebx, DATA
.at:    vmxon [rbx]
guest cr3_load
        mov cr3, rdi
guest cr3_store
        mov r9, cr3
guest cr8
        mov cr8, rax
guest lmsw
        mov eax, 0xB
.at:    lmsw ax
guest dr
        mov rbx, dr7
guest in
        in al, 0x71
guest outs
        mov dx, COM1
        mov ecx, 2
        mov esi, DATA
.at:    rep outsd
guest rdmsr
        mov ecx, 0xC0000080
.at:    rdmsr
guest wrmsr
        mov ecx, 0xC0000080
.at:    wrmsr
guest mwait
        xor eax, eax
        xor ecx, ecx
.at:    mwait
guest monitor
        mov eax, DATA
        xor ecx, ecx
        xor edx, edx
.at:    monitor
guest trap
        nop
.after: nop
guest pause
        pause
guest ud
        ud2
guest pf
        mov rbx, 0x123456789000
.at:    mov [rbx], eax
guest int3
        int3
guest icebp
        db 0xF1
guest gp
        mov ecx, 0x12345678
.at:    db 0x0F, 0x0B
guest triple
        ud2                             ; the guest's IDT is empty
guest window
        sti
        nop
.after: nop
guest nmi_window
        nop
guest interrupt
        mov ebx, LAPIC
        mov dword [rbx + 0x300], 0x44055        ; to itself, vector 55h
.after: jmp .after
guest nmi
        mov ebx, LAPIC
        mov dword [rbx + 0x310], 0
        mov dword [rbx + 0x300], 0x4400         ; NMI to APIC 0
.after: jmp .after
guest sgdt
        mov ebx, DATA
.at:    sgdt [rbx]
guest ltr
        mov ax, 24
.at:    ltr ax
guest str
        mov ebx, DATA
.at:    str [rbx + 2]
guest hole
        mov ebx, HOLE + 8
.at:    mov [rbx], eax
guest hole_code
        mov ebx, HOLE
        jmp rbx
guest odd
        mov ebx, ODD
.at:    mov eax, [rbx]
guest invept
        mov ebx, DATA
.at:    invept rcx, [rbx]
guest rdtscp
        rdtscp
guest timer
        nop
guest invvpid
        mov ebx, DATA
.at:    invvpid rax, [rbx]
guest wbinvd
        wbinvd
guest xsetbv
        xsetbv
guest rdrand
        rdrand r10
guest invpcid
        mov ebx, DATA
.at:    db 0x66, 0x0F, 0x38, 0x82, 0x0B ; invpcid rcx, [rbx], without the prefix that NASM adds
guest rdseed
        rdseed eax
guest vmfunc
        xor eax, eax
.at:    vmfunc
guest apic_read
        mov ebx, APICPG + 0x30
.at:    mov eax, [rbx]
guest apic_write
        mov ebx, APICPG + 0xF0
        mov dword [rbx], 0x1FF
.after: nop
guest tpr
        mov eax, 2
        mov cr8, rax
.after: nop
guest refused

; ---------------------------------------------------------------- what each of them is expected to do
; row start, stop, "name", reason, qualification, length, pin, primary, secondary, exceptions, event, information, rflags
%macro row 13
        [section .names]
        %%name: db %3, 0
        __SECT__
        dq %1, %2, %%name, %5
        dd %7, %8, %9, %10, %4, %6, %11, %12, %13
%endmacro
%define REX_INFO 2 << 7 | 3 << 15       ; 64-bit addresses, DS
%define NO_INDEX 1 << 22

section .names follows=.text
section .text
align 8
cases:
row g_cpuid, g_cpuid, "CPUID", 10, 0, 2, 0, 0, 0, 0, 0, 0, 2
row g_hlt, g_hlt, "HLT", 12, 0, 1, 0, P_HLT, 0, 0, 0, 0, 2
row g_invd, g_invd, "INVD", 13, 0, 2, 0, 0, 0, 0, 0, 0, 2
row g_invlpg, g_invlpg.at, "INVLPG", 14, 0x123456, 3, 0, P_INVLPG, 0, 0, 0, 0, 2
row g_rdpmc, g_rdpmc, "RDPMC", 15, 0, 2, 0, P_RDPMC, 0, 0, 0, 0, 2
row g_rdtsc, g_rdtsc, "RDTSC", 16, 0, 2, 0, P_RDTSC, 0, 0, 0, 0, 2
row g_vmcall, g_vmcall, "VMCALL", 18, 0, 3, 0, 0, 0, 0, 0, 0, 2
row g_vmclear, g_vmclear.at, "VMCLEAR", 19, 0x10, 5, 0, 0, 0, 0, 0, REX_INFO | NO_INDEX | 3 << 23, 2
row g_vmlaunch, g_vmlaunch, "VMLAUNCH", 20, 0, 3, 0, 0, 0, 0, 0, 0, 2
row g_vmptrld, g_vmptrld.at, "VMPTRLD", 21, 8, 5, 0, 0, 0, 0, 0, 3 | REX_INFO | 1 << 18 | 3 << 23, 2
row g_vmptrst, g_vmptrst.at, "VMPTRST", 22, 0, 3, 0, 0, 0, 0, 0, REX_INFO | NO_INDEX | 3 << 23, 2
row g_vmread, g_vmread, "VMREAD", 23, 0, 3, 0, 0, 0, 0, 0, 2 << 3 | 1 << 10 | 1 << 28, 2
row g_vmresume, g_vmresume, "VMRESUME", 24, 0, 3, 0, 0, 0, 0, 0, 0, 2
row g_vmwrite, g_vmwrite.at, "VMWRITE", 25, 4, 4, 0, 0, 0, 0, 0, REX_INFO | NO_INDEX | 3 << 23 | 1 << 28, 2
row g_vmxoff, g_vmxoff, "VMXOFF", 26, 0, 3, 0, 0, 0, 0, 0, 0, 2
row g_vmxon, g_vmxon.at, "VMXON", 27, 0, 4, 0, 0, 0, 0, 0, REX_INFO | NO_INDEX | 3 << 23, 2
row g_cr3_load, g_cr3_load, "MOV to CR3", 28, 0x703, 3, 0, P_CR3LD, 0, 0, 0, 0, 2
row g_cr3_store, g_cr3_store, "MOV from CR3", 28, 0x913, 4, 0, P_CR3ST, 0, 0, 0, 0, 2
row g_cr8, g_cr8, "MOV to CR8", 28, 8, 4, 0, P_CR8LD, 0, 0, 0, 0, 2
row g_dr, g_dr, "MOV from DR7", 29, 0x317, 3, 0, P_DR, 0, 0, 0, 0, 2
row g_in, g_in, "IN", 30, 0x710048, 2, 0, P_IO, 0, 0, 0, 0, 2
row g_outs, g_outs.at, "REP OUTSD", 30, 0x3F80033, 2, 0, P_IO, 0, 0, 0, REX_INFO, 2
row g_rdmsr, g_rdmsr.at, "RDMSR", 31, 0, 2, 0, 0, 0, 0, 0, 0, 2
row g_wrmsr, g_wrmsr.at, "WRMSR", 32, 0, 2, 0, 0, 0, 0, 0, 0, 2
row g_mwait, g_mwait.at, "MWAIT", 36, 0, 3, 0, P_MWAIT, 0, 0, 0, 0, 2
row g_trap, g_trap.after, "monitor trap flag", 37, 0, -1, 0, P_MTF, 0, 0, 0, 0, 2
row g_monitor, g_monitor.at, "MONITOR", 39, 0, 3, 0, P_MON, 0, 0, 0, 0, 2
row g_pause, g_pause, "PAUSE", 40, 0, 2, 0, P_PAUSE, 0, 0, 0, 0, 2
row g_ud, g_ud, "#UD", 0, 0, -1, 0, 0, 0, 1 << 6, 0x80000306, 0, 0x10002
row g_pf, g_pf.at, "#PF", 0, 0x123456789000, -1, 0, 0, 0, 1 << 14, 0x80000B0E, 0, 2
row g_int3, g_int3, "INT3", 0, 0, 1, 0, 0, 0, 1 << 3, 0x80000603, 0, 2
row g_icebp, g_icebp, "INT1", 0, 0, 1, 0, 0, 0, 1 << 1, 0x80000501, 0, 2
row g_interrupt, g_interrupt.after, "external interrupt", 1, 0, -1, PIN_EXT, 0, 0, 0, 0x80000055, 0, 2
row g_nmi, g_nmi.after, "NMI", 0, 0, -1, PIN_NMI, 0, 0, 0, 0x80000202, 0, 2
row g_triple, g_triple, "triple fault", 2, 0, -1, 0, 0, 0, 0, 0, 0, 2
row g_window, g_window.after, "interrupt window", 7, 0, -1, 0, P_INTWIN, 0, 0, 0, 0, 2
row g_nmi_window, g_nmi_window, "NMI window", 8, 0, -1, PIN_NMI | PIN_VNMI, P_NMIWIN, 0, 0, 0, 0, 2
row g_sgdt, g_sgdt.at, "SGDT", 46, 0, 3, 0, 0, S_TABLE, 0, 0, REX_INFO | NO_INDEX | 3 << 23 | 1 << 11, 2
row g_ltr, g_ltr.at, "LTR", 47, 0, 3, 0, 0, S_TABLE, 0, 0, 1 << 10 | 3 << 28, 2
row g_str, g_str.at, "STR", 47, 2, 4, 0, 0, S_TABLE, 0, 0, REX_INFO | NO_INDEX | 3 << 23 | 1 << 28, 2
row g_hole, g_hole.at, "EPT violation", 48, 0x582, -1, 0, 0, 0, 0, 0, 0, 2
row g_hole_code, HOLE, "EPT violation by a fetch", 48, 0x584, -1, 0, 0, 0, 0, 0, 0, 2
row g_odd, g_odd.at, "EPT misconfiguration", 49, 0, -1, 0, 0, 0, 0, 0, 0, 2
row g_invept, g_invept.at, "INVEPT", 50, 0, 5, 0, 0, 0, 0, 0, REX_INFO | NO_INDEX | 3 << 23 | 1 << 28, 2
row g_rdtscp, g_rdtscp, "RDTSCP", 51, 0, 3, 0, P_RDTSC, S_RDTSCP, 0, 0, 0, 2
row g_timer, g_timer, "preemption timer", 52, 0, -1, PIN_TIMER, 0, 0, 0, 0, 0, 2
row g_invvpid, g_invvpid.at, "INVVPID", 53, 0, 5, 0, 0, 0, 0, 0, REX_INFO | NO_INDEX | 3 << 23, 2
row g_wbinvd, g_wbinvd, "WBINVD", 54, 0, 2, 0, 0, S_WBINVD, 0, 0, 0, 2
row g_xsetbv, g_xsetbv, "XSETBV", 55, 0, 3, 0, 0, 0, 0, 0, 0, 2
row g_rdrand, g_rdrand, "RDRAND", 57, 0, 4, 0, 0, S_RDRAND, 0, 0, 10 << 3 | 2 << 11, 2
row g_invpcid, g_invpcid.at, "INVPCID", 58, 0, 5, 0, P_INVLPG, S_INVPCID, 0, 0, REX_INFO | NO_INDEX | 3 << 23 | 1 << 28, 2
row g_rdseed, g_rdseed, "RDSEED", 61, 0, 3, 0, 0, S_RDSEED, 0, 0, 1 << 11, 2
row g_vmfunc, g_vmfunc.at, "VMFUNC", 59, 0, 3, 0, 0, S_VMFUNC, 0, 0, 0, 2
row g_apic_read, g_apic_read.at, "APIC access", 44, 0x30, -1, 0, P_TPR, S_APIC, 0, 0, 0, 2
row g_apic_write, g_apic_write.after, "APIC write", 56, 0xF0, -1, 0, P_TPR, S_APIC | S_REGS, 0, 0, 0, 2
row g_tpr, g_tpr.after, "TPR below threshold", 43, 0, -1, 0, P_TPR, S_APIC, 0, 0, 0, 2
row g_refused, g_refused, "VM-entry failure", 0x80000021, 0, -1, 0, 0, 0, 0, 0, 0, 0
cases_end:

vmxon_pointer: dq VMXON_
vmcs_pointer: dq VMCS
current: dq 0
revision: dd 0
count:  dd 0
wrong:  dd 0
launched: db 0
digits: db "0123456789abcdef"
text_reason: db "  exit reason ", 0
text_qualification: db "  exit qualification ", 0
text_length: db "  instruction length ", 0
text_rip: db "  guest RIP ", 0
text_event: db "  interruption information ", 0
text_information: db "  instruction information ", 0
text_vectoring: db "  IDT-vectoring information ", 0
text_rsp: db "  guest RSP ", 0
text_not: db ", expected ", 0
text_ok: db "ok    ", 0
text_wrong: db "wrong ", 0
text_line: db 13, 10, 0
text_done: db " exits taken", 13, 10, 0
text_broken: db "a VMX instruction failed: ", 0
align 4
section .names
align 4
end:
