; SPDX-License-Identifier: MIT
;
; start.asm - from a multiboot loader's 32 bits to kmain() in the high half
;
; One ELF64 serves QEMU -kernel and GRUB: the header carries load addresses
; (flag 16, the "a.out kludge"), so no loader looks at the ELF headers.
; Multiboot specification 0.6.96, section 3.1; a second header, of multiboot 2, is
; for GRUB on UEFI, which knows where the firmware's tables are.
;
; The boot tables map 4 GiB three times with 2 MiB leaves: at 0 for the code
; that is still low, at DIRECT_BASE, and the first GiB at KERNEL_BASE.
; mm/kernel/kmap.c replaces them; the other CPUs come up on them (smp_start.asm).

KERNEL_BASE	equ 0xffffffff80000000
PHYS		equ -KERNEL_BASE		; symbol + PHYS is where it is now

MB_MAGIC	equ 0x1badb002
MB_FLAGS	equ (1 << 0) | (1 << 1) | (1 << 16)
MB_LOADED	equ 0x2badb002

MB2_MAGIC	equ 0xe85250d6		; Multiboot2 2.0, section 3.1
MB2_LOADED	equ 0x36d76289

EXIT_PORT	equ 0xf4
EXIT_PLATFORM	equ 0x14

	extern text_start, load_end, image_end, kmain

	section .multiboot progbits alloc exec nowrite align=4
	bits 32
mb_header:
	dd MB_MAGIC, MB_FLAGS, -(MB_MAGIC + MB_FLAGS)
	dd mb_header + PHYS, text_start + PHYS
	dd load_end + PHYS, image_end + PHYS, start + PHYS

	align 8
mb2_header:
	dd MB2_MAGIC, 0, mb2_end - mb2_header
	dd -(MB2_MAGIC + mb2_end - mb2_header)
	dw 2, 0				; where it is loaded
	dd 24, mb2_header + PHYS, text_start + PHYS
	dd load_end + PHYS, image_end + PHYS
	dw 3, 0				; where it is entered, in 32 bits
	dd 12, start + PHYS, 0
	dw 6, 0				; modules begin with a page
	dd 8
	dw 0, 0
	dd 8
mb2_end:

	global start
start:
	cli
	cld
	mov	esp, boot_stack_top + PHYS
	mov	edi, eax		; kmain's arguments: magic, info block
	mov	esi, ebx
	rdtsc				; first instructions: the boot's meter
	mov	[boot_tsc + PHYS], eax
	mov	[boot_tsc + PHYS + 4], edx
	cmp	edi, MB_LOADED
	je	.loaded
	cmp	edi, MB2_LOADED
	jne	no_platform
.loaded:
	mov	eax, 0x80000001
	cpuid
	bt	edx, 29			; long mode
	jnc	no_platform
	bt	edx, 20			; NX
	jnc	no_platform

	; Leaves: present, writable, 2 MiB, global bit left out.
	mov	ebx, boot_pd + PHYS
	mov	eax, 0x83
	xor	edx, edx
	mov	ecx, 4 * 512
.leaf:	mov	[ebx], eax
	mov	[ebx + 4], edx
	add	ebx, 8
	add	eax, 0x200000
	adc	edx, 0
	loop	.leaf

	mov	eax, boot_pd + PHYS + 3
	mov	ebx, boot_pdpt + PHYS
	mov	ecx, 4
.pd:	mov	[ebx], eax
	add	ebx, 8
	add	eax, 0x1000
	loop	.pd
	mov	dword [boot_pdpt_high + PHYS + 510 * 8], boot_pd + PHYS + 3
	mov	dword [boot_pml4 + PHYS], boot_pdpt + PHYS + 3
	mov	dword [boot_pml4 + PHYS + 256 * 8], boot_pdpt + PHYS + 3
	mov	dword [boot_pml4 + PHYS + 511 * 8], boot_pdpt_high + PHYS + 3

