; vmresume - round trips into a guest of VT-x and out: VMRESUME, and VMCALL as the guest's only instruction (it exits
; before its end, so RIP stays there).  64-bit only.
%define MB_NAME 'vmresume'
%include "mb.inc"
TRIPS equ 100000*SCALE
bench:
        mov ebp, TRIPS
        mov r8d, .guest
        mov r9d, 0x70000
        mov r10d, .exit
        call vmx_prepare
        vmlaunch
        jmp .end                ; comes here only where the entry fails
.exit:  dec ebp
        jz .end
        vmresume
.end:   call vmx_exit_reason
        mov ecx, TRIPS
        sub ecx, ebp
        shl rcx, 32
        or rax, rcx
        vmxoff
        ret
.guest: vmcall
%include "vmx.inc"
%include "mb_end.inc"
