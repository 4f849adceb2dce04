/* SPDX-License-Identifier: MIT */
/*
 * cache.c - the strict IOMMU drops what a command names and nothing more
 */
#include "tests/fixture/iommu/model_fixture.h"

#define DEV     8
#define OTHER   9
#define DOMAIN  7
#define PAGE(n) (BARE_IOVA + PAGE_SIZE * (n))

/* Map n pages at PAGE(0).. and read each once; returns the root. */
static pa_t warm(struct bare_model *r, unsigned n, pa_t *data)
{
	pa_t root = bare_attach(r, DEV, DOMAIN);

	for (unsigned i = 0; i < n; i++) {
		data[i] = bare_data(r);
		bare_map(r, root, PAGE(i), data[i], BARE_RW);
		EXPECT_EQ(bare_read(r, DEV, PAGE(i)), data[i]);
	}
	return root;
}

/* Point all n entries to another page, without a flush. */
static pa_t remap(struct bare_model *r, pa_t root, unsigned n)
{
	pa_t to = bare_data(r);

	for (unsigned i = 0; i < n; i++)
		bare_map(r, root, PAGE(i), to, BARE_RW);
	return to;
}

TEST(model_cache, translation_is_stale_until_flushed,
     "a changed entry is used only after its page was invalidated")
{
	pa_t root, a, b;
	struct bare_model r;

	bare_open(&r, NULL);
	root = warm(&r, 1, &a);
	b = remap(&r, root, 1);
	EXPECT_EQ(bare_read(&r, DEV, PAGE(0)), a);
	EXPECT(bare_write(&r, DEV, PAGE(0), 1));
	EXPECT_EQ(*bare_word(a), 1);
	bare_flush(&r, DOMAIN, PAGE(0), PAGE_SIZE, false);
	EXPECT_EQ(bare_read(&r, DEV, PAGE(0)), b);
	bare_close(&r);
}

TEST(model_cache, range_drops_exactly_its_pages,
     "a flush of 8 pages drops these 8 and leaves the 16 around them stale")
{
	pa_t data[24], root, to;
	struct bare_model r;

	bare_open(&r, NULL);
	root = warm(&r, 24, data);
	to = remap(&r, root, 24);
	bare_flush(&r, DOMAIN, PAGE(8), 8 * PAGE_SIZE, false);
	EXPECT_EQ(bare_stats(&r).dropped, 8);
	for (unsigned i = 0; i < 24; i++)
		EXPECT_EQ(bare_read(&r, DEV, PAGE(i)),
			  i / 8 == 1 ? to : data[i]);
	bare_close(&r);
}

TEST(model_cache, one_page_leaves_its_neighbours,
     "a flush of one page drops neither the page before nor the one after")
{
	pa_t data[3], root, to;
	struct bare_model r;

	bare_open(&r, NULL);
	root = warm(&r, 3, data);
	to = remap(&r, root, 3);
	bare_flush(&r, DOMAIN, PAGE(1), PAGE_SIZE, true);
	EXPECT_EQ(bare_read(&r, DEV, PAGE(0)), data[0]);
	EXPECT_EQ(bare_read(&r, DEV, PAGE(1)), to);
	EXPECT_EQ(bare_read(&r, DEV, PAGE(2)), data[2]);
	bare_close(&r);
}

TEST(model_cache, wrong_domain_drops_nothing,
     "a flush of all pages of another domain leaves a translation stale")
{
	pa_t root, a, b;
	struct bare_model r;

	bare_open(&r, NULL);
	root = warm(&r, 1, &a);
	b = remap(&r, root, 1);
	bare_send(&r,
		  command_invalidate_iommu_pages(DOMAIN + 1, RANGE_ALL, true));
	bare_sync(&r);
	EXPECT_EQ(bare_stats(&r).dropped, 0);
	EXPECT_EQ(bare_read(&r, DEV, PAGE(0)), a);
	bare_send(&r, command_invalidate_iommu_pages(DOMAIN, RANGE_ALL, true));
	bare_sync(&r);
	EXPECT_EQ(bare_read(&r, DEV, PAGE(0)), b);
	bare_close(&r);
}

