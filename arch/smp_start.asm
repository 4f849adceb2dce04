; SPDX-License-Identifier: MIT
;
; smp_start.asm - another CPU, from its start-up IPI to ap_main()
;
; The code between the labels is copied to a page below 1 MiB.  The CPU starts in
; real mode there, enters long mode on the boot tables (low memory is mapped in
; them), and only in the high half loads the final table and the stack that
; smp.c left in ap_boot.  One CPU comes up at a time: it claims them, and one that
; comes too late finds them taken.

KERNEL_BASE	equ 0xffffffff80000000
PHYS		equ -KERNEL_BASE

	extern boot_pml4, ap_boot_root, ap_boot_stack, ap_claimed, ap_main
	global ap_trampoline, ap_trampoline_end

	section .text
	bits 16
ap_trampoline:
	cli
	cld
	mov	ax, cs
	mov	ds, ax
	movzx	ebx, ax
	shl	ebx, 4			; where we are
	lea	eax, [ebx + ap_gdt - ap_trampoline]
	mov	[ap_gdt_pointer - ap_trampoline + 2], eax
	lea	eax, [ebx + ap_32 - ap_trampoline]
	mov	[ap_jump - ap_trampoline], eax
	lgdt	[ap_gdt_pointer - ap_trampoline]
	mov	eax, cr0
	or	eax, 1
	mov	cr0, eax
	jmp	dword far [ap_jump - ap_trampoline]

	bits 32
ap_32:
	mov	ax, 0x18
	mov	ds, ax
	mov	ss, ax
	mov	eax, cr4
	or	eax, 1 << 5
	mov	cr4, eax
	mov	eax, boot_pml4 + PHYS
	mov	cr3, eax
	mov	ecx, 0xc0000080
	rdmsr
	or	eax, (1 << 8) | (1 << 11)
	wrmsr
	mov	eax, cr0
	or	eax, (1 << 31) | (1 << 16)
	and	eax, ~0x60000000	; caches on
	mov	cr0, eax
	lea	eax, [ebx + ap_64 - ap_trampoline]
	mov	[ebx + ap_jump64 - ap_trampoline], eax
	jmp	far [ebx + ap_jump64 - ap_trampoline]

	bits 64
ap_64:
	mov	rax, ap_high
	jmp	rax

	align 8
ap_gdt:
	dq 0
	dq 0x00af9a000000ffff		; 08: code, 64 bit
	dq 0x00cf9a000000ffff		; 10: code, 32 bit
	dq 0x00cf92000000ffff		; 18: data
ap_gdt_pointer:
	dw $ - ap_gdt - 1
	dd 0
ap_jump:
	dd 0
	dw 0x10
ap_jump64:
	dd 0
	dw 0x08
ap_trampoline_end:

ap_high:
	mov	eax, 1			; AP_OPEN: number and stack are free
	mov	ecx, 2			; AP_TAKEN
	lock cmpxchg [ap_claimed], ecx
	jne	.late
	mov	rax, [ap_boot_root]
	mov	cr3, rax
	mov	rsp, [ap_boot_stack]
	xor	eax, eax
	mov	ds, eax
	mov	es, eax
	mov	ss, eax
	mov	fs, eax
	mov	gs, eax
	xor	ebp, ebp
	call	ap_main
.late:	cli				; given up already, or another came
	hlt
	jmp	.late

	section .note.GNU-stack noalloc noexec nowrite progbits
