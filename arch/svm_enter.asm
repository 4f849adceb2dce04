; SPDX-License-Identifier: MIT
;
; svm_enter.asm - the world switch: registers, VMRUN, registers
;
; The global interrupt flag is 0 throughout: from VMLOAD to the last VMLOAD the
; segments are the guest's, and GS.base leads no handler to its CPU.

	global svm_enter

; struct svm_regs
RBX_AT	equ 0
RCX_AT	equ 8
RDX_AT	equ 16
RSI_AT	equ 24
RDI_AT	equ 32
RBP_AT	equ 40
R8_AT	equ 48				; to R15_AT

	section .text
	bits 64

; svm_enter(pa_t vmcb, struct svm_regs *regs, pa_t host)
svm_enter:
	push	rbp
	push	rbx
	push	r12
	push	r13
	push	r14
	push	r15
	push	rdx			; host
	push	rsi			; regs
	mov	rax, rdi
	mov	rbx, [rsi + RBX_AT]
	mov	rcx, [rsi + RCX_AT]
	mov	rdx, [rsi + RDX_AT]
	mov	rdi, [rsi + RDI_AT]
	mov	rbp, [rsi + RBP_AT]
%assign n 8
%rep 8
	mov	r%[n], [rsi + R8_AT + 8 * (n - 8)]
%assign n n + 1
%endrep
	mov	rsi, [rsi + RSI_AT]
	vmload
	vmrun
	vmsave				; RAX and RSP are ours again
	pop	rax			; regs
	mov	[rax + RBX_AT], rbx
	mov	[rax + RCX_AT], rcx
	mov	[rax + RDX_AT], rdx
	mov	[rax + RSI_AT], rsi
	mov	[rax + RDI_AT], rdi
	mov	[rax + RBP_AT], rbp
%assign n 8
%rep 8
	mov	[rax + R8_AT + 8 * (n - 8)], r%[n]
%assign n n + 1
%endrep
	pop	rax			; host
	vmload
	pop	r15
	pop	r14
	pop	r13
	pop	r12
	pop	rbx
	pop	rbp
	ret

	section .note.GNU-stack noalloc noexec nowrite progbits
