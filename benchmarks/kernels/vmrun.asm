; vmrun - round trips into a guest of AMD-V and out: VMRUN, and VMMCALL as the guest's only instruction (it exits before
; its end, so RIP stays there).  64-bit only.
%define MB_NAME 'vmrun'
%include "mb.inc"
TRIPS equ 100000*SCALE
bench:
        mov eax, .guest
        mov edx, 0x70000
        call svm_prepare
        mov eax, VMCB
        mov ebp, TRIPS
.trip:  vmrun
        dec ebp
        jnz .trip
        stgi
        mov eax, TRIPS
        shl rax, 32
        or rax, [VMCB+0x70]     ; the exit code
        ret
.guest: vmmcall
%include "svm.inc"
%include "mb_end.inc"
