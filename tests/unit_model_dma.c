/* SPDX-License-Identifier: MIT */
/*
 * unit_model_dma.c - the strict IOMMU's devices: transfers and their own TLBs
 */
#include "kernel/string.h"
#include "kernel/thread.h"
#include "mm/pmm.h"
#include "tests/model_rig.h"

#define DEV     8
#define OTHER   9
#define DOMAIN  7
#define PAGE(n) (RIG_IOVA + (n)*PAGE_SIZE)

TEST(model_dma, transfer_stops_at_the_page_that_fails,
     "of three pages without the middle one the first is moved, the last not")
{
	static unsigned char buf[3 * PAGE_SIZE];
	enum model_verdict why;
	pa_t root, first, last;
	struct rig r;

	rig_open(&r, NULL);
	root = rig_attach(&r, DEV, DOMAIN);
	first = rig_page(&r);
	last = rig_page(&r);
	rig_map(&r, root, PAGE(0), first, RIG_RW);
	rig_map(&r, root, PAGE(2), last, RIG_RW);
	memset(buf, 0x5a, sizeof(buf));
	EXPECT_EQ(model_dma(r.m, DEV, PAGE(0) + 16, buf, 2 * PAGE_SIZE, true,
			    &why),
		  PAGE_SIZE - 16);
	EXPECT_EQ(why, MODEL_FAULT);
	EXPECT_EQ(*rig_word(first + 8), 0);
	EXPECT_EQ(*rig_word(first + 16), 0x5a5a5a5a5a5a5a5a);
	EXPECT_EQ(*rig_word(first + PAGE_SIZE - 8), 0x5a5a5a5a5a5a5a5a);
	EXPECT_EQ(*rig_word(last), 0);
	EXPECT_EQ(rig_event(&r).w[1], PAGE(1));
	EXPECT_EQ(rig_events(&r), 0);
	rig_close(&r);
}

TEST(model_dma, bytes_cross_pages_unchanged,
     "500 transfers of any length and alignment read back what was written")
{
	static unsigned char out[3 * PAGE_SIZE], in[3 * PAGE_SIZE];
	struct rng rng = rng_seed(test_seed());
	struct rig r;
	pa_t root;

	rig_open(&r, NULL);
	root = rig_attach(&r, DEV, DOMAIN);
	for (unsigned i = 0; i < 4; i++)
		rig_map(&r, root, PAGE(i), rig_page(&r), RIG_RW);
	for (unsigned n = 0; n < 500; n++) {
		iova_t at = PAGE(0) + rng_below(&rng, PAGE_SIZE);
		size_t len = 1 + rng_below(&rng, sizeof(out));

		for (size_t i = 0; i < len; i++)
			out[i] = (unsigned char)rng_next(&rng);
		EXPECT_EQ(model_dma(r.m, DEV, at, out, len, true, NULL), len);
		EXPECT_EQ(model_dma(r.m, DEV, at, in, len, false, NULL), len);
		EXPECT(!memcmp(out, in, len));
	}
	rig_close(&r);
}

TEST(model_dma, use_of_a_freed_frame_is_counted,
     "a read through a stale translation after the free shows in the counters")
{
	struct page *page;
	struct rig r;
	pa_t root;

	rig_open(&r, NULL);
	root = rig_attach(&r, DEV, DOMAIN);
	page = page_alloc_zeroed();
	REQUIRE(page);
	rig_map(&r, root, PAGE(0), page_pa(page), RIG_R);
	EXPECT_EQ(rig_read(&r, DEV, PAGE(0)), 0);
	EXPECT_EQ(rig_stats(&r).dma_freed, 0);
	page_put(page);
	rig_read(&r, DEV, PAGE(0));
	EXPECT_EQ(rig_stats(&r).dma_freed, 1);
	rig_close(&r);
}

