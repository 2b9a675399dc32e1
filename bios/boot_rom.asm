; The boot ROM of x86emu: an option ROM that loads the kernel which the user named and enters it.
;
; Written from: BIOS Boot Specification 1.01 (3.3: PnP option ROM with a bootstrap entry vector), Plug and Play BIOS
; Specification 1.0A (3.2: expansion header), QEMU's fw_cfg specification (DMA interface), ACPI Specification (INT 15h
; E820h; RSDP), The Linux/x86 Boot Protocol, Multiboot Specification 0.6.96, Xen's PVH boot ABI.
;
; The loader in the package has already parsed the kernel.  It offers two fw_cfg files: a plan (layout below) and an
; image, the bytes to be put into memory.  This ROM carries the plan out: it moves each piece by DMA (which reaches all
; memory from real mode), asks the firmware for its memory map, and jumps.  It needs an 80386.
;
; Build: python bios/build.py (assembles, pads to 512 bytes and sets both checksums).

bits 16
cpu 386
org 0

; Memory used here, below what the firmware's boot contract leaves to a boot sector.
DESCRIPTOR      equ 0x7000              ; fw_cfg DMA descriptor: control, length, address, all big-endian
ENTRY           equ 0x7040              ; one directory entry: size dd, select dw, reserved dw, name 56 bytes
GDT             equ 0x7100              ; copied here because LTR writes to it
PLAN            equ 0xE000              ; the plan, at most 8 KiB
PLAN_BYTES      equ 0x2000

; The plan (little-endian).
PLAN_MAGIC      equ PLAN + 0            ; "X86EMUBP"
PLAN_MODE       equ PLAN + 8            ; dw 1: real-mode entry, 2: protected-mode entry
PLAN_PIECES     equ PLAN + 10           ; dw number of pieces
PLAN_MAP_KIND   equ PLAN + 12           ; dw 0: no memory map wanted, 1: multiboot form, 2: PVH form
PLAN_MAP        equ PLAN + 16           ; dd where the map goes (below 1 MiB)
PLAN_MAP_COUNT  equ PLAN + 20           ; dd where its size goes: bytes for multiboot, entries for PVH
PLAN_SIZES      equ PLAN + 24           ; dd where mem_lower and mem_upper go (KiB), 0: not wanted
PLAN_RSDP       equ PLAN + 28           ; dd where the RSDP's address goes, 0: not wanted
PLAN_EAX        equ PLAN + 32           ; dd registers at a protected-mode entry
PLAN_EBX        equ PLAN + 36
PLAN_TARGET     equ PLAN + 40           ; dd EIP, or CS:IP of a real-mode entry
PLAN_STACK      equ PLAN + 44           ; dd SS:SP of a real-mode entry; the other segments get SS
PLAN_FIRST      equ PLAN + 48           ; pieces: address dq, length dd, offset in the image dd (all ones: zeros)
PIECE_BYTES     equ 16

MAP_ENTRY_BYTES equ 24                  ; in both forms
MAP_MAX_ENTRIES equ 128

FW_CFG_DMA_HIGH equ 0x514
FW_CFG_DMA_LOW  equ 0x518
KEY_DIRECTORY   equ 0x19
KEY_NONE        equ 0xFFFF              ; no item: reads as zeros
DMA_READ        equ 0x02
DMA_SKIP        equ 0x04
DMA_SELECT      equ 0x08

        db 0x55, 0xAA
        db 0                            ; size in 512 bytes, set by build.py
        jmp near initialize
        times 0x18 - ($ - $$) db 0
        dw 0                            ; no PCI data structure
        dw pnp_header

        align 16
pnp_header:
        db "$PnP", 1, 2                 ; revision 1, length in 16 bytes
        dw 0                            ; no further header
        db 0, 0                         ; reserved; checksum, set by build.py
        dd 0                            ; device identifier: none
        dw manufacturer, product
        db 0x01, 0x80, 0x00             ; mass storage, other
        db 0x14                         ; needs its ROM for boot only; initial program load device
        dw 0, 0                         ; no boot connection vector, no disconnect vector
        dw bootstrap
        dw 0, 0                         ; reserved; no static resources

