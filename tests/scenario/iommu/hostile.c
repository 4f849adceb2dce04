/* SPDX-License-Identifier: MIT */
/*
 * hostile.c - an engine that tries everything
 *
 * The chip may reach the chips' own four pages, because without a program it
 * cannot access anything; from there it goes through all of memory that 32 bits can
 * address.  A blocked read gives 0 and a blocked write changes nothing: both are
 * seen in data.  The interrupt range, FEE0_0000h to FEF0_0000h, is no memory: a
 * write that is not refused there is a message to one of 256 local APICs, and is
 * seen as a stray interrupt.
 */
#include "arch/cpu.h"
#include "arch/layout.h"
#include "arch/smp.h"
#include "arch/trap.h"
#include "drivers/lsi.h"
#include "kernel/rand.h"
#include "mm/frame/pmm.h"
#include "tests/fixture/iommu/iommu_fixture.h"

#define BATCH 32u /* pages a program tries                               */
#define BITE  8u  /* bytes of each                                       */
#define MAGIC UINT64_C(0xfeedfacecafebeef)

#define MESSAGES UINT64_C(0xfee00000)
#define APICS    256u
#define VECTOR   0xe6u /* no handler serves it                             */

struct sweep {
	struct lsi *lsi;
	struct iommu_fixture *s;
	uint64_t tried, seen, changed, interrupts;
};

/* A place in the page that is not the same in every page. */
static pa_t spot(pa_t page)
{
	return page + ((page >> PAGE_SHIFT) * 24) % (PAGE_SIZE - BITE);
}

/* fixture_domain() lets both chips reach each other's programs. */
static bool is_own(pa_t page)
{
	for (unsigned i = 0; i < FIXTURE_DEVICES; i++) {
		const struct dma_own *own = &lsi_at(i)->engine.own;

		if (page >= own->pa && page < own->pa + own->len)
			return true;
	}
	return false;
}

/* Run a program of n moves with the staging page as its other side. */
static void try_moves(struct sweep *w, const pa_t *page, unsigned n, bool write)
{
	struct lsi_insn program[BATCH + 1];
	struct dma_own *own = &w->lsi->engine.own;
	uint64_t *stage = (uint64_t *)(own->va + DMA_STAGE);
	iova_t bus = own->bus + DMA_STAGE;
	uint32_t tag = 0;

	for (unsigned i = 0; i < n; i++) {
		uint64_t there = bus + i * BITE, here = spot(page[i]);

		WRITE_ONCE(stage[i], MAGIC);
		program[i] =
			write ? lsi_move((uint32_t)here, (uint32_t)there, BITE)
			      : lsi_move((uint32_t)there, (uint32_t)here, BITE);
	}
	program[n] = lsi_interrupt(7);
	REQUIRE(!lsi_run(w->lsi, LSI_IN_MEMORY, program, n + 1, &tag));
	EXPECT_EQ(tag, 7);
	for (unsigned i = 0; i < n; i++) {
		const uint64_t *there = phys_to_virt(spot(page[i]));

		w->tried++;
		w->seen += !write && READ_ONCE(stage[i]) != 0;
		w->changed += write && READ_ONCE(*there) == MAGIC;
	}
}

static void try_model(struct sweep *w, pa_t page, bool write)
{
	uint64_t word = MAGIC;
	size_t moved = model_dma(w->s->model, w->s->devid[0], spot(page), &word,
				 sizeof(word), write, NULL);

	w->tried++;
	w->seen += !write && (moved || word != MAGIC);
	w->changed += write && moved;
}

static void sweep_range(struct sweep *w, pa_t start, pa_t end, bool write)
{
	pa_t batch[BATCH];
	unsigned n = 0;

	for (pa_t page = start; page < end && page < BIT(32);
	     page += PAGE_SIZE) {
		if (w->s->model) {
			try_model(w, page, write);
			continue;
		}
		if (is_own(page))
			continue;
		batch[n++] = page;
		if (n == BATCH) {
			try_moves(w, batch, n, write);
			n = 0;
		}
	}
	if (n)
		try_moves(w, batch, n, write);
}

static void nothing(void *arg)
{
	(void)arg;
}

/* The call has a lower priority class: a CPU that has answered it has taken all
 * messages. */
static uint64_t strays_taken(void)
{
	preempt_disable();
	smp_call(smp_online_mask(), nothing, NULL);
	preempt_enable();
	return trap_stray_take(VECTOR);
}

