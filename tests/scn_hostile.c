/* SPDX-License-Identifier: MIT */
/*
 * scn_hostile.c - an engine that tries everything
 *
 * The chip is let reach the chips' own four pages, because without a program it
 * could not try anything; from there it goes through all of memory that 32 bits can
 * name.  A refused read brings 0 and a refused write changes nothing: both are
 * seen in data.
 */
#include "arch/layout.h"
#include "drivers/lsi.h"
#include "kernel/rand.h"
#include "mm/pmm.h"
#include "tests/stand.h"

#define BATCH 32u /* pages a program tries                               */
#define BITE  8u  /* bytes of each                                       */
#define MAGIC UINT64_C(0xfeedfacecafebeef)

struct sweep {
	struct lsi *lsi;
	struct stand *s;
	uint64_t tried, seen, changed;
};

/* A place in the page that is not the same in every page. */
static pa_t spot(pa_t page)
{
	return page + ((page >> PAGE_SHIFT) * 24) % (PAGE_SIZE - BITE);
}

/* stand_domain() lets both chips reach each other's programs. */
static bool is_own(pa_t page)
{
	for (unsigned i = 0; i < STAND_DEVICES; i++) {
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

IOMMU_TEST_ON(hostile, every_page_is_out_of_reach,
	      "of all RAM, read and written page by page, nothing is reached",
	      1, 120)
{
	const struct memmap *ram = pmm_ram();
	struct sweep w = { .s = s, .lsi = s->model ? NULL : lsi_at(0) };

	stand_attach(s, 0, stand_domain(s));
	for (unsigned i = 0; i < ram->n; i++)
		sweep_range(&w, ram->r[i].start, ram->r[i].end, false);
	/* Who reaches it all would leave nobody to tell of it. */
	REQUIRE(!w.seen);
	for (unsigned i = 0; i < ram->n; i++)
		sweep_range(&w, ram->r[i].start, ram->r[i].end, true);

	EXPECT(w.tried > 2 * (60 << 20) / PAGE_SIZE);
	EXPECT_EQ(w.changed, 0);
	test_note("%lu pages tried", w.tried);
}

IOMMU_TEST(hostile, sweep_would_see_a_hole,
	   "the same sweep finds the one page that is mapped, in both ways")
{
	struct page *page = stand_page(s, 'A');
	struct sweep w = { .s = s, .lsi = s->model ? NULL : lsi_at(0) };
	struct domain *d = stand_domain(s);

	REQUIRE(page_pa(page) < BIT(32));
	stand_attach(s, 0, d);
	REQUIRE(!domain_map(d, page_pa(page), page_pa(page), PAGE_SIZE, IO_RW));
	sweep_range(&w, page_pa(page), page_pa(page) + PAGE_SIZE, false);
	sweep_range(&w, page_pa(page), page_pa(page) + PAGE_SIZE, true);

	EXPECT_EQ(w.seen, 1);
	EXPECT_EQ(w.changed, 1);
}

#define ROUNDS 10000u

IOMMU_TEST_ON(
	hostile, reused_page_keeps_its_secret,
	"10,000 times a page is unmapped, reused for a secret, and not seen", 1,
	120)
{
	struct domain *d = stand_domain(s);
	struct page *page = stand_page(s, 1);
	uint64_t leaked = 0, damaged = 0, missed = 0;

	stand_attach(s, 0, d);
	for (uint64_t i = 0; i < ROUNDS; i++) {
		uint64_t secret = MAGIC ^ i;
		iova_t iova = IO(i % 7);

		REQUIRE(!domain_map(d, iova, page_pa(page), PAGE_SIZE, IO_RW));
		WRITE_ONCE(*(uint64_t *)page_va(page), i + 1);
		missed += stand_read(s, 0, iova) != i + 1;
		REQUIRE(!domain_unmap(d, iova, iova + PAGE_SIZE));
		WRITE_ONCE(*(uint64_t *)page_va(page), secret);
		leaked += stand_read(s, 0, iova) == secret;
		stand_write(s, 0, iova, 'X');
		damaged += stand_word(page) != secret;
	}

	EXPECT_EQ(missed, 0);
	EXPECT_EQ(leaked, 0);
	EXPECT_EQ(damaged, 0);
}

/* ---- split and join while a device is busy ------------------------------ */

#define SPLITS 200u

struct reader {
	struct stand *s;
	_Atomic bool stop;
	_Atomic uint64_t reads, wrong;
};

static void read_all_the_time(void *arg)
{
	struct reader *r = arg;
	uint64_t i = 0;

	while (!atomic_load(&r->stop)) {
		uint64_t got =
			stand_read(r->s, 0, IOVA + (i % 512) * PAGE_SIZE);

		if (got != 1 + i % 512)
			atomic_fetch_add(&r->wrong, 1);
		atomic_fetch_add(&r->reads, 1);
		/* Under icount our turn would always end inside the model's
		 * lock, and the other CPU would never find it free. */
		cpu_pause();
		i += 37;
	}
}

IOMMU_TEST_SMP(
	hostile, split_and_join_under_dma,
	"2 MiB are split and joined while a device reads them, unnoticed", 2)
{
	struct reader r = { .s = s };
	struct domain *d = stand_domain(s);
	struct page *block = stand_large(s, 1);
	struct thread *t;

	stand_attach(s, 0, d);
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
	   "a page taken out of 2 MiB is gone, the 511 others stay")
{
	struct domain *d = stand_domain(s);
	struct page *block = stand_large(s, 1);

	stand_attach(s, 0, d);
	REQUIRE(!domain_map(d, IOVA, page_pa(block), pt_span(1), IO_RW));
	for (unsigned i = 98; i < 103; i++)
		EXPECT_EQ(stand_read(s, 0, IO(i)), 1 + i);
	REQUIRE(!domain_unmap(d, IO(100), IO(101)));

	for (unsigned i = 0; i < 512; i++)
		EXPECT_EQ(stand_read(s, 0, IO(i)), i == 100 ? BLOCKED : 1 + i);
	stand_write(s, 0, IO(100), 'X');
	EXPECT_EQ(stand_word(block + 100), 101);
	EXPECT(domain_join(d, IOVA) != 0);
	REQUIRE(!domain_map(d, IO(100), page_pa(block + 100), PAGE_SIZE,
			    IO_RW));
	EXPECT(!domain_join(d, IOVA));
	EXPECT_EQ(stand_read(s, 0, IO(100)), 101);
}

IOMMU_TEST(hostile, grown_tree_keeps_all,
	   "a domain that grows by a level keeps what it had (C118)")
{
	struct page *low = stand_page(s, 'L'), *high = stand_page(s, 'H');
	iova_t far = UINT64_C(5) << 39;
	struct domain *d = stand_domain(s);
	uint64_t word = 0;

	stand_attach(s, 0, d);
	REQUIRE(!domain_map(d, IOVA, page_pa(low), PAGE_SIZE, IO_RW));
	EXPECT_EQ(stand_read(s, 0, IOVA), 'L');
	EXPECT_EQ(d->pt.levels, 3);
	REQUIRE(!domain_map(d, far, page_pa(high), PAGE_SIZE, IO_RW));

	EXPECT_EQ(d->pt.levels, 4);
	EXPECT_EQ(stand_read(s, 0, IOVA), 'L');
	if (s->model) /* the chips cannot say such an address */
		EXPECT_EQ(model_dma(s->model, s->devid[0], far, &word, 8, false,
				    NULL),
			  8);
	EXPECT_EQ(word, s->model ? 'H' : 0);
	REQUIRE(!domain_unmap(d, IOVA, IO(1)));
	EXPECT_EQ(stand_read(s, 0, IOVA), BLOCKED);
}
