/* SPDX-License-Identifier: MIT */
/*
 * pt.c - tests pt.c with every page-table format
 *
 * Besides the CPU's two formats there is a toy format here.  Like AMD's v1 it
 * says in each entry what level it points to, and it is built three and six
 * levels deep.  This shows that the walker depends on its format alone.
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "kernel/rand.h"
#include "kernel/string.h"
#include "mm/frame/pmm.h"
#include "mm/pt/pt_large.h"
#include "mm/pt/pt_x86.h"
#include "tests/base/test.h"

#define TOY_PRESENT BIT(0)
#define TOY_NEXT    GENMASK(11, 9)
#define TOY_WRITE   BIT(62)

static uint64_t toy_leaf(pa_t pa, enum prot prot, unsigned level)
{
	(void)level;
	return pa | TOY_PRESENT | (prot & PROT_W ? TOY_WRITE : 0);
}

static enum prot toy_prot(uint64_t entry)
{
	if (!(entry & TOY_PRESENT))
		return PROT_NONE;
	return entry & TOY_WRITE ? PROT_R | PROT_W : PROT_R;
}

#define TOY_TABLE(n) (TOY_PRESENT | TOY_WRITE | FIELD_PREP(TOY_NEXT, n))

static const struct pt_format toy = {
	.name = "toy",
	.min_levels = 3,
	.max_levels = 6,
	.present = TOY_PRESENT,
	.table_mask = TOY_PRESENT | TOY_NEXT,
	.table_bits = { 0, TOY_TABLE(1), TOY_TABLE(2), TOY_TABLE(3),
			TOY_TABLE(4), TOY_TABLE(5) },
	.leaf = toy_leaf,
	.prot = toy_prot,
};

static const struct format {
	const struct pt_format *format;
	unsigned levels;
	va_t bottom, top;
	va_t base; /* tests map here, across the border of two level-2 slots */
} formats[] = {
	{ &pt_x86_user, 4, 0, BIT(47), BIT(30) * 5 - BIT(22) },
	{ &pt_x86_user, 4, 0, BIT(47), BIT(47) - BIT(23) },
	{ &pt_x86_kernel, 4, DIRECT_BASE, 0, 0 - BIT(23) },
	{ &pt_x86_nested, 4, 0, BIT(40), BIT(40) - BIT(23) },
	{ &toy, 3, 0, BIT(39), BIT(30) * 7 - BIT(22) },
	{ &toy, 6, 0, BIT(63), BIT(57) - BIT(22) },
};

#define for_each_format(d)                     \
	for (const struct format *d = formats; \
	     d < formats + ARRAY_SIZE(formats); d++)

static bool make(struct pt *pt, const struct format *d)
{
	return pt_init(pt, d->format, d->levels, d->bottom, d->top, NULL) == 0;
}

static void release(struct page *table, void *arg)
{
	unsigned *n = arg;

	if (n)
		++*n;
	page_put(table);
}

/* Unmap and free everything. */
static void unmake(struct pt *pt)
{
	EXPECT_EQ(pt_unmap(pt, pt->bottom, pt->top), 0);
	EXPECT_STR_NULL(pt_check(pt));
	pt_destroy(pt, release, NULL);
}

/* ------------------------------------------------------------------ slots */

TEST(pt, slot_without_alloc_makes_nothing,
     "a lookup without tables returns NULL and allocates nothing")
{
	for_each_format(d)
	{
		struct pt pt;

		REQUIRE(make(&pt, d));
		EXPECT(!pt_slot(&pt, d->base, 0, false));
		EXPECT(!pt_slot(&pt, d->base, 1, false));
		EXPECT_EQ(pt.tables, 1);
		unmake(&pt);
	}
}

TEST(pt, slot_makes_a_whole_path, "a slot's path is created, found and counted")
{
	for_each_format(d)
	{
		unsigned level;
		uint64_t *slot;
		struct pt pt;

		REQUIRE(make(&pt, d));
		slot = pt_slot(&pt, d->base, 0, true);
		REQUIRE(slot);
		EXPECT_EQ(pt.tables, d->levels);
		EXPECT(pt_slot(&pt, d->base, 0, true) == slot);
		EXPECT(pt_slot(&pt, d->base, 0, false) == slot);
		EXPECT(pt_lookup(&pt, d->base, 0, &level) == slot);
		EXPECT_EQ(level, 0);
		EXPECT_STR_NULL(pt_check(&pt));
		unmake(&pt);
	}
}

