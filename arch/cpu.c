/* SPDX-License-Identifier: MIT */
/*
 * cpu.c - set up a CPU: descriptor tables, private data, control bits
 *
 * Three faults get stacks of their own (IST), because they can occur when the
 * current stack is unusable: #DF (a guard page was hit), NMI, #MC.
 */
#include "arch/cpu.h"
#include "arch/bits.h"
#include "arch/layout.h"
#include "arch/svm.h"
#include "arch/trap.h"

#define MSR_EFER    0xc0000080
#define MSR_GS_BASE 0xc0000101
#define EFER_NXE    BIT(11)
#define CR0_WP      BIT(16)
#define CR4_PGE     BIT(7)
#define CR4_UMIP    BIT(11)
#define CR4_SMEP    BIT(20)
#define CR4_SMAP    BIT(21)

#define IST_SIZE 8192 /* a panic prints from here */

/* Task state: only its stack pointers are used.  SDM vol. 3, fig. 8-11. */
struct tss {
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3, iomap;
} __attribute__((packed));
_Static_assert(sizeof(struct tss) == 104, "SDM: a 64-bit TSS is 104 bytes");

struct table_pointer {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

struct smap_record {
	uint8_t *at;
	uint64_t code; /* of 3 bytes */
};

extern const struct smap_record smap_start[], smap_end[];

struct cpu cpus[MAX_CPUS];
bool cpu_smap;

static struct tss tss[MAX_CPUS];
static uint64_t gdt[MAX_CPUS][5]; /* null, code, data, TSS (two words) */
static struct ist_stack {
	uint8_t guard[PAGE_SIZE];
	uint8_t stack[IST_SIZE];
} __attribute__((aligned(4096))) ist[TRAP_ISTS]; /* of the boot CPU */

static const struct guard ist_guards
	__attribute__((section("vv_guards"), used, aligned(8))) = {
		ist, sizeof(struct ist_stack), TRAP_ISTS
	};

void cpu_set_ist(unsigned id, unsigned n, void *top)
{
	tss[id].ist[n] = (uint64_t)top;
}

const void *cpu_ist(unsigned id, unsigned n)
{
	return (const void *)tss[id].ist[n];
}

static void gdt_load(unsigned id)
{
	uint64_t *g = gdt[id], base = (uint64_t)&tss[id];
	struct table_pointer p = { sizeof(gdt[id]) - 1, (uint64_t)g };

	for (unsigned i = 0; i < TRAP_ISTS && !id; i++)
		cpu_set_ist(id, i, ist[i].stack + IST_SIZE);
	tss[id].iomap = sizeof(struct tss);

	g[1] = 0x00af9a000000ffff;
	g[2] = 0x00cf92000000ffff;
	g[3] = (sizeof(struct tss) - 1) | (base & 0xffffff) << 16 |
	       UINT64_C(0x89) << 40 | (base >> 24 & 0xff) << 56;
	g[4] = base >> 32;
	__asm__ volatile("lgdt %0\n\tltr %w1" ::"m"(p), "r"(0x18) : "memory");
}

bool cpu_has_apic(void)
{
	uint32_t r[4];

	cpuid(1, r);
	return r[3] & BIT(9);
}

bool cpu_has_cmpxchg16b(void)
{
	uint32_t r[4];

	cpuid(1, r);
	return r[2] & BIT(13);
}

pa_t cpu_pa_end(void)
{
	uint32_t max[4], r[4] = { 36 };
	uint32_t bits;

	cpuid(0x80000000, max);
	if (max[0] >= 0x80000008)
		cpuid(0x80000008, r);
	bits = r[0] & 0xff;
	return UINT64_C(1) << (bits < CPU_PA_BITS_MAX ? bits : CPU_PA_BITS_MAX);
}

/* arch/smap.inc.  The boot tables still let the kernel write to its text. */
static void smap_patch(void)
{
	for (const struct smap_record *r = smap_start; r < smap_end; r++)
		for (unsigned i = 0; i < 3; i++)
			r->at[i] = (uint8_t)(r->code >> 8 * i);
	cpu_smap = true;
}

static void features_enable(void)
{
	uint32_t max[4], r[4] = { 0 };
	uint64_t cr0, cr4;

	cpuid(0, max);
	if (max[0] >= 7)
		cpuid(7, r);

	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
	__asm__ volatile("movq %%cr0, %0" : "=r"(cr0));
	__asm__ volatile("movq %0, %%cr0" ::"r"(cr0 | CR0_WP));

	__asm__ volatile("movq %%cr4, %0" : "=r"(cr4));
	cr4 |= CR4_PGE;
	if (r[1] & BIT(7))
		cr4 |= CR4_SMEP;
	if (r[1] & BIT(20))
		cr4 |= CR4_SMAP;
	if (r[2] & BIT(2))
		cr4 |= CR4_UMIP;
	__asm__ volatile("movq %0, %%cr4" ::"r"(cr4) : "memory");
	/* The same on all CPUs; written before any but the first runs. */
	if (cr4 & CR4_SMAP && !cpu_smap)
		smap_patch();
}

void cpu_init(unsigned id, uint32_t lapic_id)
{
	struct cpu *cpu = &cpus[id];

	cpu->self = cpu;
	cpu->id = id;
	cpu->lapic_id = lapic_id;
	gdt_load(id);
	wrmsr(MSR_GS_BASE, (uint64_t)cpu);
	features_enable();
	svm_cpu_init(id);
	trap_load();
}