%ifdef CONFIG_KASAN
	; Shadow of the image, where gcc's prologues write (kernel/san/kasan.c).
	mov	dword [boot_pml4 + PHYS + 479 * 8], shadow_pdpt + PHYS + 3
	mov	dword [shadow_pdpt + PHYS + 511 * 8], shadow_pd + PHYS + 3
	mov	dword [shadow_pd + PHYS + 384 * 8], shadow_pt + PHYS + 3
	mov	dword [shadow_pd + PHYS + 385 * 8], shadow_pt + PHYS + 4096 + 3
	mov	eax, san_image_shadow + PHYS + 3
	mov	ebx, shadow_pt + PHYS
	mov	ecx, 2 * 512
.shadow:mov	[ebx], eax
	add	ebx, 8
	add	eax, 0x1000
	loop	.shadow
%endif

	mov	eax, boot_pml4 + PHYS
	call	long_mode
	lgdt	[boot_gdt_pointer + PHYS]
	jmp	0x08:(start64 + PHYS)

; Loader or CPU is not what we need: say so on the serial line, and by status.
no_platform:
	mov	esi, no_platform_text + PHYS
.next:	lodsb
	test	al, al
	jz	.exit
	mov	dx, 0x3f8
	out	dx, al
	jmp	.next
.exit:	mov	al, EXIT_PLATFORM
	out	EXIT_PORT, al
.halt:	cli
	hlt
	jmp	.halt

; PAE, long mode, NX, paging with write protection; eax: the top table.
long_mode:
	mov	cr3, eax
	mov	eax, cr4
	or	eax, 1 << 5
	mov	cr4, eax
	mov	ecx, 0xc0000080
	rdmsr
	or	eax, (1 << 8) | (1 << 11)
	wrmsr
	mov	eax, cr0
	or	eax, (1 << 31) | (1 << 16) | 1
	mov	cr0, eax
	ret

	bits 64
start64:
	mov	rax, start_high
	jmp	rax
start_high:
	lgdt	[boot_gdt_pointer_high]
	xor	eax, eax
	mov	ds, eax
	mov	es, eax
	mov	ss, eax
	mov	fs, eax
	mov	gs, eax
	mov	rsp, boot_stack_top
	xor	ebp, ebp		; the backtrace ends here
	mov	edi, edi
	mov	esi, esi
	call	kmain
	cli
	hlt

	section .rodata
no_platform_text:
	db "visavis: needs a multiboot loader and a 64-bit CPU with NX", 10, 0
	align 8
	global boot_gdt_pointer
boot_gdt:
	dq 0, 0x00af9a000000ffff, 0x00cf92000000ffff
boot_gdt_pointer:
	dw $ - boot_gdt - 1
	dd boot_gdt + PHYS
	align 8
boot_gdt_pointer_high:
	dw boot_gdt_pointer - boot_gdt - 1
	dq boot_gdt

	section vv_guards progbits alloc noexec nowrite align=32
	dq	boot_stack_guard, 4096, 1, 0	; struct guard (arch/layout.h)

	section .bss nobits alloc noexec write align=4096
	global boot_pml4, boot_tsc
boot_pml4:	resb 4096
boot_pdpt:	resb 4096
boot_pdpt_high:	resb 4096
boot_pd:	resb 4 * 4096
boot_stack_guard: resb 4096		; unmapped by mm/kernel/kmap.c
		resb 16384
boot_stack_top:
boot_tsc:	resq 1
%ifdef CONFIG_KASAN
	alignb 4096
shadow_pdpt:	resb 4096
shadow_pd:	resb 4096
shadow_pt:	resb 2 * 4096
	global san_image_shadow
san_image_shadow: resb 4 << 20		; SAN_IMAGE_SHADOW (kernel/san/san.h)
%endif

	section .note.GNU-stack noalloc noexec nowrite progbits
