; SPDX-License-Identifier: MIT
;
; guest.asm - the guest of tests/bench/guest.c: rcx stores, at rdi and every rsi bytes after it
;
; It runs at any address.  VMMCALL ends a round; the next one begins after it.

	global guest_stores, guest_stores_end

	section .rodata
	bits 64
guest_stores:
	vmmcall
	test	rcx, rcx
	jz	guest_stores
.page:
	mov	[rdi], rcx
	add	rdi, rsi
	dec	rcx
	jnz	.page
	jmp	guest_stores
guest_stores_end:

	section .note.GNU-stack noalloc noexec nowrite progbits
