; SPDX-License-Identifier: MIT
;
; context.asm - arch/context.h

	global context_switch, context_start
	section .text
	bits 64

; context_switch(void **save, void *to)
context_switch:
	push	rbp
	push	rbx
	push	r12
	push	r13
	push	r14
	push	r15
	mov	[rdi], rsp
	mov	rsp, rsi
	pop	r15
	pop	r14
	pop	r13
	pop	r12
	pop	rbx
	pop	rbp
	ret

; First instruction of a made context: r12 the function, r13 its argument.
context_start:
	xor	ebp, ebp		; the backtrace ends here
	mov	rdi, r13
	call	r12
	ud2

	section .note.GNU-stack noalloc noexec nowrite progbits
