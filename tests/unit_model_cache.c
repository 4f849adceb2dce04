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

/* Every one of the n pages now leads to another page; the old ones stay. */
static void remap(struct rig *r, pa_t root, unsigned n, pa_t to)
{
	for (unsigned i = 0; i < n; i++)
		rig_map(r, root, PAGE(i), to, RIG_RW);
}

TEST(model_cache, translation_is_stale_until_flushed,
     "an entry changed in memory is used only after its page was invalidated")
{
	pa_t root, a, b;
	struct rig r;

	rig_open(&r, NULL);
	root = warm(&r, 1, &a);
	b = rig_data(&r);
	remap(&r, root, 1, b);
	EXPECT_EQ(rig_read(&r, DEV, PAGE(0)), a);
	EXPECT(rig_write(&r, DEV, PAGE(0), 1));
	EXPECT_EQ(*rig_word(a), 1);
	rig_flush(&r, DOMAIN, PAGE(0), PAGE_SIZE, false);
	EXPECT_EQ(rig_read(&r, DEV, PAGE(0)), b);
	rig_close(&r);
}