TEST(model_dma, walk_of_a_freed_table_is_counted,
     "a table unhooked and freed without PDE flush is read once more, and "
     "counted")
{
	struct page *table;
	uint64_t *slot;
	struct rig r;
	pa_t root;

	rig_open(&r, NULL);
	root = rig_attach(&r, DEV, DOMAIN);
	table = page_alloc_zeroed();
	REQUIRE(table);
	slot = rig_slot(&r, root, PAGE(0), 2);
	*slot = page_pa(table) | PRESENT | NEXT(1) | RIG_RW;
	rig_map(&r, root, PAGE(0), rig_data(&r), RIG_RW);
	EXPECT(rig_read(&r, DEV, PAGE(0)) != NOTHING);
	*slot = 0;
	page_put(table);
	EXPECT_EQ(rig_stats(&r).walk_freed, 0);
	rig_read(&r, DEV, PAGE(1));
	EXPECT_EQ(rig_stats(&r).walk_freed, 1);
	rig_close(&r);
}

/* ---- device TLBs ------------------------------------------------------- */

/* A device with a TLB of its own, one page mapped with these rights. */
static pa_t with_tlb(struct rig *r, uint64_t rights, pa_t *root)
{
	pa_t data;

	rig_open(r, NULL);
	*root = rig_attach(r, DEV, DOMAIN);
	rig_dte(r, DEV)->w[1] |= DTE1_I;
	model_set_ats(r->m, DEV, MODEL_ATS_ON);
	data = rig_data(r);
	rig_map(r, *root, PAGE(0), data, rights);
	return data;
}

static void flush_device(struct rig *r, uint16_t devid, iova_t iova)
{
	rig_send(r,
		 command_invalidate_iotlb_pages(
			 devid, 0, 0, command_range(iova, iova + PAGE_SIZE)));
	rig_sync(r);
}

TEST(model_dma, device_tlb_needs_its_own_flush,
     "a flushed IOTLB leaves the device's TLB stale until it is invalidated "
     "too")
{
	pa_t root, a, b;
	struct rig r;

	a = with_tlb(&r, RIG_RW, &root);
	b = rig_data(&r);
	EXPECT_EQ(rig_read(&r, DEV, PAGE(0)), a);
	rig_map(&r, root, PAGE(0), b, RIG_RW);
	rig_flush(&r, DOMAIN, PAGE(0), PAGE_SIZE, true);
	EXPECT_EQ(rig_read(&r, DEV, PAGE(0)), a);
	EXPECT(model_names_frame(r.m, a, NULL, 0));
	flush_device(&r, DEV, PAGE(1));
	EXPECT_EQ(rig_read(&r, DEV, PAGE(0)), a);
	flush_device(&r, DEV, PAGE(0));
	EXPECT(!model_names_frame(r.m, a, NULL, 0));
	EXPECT_EQ(rig_read(&r, DEV, PAGE(0)), b);
	rig_close(&r);
}

TEST(model_dma, device_first_takes_back_the_old_page,
     "a device TLB flushed before the IOTLB is refilled from it with the old "
     "page")
{
	pa_t root, a, b;
	struct rig r;

	a = with_tlb(&r, RIG_RW, &root);
	b = rig_data(&r);
	rig_read(&r, DEV, PAGE(0));
	rig_map(&r, root, PAGE(0), b, RIG_RW);
	flush_device(&r, DEV, PAGE(0));
	EXPECT_EQ(rig_read(&r, DEV, PAGE(0)), a);
	rig_flush(&r, DOMAIN, PAGE(0), PAGE_SIZE, true);
	EXPECT_EQ(rig_read(&r, DEV, PAGE(0)), a);
	rig_close(&r);
}

TEST(model_dma, other_device_keeps_its_tlb,
     "INVALIDATE_IOTLB_PAGES empties the named device only")
{
	pa_t root, a;
	struct rig r;

	a = with_tlb(&r, RIG_RW, &root);
	*rig_dte(&r, OTHER) = *rig_dte(&r, DEV);
	model_set_ats(r.m, OTHER, MODEL_ATS_ON);
	rig_read(&r, DEV, PAGE(0));
	rig_read(&r, OTHER, PAGE(0));
	flush_device(&r, DEV, PAGE(0));
	EXPECT(!model_lookup(r.m, true, DEV, PAGE(0), NULL));
	EXPECT(model_lookup(r.m, true, OTHER, PAGE(0), NULL));
	EXPECT(model_names_frame(r.m, a, NULL, 0));
	model_set_ats(r.m, OTHER, MODEL_ATS_NONE);
	EXPECT(!model_lookup(r.m, true, OTHER, PAGE(0), NULL));
	rig_close(&r);
}