/* A level 1 table is replaced; flushes with and without PDE follow. */
TEST(model_cache, directory_needs_the_pde_bit,
     "walks use a replaced table page until a flush with PDE names it")
{
	uint64_t *directory;
	pa_t root, a, b, table;
	struct bare_model r;

	bare_open(&r, NULL);
	root = warm(&r, 1, &a);
	b = bare_data(&r);
	table = bare_page(&r);
	*bare_word(table) = b | PRESENT | BARE_RW;
	directory = bare_slot(&r, root, PAGE(0), 2);
	*directory = table | PRESENT | NEXT(1) | BARE_RW;

	bare_flush(&r, DOMAIN, PAGE(0), PAGE_SIZE, false);
	EXPECT_EQ(bare_read(&r, DEV, PAGE(0)), a);
	bare_flush(&r, DOMAIN, PAGE(512), PAGE_SIZE, true);
	bare_flush(&r, DOMAIN, PAGE(0), PAGE_SIZE, false);
	EXPECT_EQ(bare_read(&r, DEV, PAGE(0)), a);
	bare_flush(&r, DOMAIN, PAGE(0), PAGE_SIZE, true);
	EXPECT_EQ(bare_read(&r, DEV, PAGE(0)), b);
	bare_close(&r);
}

TEST(model_cache, walk_starts_at_the_deepest_directory,
     "a walk to a second page of the same table reads one entry, not four")
{
	pa_t root, a, b;
	struct model_stats s;
	struct bare_model r;

	bare_open(&r, NULL);
	root = warm(&r, 1, &a);
	b = bare_data(&r);
	bare_map(&r, root, PAGE(1), b, BARE_RW);
	EXPECT_EQ(bare_read(&r, DEV, PAGE(1)), b);
	s = bare_stats(&r);
	EXPECT_EQ(s.walks, 2);
	EXPECT_EQ(s.directory_hits, 1);
	EXPECT_EQ(s.walk_reads[1], 2);
	for (unsigned n = 2; n <= LEVELS; n++)
		EXPECT_EQ(s.walk_reads[n], 1);
	bare_close(&r);
}

TEST(model_cache, dte_needs_its_own_command,
     "a new DTE is used only after INVALIDATE_DEVTAB_ENTRY of its device")
{
	pa_t root, a, b;
	struct bare_model r;

	bare_open(&r, NULL);
	warm(&r, 1, &a);
	root = bare_attach(&r, DEV, DOMAIN + 1);
	b = bare_data(&r);
	bare_map(&r, root, PAGE(0), b, BARE_RW);
	bare_send(&r, command_invalidate_devtab_entry(OTHER));
	bare_flush(&r, DOMAIN, PAGE(0), PAGE_SIZE, true);
	EXPECT_EQ(bare_read(&r, DEV, PAGE(0)), a);
	bare_send(&r, command_invalidate_devtab_entry(DEV));
	bare_sync(&r);
	EXPECT_EQ(bare_read(&r, DEV, PAGE(0)), b);
	bare_close(&r);
}

TEST(model_cache, dte_command_drops_no_translation,
     "a new root in the same domain is not used before its pages are flushed")
{
	pa_t root, a, b;
	struct bare_model r;

	bare_open(&r, NULL);
	warm(&r, 1, &a);
	root = bare_attach(&r, DEV, DOMAIN);
	b = bare_data(&r);
	bare_map(&r, root, PAGE(0), b, BARE_RW);
	bare_send(&r, command_invalidate_devtab_entry(DEV));
	bare_sync(&r);
	EXPECT_EQ(bare_stats(&r).dropped_dtes, 1);
	EXPECT(model_lookup(r.m, false, DOMAIN, PAGE(0), NULL));
	EXPECT_EQ(bare_read(&r, DEV, PAGE(0)), a);
	bare_flush(&r, DOMAIN, PAGE(0), PAGE_SIZE, true);
	EXPECT_EQ(bare_read(&r, DEV, PAGE(0)), b);
	bare_close(&r);
}

