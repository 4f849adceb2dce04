; SPDX-License-Identifier: MIT
;
; uaccess.asm - the only instructions that may touch user memory
;
; Each function is a leaf without a frame: at its instruction rsp points to the return
; address.  After a fault that cannot be served execution continues at the label that
; the exception table (.extable) has for the instruction.

%include "arch/smap.inc"

	global user_load64, user_store64, kernel_load64
	global user_load_insn, user_store_insn

EFAULT	equ 14				; UACCESS_EFAULT

; The next instruction may fault; then go on at %1.
%macro MAY_FAULT 1
	[section .extable]
	dq	%%insn, %1
	__SECT__
%%insn:
%endmacro

	section .text
	bits 64
user_load64:
	mov	rax, rdi
	shr	rax, 47
	jnz	load_refused
	OPEN
	MAY_FAULT load_refused
user_load_insn:
	mov	rax, [rdi]
	CLOSE
	mov	[rsi], rax
	xor	eax, eax
	ret
load_refused:
	CLOSE
	mov	qword [rsi], 0
	mov	eax, -EFAULT
	ret

user_store64:
	mov	rax, rdi
	shr	rax, 47
	jnz	store_refused
	OPEN
	MAY_FAULT store_refused
user_store_insn:
	mov	[rdi], rsi
	CLOSE
	xor	eax, eax
	ret
store_refused:
	CLOSE
	mov	eax, -EFAULT
	ret

kernel_load64:
	MAY_FAULT load_refused
	mov	rax, [rdi]
	mov	[rsi], rax
	xor	eax, eax
	ret

	section .note.GNU-stack noalloc noexec nowrite progbits
