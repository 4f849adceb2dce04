/* SPDX-License-Identifier: MIT */
/*
 * engines.c - buffers below 4 GiB, and the engine or SKIP
 */
#include "tests/engines.h"
#include "arch/layout.h"
#include "drivers/pci.h"
#include "iommu/domain.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "tests/test.h"

static uint8_t buffers[BUFFERS][BUFFER_SIZE] DMA_MEMORY;

uint8_t buffer_pattern(unsigned i, uint64_t at)
{
	uint64_t h = (at + 1) * (2 * i + 0x9e3779b97f4a7c15);

	return (uint8_t)(h >> 32) | 1;
}

uint8_t *engine_buffer(unsigned i)
{
	for (uint64_t at = 0; at < BUFFER_SIZE; at++)
		buffers[i][at] = buffer_pattern(i, at);
	return buffers[i];
}

iova_t buffer_bus(const void *p)
{
	assert((va_t)p >= KERNEL_BASE);
	return (va_t)p - KERNEL_BASE;
}

/* One domain for all engines of a test, with everything at its own address. */
static struct domain *shared;
static uint16_t members[8];
static unsigned n_members;

static void let_reach(pa_t start, uint64_t bytes)
{
	REQUIRE(!domain_map(shared, start, start, bytes, PROT_R | PROT_W));
}

static void shared_open(struct iommu *iommu)
{
	struct pci_dev *dev;

	shared = domain_create(iommu);
	REQUIRE(shared);
	let_reach(buffer_bus(dma_start), (uint64_t)(dma_end - dma_start));
	for (unsigned i = 0; (dev = pci_at(i)); i++)
		for (unsigned bar = 0; dev->driver && bar < PCI_BARS; bar++) {
			struct pci_bar *b = &dev->bars[bar];

			if (b->size >= PAGE_SIZE && !b->io && !b->bad)
				let_reach(b->pa, b->size);
		}
}

static void let_in(const struct dma_engine *e)
{
	struct iommu *iommu = iommu_machine();

	if (!iommu)
		return;
	if (!shared)
		shared_open(iommu);
	for (unsigned i = 0; i < n_members; i++)
		if (members[i] == e->devid)
			return;
	REQUIRE(!domain_attach(shared, e->devid, 0));
	members[n_members++] = e->devid;
}

void engines_release(void)
{
	if (!shared)
		return;
	while (n_members)
		if (domain_detach(shared, members[--n_members]))
			panic("the IOMMU does not answer");
	domain_destroy(shared);
	shared = NULL;
}

struct dma_engine *need_engine(const char *name)
{
	static char why[60];
	struct dma_engine *e = dma_engine_named(name);

	snprintk(why, sizeof(why), "no %s on this machine", name);
	if (!e)
		SKIP(why);
	let_in(e);
	return e;
}

void need_quirk(const char *name, bool holds)
{
	static char why[160];
	const struct quirk *row = quirk_named(name);

	assert(row);
	if (holds)
		return;
	if (quirks_unknown())
		SKIP(quirks_unknown());
	snprintk(why, sizeof(why), "this IOMMU has no %s: %s", name, row->what);
	SKIP(why);
}