TEST(model_cache, devices_of_a_domain_share_translations,
     "a translation cached for one device serves the other, with that DTE's "
     "rights")
{
	pa_t root, a;
	struct bare_model r;

	bare_open(&r, NULL);
	root = warm(&r, 1, &a);
	*bare_dte(&r, OTHER) = dte_translate(root, LEVELS, DOMAIN);
	bare_dte(&r, OTHER)->w[0] &= ~DTE0_IW;
	EXPECT_EQ(bare_read(&r, OTHER, PAGE(0)), a);
	EXPECT_EQ(bare_stats(&r).walks, 1);
	EXPECT(!bare_write(&r, OTHER, PAGE(0), 1));
	EXPECT(bare_write(&r, DEV, PAGE(0), 2));
	EXPECT_EQ(*bare_word(a), 2);
	bare_close(&r);
}

TEST(model_cache, stale_rights_are_used_both_ways,
     "a change of rights in memory takes effect only after the flush")
{
	pa_t root, a;
	struct bare_model r;

	bare_open(&r, NULL);
	root = warm(&r, 1, &a);
	bare_map(&r, root, PAGE(0), a, BARE_R);
	EXPECT(bare_write(&r, DEV, PAGE(0), 1));
	bare_flush(&r, DOMAIN, PAGE(0), PAGE_SIZE, false);
	EXPECT(!bare_write(&r, DEV, PAGE(0), 2));
	bare_map(&r, root, PAGE(0), a, BARE_RW);
	EXPECT(!bare_write(&r, DEV, PAGE(0), 3));
	bare_flush(&r, DOMAIN, PAGE(0), PAGE_SIZE, false);
	EXPECT(bare_write(&r, DEV, PAGE(0), 4));
	EXPECT_EQ(*bare_word(a), 4);
	bare_close(&r);
}

/* Read a page that was mapped after the device's first read. */
static uint64_t read_after_mapping(bool negative, bool flush)
{
	const struct model_config config = { .negative = negative };
	pa_t root, a;
	uint64_t got;
	struct bare_model r;

	bare_open(&r, &config);
	root = bare_attach(&r, DEV, DOMAIN);
	a = bare_data(&r);
	*bare_slot(&r, root, PAGE(0), 1) = 0;
	EXPECT_EQ(bare_read(&r, DEV, PAGE(0)), NOTHING);
	bare_map(&r, root, PAGE(0), a, BARE_R);
	if (flush)
		bare_flush(&r, DOMAIN, PAGE(0), PAGE_SIZE, false);
	got = bare_read(&r, DEV, PAGE(0)) - a;
	bare_close(&r);
	return got;
}

TEST(model_cache, absence_is_cached_only_with_npcache,
     "a page mapped after a fault is used at once, or with NpCache after a "
     "flush")
{
	EXPECT_EQ(read_after_mapping(false, false), 0);
	EXPECT(read_after_mapping(true, false) != 0);
	EXPECT_EQ(read_after_mapping(true, true), 0);
}

/* Replace a 2 MiB leaf, then flush one page in its middle. */
static void large_leaf(bool split, bool whole)
{
	const struct model_config config = { .split = split, .whole = whole };
	struct model_entry e;
	pa_t root;
	struct bare_model r;

	bare_open(&r, &config);
	root = bare_attach(&r, DEV, DOMAIN);
	*bare_slot(&r, root, BARE_IOVA, 2) = PRESENT | BARE_R | BIT(21);
	bare_read(&r, DEV, PAGE(3));
	bare_read(&r, DEV, PAGE(4));
	REQUIRE(model_lookup(r.m, false, DOMAIN, PAGE(4), &e));
	EXPECT_EQ(e.shift, split ? 12 : 21);
	EXPECT_EQ(e.pa, BIT(21) + (split ? 4 * PAGE_SIZE : 0));
	EXPECT_EQ(bare_stats(&r).walks, split ? 2 : 1);
	bare_flush(&r, DOMAIN, PAGE(4), PAGE_SIZE, false);
	EXPECT_EQ(model_lookup(r.m, false, DOMAIN, PAGE(4), NULL),
		  whole && !split);
	EXPECT_EQ(model_lookup(r.m, false, DOMAIN, PAGE(3), NULL),
		  whole || split);
	bare_flush(&r, DOMAIN, ALIGN_DOWN(PAGE(4), BIT(21)), BIT(21), false);
	EXPECT(!model_lookup(r.m, false, DOMAIN, PAGE(3), NULL));
	bare_close(&r);
}

