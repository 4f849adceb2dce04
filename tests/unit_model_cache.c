/* SPDX-License-Identifier: MIT */
/*
 * unit_model_cache.c - the strict IOMMU forgets what it is told to, not more
 */
#include "tests/model_rig.h"

#define DEV     8
#define OTHER   9
#define DOMAIN  7
#define PAGE(n) (RIG_IOVA + (n)*PAGE_SIZE)

/* n pages mapped at PAGE(0).. and read once; returns the root. */
static pa_t warm(struct rig *r, unsigned n, pa_t *data)
{
	pa_t root = rig_attach(r, DEV, DOMAIN);

	for (unsigned i = 0; i < n; i++) {
		data[i] = rig_data(r);
		rig_map(r, root, PAGE(i), data[i], RIG_RW);
		EXPECT_EQ(rig_read(r, DEV, PAGE(i)), data[i]);
	}
	return root;
}

/* All of the n pages now lead to one other; nothing is flushed. */
static pa_t remap(struct rig *r, pa_t root, unsigned n)
{
	pa_t to = rig_data(r);

	for (unsigned i = 0; i < n; i++)
		rig_map(r, root, PAGE(i), to, RIG_RW);
	return to;
}

TEST(model_cache, translation_is_stale_until_flushed,
     "an entry changed in memory is used only after its page was invalidated")
{
	pa_t root, a, b;
	struct rig r;

	rig_open(&r, NULL);
	root = warm(&r, 1, &a);
	b = remap(&r, root, 1);
	EXPECT_EQ(rig_read(&r, DEV, PAGE(0)), a);
	EXPECT(rig_write(&r, DEV, PAGE(0), 1));
	EXPECT_EQ(*rig_word(a), 1);
	rig_flush(&r, DOMAIN, PAGE(0), PAGE_SIZE, false);
	EXPECT_EQ(rig_read(&r, DEV, PAGE(0)), b);
	rig_close(&r);
}

TEST(model_cache, range_drops_exactly_its_pages,
     "a flush of 8 pages drops these 8 and leaves the 16 around them stale")
{
	pa_t data[24], root, to;
	struct rig r;

	rig_open(&r, NULL);
	root = warm(&r, 24, data);
	to = remap(&r, root, 24);
	rig_flush(&r, DOMAIN, PAGE(8), 8 * PAGE_SIZE, false);
	EXPECT_EQ(rig_stats(&r).dropped, 8);
	for (unsigned i = 0; i < 24; i++)
		EXPECT_EQ(rig_read(&r, DEV, PAGE(i)),
			  i / 8 == 1 ? to : data[i]);
	rig_close(&r);
}

TEST(model_cache, one_page_leaves_its_neighbours,
     "a flush of one page drops neither the page before nor the one after")
{
	pa_t data[3], root, to;
	struct rig r;

	rig_open(&r, NULL);
	root = warm(&r, 3, data);
	to = remap(&r, root, 3);
	rig_flush(&r, DOMAIN, PAGE(1), PAGE_SIZE, true);
	EXPECT_EQ(rig_read(&r, DEV, PAGE(0)), data[0]);
	EXPECT_EQ(rig_read(&r, DEV, PAGE(1)), to);
	EXPECT_EQ(rig_read(&r, DEV, PAGE(2)), data[2]);
	rig_close(&r);
}

TEST(model_cache, wrong_domain_drops_nothing,
     "a flush of every page of another domain leaves a translation stale")
{
	pa_t root, a, b;
	struct rig r;

	rig_open(&r, NULL);
	root = warm(&r, 1, &a);
	b = remap(&r, root, 1);
	rig_send(&r,
		 command_invalidate_iommu_pages(DOMAIN + 1, RANGE_ALL, true));
	rig_sync(&r);
	EXPECT_EQ(rig_stats(&r).dropped, 0);
	EXPECT_EQ(rig_read(&r, DEV, PAGE(0)), a);
	rig_send(&r, command_invalidate_iommu_pages(DOMAIN, RANGE_ALL, true));
	rig_sync(&r);
	EXPECT_EQ(rig_read(&r, DEV, PAGE(0)), b);
	rig_close(&r);
}