/* The range has one page for each possible local APIC. */
static void sweep_window(struct sweep *w)
{
	struct lsi *lsi = w->lsi;
	uint32_t message = VECTOR, tag;

	for (unsigned i = 0; i < APICS; i++) {
		iova_t at = MESSAGES + i * PAGE_SIZE;

		w->tried++;
		if (w->s->model) {
			w->interrupts += model_dma(w->s->model, w->s->devid[0],
						   at, &message, 4, true, NULL);
			continue;
		}
		WRITE_ONCE(*(uint32_t *)(lsi->engine.own.va + DMA_STAGE),
			   message);
		REQUIRE(!lsi_run(
			lsi, LSI_IN_MEMORY,
			(struct lsi_insn[]){
				lsi_move(at, lsi->engine.own.bus + DMA_STAGE,
					 4),
				lsi_interrupt(7) },
			2, &tag));
	}
	w->interrupts += strays_taken();
}

IOMMU_TEST_ON(hostile, no_page_can_be_reached,
	      "a device without a domain that reads and writes every page of "
	      "RAM reaches none, and no vector at any of 256 local APICs if "
	      "interrupts are remapped",
	      1, 120)
{
	const struct memmap *ram = pmm_ram();
	struct sweep w = { .s = s, .lsi = s->model ? NULL : lsi_at(0) };

	fixture_attach(s, 0, fixture_domain(s));
	fixture_refused(s, 0);
	for (unsigned i = 0; i < ram->n; i++)
		sweep_range(&w, ram->r[i].start, ram->r[i].end, false);
	/* Stop before the writes: they would destroy the kernel. */
	REQUIRE(!w.seen);
	for (unsigned i = 0; i < ram->n; i++)
		sweep_range(&w, ram->r[i].start, ram->r[i].end, true);

	if (s->iommu->remaps)
		sweep_window(&w);

	EXPECT(w.tried > 2 * (60 << 20) / PAGE_SIZE);
	EXPECT_EQ(w.interrupts, 0);
	EXPECT_EQ(w.changed, 0);
	test_note("%lu pages tried", w.tried);
}

/* Two entries of the device table: QEMU asks the IOAPIC's (docs/limits.md). */
static void find_granted_vector(struct sweep *w)
{
	struct iommu *iommu = w->s->iommu;
	const struct irq_grant g[] = {
		{ w->s->devid[0], VECTOR, cpus[0].lapic_id },
		{ IRQ_OF_IOAPIC, VECTOR, cpus[0].lapic_id },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(g); i++)
		REQUIRE(!iommu_grant(iommu, &g[i]));
	sweep_window(w);
	for (unsigned i = 0; i < ARRAY_SIZE(g); i++)
		REQUIRE(!iommu_revoke(iommu, &g[i]));
	EXPECT(w->interrupts);
}

IOMMU_TEST(hostile, sweep_would_see_a_hole,
	   "the same sweep finds the one page that is mapped, for reads and "
	   "writes, and the one vector that was granted")
{
	struct page *page = fixture_page(s, 'A');
	struct sweep w = { .s = s, .lsi = s->model ? NULL : lsi_at(0) };
	struct domain *d = fixture_domain(s);

	REQUIRE(page_pa(page) < BIT(32));
	fixture_attach(s, 0, d);
	REQUIRE(!domain_map(d, page_pa(page), page_pa(page), PAGE_SIZE, IO_RW));
	sweep_range(&w, page_pa(page), page_pa(page) + PAGE_SIZE, false);
	sweep_range(&w, page_pa(page), page_pa(page) + PAGE_SIZE, true);

	EXPECT_EQ(w.seen, 1);
	EXPECT_EQ(w.changed, 1);
	if (s->iommu->remaps)
		find_granted_vector(&w);
}

#define ROUNDS 2000u

IOMMU_TEST_ON(hostile, reused_page_is_never_read,
	      "a page that is unmapped 2,000 times and each time reused for a "
	      "secret is never read by the device",
	      1, 120)
{
	struct domain *d = fixture_domain(s);
	struct page *page = fixture_page(s, 1);
	uint64_t leaked = 0, damaged = 0, missed = 0;

	fixture_attach(s, 0, d);
	for (uint64_t i = 0; i < ROUNDS; i++) {
		uint64_t secret = MAGIC ^ i;
		iova_t iova = IO(i % 7);

		REQUIRE(!domain_map(d, iova, page_pa(page), PAGE_SIZE, IO_RW));
		WRITE_ONCE(*(uint64_t *)page_va(page), i + 1);
		missed += fixture_read(s, 0, iova) != i + 1;
		REQUIRE(!domain_unmap(d, iova, iova + PAGE_SIZE));
		WRITE_ONCE(*(uint64_t *)page_va(page), secret);
		leaked += fixture_read(s, 0, iova) == secret;
		fixture_write(s, 0, iova, 'X');
		damaged += fixture_word(page) != secret;
	}

	EXPECT_EQ(missed, 0);
	EXPECT_EQ(leaked, 0);
	EXPECT_EQ(damaged, 0);
}

