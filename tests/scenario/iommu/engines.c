/* SPDX-License-Identifier: MIT */
/*
 * engines.c - each kind of engine tries each kind of page
 *
 * The engine is attached to a domain that maps its own pages and nothing else;
 * without these it could not try.  Then it reads and writes a word of every page
 * that stands for a kind, and sends a message to local APICs.  All engines are
 * driven in the same way (drivers/dma.h), so the same list is asked of all.
 */
#include "arch/cpu.h"
#include "arch/smp.h"
#include "arch/trap.h"
#include "iommu/core/domain.h"
#include "mm/frame/huge_pool.h"
#include "mm/frame/pmm.h"
#include "tests/checker/event_checker.h"
#include "tests/fixture/iommu/engines.h"
#include "tests/fixture/mm/mm_fixture.h"

#define MESSAGES UINT64_C(0xfee00000)
#define APICS    256u
#define VECTOR   0xe7u /* no handler serves it                             */
#define PLACES   32u

static struct {
	struct dma_engine *e;
	struct domain *domain;
	pa_t place[PLACES];
	unsigned n;
} try;

static void open_engine(const char *name)
{
	struct dma_own *own;

	try.e = dma_engine_named(name);
	try.n = 0;
	if (!iommu_machine() || !try.e)
		SKIP("no IOMMU, or not this engine on this machine");
	own = &try.e->own;
	try.domain = domain_create(iommu_machine());
	REQUIRE(try.domain);
	REQUIRE(!domain_map(try.domain, own->bus, own->pa, own->len,
			    PROT_R | PROT_W));
	REQUIRE(!domain_attach(try.domain, try.e->devid, 0));
}

static void close_engine(void)
{
	REQUIRE(!domain_detach(try.domain, try.e->devid));
	domain_destroy(try.domain);
}

/* ---- places ------------------------------------------------------------ */

/* A blocked read gives 0 as well, so the word at pa must not be 0: choose it or
 * the next one in its page that is not. */
static void add(pa_t pa)
{
	const uint64_t *page = phys_to_virt(pa & ~(PAGE_SIZE - 1));
	unsigned at = pa % PAGE_SIZE / 8;

	for (unsigned n = 0; n < PAGE_SIZE / 8 && !READ_ONCE(page[at]); n++)
		at = (at + 1) % (PAGE_SIZE / 8);
	pa = (pa & ~(PAGE_SIZE - 1)) + at * 8;
	REQUIRE(try.n < PLACES && dma_reaches(try.e, pa, 8));
	try.place[try.n++] = pa;
}

/* What only a name tells from other pages of its kind. */
static void add_named(struct iommu *iommu)
{
	add((pa_t)text_start - KERNEL_BASE);
	add((pa_t)rodata_start - KERNEL_BASE);
	add((pa_t)data_start - KERNEL_BASE);
	add((read_cr3() & ~(PAGE_SIZE - 1)) + 8);
	add(page_pa(iommu->table_pages) +
	    try.e->devid * sizeof(struct dte)); /* its own entry            */
	add(page_pa(iommu->queue.pages));
	add(page_pa(iommu->events.pages));
	add(page_pa(iommu->requests.pages));
	add(page_pa(iommu->empty));
	add(virt_to_phys(frames));
}

/* The last page of each kind that there is; how many kinds that are. */
static unsigned add_kinds(void)
{
	pfn_t last[PAGE_KINDS] = { 0 };
	unsigned kinds = 0;

	for (pfn_t pfn = 1; pfn < frames_end && pfn < BIT(20); pfn++)
		last[page_kind(page_of(pfn))] = pfn;
	for (unsigned kind = 0; kind < PAGE_KINDS; kind++) {
		if (kind == PAGE_RESERVED || !last[kind])
			continue;
		add((last[kind] << PAGE_SHIFT) + 64);
		kinds++;
	}
	return kinds;
}

/* ---- tries ------------------------------------------------------------- */

/* How many of the places the engine reads. */
static unsigned reads(void)
{
	unsigned seen = 0;

	for (unsigned i = 0; i < try.n; i++) {
		uint64_t got;

		REQUIRE(!dma_read(try.e, try.place[i], &got, sizeof(got)));
		if (!got)
			continue;
		test_note("%s reads %#lx", try.e->name, try.place[i]);
		seen++;
	}
	return seen;
}

/* How many it writes.  Each that it does is destroyed. */
static unsigned writes(void)
{
	unsigned changed = 0;

	for (unsigned i = 0; i < try.n; i++) {
		const uint64_t *word = phys_to_virt(try.place[i]);
		uint64_t tag = UINT64_C(0x7461677461677461) + i;

		REQUIRE(!dma_write(try.e, try.place[i], &tag, sizeof(tag)));
		if (READ_ONCE(*word) != tag)
			continue;
		test_note("%s writes %#lx", try.e->name, try.place[i]);
		changed++;
	}
	return changed;
}