TEST(pt, no_memory_makes_no_path,
     "if one table of a path cannot be allocated, none is kept")
{
	for_each_format(d)
	{
		uint64_t free;
		struct pt pt;

		REQUIRE(make(&pt, d));
		free = pmm_free_pages();
		for (unsigned nth = 1; nth < d->levels; nth++) {
			inject_arm(nth);
			EXPECT(!pt_slot(&pt, d->base, 0, true));
			EXPECT_EQ(pt.tables, 1);
			EXPECT_EQ(pmm_free_pages(), free);
		}
		inject_arm(0);
		unmake(&pt);
	}
}

TEST(pt, remembered_table_is_of_four_levels,
     "an address of a fifth level is not taken for that of the last walk, from "
     "which it differs in no other level")
{
	struct pt pt;

	REQUIRE(!pt_init(&pt, &toy, 4, 0, pt_span(4), NULL));
	REQUIRE(!pt_map(&pt, 0, 0, PAGE_SIZE, PROT_R, false));
	REQUIRE(!pt_grow(&pt));
	EXPECT(!pt_slot(&pt, pt_span(4), 0, false));
	EXPECT(pt_slot(&pt, 0, 0, false));
	EXPECT(!pt_slot(&pt, pt_span(4), 0, false));
	unmake(&pt);
}

TEST(pt, no_memory_makes_no_tree, "a root that cannot be allocated is -ENOMEM")
{
	struct pt pt;

	inject_arm(1);
	EXPECT(!make(&pt, formats));
	inject_arm(0);
}

TEST(pt, larger_leaf_has_no_small_slot, "there is no table below a 2 MiB leaf")
{
	for_each_format(d)
	{
		va_t va = ALIGN_DOWN(d->base, BIT(21));
		struct pt pt;

		REQUIRE(make(&pt, d));
		REQUIRE(pt_map(&pt, va, BIT(21), BIT(21), PROT_R, true) == 0);
		EXPECT(!pt_slot(&pt, va + PAGE_SIZE, 0, false));
		EXPECT(!pt_slot(&pt, va + PAGE_SIZE, 0, true));
		unmake(&pt);
	}
}

TEST(pt, leaf_says_what_it_grants,
     "a leaf entry encodes exactly the rights it was made with")
{
	unsigned all =
		PROT_W | PROT_X | PROT_USER | PROT_GLOBAL | PROT_UNCACHED;

	for (unsigned i = 0; i <= all; i++) {
		enum prot prot = (enum prot)(i | PROT_R);
		uint64_t e = x86_leaf(0x12345000, prot);

		EXPECT_EQ(x86_prot(e), prot);
		EXPECT_EQ(pt_pa(e), 0x12345000);
		EXPECT_EQ(pt_kind(&pt_x86_user, e, 0), PT_LEAF);
		EXPECT_EQ(
			pt_kind(&pt_x86_user, x86_leaf_at(BIT(21), prot, 1), 1),
			PT_LEAF);
	}
	EXPECT_EQ(pt_kind(&pt_x86_user, 0, 1), PT_HOLE);
	EXPECT_EQ(pt_kind(&pt_x86_user, 0x5000 | PTE_W, 0), PT_HOLE);
}

/* ---------------------------------------------------------------- the model */

#define PAGES 2048 /* 8 MiB from base on */

/*
 * The expected translation of each page: an address, 0 for none, and whether by
 * a 2 MiB leaf.
 */
static struct {
	pa_t pa;
	bool huge;
} model[PAGES];

static bool model_free(unsigned at, unsigned n)
{
	for (unsigned i = at; i < at + n; i++)
		if (model[i].pa)
			return false;
	return true;
}

/* Return whether an end of [at, at + n) lies inside a 2 MiB leaf. */
static bool model_cut(unsigned at, unsigned n)
{
	return (at % 512 && model[at].huge) ||
	       ((at + n) % 512 && model[at + n].huge);
}

/*
 * Return whether this 2 MiB has a leaf table; then no 2 MiB leaf can be made.
 */
static bool has_table(struct pt *pt, va_t va)
{
	unsigned level;

	pt_lookup(pt, va, 0, &level);
	return level == 0;
}

/* Do pt_map() by segments, cut at random places. */
static int map_in_pieces(struct pt *pt, va_t va, pa_t pa, uint64_t len,
			 bool huge, struct rng *rng)
{
	struct segment sg[4];
	uint64_t left = len, n;

	for (unsigned i = 0; left; i++, pa += n, left -= n) {
		n = i == 3 ? left
			   : PAGE_SIZE * (1 + rng_below(rng, left / PAGE_SIZE));
		sg[i] = (struct segment){ pa, n };
	}
	return pt_map_sg(pt, va, sg, len, PROT_R, huge);
}