manufacturer    db "x86emu", 0
product         db "x86emu kernel", 0
plan_name       db "opt/x86emu/boot-plan", 0
image_name      db "opt/x86emu/boot-image", 0
plan_magic      db "X86EMUBP"
rsdp_signature  db "RSD PTR "

loading_text    db "Loading the kernel", 13, 10, 0
no_dma_text     db "x86emu boot ROM: fw_cfg with DMA is missing", 13, 10, 0
no_file_text    db "x86emu boot ROM: fw_cfg has no boot plan or boot image", 13, 10, 0
bad_plan_text   db "x86emu boot ROM: the boot plan is not one", 13, 10, 0
dma_text        db "x86emu boot ROM: a fw_cfg transfer failed", 13, 10, 0

; Called by the firmware once.  AX on return: an initial program load device is attached.
initialize:
        mov     ax, 0x0020
        retf

; Called by INT 19h.  Returning means "could not boot": the firmware goes on with the next device.
bootstrap:
        pushad
        push    ds
        push    es
        push    fs
        cld
        xor     ax, ax
        mov     ds, ax
        mov     es, ax
        mov     dx, FW_CFG_DMA_HIGH
        in      eax, dx
        cmp     eax, "QEMU"
        mov     si, no_dma_text
        jne     fail
        mov     si, loading_text
        call    print

        mov     si, plan_name
        call    find_file
        mov     si, no_file_text
        jc      fail
        cmp     ecx, PLAN_BYTES
        mov     si, bad_plan_text
        ja      fail
        mov     ebx, PLAN
        call    read_item
        mov     si, dma_text
        jc      fail
        mov     si, plan_magic
        mov     di, PLAN_MAGIC
        mov     cx, 8
        cs repe cmpsb
        mov     si, bad_plan_text
        jne     fail
        mov     si, image_name
        call    find_file
        mov     si, no_file_text
        jc      fail

        mov     [ENTRY], eax            ; the image's key << 16
        mov     bp, PLAN_FIRST
next_piece:
        cmp     word [PLAN_PIECES], 0
        je      loaded
        dec     word [PLAN_PIECES]
        call    load_piece
        mov     si, dma_text
        jc      fail
        add     bp, PIECE_BYTES
        jmp     next_piece
loaded:
        cmp     word [PLAN_MAP_KIND], 0
        je      .sizes
        call    memory_map
.sizes: cmp     dword [PLAN_SIZES], 0
        je      .rsdp
        call    memory_sizes
.rsdp:  cmp     dword [PLAN_RSDP], 0
        je      .enter
        call    find_rsdp
.enter: cmp     word [PLAN_MODE], 2
        je      enter_protected

        ; Real-mode entry (Linux/x86 Boot Protocol, "Running the kernel"): interrupts off, segments at the set-up block.
        cli
        mov     eax, [PLAN_TARGET]
        lss     sp, [PLAN_STACK]
        push    eax
        mov     ax, ss
        mov     ds, ax
        mov     es, ax
        mov     fs, ax
        mov     gs, ax
        retf

fail:   call    print
        pop     fs
        pop     es
        pop     ds
        popad
        retf

; Multiboot 3.2 and PVH: flat 32-bit segments, no paging, A20 open, interrupts off; PVH wants a TSS of 67h bytes at 0.
enter_protected:
        cli
        in      al, 0x92
        or      al, 2
        and     al, 0xFE
        out     0x92, al
        mov     si, gdt
        mov     di, GDT
        mov     cx, gdt_end - gdt
        cs rep movsb
        xor     edi, edi
        mov     di, cs
        shl     edi, 4
        add     edi, protected_start
        mov     [GDT], edi              ; the null descriptor's place serves as the far pointer
        mov     word [GDT + 4], 0x08
        o32 lgdt [cs:gdt_pointer]
        mov     eax, cr0
        and     eax, 0x1FFFFFFF         ; caches on, paging off
        or      al, 1
        mov     cr0, eax
        jmp     far dword [GDT]

