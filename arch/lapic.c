/* SPDX-License-Identifier: MIT */
/*
 * lapic.c - xAPIC registers; arch/lapic.h has the contracts
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
	REG_SVR = 0x0f0,      /* spurious vector; bit 8 enables           */
	REG_ICR_LOW = 0x300,  /* writing it sends                         */
	REG_ICR_HIGH = 0x310, /* destination in 31:24                     */
	REG_LVT_TIMER = 0x320,
	REG_LVT_LINT0 = 0x350,
	REG_LVT_LINT1 = 0x360,
	REG_TIMER_INITIAL = 0x380,
	REG_TIMER_CURRENT = 0x390,
	REG_TIMER_DIVIDE = 0x3e0,
};

#define SVR_ENABLE       BIT(8)
#define ICR_PENDING      BIT(12)
#define ICR_ASSERT       BIT(14)
#define ICR_ALL_BUT_SELF (UINT64_C(3) << 18)
#define ICR_NMI          (UINT64_C(4) << 8)
#define ICR_INIT         (UINT64_C(5) << 8)
#define ICR_STARTUP      (UINT64_C(6) << 8)
#define LVT_MASKED       BIT(16)
#define LVT_PERIODIC     BIT(17)
#define DIVIDE_BY_16     3

static char *regs;
static uint64_t timer_hz; /* written once, before the other CPUs run */

static uint32_t reg_read(enum lapic_reg reg)
{
	return mmio_read32(regs + reg);
}

static void reg_write(enum lapic_reg reg, uint64_t v)
{
	mmio_write32(regs + reg, (uint32_t)v);
}

static void spurious(struct trap_frame *frame)
{
	(void)frame; /* by definition there is nothing to acknowledge */
}

void lapic_setup(void *registers)
{
	regs = registers;
	trap_set_handler(IRQ_SPURIOUS, spurious);
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
}

void lapic_init(void)
{
	reg_write(REG_SVR, SVR_ENABLE | IRQ_SPURIOUS);
	reg_write(REG_LVT_LINT0, LVT_MASKED);
	reg_write(REG_LVT_LINT1, LVT_MASKED);
	reg_write(REG_LVT_TIMER, LVT_MASKED);
}

uint32_t lapic_id(void)
{
	return reg_read(REG_ID) >> 24;
}

void lapic_eoi(void)
{
	reg_write(REG_EOI, 0);
}

/* Both halves of the ICR belong together: no interrupt in between. */
static void icr_send(uint32_t dest, uint64_t low)
{
	uint64_t flags = irq_save();

	while (reg_read(REG_ICR_LOW) & ICR_PENDING)
		cpu_pause();
	reg_write(REG_ICR_HIGH, (uint64_t)dest << 24);
	reg_write(REG_ICR_LOW, low);
	irq_restore(flags);
}

void lapic_ipi(unsigned cpu, unsigned vector)
{
	icr_send(cpus[cpu].lapic_id, ICR_ASSERT | vector);
}

void lapic_nmi_others(void)
{
	icr_send(0, ICR_ALL_BUT_SELF | ICR_ASSERT | ICR_NMI);
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