/* A level 1 table is replaced: what do flushes with and without PDE see? */
TEST(model_cache, directory_needs_the_pde_bit,
     "a replaced table page is walked on until a flush with PDE names it")
{
	uint64_t *directory;
	pa_t root, a, b, table;
	struct rig r;

	rig_open(&r, NULL);
	root = warm(&r, 1, &a);
	b = rig_data(&r);
	table = rig_page(&r);
	*rig_word(table) = b | PRESENT | RIG_RW;
	directory = rig_slot(&r, root, PAGE(0), 2);
	*directory = table | PRESENT | NEXT(1) | RIG_RW;

	rig_flush(&r, DOMAIN, PAGE(0), PAGE_SIZE, false);
	EXPECT_EQ(rig_read(&r, DEV, PAGE(0)), a);
	rig_flush(&r, DOMAIN, PAGE(512), PAGE_SIZE, true);
	rig_flush(&r, DOMAIN, PAGE(0), PAGE_SIZE, false);
	EXPECT_EQ(rig_read(&r, DEV, PAGE(0)), a);
	rig_flush(&r, DOMAIN, PAGE(0), PAGE_SIZE, true);
	EXPECT_EQ(rig_read(&r, DEV, PAGE(0)), b);
	rig_close(&r);
}

TEST(model_cache, walk_starts_at_the_deepest_directory,
     "a second page of the same table costs one read of memory, not four")
{
	pa_t root, a, b;
	struct model_stats s;
	struct rig r;

	rig_open(&r, NULL);
	root = warm(&r, 1, &a);
	b = rig_data(&r);
	rig_map(&r, root, PAGE(1), b, RIG_RW);
	EXPECT_EQ(rig_read(&r, DEV, PAGE(1)), b);
	s = rig_stats(&r);
	EXPECT_EQ(s.walks, 2);
	EXPECT_EQ(s.directory_hits, 1);
	EXPECT_EQ(s.walk_reads[1], 2);
	for (unsigned n = 2; n <= LEVELS; n++)
		EXPECT_EQ(s.walk_reads[n], 1);
	rig_close(&r);
}

TEST(model_cache, dte_needs_its_own_command,
     "a new DTE is used only after INVALIDATE_DEVTAB_ENTRY of this device")
{
	pa_t root, a, b;
	struct rig r;

	rig_open(&r, NULL);
	warm(&r, 1, &a);
	root = rig_attach(&r, DEV, DOMAIN + 1);
	b = rig_data(&r);
	rig_map(&r, root, PAGE(0), b, RIG_RW);
	rig_send(&r, command_invalidate_devtab_entry(OTHER));
	rig_flush(&r, DOMAIN, PAGE(0), PAGE_SIZE, true);
	EXPECT_EQ(rig_read(&r, DEV, PAGE(0)), a);
	rig_send(&r, command_invalidate_devtab_entry(DEV));
	rig_sync(&r);
	EXPECT_EQ(rig_read(&r, DEV, PAGE(0)), b);
	rig_close(&r);
}

TEST(model_cache, dte_command_drops_no_translation,
     "with the domain kept, a new root is not seen before its pages are "
     "flushed")
{
	pa_t root, a, b;
	struct rig r;

	rig_open(&r, NULL);
	warm(&r, 1, &a);
	root = rig_attach(&r, DEV, DOMAIN);
	b = rig_data(&r);
	rig_map(&r, root, PAGE(0), b, RIG_RW);
	rig_send(&r, command_invalidate_devtab_entry(DEV));
	rig_sync(&r);
	EXPECT_EQ(rig_stats(&r).dropped_dtes, 1);
	EXPECT(model_lookup(r.m, false, DOMAIN, PAGE(0), NULL));
	EXPECT_EQ(rig_read(&r, DEV, PAGE(0)), a);
	rig_flush(&r, DOMAIN, PAGE(0), PAGE_SIZE, true);
	EXPECT_EQ(rig_read(&r, DEV, PAGE(0)), b);
	rig_close(&r);
}

