/* SPDX-License-Identifier: MIT */
/*
 * dma.c - the strict IOMMU's devices: transfers and their own TLBs
 */
#include "kernel/string.h"
#include "kernel/thread.h"
#include "mm/frame/pmm.h"
#include "tests/fixture/iommu/model_fixture.h"

#define DEV     8
#define OTHER   9
#define DOMAIN  7
#define PAGE(n) (BARE_IOVA + PAGE_SIZE * (n))

TEST(model_dma, transfer_stops_at_the_page_that_fails,
     "a transfer over a hole moves the page before it and not the one after")
{
	static unsigned char buf[3 * PAGE_SIZE];
	enum model_verdict why;
	pa_t root, first, last;
	struct bare_model r;

	bare_open(&r, NULL);
	root = bare_attach(&r, DEV, DOMAIN);
	first = bare_page(&r);
	last = bare_page(&r);
	bare_map(&r, root, PAGE(0), first, BARE_RW);
	bare_map(&r, root, PAGE(2), last, BARE_RW);
	memset(buf, 0x5a, sizeof(buf));
	EXPECT_EQ(model_dma(r.m, DEV, PAGE(0) + 16, buf, 2 * PAGE_SIZE, true,
			    &why),
		  PAGE_SIZE - 16);
	EXPECT_EQ(why, MODEL_FAULT);
	EXPECT_EQ(*bare_word(first + 8), 0);
	EXPECT_EQ(*bare_word(first + 16), 0x5a5a5a5a5a5a5a5a);
	EXPECT_EQ(*bare_word(first + PAGE_SIZE - 8), 0x5a5a5a5a5a5a5a5a);
	EXPECT_EQ(*bare_word(last), 0);
	EXPECT_EQ(bare_event(&r).w[1], PAGE(1));
	EXPECT_EQ(bare_events(&r), 0);
	bare_close(&r);
}

TEST(model_dma, bytes_cross_pages_unchanged,
     "500 transfers of any length and alignment read back what was written")
{
	static unsigned char out[3 * PAGE_SIZE] __attribute__((aligned(8)));
	static unsigned char in[3 * PAGE_SIZE];
	struct rng rng = rng_seed(test_seed());
	struct bare_model r;
	pa_t root;

	bare_open(&r, NULL);
	root = bare_attach(&r, DEV, DOMAIN);
	for (unsigned i = 0; i < 4; i++)
		bare_map(&r, root, PAGE(i), bare_page(&r), BARE_RW);
	for (unsigned n = 0; n < 500; n++) {
		iova_t at = PAGE(0) + rng_below(&rng, PAGE_SIZE);
		size_t len = 1 + rng_below(&rng, sizeof(out));

		for (size_t i = 0; i < len; i += 8)
			*(uint64_t *)(out + i) = rng_next(&rng);
		EXPECT_EQ(model_dma(r.m, DEV, at, out, len, true, NULL), len);
		EXPECT_EQ(model_dma(r.m, DEV, at, in, len, false, NULL), len);
		EXPECT(!memcmp(out, in, len));
	}
	bare_close(&r);
}

TEST(model_dma, use_of_a_freed_frame_is_counted,
     "a read through a stale translation of a freed frame is counted")
{
	struct page *page;
	struct bare_model r;
	pa_t root;

	bare_open(&r, NULL);
	root = bare_attach(&r, DEV, DOMAIN);
	page = page_alloc_zeroed();
	REQUIRE(page);
	bare_map(&r, root, PAGE(0), page_pa(page), BARE_R);
	EXPECT_EQ(bare_read(&r, DEV, PAGE(0)), 0);
	EXPECT_EQ(bare_stats(&r).dma_freed, 0);
	page_put(page);
	bare_read(&r, DEV, PAGE(0));
	EXPECT_EQ(bare_stats(&r).dma_freed, 1);
	bare_close(&r);
}

