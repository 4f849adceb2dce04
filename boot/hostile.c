/* SPDX-License-Identifier: MIT */
/*
 * hostile.c - edu tries at every step of a boot
 *
 *   firmware       | silence |  memory ... PCI  |  IOMMU on ... tests
 *   edu reads,     |         |  tries: may not  |  is made a master and
 *   writes: works  |         |  master the bus  |  tries: denied
 *
 * A write that arrives changes the kernel's word.  A read that arrives is in edu's
 * own memory, a word for each try, which the CPU cannot read: hostile_verdict() has
 * edu write them all to a page of a domain.  A message that edu writes to the
 * interrupt window is a stray interrupt; edu has fetched it in the first phase.
 *
 * Only edu of bus 0 can write through a domain: for another, and without an IOMMU,
 * its reads are not checked.
 *
 * An LSI and an e1000 try too (boot/hostile_engines.h).
 *
 * The registers of edu are used without its driver, at first through the boot
 * tables.  Transfers end by themselves, no clock is needed.
 */
#include "boot/hostile.h"
#include "arch/cpu.h"
#include "arch/io.h"
#include "arch/layout.h"
#include "arch/trap.h"
#include "boot/hostile_engines.h"
#include "drivers/edu.h"
#include "iommu/core/domain.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "mm/frame/pmm.h"
#include "mm/kernel/kmap.h"

#define SECRET   UINT64_C(0x5ec2e75ec2e75ec2)
#define PATIENT  1000u /* loops between two looks at edu, which takes 100 ms */
#define LOOKS    1000000u
#define OUT      UINT64_C(0x40000000)
#define MESSAGES UINT64_C(0xfee00000)
#define VECTOR   0xe4u /* no handler serves it                               */

#define MESSAGE_AT (EDU_BYTES - 2 * (unsigned)sizeof(canary)) /* edu's memory */

static uint64_t canary = SECRET;
static uint32_t message = VECTOR;

static struct {
	char *regs; /* NULL: lie=master is not given                       */
	pa_t bar;
	uint16_t devid;
	bool mapped;    /* regs are the final tables'            */
	unsigned tries; /* of reading; of writing as many                    */
} edu;

static uint32_t command_of(uint16_t devid)
{
	return pci_ports.read(devid, PCI_COMMAND, 2);
}

static void set_master(uint16_t devid, bool on)
{
	uint64_t c = command_of(devid) & ~PCI_COMMAND_MASTER;

	pci_ports.write(devid, PCI_COMMAND, 2,
			(uint32_t)(on ? c | PCI_COMMAND_MASTER : c));
}

static bool runs(void)
{
	for (unsigned i = 0; i < PATIENT; i++)
		barrier();
	return mmio_read64(edu.regs + EDU_COMMAND) & EDU_RUN;
}

static void start(enum edu_way way, pa_t pa, unsigned offset, unsigned bytes)
{
	uint64_t inside = EDU_MEMORY + offset;

	mmio_write64(edu.regs + EDU_SOURCE, way == EDU_TAKE ? pa : inside);
	mmio_write64(edu.regs + EDU_TARGET, way == EDU_TAKE ? inside : pa);
	mmio_write64(edu.regs + EDU_COUNT, bytes);
	mmio_write64(edu.regs + EDU_COMMAND, EDU_RUN | way);
}

/* A machine whose edu never ends shows nothing; there may be no clock yet. */
static void finish(void)
{
	for (unsigned n = 0; runs(); n++)
		if (n == LOOKS)
			panic("lie=master: a transfer of edu does not end");
}

static void transfer(enum edu_way way, pa_t pa, unsigned offset, unsigned bytes)
{
	start(way, pa, offset, bytes);
	finish();
}

static pa_t canary_pa(void)
{
	return (pa_t)&canary - KERNEL_BASE;
}

/* ---- the firmware ------------------------------------------------------ */

static void find_edu(uint16_t devid, void *unused)
{
	(void)unused;
	if (edu.regs || pci_ports.read(devid, PCI_VENDOR, 4) != EDU_ID)
		return;
	edu.devid = devid;
	edu.bar = pci_ports.read(devid, PCI_BAR0, 4) & ~UINT64_C(15);
	edu.regs = phys_to_virt(edu.bar);
}

static void make_master(uint16_t devid, void *unused)
{
	(void)unused;
	set_master(devid, true);
}