TEST(model_cache, devices_of_a_domain_share_translations,
     "what one device filled serves the other, with the other DTE's rights")
{
	pa_t root, a;
	struct rig r;

	rig_open(&r, NULL);
	root = warm(&r, 1, &a);
	*rig_dte(&r, OTHER) = dte_translate(root, LEVELS, DOMAIN);
	rig_dte(&r, OTHER)->w[0] &= ~DTE0_IW;
	EXPECT_EQ(rig_read(&r, OTHER, PAGE(0)), a);
	EXPECT_EQ(rig_stats(&r).walks, 1);
	EXPECT(!rig_write(&r, OTHER, PAGE(0), 1));
	EXPECT(rig_write(&r, DEV, PAGE(0), 2));
	EXPECT_EQ(*rig_word(a), 2);
	rig_close(&r);
}

TEST(model_cache, stale_rights_are_used_both_ways,
     "a right taken or given in memory counts only after the flush")
{
	pa_t root, a;
	struct rig r;

	rig_open(&r, NULL);
	root = warm(&r, 1, &a);
	rig_map(&r, root, PAGE(0), a, RIG_R);
	EXPECT(rig_write(&r, DEV, PAGE(0), 1));
	rig_flush(&r, DOMAIN, PAGE(0), PAGE_SIZE, false);
	EXPECT(!rig_write(&r, DEV, PAGE(0), 2));
	rig_map(&r, root, PAGE(0), a, RIG_RW);
	EXPECT(!rig_write(&r, DEV, PAGE(0), 3));
	rig_flush(&r, DOMAIN, PAGE(0), PAGE_SIZE, false);
	EXPECT(rig_write(&r, DEV, PAGE(0), 4));
	EXPECT_EQ(*rig_word(a), 4);
	rig_close(&r);
}

/* A page that was not there when the device asked first. */
static uint64_t read_after_mapping(bool negative, bool flush)
{
	const struct model_config config = { .negative = negative };
	pa_t root, a;
	uint64_t got;
	struct rig r;

	rig_open(&r, &config);
	root = rig_attach(&r, DEV, DOMAIN);
	a = rig_data(&r);
	*rig_slot(&r, root, PAGE(0), 1) = 0;
	EXPECT_EQ(rig_read(&r, DEV, PAGE(0)), NOTHING);
	rig_map(&r, root, PAGE(0), a, RIG_R);
	if (flush)
		rig_flush(&r, DOMAIN, PAGE(0), PAGE_SIZE, false);
	got = rig_read(&r, DEV, PAGE(0)) - a;
	rig_close(&r);
	return got;
}

TEST(model_cache, absence_is_cached_only_with_npcache,
     "a page mapped after a fault is seen at once, or with NpCache when "
     "flushed")
{
	EXPECT_EQ(read_after_mapping(false, false), 0);
	EXPECT(read_after_mapping(true, false) != 0);
	EXPECT_EQ(read_after_mapping(true, true), 0);
}

/* A 2 MiB leaf is replaced and one page in its middle flushed: who sees it? */
static void large_leaf(bool split)
{
	const struct model_config config = { .split = split };
	struct model_entry e;
	pa_t root;
	struct rig r;

	rig_open(&r, &config);
	root = rig_attach(&r, DEV, DOMAIN);
	*rig_slot(&r, root, RIG_IOVA, 2) = PRESENT | RIG_R | BIT(21);
	rig_read(&r, DEV, PAGE(3));
	rig_read(&r, DEV, PAGE(4));
	REQUIRE(model_lookup(r.m, false, DOMAIN, PAGE(4), &e));
	EXPECT_EQ(e.shift, split ? 12 : 21);
	EXPECT_EQ(e.pa, BIT(21) + (split ? 4 * PAGE_SIZE : 0));
	EXPECT_EQ(rig_stats(&r).walks, split ? 2 : 1);
	rig_flush(&r, DOMAIN, PAGE(4), PAGE_SIZE, false);
	EXPECT(!model_lookup(r.m, false, DOMAIN, PAGE(4), NULL));
	EXPECT_EQ(model_lookup(r.m, false, DOMAIN, PAGE(3), NULL), split);
	rig_close(&r);
}

