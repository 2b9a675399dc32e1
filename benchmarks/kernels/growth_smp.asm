; growth_smp - all processors calculate, each for itself, until the first is done.  64-bit only; for
; `x86emu bench --growth`.
%define MB_NAME 'growth_smp'
%include "mb.inc"
WINDOW equ ALIAS2M+511*0x200000
TRAMPOLINE equ 0x70000
bench:
        mov dword [PT_BASE+0x3000+511*8], 0xFEE00000+0x97      ; 2 MiB, not cached
        mov dword [PT_BASE+0x3000+511*8+4], 0
        mov rdx, WINDOW
        invlpg [rdx]
        mov esi, .others
        mov edi, TRAMPOLINE
        mov ecx, 64
        rep movsb
        mov dword [rdx+0xF0], 0x1FF     ; local APIC on
        mov dword [rdx+0x310], 0
        mov dword [rdx+0x300], 0xC4500  ; INIT to all others
        mov ecx, 100000
.wait:  dec ecx
        jnz .wait
        mov dword [rdx+0x300], 0xC4600 + (TRAMPOLINE>>12)       ; start-up
        mov ecx, 2000000*SCALE
        xor eax, eax
.loop:  add eax, ecx
        rol eax, 3
        xor eax, 0x5A5A
        dec ecx
        jnz .loop
        ret
        bits 16
.others:
        add eax, ecx
        rol eax, 3
        xor eax, 0x5A5A
        dec ecx
        jnz .others
        jmp .others
        bits 64
%include "mb_end.inc"