void hostile_firmware(void)
{
	pci_walk(0, find_edu, NULL);
	if (!edu.regs) {
		printk("# lie=master: there is no edu\n");
		return;
	}
	pci_walk(0, make_master, NULL);
	/* It can: or nothing that follows would mean anything. */
	transfer(EDU_TAKE, canary_pa(), 0, sizeof(canary));
	transfer(EDU_GIVE, canary_pa(), sizeof(canary), sizeof(canary));
	if (READ_ONCE(canary) == SECRET)
		panic("lie=master: edu cannot write");
	transfer(EDU_TAKE, (pa_t)&message - KERNEL_BASE, MESSAGE_AT,
		 sizeof(message));
	WRITE_ONCE(canary, SECRET);
	hostile_engines_firmware();
	/* And one that is under way when the kernel takes over. */
	start(EDU_GIVE, canary_pa(), sizeof(canary), sizeof(canary));
}

/* ---- at each step ------------------------------------------------------ */

static void no_master(uint16_t devid, void *phase)
{
	if (command_of(devid) & PCI_COMMAND_MASTER)
		panic("lie=master: %s: %02x:%02x.%x is a bus master",
		      (const char *)phase, devid >> 8, devid >> 3 & 31,
		      devid & 7u);
}

/* The boot tables go away, and the final ones show RAM only. */
static void map_again(void)
{
	edu.regs = kmap_device(edu.bar, PAGE_SIZE);
	if (!edu.regs)
		panic("lie=master: no memory to map edu");
	hostile_engines_map();
	edu.mapped = true;
}

void hostile_phase(const char *phase)
{
	bool master;

	if (!edu.regs)
		return;
	if (!edu.mapped)
		map_again();
	finish();
	master = command_of(edu.devid) & PCI_COMMAND_MASTER;
	if (iommu_machine())
		set_master(edu.devid, true);
	else
		pci_walk(0, no_master, (void *)phase);
	edu.tries++;
	transfer(EDU_TAKE, canary_pa(), edu.tries * sizeof(canary),
		 sizeof(canary));
	transfer(EDU_GIVE, canary_pa(), EDU_BYTES - sizeof(canary),
		 sizeof(canary));
	transfer(EDU_GIVE, MESSAGES + (cpus[0].lapic_id << 12), MESSAGE_AT,
		 sizeof(message));
	set_master(edu.devid, master);
	if (READ_ONCE(canary) != SECRET)
		panic("lie=master: %s: edu wrote into the kernel", phase);
	if (trap_stray_take(VECTOR) && !iommu_machine_no_remap())
		panic("lie=master: %s: edu interrupted", phase);
	hostile_engines_try(phase, iommu_machine());
}

/* ---- what it has read -------------------------------------------------- */

static void judge(const uint64_t *words)
{
	if (words[0] != SECRET)
		panic("lie=master: edu could not read, even of the firmware");
	for (unsigned i = 1; i <= edu.tries; i++)
		if (words[i] == SECRET)
			panic("lie=master: phase %u: edu read the kernel", i);
	printk("# lie=master: edu tried to read and write at %u phases, and "
	       "reached nothing\n",
	       edu.tries);
}

void hostile_verdict(void)
{
	struct iommu *iommu = iommu_machine();
	struct domain *d;
	struct page *out;

	if (!edu.regs)
		return;
	hostile_engines_verdict();
	if (!iommu || edu.devid >> 8) {
		printk("# lie=master: edu at %02x:%02x.%x tried to write at %u "
		       "phases, and reached nothing\n",
		       edu.devid >> 8, edu.devid >> 3 & 31, edu.devid & 7u,
		       edu.tries);
		edu.regs = NULL;
		return;
	}
	d = domain_create(iommu);
	out = d ? page_alloc_zeroed() : NULL;
	if (!out)
		panic("lie=master: no memory for the verdict");
	page_set_kind(out, PAGE_DMA);
	if (domain_map(d, OUT, page_pa(out), PAGE_SIZE, PROT_W) ||
	    domain_attach(d, edu.devid, 0))
		panic("lie=master: no domain for the verdict");
	transfer(EDU_GIVE, OUT, 0, (edu.tries + 1) * sizeof(canary));
	judge(page_va(out));
	if (domain_detach(d, edu.devid))
		panic("lie=master: the IOMMU does not answer");
	domain_destroy(d);
	page_put(out);
	edu.regs = NULL;
}