TEST(model_cache, large_leaf_goes_as_a_whole_or_in_pieces,
     "a page in a 2 MiB leaf flushes all of it, or its own piece when split")
{
	large_leaf(false);
	large_leaf(true);
}

TEST(model_cache, all_means_all_but_devices,
     "INVALIDATE_IOMMU_ALL empties translations, directories and DTEs")
{
	pa_t data[4];
	struct model_stats s;
	struct rig r;

	rig_open(&r, NULL);
	warm(&r, 4, data);
	rig_send(&r, command_invalidate_iommu_all());
	rig_sync(&r);
	s = rig_stats(&r);
	EXPECT_EQ(s.dropped, 4);
	EXPECT_EQ(s.dropped_directories, LEVELS - 1);
	EXPECT_EQ(s.dropped_dtes, 1);
	rig_close(&r);
}

/* The other device sees the same frames in the opposite order. */
TEST(model_cache, small_cache_forgets_but_never_lies,
     "with 4 translations, 2 directories and 1 DTE cached every read is right")
{
	const struct model_config config = {
		.iotlb = 4, .directories = 2, .dtes = 1, .seed = test_seed()
	};
	struct rng rng = rng_seed(test_seed());
	pa_t data[32], mirrored;
	struct rig r;

	rig_open(&r, &config);
	warm(&r, 32, data);
	mirrored = rig_attach(&r, OTHER, DOMAIN + 1);
	for (unsigned i = 0; i < 32; i++)
		rig_map(&r, mirrored, PAGE(i), data[31 - i], RIG_RW);
	for (unsigned i = 0; i < 4000; i++) {
		unsigned n = (unsigned)rng_below(&rng, 32);

		if (rng_below(&rng, 2))
			EXPECT_EQ(rig_read(&r, DEV, PAGE(n)), data[n]);
		else
			EXPECT_EQ(rig_read(&r, OTHER, PAGE(n)), data[31 - n]);
	}
	EXPECT(rig_stats(&r).misses > 1000 && rig_stats(&r).hits > 50);
	rig_close(&r);
}

/* ---- random flushes against a flat record ------------------------------ */

#define SPREAD 256u

/* The pages that the smallest aligned power of two around [a, b) contains. */
static void spread(unsigned *a, unsigned *b)
{
	unsigned size = 1;

	while (*a / size != (*b - 1) / size)
		size *= 2;
	*a = *a / size * size;
	*b = *a + size;
}

/* Pages lead to one of two frames; seen[i]: what the device must still see. */
static void random_flushes(struct rig *r, struct rng *rng, pa_t root,
			   const pa_t frame[2])
{
	static pa_t seen[SPREAD];

	for (unsigned i = 0; i < SPREAD; i++)
		seen[i] = 0;
	for (unsigned round = 0; round < 400; round++) {
		unsigned a = (unsigned)rng_below(rng, SPREAD);
		unsigned b = a + 1 + (unsigned)rng_below(rng, SPREAD - a);

		for (unsigned i = 0; i < SPREAD; i++)
			rig_map(r, root, PAGE(i), frame[rng_below(rng, 2)],
				RIG_RW);
		rig_flush(r, DOMAIN, PAGE(a), (b - a) * PAGE_SIZE, false);
		for (spread(&a, &b); a < b; a++)
			seen[a] = 0;
		for (unsigned i = 0; i < SPREAD; i++) {
			pa_t now = *rig_slot(r, root, PAGE(i), 1);

			if (!seen[i])
				seen[i] = now & GENMASK(51, 12);
			EXPECT_EQ(rig_read(r, DEV, PAGE(i)), seen[i]);
		}
	}
}

TEST(model_cache, random_flushes_match_a_flat_record,
     "after each of 400 random flushes all 256 pages are as stale as they must")
{
	const struct model_config config = { .mode = MODEL_SHUFFLED,
					     .seed = test_seed() };
	struct rng rng = rng_seed(test_seed());
	pa_t root, frame[2];
	struct rig r;

	rig_open(&r, &config);
	root = rig_attach(&r, DEV, DOMAIN);
	frame[0] = rig_data(&r);
	frame[1] = rig_data(&r);
	random_flushes(&r, &rng, root, frame);
	rig_close(&r);
}
