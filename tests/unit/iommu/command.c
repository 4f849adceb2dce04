/* SPDX-License-Identifier: MIT */
/*
 * command.c - what the constructors of command.h can encode
 *
 * The reference is the model's own reading of the manual: its decoder of
 * ranges, and its ring, which halts at an illegal command.
 */
#include "iommu/core/flush.h"
#include "iommu/hw/command.h"
#include "tests/fixture/iommu/model_fixture.h"
#include "tests/model/model_priv.h"

#define ROUNDS 100000u
#define DEVICE 8
#define TOP    GENMASK(63, 12) /* the last page                            */

/* Return a number of random length: small ones are as likely as large ones. */
static uint64_t skewed(struct rng *rng, unsigned most_bits)
{
	return rng_next(rng) >> (64 - 1 - rng_below(rng, most_bits));
}

/* 1 .. 2^18 pages anywhere, sometimes at the very top. */
static void random_range(struct rng *rng, iova_t *start, iova_t *last)
{
	uint64_t pages = 1 + skewed(rng, 18);
	uint64_t bits = 1 + rng_below(rng, 52);
	uint64_t first = rng_next(rng) >> (64 - bits);

	if (!rng_below(rng, 16))
		first = GENMASK(51, 0) - pages + 1;
	if (first + pages > BIT(52))
		first = BIT(52) - pages;
	*start = first << PAGE_SHIFT;
	*last = *start + (pages << PAGE_SHIFT) - 1;
}

static bool within(struct range r, iova_t start, iova_t last)
{
	return r.shift >= 64 || (start >> r.shift == r.base >> r.shift &&
				 last >> r.shift == r.base >> r.shift);
}

TEST(command, range_is_the_least_that_covers,
     "a range is encoded as the smallest aligned power of two around it (C6)")
{
	struct rng rng = rng_seed(test_seed());

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct range r, half;
		iova_t start, last;

		random_range(&rng, &start, &last);
		r = range_of(command_range(start, last + 1).w);
		half = (struct range){ start, r.shift - 1 };
		if (within(r, start, last) &&
		    (r.shift == PAGE_SHIFT || r.shift == 64 ||
		     !within(half, start, last)))
			continue;
		test_fail(__FILE__, __LINE__, "[%lx, %lx] became %lx %u", start,
			  last, r.base, r.shift);
		return;
	}
	/* A range that cannot be encoded becomes "all". */
	EXPECT_EQ(command_range(0, BIT(62)).w, RANGE_ALL.w);
	EXPECT_EQ(range_of(RANGE_ALL.w).shift, 64);
	EXPECT_EQ(range_of(command_range(0, BIT(52)).w).shift, 52);
	EXPECT_EQ(command_range(TOP, 0).w, TOP);
}

TEST(command, block_is_a_range,
     "a block is encoded as the range from its start to its end")
{
	for (uint64_t len = PAGE_SIZE; len <= BIT(52); len *= 2) {
		EXPECT_EQ(command_block(0, len).w, command_range(0, len).w);
		EXPECT_EQ(command_block(3 * len, len).w,
			  command_range(3 * len, 4 * len).w);
	}
}

/* Expect pieces without gap that each begin where they are aligned. */
static void expect_exact(const struct command *c, unsigned n, uint16_t id,
			 iova_t start, iova_t end, bool tables)
{
	for (unsigned i = 0; i < n; i++) {
		struct range r = range_of(c[i].w[1]);

		EXPECT_EQ(c[i].w[0], BIT(61) | BIT(60) | (uint64_t)id << 32);
		EXPECT_EQ(!!(c[i].w[1] & CMD1_PDE), tables);
		EXPECT_EQ(r.base, start);
		start += BIT(r.shift);
	}
	EXPECT_EQ(start, end);
}

/*
 * The minimum number of aligned powers of two whose union is the range,
 * computed another way: from both ends, the bit of a size is used once where
 * that end is odd.
 */
static unsigned fewest(uint64_t first, uint64_t end)
{
	unsigned n = 0;

	for (; first < end; first /= 2, end /= 2) {
		n += first & 1;
		first += first & 1;
		n += end & 1;
		end -= end & 1;
	}
	return n;
}