static void nothing(void *arg)
{
	(void)arg;
}

/* Send a message to every step-th local APIC, the first CPU's among them; return
 * how many arrived.  The call has a lower priority class: a CPU that has answered
 * it has taken all messages. */
static uint64_t try_window(unsigned step)
{
	uint32_t message = VECTOR;

	for (unsigned i = cpus[0].lapic_id % step; i < APICS; i += step)
		REQUIRE(!dma_write(try.e, MESSAGES + (i << 12), &message,
				   sizeof(message)));
	preempt_disable();
	smp_call(smp_online_mask(), nothing, NULL);
	preempt_enable();
	return trap_stray_take(VECTOR);
}

static struct page *page_for_devices(void)
{
	struct page *page = page_alloc_zeroed();

	REQUIRE(page);
	page_set_kind(page, PAGE_DMA);
	*(uint64_t *)page_va(page) = 'D';
	return page;
}

static void reaches_nothing(const char *engine, unsigned step)
{
	struct object *object;
	struct mm *mm, *other;
	struct page *page;
	unsigned pool;

	open_engine(engine);
	page = page_for_devices();
	mm = mm_fixture(1);
	object = object_create(1);
	REQUIRE(object);
	other = mm_fixture_shared(object, 1);
	EXPECT(!wr(mm, VA, 'U') && !wr(other, VA, 'O'));
	events_refused(try.e->devid);
	add_named(iommu_machine());
	pool = huge_pool_stat().total;
	huge_pool_resize(pool ? pool : 1);
	/* All but RESERVED, a merged one and, with little memory, one of the pool,
	 * which need not be there; DEVICE and VRAM are not RAM. */
	EXPECT(add_kinds() >= PAGE_KINDS - 5);
	REQUIRE(!reads());
	EXPECT_EQ(writes(), 0);
	if (iommu_machine()->remaps)
		EXPECT_EQ(try_window(step), 0);
	huge_pool_resize(pool);
	mm_put(other);
	object_put(object);
	mm_put(mm);
	page_put(page);
	close_engine();
}

/* Two entries of the device table: QEMU asks the IOAPIC's (docs/limits.md). */
static void vector_arrives(struct iommu *iommu)
{
	const struct irq_grant g[] = {
		{ try.e->devid, VECTOR, cpus[0].lapic_id },
		{ IRQ_OF_IOAPIC, VECTOR, cpus[0].lapic_id },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(g); i++)
		REQUIRE(!iommu_grant(iommu, &g[i]));
	EXPECT(try_window(APICS));
	for (unsigned i = 0; i < ARRAY_SIZE(g); i++)
		REQUIRE(!iommu_revoke(iommu, &g[i]));
}

static void sees_a_hole(const char *engine)
{
	struct page *page;

	open_engine(engine);
	page = page_for_devices();
	REQUIRE(!domain_map(try.domain, page_pa(page), page_pa(page), PAGE_SIZE,
			    PROT_R | PROT_W));
	add(page_pa(page));
	EXPECT_EQ(reads(), 1);
	EXPECT_EQ(writes(), 1);
	if (iommu_machine()->remaps)
		vector_arrives(iommu_machine());
	close_engine();
	page_put(page);
}

#define REACHES_TEST(suite, name, engine, step)                              \
	TEST_FULL(suite, name,                                               \
		  engine ", attached to its own pages, reads and writes no " \
			 "page of any kind, kernel, tables, device table, "  \
			 "rings, free and user's, and interrupts no CPU",    \
		  1, 60)                                                     \
	{                                                                    \
		reaches_nothing(engine, step);                               \
	}

#define HOLE_TEST(suite, name, engine)                                 \
	TEST(suite, name,                                              \
	     "the same tries of " engine " find the one page that is " \
	     "mapped, and the one vector that was granted")            \
	{                                                              \
		sees_a_hole(engine);                                   \
	}

REACHES_TEST(engines, lsi0_reaches_nothing, "lsi0", 1)
HOLE_TEST(engines, lsi0_sees_a_hole, "lsi0")
REACHES_TEST(engines, lsi1_reaches_nothing, "lsi1", 1)
HOLE_TEST(engines, lsi1_sees_a_hole, "lsi1")
/* A transfer of edu's takes 100 ms: it asks 4 APICs of 256. */
REACHES_TEST(engines, edu_reaches_nothing, "edu", 64)
HOLE_TEST(engines, edu_sees_a_hole, "edu")
REACHES_TEST(engines, e1000_reaches_nothing, "e1000", 1)
HOLE_TEST(engines, e1000_sees_a_hole, "e1000")
