; SPDX-License-Identifier: MIT
;
; svm_trial.asm - what the guest of a trial executes (svm_trial.h)
;
; The whole text is the guest's first page; a trial enters it at one of the labels.
; rbx, rcx, rdx and rax are the trial's.  Each program ends by VMMCALL, unless it ends
; by what is tried.

	global svm_trial_text, svm_trial_end, svm_trial_gdt

	section .rodata
	bits 64

%macro program 1
	global svm_run_%1
svm_run_%1:
%endmacro

; One instruction.
%macro single 2+
program %1
	%2
	vmmcall
%endmacro

; Load, change the nested entry at rcx to rdx; the second load follows.
%macro changed 1
program %1
	mov	rax, [rbx]
	mov	[rcx], rdx
%endmacro

%macro looked 0
	mov	rax, [rbx]
	vmmcall
%endmacro

svm_trial_text:
	single	nothing, nop
	single	load, mov rax, [rbx]
	single	store, mov [rbx], rax
program jump
	jmp	rbx

	changed	change
	looked
	changed	change_invlpg
	invlpg	[rbx]
	looked
	changed	change_cr3
	mov	rax, cr3
	mov	cr3, rax
	looked
	changed	change_invlpga
	mov	rax, rbx
	mov	ecx, 5			; no trial's ASID
	invlpga
	looked
	changed	change_store
	mov	[rbx], rax
	vmmcall
	changed	change_and_look
	mov	rax, [rbx]
	mov	rax, [rcx]
	vmmcall

	; The handler of all events: RAX is the error code, or the RIP that was pushed.
program handler
	pop	rax
	vmmcall

program enable
	sti
	nop
	nop
	vmmcall

	single	ud2, ud2
	single	int3, int3
	single	icebp, db 0xf1
	single	cpuid, cpuid
	single	hlt, hlt
	single	pause, pause
	single	invd, invd
	single	wbinvd, wbinvd
	single	invlpg, invlpg [rbx]
	single	invlpga, invlpga
	single	pushf, pushfq
	single	popf, popfq
	single	str, str eax
	single	sidt, sidt [rbx]
	single	out, out dx, al
	single	rdmsr, rdmsr
	single	wrmsr, wrmsr
	single	read_cr0, mov rax, cr0
	single	write_cr0, mov cr0, rbx
	single	read_dr6, mov rax, dr6
	single	write_dr6, mov dr6, rbx
program rdtsc
	rdtsc
	shl	rdx, 32
	or	rax, rdx
	vmmcall

	align 8
svm_trial_gdt:
	dq	0, 0x00af9b000000ffff, 0x00cf93000000ffff
svm_trial_end:

	section .note.GNU-stack noalloc noexec nowrite progbits