TEST(command, flush_names_exactly_the_range,
     "a flush is the fewest aligned powers of two whose union is the range, "
     "or the whole domain beyond FLUSH_MAX of them")
{
	struct rng rng = rng_seed(test_seed());
	unsigned whole = 0, exact = 0;

	for (unsigned i = 0; i < ROUNDS / 10; i++) {
		struct command c[FLUSH_MAX];
		bool tables = rng_next(&rng) & 1;
		uint16_t id = (uint16_t)(1 + rng_below(&rng, 65535));
		iova_t start, last;
		unsigned n, least;

		random_range(&rng, &start, &last);
		if (last + 1 == 0)
			continue; /* beyond any domain */
		least = fewest(start / PAGE_SIZE, (last + 1) / PAGE_SIZE);
		n = flush_commands(c, id, start, last + 1, tables);
		if (least <= FLUSH_MAX) {
			EXPECT_EQ(n, least);
			expect_exact(c, n, id, start, last + 1, tables);
			exact++;
		} else {
			EXPECT_EQ(n, 1);
			EXPECT_EQ(c[0].w[1] & ~CMD1_PDE, RANGE_ALL.w);
			EXPECT_EQ(!!(c[0].w[1] & CMD1_PDE), tables);
			EXPECT_EQ(FIELD_GET(CMD0_DOMAIN, c[0].w[0]), id);
			whole++;
		}
	}
	EXPECT(whole > 100 && exact > 100);
}

/* Return one of the eight commands, with arguments that its types allow. */
static struct command random_command(struct bare_model *r, struct rng *rng,
				     pa_t word)
{
	uint16_t devid = (uint16_t)rng_next(rng);
	iova_t start, last;
	struct command_range range;

	random_range(rng, &start, &last);
	range = rng_below(rng, 8) ? command_range(start, last + 1) : RANGE_ALL;
	switch (1 + rng_below(rng, 8)) {
	case COMPLETION_WAIT:
		return command_completion_wait(word, rng_next(rng));
	case INVALIDATE_DEVTAB_ENTRY:
		return command_invalidate_devtab_entry(devid);
	case INVALIDATE_IOMMU_PAGES:
		return command_invalidate_iommu_pages(devid, range,
						      rng_next(rng) & 1);
	case INVALIDATE_IOTLB_PAGES:
		return command_invalidate_iotlb_pages(
			DEVICE, devid, (uint8_t)rng_next(rng), range);
	case INVALIDATE_INTERRUPT_TABLE:
		return command_invalidate_interrupt_table(devid);
	case PREFETCH_IOMMU_PAGES:
		return command_prefetch_iommu_pages(devid, rng_next(rng),
						    (uint8_t)rng_next(rng));
	case COMPLETE_PPR_REQUEST:
		return command_complete_ppr_request(
			devid,
			rng_next(rng) & 1 ? PPR_NO_PASID : rng_next(rng) >> 44,
			(uint16_t)rng_next(rng),
			(enum ppr_status)rng_below(rng, 16));
	default:
		return command_invalidate_iommu_all();
	}
}

TEST(command, no_constructor_makes_an_illegal_one,
     "the ring never halts at a command of the eight constructors, whatever "
     "their arguments (C124)")
{
	struct rng rng = rng_seed(test_seed());
	struct model_stats stats;
	struct bare_model r;
	pa_t word;

	bare_open(&r, &(struct model_config){ .efr = MODEL_EFR | EFR_PREFETCH |
						     EFR_GT });
	r.complaints_expected = true; /* answers without a request */
	model_set_ats(r.m, DEVICE, MODEL_ATS_ON);
	word = bare_page(&r);
	for (unsigned i = 0; i < ROUNDS / 10; i++)
		bare_send(&r, random_command(&r, &rng, word));
	bare_sync(&r);
	stats = bare_stats(&r);
	EXPECT_EQ(stats.events[ILLEGAL_COMMAND_ERROR], 0);
	EXPECT_EQ(stats.fetched, ROUNDS / 10 + 1);
	for (unsigned op = COMPLETION_WAIT; op <= INVALIDATE_IOMMU_ALL; op++)
		EXPECT(stats.commands[op] > ROUNDS / 100);
	bare_close(&r);
}
