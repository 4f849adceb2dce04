/* SPDX-License-Identifier: MIT */
/*
 * svm.h - AMD-V: switch between the kernel and a guest
 *
 * AMD APM vol. 2, chapter 15 "Secure Virtual Machine".  A guest runs from VMRUN
 * to #VMEXIT; the VMCB (arch/vmcb.h) says what ends it.  While the global
 * interrupt flag is 0, from svm_clgi() to svm_stgi(), not even an NMI is taken: so
 * what is done between an exit and svm_stgi() comes before every handler.
 */
#pragma once

#include "arch/cpu.h"
#include "arch/vmcb.h"

/* Guest-physical addresses end here, exclusive: CPUID 80000008h of the guest is
 * that of the host, and QEMU's default is 40 bits. */
#define SVM_PA_END BIT(40)

/* The registers that VMRUN and #VMEXIT leave alone; RAX and RSP are in the VMCB. */
struct svm_regs {
	uint64_t rbx, rcx, rdx, rsi, rdi, rbp;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
};
_Static_assert(sizeof(struct svm_regs) == 14 * 8, "svm_enter.asm");

/*
 * Switch SVM on, where CPUID has it with nested paging and firmware has not
 * disabled it, and store what svm_enter() loads after a guest.
 * Context: each CPU, when GS.base and TR are set for good; interrupts off.
 */
void svm_cpu_init(unsigned id);

/* Returns whether guests can run: SVM with nested paging.  The same on all CPUs. */
bool svm_present(void);

/* Returns the physical address of 12 KiB of ones: intercepts of every port and MSR. */
pa_t svm_all_intercepted(void);

/* What each CPU loads after a guest: by VMLOAD, from this physical address.
 * Immutable after svm_cpu_init() of that CPU. */
extern pa_t svm_host[MAX_CPUS];

/*
 * Run the guest of the VMCB at this physical address until #VMEXIT.  FS, GS, TR,
 * LDTR and the MSRs of system calls are loaded and stored with it.
 * Context: svm_present(), svm_clgi() was called, and interrupts are enabled, or the
 * guest is known to leave by itself; host is svm_host[] of this CPU.
 */
void svm_enter(pa_t vmcb, struct svm_regs *regs, pa_t host);

/* Clear and set the global interrupt flag. */
static inline void svm_clgi(void)
{
	__asm__ volatile("clgi" ::: "memory");
}

static inline void svm_stgi(void)
{
	__asm__ volatile("stgi" ::: "memory");
}