bits 32
protected_start:
        mov     ax, 0x10
        mov     ds, ax
        mov     es, ax
        mov     fs, ax
        mov     gs, ax
        mov     ss, ax
        mov     esp, 0x7000
        mov     ax, 0x18
        ltr     ax
        fninit                          ; reset leaves every x87 exception unmasked; firmware hands it on initialized
        xor     ecx, ecx
        xor     edx, edx
        xor     esi, esi
        xor     edi, edi
        xor     ebp, ebp
        mov     eax, [PLAN_EAX]
        mov     ebx, [PLAN_EBX]
        jmp     [PLAN_TARGET]
bits 16

        align 8
gdt:    dq 0
        dq 0x00CF9B000000FFFF           ; 08h: code, 4 GiB
        dq 0x00CF93000000FFFF           ; 10h: data, 4 GiB
        dq 0x0000890000000067           ; 18h: 32-bit TSS at 0
gdt_end:
gdt_pointer:
        dw gdt_end - gdt - 1
        dd GDT

; One fw_cfg DMA.  EAX control, ECX length, EDX:EBX address.  CF set on error.  Changes EAX.
dma:
        call    swap
        mov     [DESCRIPTOR], eax
        mov     eax, ecx
        call    swap
        mov     [DESCRIPTOR + 4], eax
        mov     eax, edx
        call    swap
        mov     [DESCRIPTOR + 8], eax
        mov     eax, ebx
        call    swap
        mov     [DESCRIPTOR + 12], eax
        push    dx
        xor     eax, eax
        mov     dx, FW_CFG_DMA_HIGH
        out     dx, eax
        mov     eax, DESCRIPTOR
        call    swap
        mov     dx, FW_CFG_DMA_LOW
        out     dx, eax
        pop     dx
.wait:  mov     eax, [DESCRIPTOR]
        test    eax, 0xFEFFFFFF         ; all but the error bit, in its big-endian place
        jnz     .wait
        cmp     eax, 1                  ; carry when it is 0
        cmc
        ret

; Reverses the bytes of EAX (BSWAP came with the 80486).
swap:   xchg    al, ah
        rol     eax, 16
        xchg    al, ah
        ret

; Reads the whole item: EAX key << 16, ECX length, EBX address below 4 GiB.
read_item:
        xor     edx, edx
        or      eax, DMA_SELECT | DMA_READ
        jmp     dma

; Looks up the file whose name is at CS:SI.  EAX: its key << 16, ECX: its size.  CF set where there is none.
find_file:
        mov     ebx, ENTRY
        mov     ecx, 4
        mov     eax, KEY_DIRECTORY << 16
        call    read_item
        jc      .none
        mov     eax, [ENTRY]
        call    swap
        mov     ebp, eax                ; files left
.next:  sub     ebp, 1
        jc      .none
        mov     ecx, 64
        mov     eax, DMA_READ
        call    dma
        jc      .none
        push    si
        mov     di, ENTRY + 8
.compare:
        cs lodsb
        scasb
        jne     .differs
        test    al, al
        jnz     .compare
        pop     si
        mov     eax, [ENTRY]
        call    swap
        mov     ecx, eax
        xor     eax, eax
        mov     ax, [ENTRY + 4]
        xchg    al, ah
        shl     eax, 16
        clc
        ret
.differs:
        pop     si
        jmp     .next
.none:  stc
        ret

; Moves the piece at BP: from the image, or zeros.
load_piece:
        mov     eax, KEY_NONE << 16 | DMA_SELECT | DMA_READ
        mov     ecx, [ds:bp + 12]
        cmp     ecx, -1
        je      .read
        mov     eax, [ENTRY]
        or      eax, DMA_SELECT | DMA_SKIP
        call    dma
        jc      .end
        mov     eax, DMA_READ
.read:  mov     ecx, [ds:bp + 8]
        mov     ebx, [ds:bp]
        mov     edx, [ds:bp + 4]
        call    dma
.end:   ret

; ES:DI = the linear address EAX, below 1 MiB.
point:  mov     di, ax
        and     di, 15
        shr     eax, 4
        mov     es, ax
        ret

; Collects INT 15h E820h into entries of 24 bytes; the multiboot form has a size field of 4 bytes in front.
memory_map:
        mov     eax, [PLAN_MAP]
        call    point
        xor     ebx, ebx
        xor     bp, bp                  ; entries so far
