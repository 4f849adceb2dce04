/* SPDX-License-Identifier: MIT */
/*
 * svm.c - switch SVM on for a CPU
 *
 * VMRUN and #VMEXIT exchange a part of the CPU's state only.  What they leave, FS
 * and GS among it, the guest may have changed by an instruction that cannot be
 * intercepted: and GS.base leads to struct cpu.  So each CPU stores its own values
 * once, and loads them after every guest.
 */
#include "arch/svm.h"
#include "arch/layout.h"

#define MSR_EFER        0xc0000080
#define MSR_VM_CR       0xc0010114
#define MSR_VM_HSAVE_PA 0xc0010117
#define EFER_SVME       BIT(12)
#define VM_CR_SVMDIS    BIT(4)
#define PERMISSIONS     (3 * PAGE_SIZE)

/* Key: (C) only this CPU */
static struct svm_cpu {
	uint8_t hsave[PAGE_SIZE]; /* (C) the CPU's, between VMRUN and #VMEXIT */
	uint8_t host[PAGE_SIZE]; /* (C) by VMSAVE, immutable afterwards       */
} __attribute__((aligned(4096))) areas[MAX_CPUS];

pa_t svm_host[MAX_CPUS];
static uint8_t ones[PERMISSIONS] __attribute__((aligned(4096)));
static bool present; /* written by the boot CPU before any other runs */

static bool offered(void)
{
	uint32_t r[4];

	cpuid(0x80000000, r);
	if (r[0] < 0x8000000a)
		return false;
	cpuid(0x80000001, r);
	if (!(r[2] & BIT(2))) /* SVM: without it VM_CR does not exist */
		return false;
	cpuid(0x8000000a, r);
	return r[3] & BIT(0) && !(rdmsr(MSR_VM_CR) & VM_CR_SVMDIS);
}

void svm_cpu_init(unsigned id)
{
	struct svm_cpu *area = &areas[id];

	if (!id) {
		present = offered();
		for (unsigned i = 0; i < PERMISSIONS; i++)
			ones[i] = 0xff;
	}
	if (!present)
		return;
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, image_pa(area->hsave));
	svm_host[id] = image_pa(area->host);
	__asm__ volatile("vmsave" ::"a"(svm_host[id]) : "memory");
}

bool svm_present(void)
{
	return present;
}

pa_t svm_all_intercepted(void)
{
	return image_pa(ones);
}
