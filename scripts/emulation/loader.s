# Boot sector: reads the pieces named in `pieces` from the first disk to where the Linux boot protocol wants them,
# and jumps into the kernel's real-mode setup code. Everything that needs arithmetic (addresses, sizes, the fields of
# the setup header) was worked out by whoever wrote the disk, so that this stays under 512 bytes.
    .code16
    .text
    .globl _start
_start:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7c00, %sp
    sti
    movb %dl, drive
    inb $0x92, %al              # A20
    orb $2, %al
    outb %al, $0x92

    movw $pieces, %bp           # (destination, first sector, sectors), ends with sectors = 0
piece:
    movl 8(%bp), %ecx
    testl %ecx, %ecx
    jz boot
chunk:
    cmpl $64, %ecx
    jbe 1f
    movl $64, %ecx
1:  movw %cx, packet_count
    movl 4(%bp), %eax
    movl %eax, packet_sector
    pushl %ecx
    movb $0x42, %ah             # extended read into 1000:0000
    movb drive, %dl
    movw $packet, %si
    int $0x13
    jc fail
    popl %ecx
    call move
    movzwl packet_count, %eax
    addl %eax, 4(%bp)
    subl %eax, 8(%bp)
    shll $9, %eax
    addl %eax, 0(%bp)
    movl 8(%bp), %ecx
    testl %ecx, %ecx
    jnz chunk
    addw $12, %bp
    jmp piece

# Copies the chunk to its 32-bit destination with segments of 4 GiB ("unreal" mode). Entered anew for every chunk,
# for the BIOS may have set the limits back.
move:
    cli
    lgdt gdt_pointer
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    jmp 1f
1:  movw $8, %bx
    movw %bx, %ds
    movw %bx, %es
    andb $0xfe, %al
    movl %eax, %cr0
    jmp 2f
2:  xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movl $0x10000, %esi
    movl 0(%bp), %edi
    shll $7, %ecx
    cld
    addr32 rep movsl
    sti
    ret

boot:
    cli
    movw $0x9000, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    movw $0xe000, %sp
    ljmp $0x9020, $0

fail:
    hlt
    jmp fail

drive:          .byte 0
    .balign 4
packet:         .byte 16, 0
packet_count:   .word 0
                .word 0, 0x1000
packet_sector:  .long 0, 0
gdt:            .quad 0
                .quad 0x00cf92000000ffff
gdt_pointer:    .word 15
                .long gdt

    .org 440                    # room for four pieces and the end mark before the signature at 510
pieces:
    .fill 70, 1, 0
    .word 0xaa55
