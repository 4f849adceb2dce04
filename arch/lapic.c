/* SPDX-License-Identifier: MIT */
/*
 * lapic.c - registers of the local APIC, in memory (xAPIC) or as MSRs (x2APIC)
 */
#include "arch/lapic.h"
#include "arch/bits.h"
#include "arch/clock.h"
#include "arch/cpu.h"
#include "arch/io.h"
#include "arch/trap.h"

enum lapic_reg {
	REG_ID = 0x020,
	REG_EOI = 0x0b0,
	REG_LDR = 0x0d0,      /* logical name in 31:24                    */
	REG_SVR = 0x0f0,      /* spurious vector; bit 8 enables           */
	REG_ISR = 0x100,      /* in service: 8 registers of 32 vectors    */
	REG_IRR = 0x200,      /* 8 of them: taken, not yet interrupting   */
	REG_ICR_LOW = 0x300,  /* writing it sends                         */
	REG_ICR_HIGH = 0x310, /* destination in 31:24                     */
	REG_LVT_TIMER = 0x320,
	REG_LVT_LINT0 = 0x350,
	REG_LVT_LINT1 = 0x360,
	REG_TIMER_INITIAL = 0x380,
	REG_TIMER_CURRENT = 0x390,
	REG_TIMER_DIVIDE = 0x3e0,
};

#define SVR_ENABLE   BIT(8)
#define ICR_PENDING  BIT(12)
#define ICR_ASSERT   BIT(14)
#define ICR_NMI      (UINT64_C(4) << 8)
#define ICR_INIT     (UINT64_C(5) << 8)
#define ICR_STARTUP  (UINT64_C(6) << 8)
#define LVT_MASKED   BIT(16)
#define LVT_PERIODIC BIT(17)
#define DIVIDE_BY_16 3
#define ICR_POLLS    1000000u
#define XAPIC_ALL    0xffu /* the broadcast id                            */

#define MSR_APIC_BASE 0x1b
#define BASE_X2APIC   BIT(10)
#define BASE_ENABLE   BIT(11)
#define BASE_ADDRESS  GENMASK(51, 12)
#define MSR_X2APIC    0x800 /* + offset / 16: the same registers         */

/* Written once, before the other CPUs run. */
static bool ready;
static char *regs; /* NULL: x2APIC mode, registers are MSRs               */
static uint64_t timer_hz;

static uint32_t reg_read(enum lapic_reg reg)
{
	if (unlikely(!regs))
		return (uint32_t)rdmsr(MSR_X2APIC + reg / 16);
	return mmio_read32(regs + reg);
}

static void reg_write(enum lapic_reg reg, uint64_t v)
{
	if (unlikely(!regs))
		wrmsr(MSR_X2APIC + reg / 16, (uint32_t)v);
	else
		mmio_write32(regs + reg, (uint32_t)v);
}

const char *lapic_find(pa_t *base)
{
	uint64_t v;

	if (!cpu_has_apic())
		return "this CPU has no local APIC";
	v = rdmsr(MSR_APIC_BASE);
	if (!(v & BASE_ENABLE))
		wrmsr(MSR_APIC_BASE, v | BASE_ENABLE);
	if (!(rdmsr(MSR_APIC_BASE) & BASE_ENABLE))
		return "the local APIC is off and stays off";
	*base = v & BASE_X2APIC ? 0 : v & BASE_ADDRESS;
	return NULL;
}

/*
 * A spurious interrupt needs no acknowledgement; but a message may carry this vector
 * too, and is then in service like any other, with the highest priority.
 */
static void spurious(struct trap_frame *frame)
{
	(void)frame;
	if (!lapic_in_service(IRQ_SPURIOUS))
		return;
	lapic_eoi();
	trap_stray(IRQ_SPURIOUS);
}

void lapic_setup(void *registers)
{
	regs = registers;
	ready = true;
	trap_set_handler(IRQ_SPURIOUS, spurious);
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
}

void lapic_join(void)
{
	uint64_t base = rdmsr(MSR_APIC_BASE);

	if (!regs && !(base & BASE_X2APIC)) /* firmware left this CPU out */
		wrmsr(MSR_APIC_BASE, base | BASE_ENABLE | BASE_X2APIC);
}

