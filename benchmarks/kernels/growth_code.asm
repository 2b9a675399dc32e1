; growth_code - code on PAGES pages, run round and round: 20 instructions on each and a jump to the next.  64-bit only;
; for `x86emu bench --growth`.
%define MB_NAME 'growth_code'
%include "mb.inc"
%ifndef PAGES
 %define PAGES 1
%endif
VISITS equ 200000*SCALE
bench:
        mov rdi, DATA
        mov ecx, PAGES
        xor ebx, ebx
.page:  mov rdx, rdi
        mov ebp, 10
.code:  mov word [rdi], 0x0548          ; add rax, imm32
        mov [rdi+2], ebx
        mov dword [rdi+6], 0x90C0D148   ; rol rax, 1
        add rdi, 9
        inc ebx
        dec ebp
        jnz .code
        mov byte [rdi], 0xE9            ; jmp to the next page
        mov dword [rdi+1], 4096-90-5
        mov rsi, rdi
        lea rdi, [rdx+4096]
        dec ecx
        jnz .page
        mov byte [rsi], 0xC3            ; ret, on the last one
        xor eax, eax
        mov ebp, VISITS/PAGES
        mov edx, DATA
.round: call rdx
        dec ebp
        jnz .round
        ret
%include "mb_end.inc"