TEST(model_dma, walk_of_a_freed_table_is_counted,
     "a walk of a table that was freed without a PDE flush is counted")
{
	struct page *table;
	uint64_t *slot;
	struct bare_model r;
	pa_t root;

	bare_open(&r, NULL);
	root = bare_attach(&r, DEV, DOMAIN);
	table = page_alloc_zeroed();
	REQUIRE(table);
	slot = bare_slot(&r, root, PAGE(0), 2);
	*slot = page_pa(table) | PRESENT | NEXT(1) | BARE_RW;
	bare_map(&r, root, PAGE(0), bare_data(&r), BARE_RW);
	EXPECT(bare_read(&r, DEV, PAGE(0)) != NOTHING);
	*slot = 0;
	page_put(table);
	EXPECT_EQ(bare_stats(&r).walk_freed, 0);
	bare_read(&r, DEV, PAGE(1));
	EXPECT_EQ(bare_stats(&r).walk_freed, 1);
	bare_close(&r);
}

/* ---- device TLBs ------------------------------------------------------- */

/* Attach a device with a TLB and map one page with these rights. */
static pa_t with_tlb(struct bare_model *r, uint64_t rights, pa_t *root)
{
	pa_t data;

	bare_open(r, NULL);
	*root = bare_attach(r, DEV, DOMAIN);
	bare_dte(r, DEV)->w[1] |= DTE1_I;
	model_set_ats(r->m, DEV, MODEL_ATS_ON);
	data = bare_data(r);
	bare_map(r, *root, PAGE(0), data, rights);
	return data;
}

static void flush_device(struct bare_model *r, uint16_t devid, iova_t iova)
{
	bare_send(r,
		  command_invalidate_iotlb_pages(
			  devid, 0, 0, command_range(iova, iova + PAGE_SIZE)));
	bare_sync(r);
}

TEST(model_dma, device_tlb_needs_its_own_flush,
     "the device's TLB stays stale after an IOTLB flush until it is flushed "
     "too")
{
	pa_t root, a, b;
	struct bare_model r;

	a = with_tlb(&r, BARE_RW, &root);
	b = bare_data(&r);
	EXPECT_EQ(bare_read(&r, DEV, PAGE(0)), a);
	bare_map(&r, root, PAGE(0), b, BARE_RW);
	bare_flush(&r, DOMAIN, PAGE(0), PAGE_SIZE, true);
	EXPECT_EQ(bare_read(&r, DEV, PAGE(0)), a);
	EXPECT(model_names_frame(r.m, a, NULL, 0));
	flush_device(&r, DEV, PAGE(1));
	EXPECT_EQ(bare_read(&r, DEV, PAGE(0)), a);
	flush_device(&r, DEV, PAGE(0));
	EXPECT(!model_names_frame(r.m, a, NULL, 0));
	EXPECT_EQ(bare_read(&r, DEV, PAGE(0)), b);
	bare_close(&r);
}

TEST(model_dma, device_first_takes_back_the_old_page,
     "a device TLB flushed before the IOTLB is refilled with the old page")
{
	pa_t root, a, b;
	struct bare_model r;

	a = with_tlb(&r, BARE_RW, &root);
	b = bare_data(&r);
	bare_read(&r, DEV, PAGE(0));
	bare_map(&r, root, PAGE(0), b, BARE_RW);
	flush_device(&r, DEV, PAGE(0));
	EXPECT_EQ(bare_read(&r, DEV, PAGE(0)), a);
	bare_flush(&r, DOMAIN, PAGE(0), PAGE_SIZE, true);
	EXPECT_EQ(bare_read(&r, DEV, PAGE(0)), a);
	bare_close(&r);
}

