; SPDX-License-Identifier: MIT
;
; panic.asm - panic(fmt, ...): save the caller's registers, then print
;
; They go into this CPU's struct cpu and not onto the stack, where panic_speak()
; looks for its seventh argument.  Interrupts are off from here on: a thread that
; were moved in between would find another CPU's registers.

	extern panic_speak
	global panic

FRAME	equ 48				; CPU_GS_FRAME: struct trap_frame

	section .text
	bits 64
panic:
	pushfq
	cli
	pop	qword [gs:FRAME + 19 * 8]
	mov	[gs:FRAME + 0 * 8], r15
	mov	[gs:FRAME + 1 * 8], r14
	mov	[gs:FRAME + 2 * 8], r13
	mov	[gs:FRAME + 3 * 8], r12
	mov	[gs:FRAME + 4 * 8], r11
	mov	[gs:FRAME + 5 * 8], r10
	mov	[gs:FRAME + 6 * 8], r9
	mov	[gs:FRAME + 7 * 8], r8
	mov	[gs:FRAME + 8 * 8], rbp
	mov	[gs:FRAME + 9 * 8], rdi
	mov	[gs:FRAME + 10 * 8], rsi
	mov	[gs:FRAME + 11 * 8], rdx
	mov	[gs:FRAME + 12 * 8], rcx
	mov	[gs:FRAME + 13 * 8], rbx
	mov	[gs:FRAME + 14 * 8], rax
	mov	rax, [rsp]
	dec	rax
	mov	[gs:FRAME + 17 * 8], rax	; rip: inside the call of us
	lea	rax, [rsp + 8]
	mov	[gs:FRAME + 20 * 8], rax	; rsp: as it was before that
	jmp	panic_speak

	section .note.GNU-stack noalloc noexec nowrite progbits
