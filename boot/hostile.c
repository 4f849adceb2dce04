/* SPDX-License-Identifier: MIT */
/*
 * hostile.c - edu tries at every step of a boot
 *
 *   firmware       | silence |  memory ... PCI  |  IOMMU on ... tests
 *   edu reads,     |         |  tries: may not  |  is made a master and
 *   writes: works  |         |  master the bus  |  tries: denied
 *
 * What a write did is seen in the kernel's word.  What a read brought is in
 * edu's own memory, a word for each try, which no CPU can read: the verdict has
 * edu write them all to a page that a domain lets it reach.
 *
 * Below the drivers: edu's registers are used as they are, at first through the
 * boot tables.  Transfers end by themselves, no clock is needed.
 */
#include "boot/hostile.h"
#include "arch/io.h"
#include "arch/layout.h"
#include "drivers/edu.h"
#include "iommu/domain.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "mm/kmap.h"
#include "mm/pmm.h"

#define SECRET  UINT64_C(0x5ec2e75ec2e75ec2)
#define PATIENT 1000u /* loops between two looks at edu, which takes 100 ms */
#define OUT     UINT64_C(0x40000000)

static uint64_t canary = SECRET;

static struct {
	char *regs; /* NULL: nobody is hostile                             */
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

static void transfer(enum edu_way way, pa_t pa, unsigned offset, unsigned bytes)
{
	start(way, pa, offset, bytes);
	while (runs())
		;
}

static pa_t canary_pa(void)
{
	return (pa_t)&canary - KERNEL_BASE;
}

/* ---- the firmware ------------------------------------------------------ */

static bool find_edu(void)
{
	for (uint16_t devid = 0; devid < PCI_FUNCTIONS; devid++) {
		if (pci_ports.read(devid, PCI_VENDOR, 4) != EDU_ID)
			continue;
		edu.devid = devid;
		edu.bar = pci_ports.read(devid, PCI_BAR0, 4) & ~UINT64_C(15);
		edu.regs = phys_to_virt(edu.bar);
		return true;
	}
	return false;
}

void hostile_firmware(void)
{
	if (!find_edu()) {
		printk("# lie=master: there is no edu\n");
		return;
	}
	for (uint16_t devid = 0; devid < PCI_FUNCTIONS; devid++)
		set_master(devid, true);
	/* It can: or nothing that follows would mean anything. */
	transfer(EDU_TAKE, canary_pa(), 0, sizeof(canary));
	transfer(EDU_GIVE, canary_pa(), sizeof(canary), sizeof(canary));
	if (READ_ONCE(canary) == SECRET)
		panic("lie=master: edu cannot write");
	WRITE_ONCE(canary, SECRET);
	/* And one that is under way when the kernel takes over. */
	start(EDU_GIVE, canary_pa(), sizeof(canary), sizeof(canary));
}

/* ---- at each step ------------------------------------------------------ */

static void nobody_masters(const char *phase)
{
	for (uint16_t devid = 0; devid < PCI_FUNCTIONS; devid++)
		if (pci_ports.read(devid, PCI_VENDOR, 2) != PCI_NOBODY &&
		    command_of(devid) & PCI_COMMAND_MASTER)
			panic("lie=master: %s: %02x.%x is a bus master", phase,
			      devid >> 3, devid & 7u);
}

/* The boot tables go away, and the final ones show RAM only. */
static void map_again(void)
{
	edu.regs = kmap_device(edu.bar, PAGE_SIZE);
	if (!edu.regs)
		panic("lie=master: no memory to map edu");
	edu.mapped = true;
}

void hostile_phase(const char *phase)
{
	bool master;

	if (!edu.regs)
		return;
	if (!edu.mapped)
		map_again();
	while (runs())
		;
	master = command_of(edu.devid) & PCI_COMMAND_MASTER;
	if (iommu_machine())
		set_master(edu.devid, true);
	else
		nobody_masters(phase);
	edu.tries++;
	transfer(EDU_TAKE, canary_pa(), edu.tries * sizeof(canary),
		 sizeof(canary));
	transfer(EDU_GIVE, canary_pa(), EDU_BYTES - sizeof(canary),
		 sizeof(canary));
	set_master(edu.devid, master);
	if (READ_ONCE(canary) != SECRET)
		panic("lie=master: %s: edu wrote into the kernel", phase);
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
	struct domain *d = edu.regs && iommu ? domain_create(iommu) : NULL;
	struct page *out = d ? page_alloc_zeroed() : NULL;

	if (!edu.regs)
		return;
	if (!out)
		panic("lie=master: no IOMMU, or no memory, for the verdict");
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
