/* SPDX-License-Identifier: MIT */
/*
 * interrupts.c - local APICs, the I/O APIC, the other CPUs, and the clock
 *
 * The CPU itself says where its local APIC is and in which mode; the MADT is
 * compared with it.  The rest comes from the MADT and is checked: the I/O APIC must
 * look like one, a processor must answer.  What is left out is printed, a line
 * each.
 */
#include "arch/clock.h"
#include "arch/cpu.h"
#include "arch/ioapic.h"
#include "arch/lapic.h"
#include "arch/smp.h"
#include "boot/boot.h"
#include "drivers/acpi_clock.h"
#include "drivers/acpi_madt.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "mm/frame/mmio.h"
#include "mm/kernel/kmap.h"

#define CLOCKS_LEN PAGE_SIZE /* of an HPET's registers                    */

_Static_assert(ACPI_ISA == ISA_IRQS, "both count the PC's sixteen");

static struct acpi_madt madt;
static struct acpi_clocks clocks;

void interrupts_read_acpi(acpi_reader *read, const char *spoil,
			  struct acpi_table *table)
{
	const char *why;

	if (!acpi_find(read, "FACP", spoil, table))
		acpi_parse_fadt(table, &clocks);
	if (!acpi_find(read, "HPET", spoil, table))
		acpi_parse_hpet(table, &clocks);
	why = acpi_find(read, "APIC", spoil, table);
	if (!why)
		why = acpi_parse_madt(table, &madt);
	if (why)
		printk("# %s: %s\n", why,
		       madt.cpus ? "the entries before it are used"
				 : "only this CPU is used");
}

const struct acpi_madt *interrupts_madt(void)
{
	return &madt;
}

/* Map registers whose address firmware names; NULL and a line if it cannot be. */
static void *map_claimed(const char *owner, pa_t pa, uint64_t len)
{
	const char *why = mmio_claim(owner, pa, len);
	void *regs = why ? NULL : kmap_device(pa, len);

	if (!regs)
		printk("# %s\n", why ? why : "no room to map registers");
	return regs;
}

/* ---- local APIC ----------------------------------------------------------- */

static void setup_lapic(void)
{
	pa_t pa;
	const char *why = lapic_find(&pa);
	void *regs = NULL;

	if (why)
		boot_refuse(why);
	if (pa) {
		if (madt.lapic && madt.lapic != pa)
			printk("# the ACPI MADT puts the local APIC at %#lx, "
			       "the CPU has it at %#lx: the CPU is believed\n",
			       madt.lapic, pa);
		regs = map_claimed("the local APIC", pa, PAGE_SIZE);
		if (!regs)
			boot_refuse("the local APIC cannot be used");
	}
	lapic_setup(regs);
	lapic_init();
	cpus[0].lapic_id = lapic_id();
}

/* ---- I/O APIC ------------------------------------------------------------- */

static const char *setup_ioapic(void)
{
	char *regs;

	if (!madt.ioapic)
		return "the ACPI MADT names no I/O APIC of input 0";
	if (madt.ioapic % IOAPIC_ALIGN)
		return "the ACPI MADT has an odd address for the I/O APIC";
	regs = map_claimed("the I/O APIC", madt.ioapic & PAGE_MASK, PAGE_SIZE);
	if (!regs)
		return "its place cannot be";
	if (!ioapic_setup(regs + (madt.ioapic & ~PAGE_MASK)))
		return "where the ACPI MADT puts the I/O APIC there is none";
	for (unsigned i = 0; i < ACPI_ISA; i++)
		if (!ioapic_set_isa(i, madt.isa[i].gsi, madt.isa[i].low,
				    madt.isa[i].level))
			printk("# the ACPI MADT leads ISA interrupt %u to "
			       "input %u, which the I/O APIC does not have\n",
			       i, madt.isa[i].gsi);
	return NULL;
}

/* ---- time ------------------------------------------------------------------ */

static void setup_clock(void)
{
	struct clock_sources sources = { .pm_timer = clocks.pm_timer };
	const char *by = "", *why;

	if (clocks.hpet && !mmio_check("the HPET", clocks.hpet, CLOCKS_LEN))
		sources.hpet = kmap_device(clocks.hpet, CLOCKS_LEN);
	why = clock_calibrate(&sources, &by);
	if (why)
		boot_refuse(why);
	if (by[0] != 'P')
		printk("# the PIT does not count: time is measured by the %s\n",
		       by);
}

void boot_interrupts(void)
{
	const char *why;

	setup_lapic();
	why = setup_ioapic();
	if (why)
		printk("# no I/O APIC: %s: the serial line is polled\n", why);
	smp_init();
	setup_clock();
}

/* ---- other CPUs ------------------------------------------------------------ */

static void *stack_top(void)
{
	char *stack = kstack_alloc();

	return stack ? stack + KSTACK_SIZE : NULL;
}

static void stack_give(const void *top)
{
	if (top)
		kstack_free((char *)top - KSTACK_SIZE);
}

static void ap_unstack(unsigned id, void *top)
{
	for (unsigned n = 0; n < TRAP_ISTS; n++) {
		stack_give(cpu_ist(id, n));
		cpu_set_ist(id, n, NULL);
	}
	stack_give(top);
}

static void *ap_stack(unsigned id)
{
	bool all = true;
	void *top;

	for (unsigned n = 0; n < TRAP_ISTS; n++) {
		cpu_set_ist(id, n, stack_top());
		all &= cpu_ist(id, n) != NULL;
	}
	top = stack_top();
	if (all && top)
		return top;
	ap_unstack(id, top);
	return NULL;
}

/* Those of the MADT's ids that an interrupt can be sent to, each but our own. */
static unsigned candidates(uint32_t ids[ACPI_MAX_CPUS], unsigned *unreachable)
{
	unsigned n = 0;
	bool own = false;

	for (unsigned i = 0; i < madt.cpus; i++) {
		if (madt.ids[i] == cpus[0].lapic_id)
			own = true;
		else if (madt.ids[i] > lapic_id_max())
			++*unreachable;
		else
			ids[n++] = madt.ids[i];
	}
	if (madt.cpus && !own)
		printk("# the ACPI MADT does not list this CPU, whose APIC id "
		       "is %u\n",
		       cpus[0].lapic_id);
	return n;
}

static void tell(unsigned n, const char *what)
{
	if (n)
		printk("# %u %s %s\n", n, n == 1 ? "CPU" : "CPUs", what);
}

void boot_other_cpus(void)
{
	struct smp_plan plan = {
		.stack = ap_stack,
		.unstack = ap_unstack,
		.root = kmap_root(),
		.entry = thread_idle_forever,
	};
	uint32_t ids[ACPI_MAX_CPUS];
	unsigned unreachable = 0, n = candidates(ids, &unreachable);

	if (madt.mailbox) {
		tell(n, "left out: firmware wants them woken through memory");
		return;
	}
	smp_start(ids, n, &plan);
	tell(plan.failed, "did not come up");
	tell(plan.untried, "not tried: too many before did not come up");
	tell(plan.surplus + madt.beyond, "more than this kernel uses");
	tell(unreachable, "left out: the id is for x2APIC mode");
	tell(madt.broadcast, "left out: the id is the broadcast");
}