/* ---- split and join while a device is busy ------------------------------ */

#define SPLITS 200u

struct reader {
	struct iommu_fixture *s;
	_Atomic bool stop;
	_Atomic uint64_t reads, wrong;
};

static void read_all_the_time(void *arg)
{
	struct reader *r = arg;
	uint64_t i = 0;

	while (!atomic_load(&r->stop)) {
		uint64_t got =
			fixture_read(r->s, 0, IOVA + (i % 512) * PAGE_SIZE);

		if (got != 1 + i % 512)
			atomic_fetch_add(&r->wrong, 1);
		atomic_fetch_add(&r->reads, 1);
		/* Under icount our turn would always end inside the model's
		 * lock, and the other CPU would never find it free. */
		cpu_pause();
		i += 37;
	}
}

IOMMU_TEST_SMP(hostile, split_and_join_under_dma,
	       "splitting a 2 MiB page and joining it again while a device "
	       "reads it changes no byte that the device reads",
	       2)
{
	struct reader r = { .s = s };
	struct domain *d = fixture_domain(s);
	struct page *block = fixture_large(s, 1);
	struct thread *t;

	fixture_attach(s, 0, d);
	REQUIRE(!domain_map(d, IOVA, page_pa(block), pt_span(1), IO_RW));
	t = thread_create("reader", read_all_the_time, &r);
	REQUIRE(t);
	for (unsigned i = 0; i < SPLITS; i++) {
		uint64_t before = atomic_load(&r.reads);

		EXPECT(!(i % 2 ? domain_join(d, IO(3))
			       : domain_split(d, IO(3))));
		while (atomic_load(&r.reads) < before + 3)
			yield(); /* it may be on this CPU */
	}
	atomic_store(&r.stop, true);
	thread_join(t);

	EXPECT_EQ(atomic_load(&r.wrong), 0);
	EXPECT(atomic_load(&r.reads) >= 3 * SPLITS);
}

IOMMU_TEST(hostile, unmap_inside_a_large_page,
	   "an unmap of one 4 KiB page inside a 2 MiB page removes that page, "
	   "and the 511 others stay mapped")
{
	struct domain *d = fixture_domain(s);
	struct page *block = fixture_large(s, 1);

	fixture_attach(s, 0, d);
	REQUIRE(!domain_map(d, IOVA, page_pa(block), pt_span(1), IO_RW));
	for (unsigned i = 98; i < 103; i++)
		EXPECT_EQ(fixture_read(s, 0, IO(i)), 1 + i);
	REQUIRE(!domain_unmap(d, IO(100), IO(101)));

	for (unsigned i = 0; i < 512; i++)
		EXPECT_EQ(fixture_read(s, 0, IO(i)),
			  i == 100 ? BLOCKED : 1 + i);
	fixture_write(s, 0, IO(100), 'X');
	EXPECT_EQ(fixture_word(block + 100), 101);
	EXPECT(domain_join(d, IOVA) != 0);
	REQUIRE(!domain_map(d, IO(100), page_pa(block + 100), PAGE_SIZE,
			    IO_RW));
	EXPECT(!domain_join(d, IOVA));
	EXPECT_EQ(fixture_read(s, 0, IO(100)), 101);
}

IOMMU_TEST(hostile, grown_tree_keeps_all,
	   "a domain whose tree grows by a level keeps all its mappings (C118)")
{
	struct page *low = fixture_page(s, 'L'), *high = fixture_page(s, 'H');
	iova_t far = UINT64_C(5) << 39;
	struct domain *d = fixture_domain(s);
	uint64_t word = 0;

	fixture_attach(s, 0, d);
	REQUIRE(!domain_map(d, IOVA, page_pa(low), PAGE_SIZE, IO_RW));
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'L');
	EXPECT_EQ(d->pt.levels, 3);
	REQUIRE(!domain_map(d, far, page_pa(high), PAGE_SIZE, IO_RW));

	EXPECT_EQ(d->pt.levels, 4);
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'L');
	if (s->model) /* the chips cannot say such an address */
		EXPECT_EQ(model_dma(s->model, s->devid[0], far, &word, 8, false,
				    NULL),
			  8);
	EXPECT_EQ(word, s->model ? 'H' : 0);
	REQUIRE(!domain_unmap(d, IOVA, IO(1)));
	EXPECT_EQ(fixture_read(s, 0, IOVA), BLOCKED);
}
