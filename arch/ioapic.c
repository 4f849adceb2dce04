/* SPDX-License-Identifier: MIT */
/*
 * ioapic.c - the I/O APIC, through an index and a data register
 */
#include "arch/ioapic.h"
#include "arch/bits.h"
#include "arch/cpu.h"
#include "arch/io.h"

#define SELECT 0x00 /* index: selects a register                       */
#define WINDOW 0x10 /* data: the selected register                     */

#define REG_VERSION 1
#define REG_LOW(n)  (0x10 + 2 * (n)) /* of input n                     */
#define REG_HIGH(n) (0x11 + 2 * (n))

#define VERSION_LAST  GENMASK(23, 16) /* number of the last input       */
#define LOW_ACTIVE    BIT(13)
#define LOW_LEVEL     BIT(15)
#define LOW_MASKED    BIT(16)
#define LAST_MAX      239             /* an APIC has no more inputs     */
#define HIGH_DEST     GENMASK(31, 24) /* LAPIC id                       */
#define HIGH_DEST_MAX 254

static char *regs;
static unsigned inputs;

/* Written at boot. */
static struct {
	uint32_t gsi;
	bool low, level;
} isa[ISA_IRQS];

static uint64_t reg_read(unsigned reg)
{
	mmio_write32(regs + SELECT, reg);
	return mmio_read32(regs + WINDOW);
}

static void reg_write(unsigned reg, uint64_t v)
{
	mmio_write32(regs + SELECT, reg);
	mmio_write32(regs + WINDOW, (uint32_t)v);
}

/* Memory would keep what is written; where nothing is, all bits are the same. */
static bool is_ioapic(void)
{
	uint64_t version = reg_read(REG_VERSION);
	uint64_t last = FIELD_GET(VERSION_LAST, version);

	if ((mmio_read32(regs + SELECT) & 0xff) != REG_VERSION || !last ||
	    last > LAST_MAX)
		return false;
	reg_write(REG_VERSION, ~version);
	return reg_read(REG_VERSION) == version;
}

bool ioapic_setup(void *registers)
{
	regs = registers;
	if (!is_ioapic()) {
		regs = NULL;
		return false;
	}
	inputs = (unsigned)FIELD_GET(VERSION_LAST, reg_read(REG_VERSION)) + 1;
	for (unsigned i = 0; i < inputs; i++)
		reg_write(REG_LOW(i), LOW_MASKED);
	return true;
}

bool ioapic_set_isa(unsigned irq, uint32_t gsi, bool low, bool level)
{
	isa[irq].gsi = gsi;
	isa[irq].low = low;
	isa[irq].level = level;
	return gsi < inputs;
}

bool ioapic_enable_isa(unsigned irq, unsigned vector, unsigned cpu)
{
	uint32_t gsi = isa[irq].gsi;

	if (!regs || gsi >= inputs || cpus[cpu].lapic_id > HIGH_DEST_MAX)
		return false;
	/* Unmasked last: the CPU's half must be there by then. */
	reg_write(REG_HIGH(gsi), FIELD_PREP(HIGH_DEST, cpus[cpu].lapic_id));
	reg_write(REG_LOW(gsi), vector | (isa[irq].low ? LOW_ACTIVE : 0) |
					(isa[irq].level ? LOW_LEVEL : 0));
	return true;
}