TEST(model_dma, other_device_keeps_its_tlb,
     "INVALIDATE_IOTLB_PAGES empties the TLB of the named device only")
{
	pa_t root, a;
	struct bare_model r;

	a = with_tlb(&r, BARE_RW, &root);
	*bare_dte(&r, OTHER) = *bare_dte(&r, DEV);
	model_set_ats(r.m, OTHER, MODEL_ATS_ON);
	bare_read(&r, DEV, PAGE(0));
	bare_read(&r, OTHER, PAGE(0));
	flush_device(&r, DEV, PAGE(0));
	EXPECT(!model_lookup(r.m, true, DEV, PAGE(0), NULL));
	EXPECT(model_lookup(r.m, true, OTHER, PAGE(0), NULL));
	EXPECT(model_names_frame(r.m, a, NULL, 0));
	model_set_ats(r.m, OTHER, MODEL_ATS_NONE);
	EXPECT(!model_lookup(r.m, true, OTHER, PAGE(0), NULL));
	bare_close(&r);
}

TEST(model_dma, failed_translation_request_is_silent,
     "a refused translation request logs no event")
{
	enum model_verdict why;
	uint64_t v = 0;
	struct bare_model r;
	pa_t root;

	with_tlb(&r, BARE_R, &root);
	EXPECT_EQ(model_dma(r.m, DEV, PAGE(1), &v, 8, false, &why), 0);
	EXPECT_EQ(why, MODEL_REQUEST);
	EXPECT_EQ(model_dma(r.m, DEV, PAGE(0), &v, 8, false, &why), 8);
	EXPECT_EQ(model_dma(r.m, DEV, PAGE(0), &v, 8, true, &why), 0);
	EXPECT_EQ(why, MODEL_REQUEST);
	EXPECT_EQ(bare_events(&r), 0);
	bare_close(&r);
}

TEST(model_dma, device_tlb_needs_permission_in_the_dte,
     "a translation request without I in the DTE is an invalid device request")
{
	enum model_verdict why;
	uint64_t v = 0;
	struct bare_model r;
	pa_t root;

	with_tlb(&r, BARE_RW, &root);
	bare_dte(&r, DEV)->w[1] &= ~DTE1_I;
	EXPECT_EQ(model_dma(r.m, DEV, PAGE(0), &v, 8, false, &why), 0);
	EXPECT_EQ(why, MODEL_ABORT);
	EXPECT_EQ(bare_event(&r).w[0] >> 60, INVALID_DEVICE_REQUEST);
	bare_close(&r);
}

/* ---- all CPUs ---------------------------------------------------------- */

struct race {
	struct bare_model r;
	bool stop;
	_Atomic uint64_t writes;
};

static void scribble(void *arg)
{
	struct race *race = arg;

	for (uint64_t i = 1; !READ_ONCE(race->stop); i++) {
		race->writes += bare_write(&race->r, DEV, PAGE(0), i);
		cpu_pause(); /* let the other CPU run outside the model's lock */
	}
}

/* Exchange the pages 100 times while the device writes without pause: three times to
 * each. */
static void hand_over(struct race *race, pa_t root)
{
	pa_t page[2] = { bare_page(&race->r), bare_page(&race->r) };

	for (unsigned i = 0; i < 100; i++) {
		uint64_t *old = bare_word(page[i % 2]), was;
		uint64_t writes = race->writes;

		bare_map(&race->r, root, PAGE(0), page[1 - i % 2], BARE_RW);
		bare_flush(&race->r, DOMAIN, PAGE(0), PAGE_SIZE, false);
		was = READ_ONCE(*old);
		while (race->writes < writes + 3)
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
	bare_open(&race.r, &config);
	root = bare_attach(&race.r, DEV, DOMAIN);
	t = thread_create("device", scribble, &race);
	REQUIRE(t);
	hand_over(&race, root);
	WRITE_ONCE(race.stop, true);
	thread_join(t);
	EXPECT(race.writes >= 300);
	bare_close(&race.r);
}

TEST(model_dma, no_byte_uses_the_old_page_after_completion,
     "after a completed flush a concurrent writer no longer reaches the old "
     "page")
{
	race_in(MODEL_IMMEDIATE, 0);
	race_in(MODEL_DELAYED, 5);
	race_in(MODEL_SHUFFLED, 2);
}