static void model_map(struct pt *pt, va_t base, unsigned at, unsigned n,
		      pa_t pa, bool huge, struct rng *rng)
{
	va_t va = base + at * PAGE_SIZE;
	uint64_t len = n * PAGE_SIZE;
	bool whole[PAGES / 512] = { false };
	bool free = model_free(at, n);
	int error;

	for (unsigned i = at; huge && i < at + n; i++)
		if (i % 512 == 0 && at + n - i >= 512)
			whole[i / 512] =
				!has_table(pt, base + i * PAGE_SIZE) &&
				IS_ALIGNED(pa + (i - at) * PAGE_SIZE, BIT(21));
	error = rng_below(rng, 2) ? pt_map(pt, va, pa, len, PROT_R, huge)
				  : map_in_pieces(pt, va, pa, len, huge, rng);
	EXPECT_EQ(error, free ? 0 : -EEXIST);
	for (unsigned i = at; free && i < at + n; i++) {
		model[i].pa = pa + (i - at) * PAGE_SIZE;
		model[i].huge = whole[i / 512];
	}
}

static void model_unmap(struct pt *pt, va_t base, unsigned at, unsigned n)
{
	bool cut = model_cut(at, n);
	va_t start = base + at * PAGE_SIZE;

	EXPECT_EQ(pt_unmap(pt, start, start + n * PAGE_SIZE),
		  cut ? -EINVAL : 0);
	for (unsigned i = at; !cut && i < at + n; i++) {
		model[i].pa = 0;
		model[i].huge = false;
	}
}

/* Count the pages whose translation differs from the model. */
static unsigned model_differs(struct pt *pt, va_t base)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < PAGES; i++) {
		va_t va = base + i * PAGE_SIZE;
		unsigned level;
		uint64_t e = *pt_lookup(pt, va, 0, &level);
		pa_t pa = e ? pt_pa(e) + (va & (pt_span(level) - 1)) : 0;

		wrong +=
			pa != model[i].pa || (e && level == 1) != model[i].huge;
	}
	return wrong;
}

/* The same, by the loop over runs. */
static unsigned runs_differ(struct pt *pt, va_t base)
{
	va_t end = base + PAGES * PAGE_SIZE;
	unsigned live = 0, want = 0;
	struct pt_run run;

	for (unsigned i = 0; i < PAGES; i++)
		want += model[i].pa && (!model[i].huge || i % 512 == 0);
	for (va_t va = base; pt_next_run(pt, &va, end, &run);)
		for (unsigned i = 0; i < run.count; i++)
			live += run.slots[i] != 0;
	return live != want;
}

static void play(struct pt *pt, va_t base, struct rng *rng)
{
	unsigned at = (unsigned)rng_below(rng, PAGES - 1);
	unsigned n = 1 + (unsigned)rng_below(rng, 1200);
	bool huge = rng_below(rng, 2);
	pa_t pa = BIT(32) + at * PAGE_SIZE;

	if (rng_below(rng, 2)) { /* make 2 MiB leaves likely */
		at = ALIGN_DOWN(at, 512u);
		n = ALIGN_UP(n, 512u);
		pa = BIT(32) + at * PAGE_SIZE;
	}
	if (!rng_below(rng, 8))
		pa += PAGE_SIZE;
	if (at + n >= PAGES)
		n = PAGES - 1 - at;
	if (rng_below(rng, 2))
		model_map(pt, base, at, n, pa, huge, rng);
	else
		model_unmap(pt, base, at, n);
	if (!rng_below(rng, 4))
		pt_prune(pt, base, base + PAGES * PAGE_SIZE, release, NULL);
}

TEST(pt, maps_like_a_flat_array,
     "random maps and unmaps of 4 KiB and 2 MiB leaves match a flat model")
{
	struct rng rng = rng_seed(test_seed());

	for_each_format(d)
	{
		struct pt pt;

		REQUIRE(make(&pt, d));
		memset(model, 0, sizeof(model));
		for (unsigned i = 0; i < 150; i++) {
			play(&pt, d->base, &rng);
			if (i % 10 == 9)
				EXPECT_EQ(model_differs(&pt, d->base), 0);
		}
		EXPECT_EQ(runs_differ(&pt, d->base), 0);
		EXPECT_STR_NULL(pt_check(&pt));
		unmake(&pt);
	}
}
