; growth_mmio - reads of registers of two devices in turn, the I/O APIC's index and the HPET's capabilities.  64-bit only;
; for `x86emu bench --growth`.
%define MB_NAME 'growth_mmio'
%include "mb.inc"
WINDOW equ ALIAS2M+511*0x200000
bench:
        mov dword [PT_BASE+0x3000+511*8], 0xFEC00000+0x97      ; 2 MiB, not cached
        mov dword [PT_BASE+0x3000+511*8+4], 0
        mov rdx, WINDOW
        invlpg [rdx]
        mov ecx, 100000*SCALE
        xor eax, eax
.loop:  mov ebx, [rdx]
        add eax, ebx
        add eax, [rdx+0x100000]
        rol eax, 1
        dec ecx
        jnz .loop
        ret
%include "mb_end.inc"
