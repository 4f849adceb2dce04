; SPDX-License-Identifier: MIT
;
; trap.asm - 256 entries, one path: save all registers, call trap_dispatch()
;
; The kernel never leaves ring 0, so GS.base stays and no stack is switched but
; by IST.  rbp is not touched: the chain of frames goes on through the trap.

%include "arch/smap.inc"

	extern trap_dispatch
	global trap_stubs, trap_return

	section .text
	bits 64
	align 16
trap_common:
	push	rax
	push	rbx
	push	rcx
	push	rdx
	push	rsi
	push	rdi
	push	rbp
	push	r8
	push	r9
	push	r10
	push	r11
	push	r12
	push	r13
	push	r14
	push	r15
	cld
	CLOSE				; iretq opens again what was open
	mov	rdi, rsp
	call	trap_dispatch
trap_return:
	pop	r15
	pop	r14
	pop	r13
	pop	r12
	pop	r11
	pop	r10
	pop	r9
	pop	r8
	pop	rbp
	pop	rdi
	pop	rsi
	pop	rdx
	pop	rcx
	pop	rbx
	pop	rax
	add	rsp, 16			; vector, error code
	iretq

; Exceptions 8, 10-14, 17, 21, 29, 30 push an error code of their own; an
; interrupt of the same vector (a device's message can have any) does not.  The
; CPU aligns rsp to 16 before it pushes 5 words or 6: bit 3 says which.
; A vector below 16 is illegal at a local APIC (SDM); QEMU's delivers it.
; page_fault() must distinguish them too: the CPU never pushes -1 as error code.
%macro STUB 1
	align 16
  %if %1 = 8 || (%1 >= 10 && %1 <= 14) || %1 = 17 || %1 = 21 || %1 = 29 || %1 = 30
	test	spl, 8
	jz	%%has_code
    %if %1 = 14
	push	-1			; PF_NO_CODE
    %else
	push	0
    %endif
%%has_code:
  %else
	push	0
  %endif
	push	%1
	jmp	trap_common
%endmacro

	align 16
trap_stubs:
%assign v 0
%rep 256
	STUB v
  %assign v v + 1
%endrep

	section .note.GNU-stack noalloc noexec nowrite progbits