void lapic_init(void)
{
	reg_write(REG_SVR, SVR_ENABLE | IRQ_SPURIOUS);
	reg_write(REG_LVT_LINT0, LVT_MASKED);
	/* The machine's NMI pin, at one CPU; the mode is coded as in the ICR. */
	reg_write(REG_LVT_LINT1, cpu_id() ? LVT_MASKED : ICR_NMI);
	reg_write(REG_LVT_TIMER, LVT_MASKED);
}

uint32_t lapic_id(void)
{
	return regs ? reg_read(REG_ID) >> 24 : reg_read(REG_ID);
}

uint32_t lapic_id_max(void)
{
	return regs ? XAPIC_ALL - 1 : UINT32_MAX - 1;
}

void lapic_eoi(void)
{
	reg_write(REG_EOI, 0);
}

/* One MSR, which does not order the stores before it: SDM vol. 3, 10.12.3. */
static void icr_send_x2(uint32_t dest, uint64_t low)
{
	__asm__ volatile("mfence; lfence" ::: "memory");
	wrmsr(MSR_X2APIC + REG_ICR_LOW / 16, (uint64_t)dest << 32 | low);
}

/* Writes both halves of the ICR with no interrupt in between. */
static void icr_send(uint32_t dest, uint64_t low)
{
	uint64_t flags;

	if (unlikely(!regs)) {
		icr_send_x2(dest, low);
		return;
	}
	flags = irq_save();
	/* An APIC that has not sent one after this time will not send the next. */
	for (unsigned i = 0; i < ICR_POLLS; i++) {
		if (!(reg_read(REG_ICR_LOW) & ICR_PENDING))
			break;
		cpu_pause();
	}
	reg_write(REG_ICR_HIGH, (uint64_t)dest << 24);
	reg_write(REG_ICR_LOW, low);
	irq_restore(flags);
}

void lapic_ipi(unsigned cpu, unsigned vector)
{
	icr_send(cpus[cpu].lapic_id, ICR_ASSERT | vector);
}

void lapic_nmi(unsigned cpu)
{
	icr_send(cpus[cpu].lapic_id, ICR_ASSERT | ICR_NMI);
}

/* Vector v is bit v % 32 of register v / 32. */
bool lapic_in_service(unsigned vector)
{
	return ready &&
	       reg_read(REG_ISR + vector / 32 * 0x10) & BIT(vector % 32);
}

bool lapic_pending(unsigned vector)
{
	return reg_read(REG_IRR + vector / 32 * 0x10) & BIT(vector % 32);
}

void lapic_set_logical(uint8_t name)
{
	reg_write(REG_LDR, (uint64_t)name << 24);
}

/* The SDM's waits: 10 ms after INIT, 200 us after each start-up IPI. */
static void wait_ns(uint64_t ns)
{
	uint64_t end = clock_ns() + ns;

	while (clock_ns() < end)
		cpu_pause();
}

void lapic_start_cpu(uint32_t id, pa_t page)
{
	icr_send(id, ICR_INIT | ICR_ASSERT);
	wait_ns(10 * 1000 * 1000);
	for (unsigned i = 0; i < 2; i++) {
		icr_send(id, ICR_STARTUP | ICR_ASSERT | page >> PAGE_SHIFT);
		wait_ns(200 * 1000);
	}
}

void lapic_timer_free_run(void)
{
	reg_write(REG_TIMER_DIVIDE, DIVIDE_BY_16);
	reg_write(REG_LVT_TIMER, LVT_MASKED);
	reg_write(REG_TIMER_INITIAL, UINT32_MAX);
}

uint32_t lapic_timer_count(void)
{
	return reg_read(REG_TIMER_CURRENT);
}

void lapic_timer_set_rate(uint64_t ticks_per_second)
{
	timer_hz = ticks_per_second;
}

void lapic_timer_start(unsigned hz)
{
	reg_write(REG_TIMER_DIVIDE, DIVIDE_BY_16);
	reg_write(REG_LVT_TIMER, LVT_PERIODIC | IRQ_TIMER);
	reg_write(REG_TIMER_INITIAL, timer_hz / hz);
}
