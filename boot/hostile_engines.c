/* SPDX-License-Identifier: MIT */
/*
 * hostile_engines.c - programs and descriptors that no device may reach
 *
 *   lsi     fetches ──► copies the secret ──► overwrites it ──► interrupts
 *   e1000   fetches ──► reads a frame     ──► writes "done"
 *
 * All of it lies in the image, within reach of a device that firmware has left as
 * a bus master.  The drivers start later and own the devices then, so each try
 * begins and ends with an idle device.
 */
#include "boot/hostile_engines.h"
#include "arch/cpu.h"
#include "arch/io.h"
#include "arch/layout.h"
#include "arch/trap.h"
#include "drivers/e1000.h"
#include "drivers/lsi.h"
#include "iommu/core/iommu.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "mm/kernel/kmap.h"

#define SECRET   UINT64_C(0x15ec2e715ec2e715)
#define MESSAGES UINT64_C(0xfee00000)
#define VECTOR   0xe5u /* no handler serves it                             */

/* Registers, as in the driver: 82540EM chapter 13. */
enum {
	E1000_MDIC = 0x0020,
	E1000_TCTL = 0x0400,
	E1000_TDBAL = 0x3800,
	E1000_TDBAH = 0x3804,
	E1000_TDLEN = 0x3808,
	E1000_TDH = 0x3810,
	E1000_TDT = 0x3818,
};

#define MDIC_LOOPBACK UINT32_C(0x04204000)
#define TCTL_ON       BIT(1)
#define TX_LAST       BIT(24)
#define TX_REPORT     BIT(27)
#define TX_DONE       BIT(0)
#define FRAME         64u
#define RING          8u

static uint64_t secret = SECRET, overwrite = ~SECRET, copy;
static uint32_t message = VECTOR, program[16];
static uint8_t frame[FRAME];
static struct {
	uint64_t address;
	uint32_t word, status;
} ring[RING] __attribute__((aligned(128)));

static pa_t pa_of(const void *p)
{
	return (pa_t)p - KERNEL_BASE;
}

/* ---- what each tries; true if anything of it arrived -------------------- */

static bool lsi_try(char *regs, bool interrupts)
{
	struct lsi_insn insns[] = {
		lsi_move(pa_of(&copy), pa_of(&secret), sizeof(copy)),
		lsi_move(pa_of(&secret), pa_of(&overwrite), sizeof(secret)),
		lsi_interrupt(1),
		lsi_interrupt(2),
	};
	bool arrived;

	if (interrupts)
		insns[2] = lsi_move(MESSAGES + (cpus[0].lapic_id << 12),
				    pa_of(&message), sizeof(message));
	if (lsi_assemble(insns, ARRAY_SIZE(insns), program,
			 ARRAY_SIZE(program)) < 0)
		panic("lie=master: no program for an LSI");
	lsi_regs_reset(regs);
	lsi_regs_start(regs, (uint32_t)pa_of(program));
	barrier();
	arrived = READ_ONCE(copy) || READ_ONCE(secret) != SECRET;
	lsi_regs_reset(regs);
	WRITE_ONCE(copy, 0);
	WRITE_ONCE(secret, SECRET);
	return (interrupts && trap_stray_take(VECTOR) &&
		!iommu_machine_no_remap()) ||
	       arrived;
}

static void e1000_idle(char *regs)
{
	mmio_write32(regs + E1000_TCTL, 0);
	mmio_write32(regs + E1000_TDH, 0);
	mmio_write32(regs + E1000_TDT, 0);
}

static bool e1000_try(char *regs, bool interrupts)
{
	(void)interrupts; /* it sends no messages by itself */
	e1000_idle(regs);
	ring[0].address = pa_of(frame);
	ring[0].word = FRAME | TX_LAST | TX_REPORT;
	WRITE_ONCE(ring[0].status, 0);
	mmio_write32(regs + E1000_MDIC, MDIC_LOOPBACK);
	mmio_write32(regs + E1000_TDBAL, (uint32_t)pa_of(ring));
	mmio_write32(regs + E1000_TDBAH, 0);
	mmio_write32(regs + E1000_TDLEN, sizeof(ring));
	mmio_write32(regs + E1000_TCTL, TCTL_ON);
	barrier(); /* the descriptor is written before this */
	mmio_write32(regs + E1000_TDT, 1);
	barrier();
	e1000_idle(regs);
	return READ_ONCE(ring[0].status) & TX_DONE;
}

/* ---- both --------------------------------------------------------------- */

static struct engine {
	const char *name;
	uint32_t id;
	unsigned bar_reg; /* in configuration space                        */
	uint64_t bytes;   /* of registers                                  */
	bool (*try)(char *regs, bool interrupts);
	char *regs; /* NULL: it is not there                              */
	pa_t bar;
	uint16_t devid;
	unsigned tries;
} engines[] = {
	{ "lsi", LSI_ID, PCI_BAR0 + 4, 256, lsi_try, NULL, 0, 0, 0 },
	{ "e1000", E1000_ID, PCI_BAR0, 0x4000, e1000_try, NULL, 0, 0, 0 },
};

static void find(uint16_t devid, void *unused)
{
	uint32_t id = pci_ports.read(devid, PCI_VENDOR, 4);

	(void)unused;
	for (struct engine *e = engines; e < engines + ARRAY_SIZE(engines);
	     e++) {
		if (e->regs || id != e->id)
			continue;
		e->devid = devid;
		e->bar = pci_ports.read(devid, e->bar_reg, 4) & ~UINT64_C(15);
		e->regs = phys_to_virt(e->bar);
	}
}

void hostile_engines_firmware(void)
{
	pci_walk(0, find, NULL);
	for (struct engine *e = engines; e < engines + ARRAY_SIZE(engines); e++)
		if (e->regs && !e->try(e->regs, false))
			panic("lie=master: %s cannot reach memory", e->name);
}

void hostile_engines_map(void)
{
	for (struct engine *e = engines; e < engines + ARRAY_SIZE(engines);
	     e++) {
		if (!e->regs)
			continue;
		e->regs = kmap_device(e->bar, e->bytes);
		if (!e->regs)
			panic("lie=master: no memory to map %s", e->name);
	}
}

static void try_as_master(struct engine *e, const char *phase, bool may_master)
{
	uint32_t command = pci_ports.read(e->devid, PCI_COMMAND, 2);
	bool arrived;

	if (may_master)
		pci_ports.write(e->devid, PCI_COMMAND, 2,
				command | (uint32_t)PCI_COMMAND_MASTER);
	e->tries++;
	arrived = e->try(e->regs, true);
	pci_ports.write(e->devid, PCI_COMMAND, 2, command);
	if (arrived)
		panic("lie=master: %s: %s reached the kernel", phase, e->name);
}

void hostile_engines_try(const char *phase, bool may_master)
{
	for (struct engine *e = engines; e < engines + ARRAY_SIZE(engines); e++)
		if (e->regs)
			try_as_master(e, phase, may_master);
}

void hostile_engines_verdict(void)
{
	for (struct engine *e = engines; e < engines + ARRAY_SIZE(engines); e++)
		if (e->regs)
			printk("# lie=master: %s tried at %u phases, and "
			       "reached nothing\n",
			       e->name, e->tries);
}