TEST(model_cache, large_leaf_goes_as_a_whole_or_in_pieces,
     "a flush of a page in a 2 MiB leaf drops all of it, its own entry when "
     "split, or nothing where a flush must name the whole leaf")
{
	large_leaf(false, false);
	large_leaf(true, false);
	large_leaf(true, true);
	large_leaf(false, true);
}

TEST(model_cache, all_means_all_but_devices,
     "INVALIDATE_IOMMU_ALL empties translations, directories and DTEs")
{
	pa_t data[4];
	struct model_stats s;
	struct bare_model r;

	bare_open(&r, NULL);
	warm(&r, 4, data);
	bare_send(&r, command_invalidate_iommu_all());
	bare_sync(&r);
	s = bare_stats(&r);
	EXPECT_EQ(s.dropped, 4);
	EXPECT_EQ(s.dropped_directories, LEVELS - 1);
	EXPECT_EQ(s.dropped_dtes, 1);
	bare_close(&r);
}

/* The second device has the same frames in the opposite order. */
TEST(model_cache, small_cache_gives_right_data,
     "every read is right with 4 translations, 2 directories and 1 DTE cached")
{
	const struct model_config config = {
		.iotlb = 4, .directories = 2, .dtes = 1, .seed = test_seed()
	};
	struct rng rng = rng_seed(test_seed());
	pa_t data[32], mirrored;
	struct bare_model r;

	bare_open(&r, &config);
	warm(&r, 32, data);
	mirrored = bare_attach(&r, OTHER, DOMAIN + 1);
	for (unsigned i = 0; i < 32; i++)
		bare_map(&r, mirrored, PAGE(i), data[31 - i], BARE_RW);
	for (unsigned i = 0; i < 4000; i++) {
		unsigned n = (unsigned)rng_below(&rng, 32);

		if (rng_below(&rng, 2))
			EXPECT_EQ(bare_read(&r, DEV, PAGE(n)), data[n]);
		else
			EXPECT_EQ(bare_read(&r, OTHER, PAGE(n)), data[31 - n]);
	}
	EXPECT(bare_stats(&r).misses > 1000 && bare_stats(&r).hits > 50);
	bare_close(&r);
}

/* ---- random flushes against a flat record ------------------------------ */

#define SPREAD 256u

/* Widen [a, b) to the smallest aligned power of two that contains it. */
static void spread(unsigned *a, unsigned *b)
{
	unsigned size = 1;

	while (*a / size != (*b - 1) / size)
		size *= 2;
	*a = *a / size * size;
	*b = *a + size;
}

/*
 * Pages lead to one of two frames; seen[i]: the one that the device must read.
 */
static void random_flushes(struct bare_model *r, struct rng *rng, pa_t root,
			   const pa_t frame[2])
{
	static pa_t seen[SPREAD];

	for (unsigned i = 0; i < SPREAD; i++)
		seen[i] = 0;
	for (unsigned round = 0; round < 400; round++) {
		unsigned a = (unsigned)rng_below(rng, SPREAD);
		unsigned b = a + 1 + (unsigned)rng_below(rng, SPREAD - a);

		for (unsigned i = 0; i < SPREAD; i++)
			bare_map(r, root, PAGE(i), frame[rng_below(rng, 2)],
				 BARE_RW);
		bare_flush(r, DOMAIN, PAGE(a), (b - a) * PAGE_SIZE, false);
		for (spread(&a, &b); a < b; a++)
			seen[a] = 0;
		for (unsigned i = 0; i < SPREAD; i++) {
			pa_t now = *bare_slot(r, root, PAGE(i), 1);

			if (!seen[i])
				seen[i] = now & GENMASK(51, 12);
			EXPECT_EQ(bare_read(r, DEV, PAGE(i)), seen[i]);
		}
	}
}

TEST(model_cache, random_flushes_match_a_flat_model,
     "after each of 400 random flushes exactly the unflushed pages are stale")
{
	const struct model_config config = { .mode = MODEL_SHUFFLED,
					     .seed = test_seed() };
	struct rng rng = rng_seed(test_seed());
	pa_t root, frame[2];
	struct bare_model r;

	bare_open(&r, &config);
	root = bare_attach(&r, DEV, DOMAIN);
	frame[0] = bare_data(&r);
	frame[1] = bare_data(&r);
	random_flushes(&r, &rng, root, frame);
	bare_close(&r);
}
