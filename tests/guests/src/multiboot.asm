; A small multiboot 1 kernel (Multiboot Specification 0.6.96), assembled as a flat file with its own ELF header.
; It says on COM1 what the loader gave it, one GK-MARK line, and turns the power off through the PM1 control register
; at 604h, where SeaBIOS puts it.
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
header: dd 0x1BADB002, 3, -(0x1BADB002 + 3)     ; modules page aligned, memory information wanted

start:  mov esp, stack_top
        mov [magic], eax
        mov [information], ebx
        mov dx, 0x3F8 + 3               ; nobody has programmed COM1 yet: 8 bits, no parity, one stop bit
        mov al, 3
        out dx, al
        mov esi, text_start
        call print
        mov eax, [magic]
        call hexadecimal
        mov esi, text_flags
        call print
        mov ebx, [information]
        mov eax, [ebx]
        call hexadecimal
        mov esi, text_upper
        call print
        mov eax, [ebx + 8]              ; mem_upper, KiB
        call hexadecimal
        mov esi, text_modules
        call print
        mov eax, [ebx + 20]
        call hexadecimal
        cmp dword [ebx + 20], 0
        je .command
        mov esi, text_first
        call print
        mov edx, [ebx + 24]             ; first module: start, end, string
        mov eax, [edx]
        mov eax, [eax]                  ; its first four bytes
        call hexadecimal
.command:
        mov esi, text_command
        call print
        mov esi, [ebx + 16]
        call print
        mov esi, text_end
        call print
.drained:
        mov dx, 0x3F8 + 5
        in al, dx
        test al, 0x40                   ; transmitter empty
        jz .drained
        mov dx, 0x604
        mov ax, 0x2000                  ; SLP_EN with SLP_TYP 0: S5
        out dx, ax
.halt:  cli
        hlt
        jmp .halt

; print  - the zero-terminated text at ESI
print:  lodsb
        test al, al
        jz .done
        call character
        jmp print
.done:  ret

; hexadecimal  - EAX as eight digits
hexadecimal:
        mov ecx, 8
.next:  rol eax, 4
        push eax
        and al, 15
        cmp al, 10
        sbb al, 0x69                    ; the digit in ASCII, by the classic decimal adjustment
        das
        call character
        pop eax
        loop .next
        ret

; character  - AL to COM1
character:
        push edx
        push eax
        mov dx, 0x3F8 + 5
.wait:  in al, dx
        test al, 0x20                   ; holding register empty
        jz .wait
        pop eax
        mov dx, 0x3F8
        out dx, al
        pop edx
        ret

text_start:   db "GK-MARK multiboot magic=", 0
text_flags:   db " flags=", 0
text_upper:   db " upper=", 0
text_modules: db " modules=", 0
text_first:   db " first=", 0
text_command: db " command=[", 0
text_end:     db "]", 13, 10, 0
        align 16
file_end:
magic         equ file_end
information   equ file_end + 4
stack_top     equ file_end + 4096
memory_end    equ stack_top