TEST(model_dma, failed_translation_request_is_silent,
     "a device that asks first gets no page or no right, and no event is "
     "logged")
{
	enum model_verdict why;
	uint64_t v = 0;
	struct rig r;
	pa_t root;

	with_tlb(&r, RIG_R, &root);
	EXPECT_EQ(model_dma(r.m, DEV, PAGE(1), &v, 8, false, &why), 0);
	EXPECT_EQ(why, MODEL_REQUEST);
	EXPECT_EQ(model_dma(r.m, DEV, PAGE(0), &v, 8, false, &why), 8);
	EXPECT_EQ(model_dma(r.m, DEV, PAGE(0), &v, 8, true, &why), 0);
	EXPECT_EQ(why, MODEL_REQUEST);
	EXPECT_EQ(rig_events(&r), 0);
	rig_close(&r);
}

TEST(model_dma, device_tlb_needs_the_dtes_leave,
     "without I in the DTE a translation request is an invalid device request")
{
	enum model_verdict why;
	uint64_t v = 0;
	struct rig r;
	pa_t root;

	with_tlb(&r, RIG_RW, &root);
	rig_dte(&r, DEV)->w[1] &= ~DTE1_I;
	EXPECT_EQ(model_dma(r.m, DEV, PAGE(0), &v, 8, false, &why), 0);
	EXPECT_EQ(why, MODEL_ABORT);
	EXPECT_EQ(rig_event(&r).w[0] >> 60, INVALID_DEVICE_REQUEST);
	rig_close(&r);
}

/* ---- all CPUs ---------------------------------------------------------- */

struct race {
	struct rig r;
	bool stop;
	_Atomic uint64_t writes;
};

static void scribble(void *arg)
{
	struct race *race = arg;

	for (uint64_t i = 1; !READ_ONCE(race->stop); i++) {
		race->writes += rig_write(&race->r, DEV, PAGE(0), i);
		cpu_pause(); /* a turn that ends outside the model's lock */
	}
}

/* Pages change hands 200 times under a device that never stops writing. */
static void hand_over(struct race *race, pa_t root)
{
	pa_t page[2] = { rig_page(&race->r), rig_page(&race->r) };

	for (unsigned i = 0; i < 200; i++) {
		uint64_t *old = rig_word(page[i % 2]), was;
		uint64_t writes = race->writes;

		rig_map(&race->r, root, PAGE(0), page[1 - i % 2], RIG_RW);
		rig_flush(&race->r, DOMAIN, PAGE(0), PAGE_SIZE, false);
		was = READ_ONCE(*old);
		for (unsigned n = 0; n < 1000 && race->writes < writes + 3; n++)
			yield();
		EXPECT_EQ(READ_ONCE(*old), was);
	}
}

static void race_in(enum model_mode mode, unsigned delay)
{
	const struct model_config config = { .mode = mode,
					     .delay = delay,
					     .seed = test_seed() };
	static struct race race;
	struct thread *t;
	pa_t root;

	race = (struct race){ 0 };
	rig_open(&race.r, &config);
	root = rig_attach(&race.r, DEV, DOMAIN);
	t = thread_create("device", scribble, &race);
	REQUIRE(t);
	hand_over(&race, root);
	WRITE_ONCE(race.stop, true);
	thread_join(t);
	EXPECT(race.writes > 200);
	rig_close(&race.r);
}

TEST(model_dma, no_byte_goes_the_old_way_after_completion,
     "while a device writes on another CPU, a completed flush ends the old "
     "page")
{
	race_in(MODEL_IMMEDIATE, 0);
	race_in(MODEL_DELAYED, 5);
	race_in(MODEL_SHUFFLED, 2);
}