.next:  xor     eax, eax
        cmp     word [PLAN_MAP_KIND], 1
        jne     .fill
        mov     al, 20
        stosd
.fill:  mov     dword [es:di + 16], 0
        mov     dword [es:di + 20], 0
        mov     eax, 0xE820
        mov     edx, "PAMS"             ; 'SMAP' in EDX
        mov     ecx, 20
        push    bp
        push    di
        int     0x15
        pop     di
        pop     bp
        jc      .end
        inc     bp
        add     di, MAP_ENTRY_BYTES
        cmp     word [PLAN_MAP_KIND], 1
        jne     .more
        sub     di, 4
.more:  cmp     bp, MAP_MAX_ENTRIES
        jae     .end
        test    ebx, ebx
        jnz     .next
.end:   call    tell_acpi_memory
        mov     eax, [PLAN_MAP_COUNT]
        call    point
        movzx   eax, bp
        cmp     word [PLAN_MAP_KIND], 1
        jne     .store
        imul    eax, eax, MAP_ENTRY_BYTES
.store: stosd
        xor     ax, ax
        mov     es, ax
        ret

; The firmware reports what it keeps at the top of memory as reserved, ACPI tables and all.  The reserved entry with the
; RSDT is told as ACPI NVS memory (ACPI 15.1: in use by the system, not to be reclaimed), in which systems look for
; tables: a hypervisor gives its first guest no other reserved memory.  BP entries.
tell_acpi_memory:
        call    rsdp_segment
        jc      .end
        mov     fs, dx
        mov     edx, [fs:16]            ; the RSDT
        mov     eax, [PLAN_MAP]
        call    point
        cmp     word [PLAN_MAP_KIND], 1
        jne     .count
        add     di, 4
.count: mov     cx, bp
        jcxz    .end
.next:  cmp     dword [es:di + 16], 2
        jne     .other
        cmp     dword [es:di + 4], 0
        jne     .other
        mov     eax, edx
        sub     eax, [es:di]
        jb      .other
        cmp     eax, [es:di + 8]
        jae     .other
        mov     dword [es:di + 16], 4
.other: add     di, MAP_ENTRY_BYTES
        loop    .next
.end:   ret

; mem_lower by INT 12h and mem_upper by INT 15h E801h (KiB from 1 MiB; 64 KiB units from 16 MiB).
memory_sizes:
        mov     eax, [PLAN_SIZES]
        call    point
        int     0x12
        movzx   eax, ax
        stosd
        push    di
        push    es
        xor     ebx, ebx
        xor     ecx, ecx
        mov     ax, 0xE801
        int     0x15
        pop     es
        pop     di
        movzx   ebx, bx
        shl     ebx, 6
        movzx   eax, ax
        add     eax, ebx
        stosd
        xor     ax, ax
        mov     es, ax
        ret

; Searches E0000h-FFFFFh for the RSDP, on 16-byte boundaries, by signature and checksum (ACPI 5.2.5.1).  DX: its segment.
; CF set where there is none.  Changes EAX, SI and FS.
rsdp_segment:
        mov     dx, 0xE000
.next:  mov     fs, dx
        mov     eax, [fs:0]
        cmp     eax, [cs:rsdp_signature]
        jne     .other
        mov     eax, [fs:4]
        cmp     eax, [cs:rsdp_signature + 4]
        jne     .other
        xor     si, si
        xor     al, al
.sum:   add     al, [fs:si]
        inc     si
        cmp     si, 20
        jb      .sum
        test    al, al
        jz      .end                    ; CF clear
.other: inc     dx
        jnz     .next
        stc
.end:   ret

; Stores the RSDP's address; where there is none, the plan's zero stays.
find_rsdp:
        call    rsdp_segment
        jc      .end
        mov     eax, [PLAN_RSDP]
        call    point
        movzx   eax, dx
        shl     eax, 4
        stosd
        xor     ax, ax
        mov     es, ax
.end:   ret

; Writes the text at CS:SI by INT 10h.
print:  push    bx
.next:  cs lodsb
        test    al, al
        jz      .end
        mov     ah, 0x0E
        mov     bx, 7
        push    si
        int     0x10
        pop     si
        jmp     .next
.end:   pop     bx
        ret
