/* SPDX-License-Identifier: MIT */
/*
 * walk.c - the strict IOMMU reads page tables as the manual defines them
 */
#include "tests/fixture/iommu/model_fixture.h"

#define DEV    8
#define DOMAIN 7

/* Map one page read-write at BARE_IOVA. */
static pa_t mapped(struct bare_model *r, pa_t *data)
{
	pa_t root = bare_attach(r, DEV, DOMAIN);

	*data = bare_data(r);
	bare_map(r, root, BARE_IOVA, *data, BARE_RW);
	return root;
}

/* ---- rights ------------------------------------------------------------ */

/*
 * Set the rights of DTE and levels 4, 3, 2, 1 from two bits of `rights` each.
 */
static uint64_t set_rights(struct bare_model *r, pa_t root, unsigned rights)
{
	uint64_t all = BARE_RW;

	for (unsigned n = 0; n <= LEVELS; n++) {
		uint64_t bits = (uint64_t)(rights >> 2 * n & 3) << 61;
		uint64_t *at = n ? bare_slot(r, root, BARE_IOVA, n)
				 : &bare_dte(r, DEV)->w[0];

		*at = (*at & ~BARE_RW) | bits;
		all &= bits;
	}
	return all;
}

TEST(model_walk, rights_are_anded,
     "of all 1024 rights of DTE and 4 levels only those that all grant pass")
{
	pa_t root, a;
	struct bare_model r;

	bare_open(&r, NULL);
	root = mapped(&r, &a);
	for (unsigned rights = 0; rights < 1024; rights++) {
		uint64_t all = set_rights(&r, root, rights);

		bare_flush_all(&r);
		EXPECT_EQ(bare_write(&r, DEV, BARE_IOVA, rights),
			  !!(all & BARE_W));
		EXPECT_EQ(*bare_word(a) == rights, !!(all & BARE_W));
		*bare_word(a) = a;
		EXPECT_EQ(bare_read(&r, DEV, BARE_IOVA) == a, !!(all & BARE_R));
		while (bare_events(&r)) {
			struct log_entry e = bare_event(&r);

			EXPECT_EQ(e.w[0] & GENMASK(63, 48) & ~EVENT0_RW,
				  DENIED);
		}
	}
	bare_close(&r);
}

/* ---- what is not there, or may not be ---------------------------------- */

TEST(model_walk, hole_at_any_level_faults,
     "an entry without PR blocks, whatever its other bits, and is logged "
     "exactly")
{
	pa_t root, a;
	struct bare_model r;

	bare_open(&r, NULL);
	root = mapped(&r, &a);
	for (unsigned n = 1; n <= LEVELS; n++) {
		uint64_t *slot = bare_slot(&r, root, BARE_IOVA, n), was = *slot;
		struct log_entry e;

		*slot = was & ~PRESENT;
		bare_flush_all(&r);
		EXPECT(!bare_write(&r, DEV, BARE_IOVA + 8, 1));
		EXPECT_EQ(*bare_word(a + 8), a + 8);
		e = bare_event(&r);
		EXPECT_EQ(e.w[0], ABSENT | EVENT0_RW | DEV |
					  FIELD_PREP(EVENT0_DOMAIN, DOMAIN));
		EXPECT_EQ(e.w[1], BARE_IOVA + 8);
		*slot = was;
		EXPECT_EQ(bare_event_of_read(&r, DEV, BARE_IOVA), 0);
	}
	bare_close(&r);
}

TEST(model_walk, reserved_bits_fault_and_ignored_bits_do_not,
     "each of 64 bits of a leaf and of a directory is reserved, ignored or "
     "used")
{
	const uint64_t used = GENMASK(51, 9) | BIT(0) | BARE_RW;
	pa_t root, a;
	struct bare_model r;

	bare_open(&r, NULL);
	root = mapped(&r, &a);
	for (unsigned level = 1; level <= 2; level++) {
		uint64_t *slot = bare_slot(&r, root, BARE_IOVA, level);

		for (unsigned bit = 0; bit < 64; bit++) {
			unsigned last = level == 1 ? 58 : 60;
			bool reserved = bit >= 52 && bit <= last;

			if (used & BIT(bit))
				continue;
			*slot ^= BIT(bit);
			EXPECT_EQ(bare_event_of_read(&r, DEV, BARE_IOVA),
				  reserved ? RESERVED : 0);
			*slot ^= BIT(bit);
		}
	}
	bare_close(&r);
}

TEST(model_walk, level_must_go_down,
     "a directory that leads to its own level or up is an illegal level")
{
	pa_t root, a;
	struct bare_model r;

	bare_open(&r, NULL);
	root = mapped(&r, &a);
	for (unsigned level = 1; level <= LEVELS; level++) {
		uint64_t *slot = bare_slot(&r, root, BARE_IOVA, level);
		uint64_t was = *slot;

		for (unsigned next = level; next < 7; next++) {
			*slot = (was & ~NEXT(7)) | NEXT(next);
			EXPECT_EQ(bare_event_of_read(&r, DEV, BARE_IOVA),
				  RESERVED);
		}
		*slot = was;
	}
	bare_close(&r);
}

/* Lead from the root directly to a level 1 table. */
TEST(model_walk, skipped_levels_must_be_zero_in_the_address,
     "a root that leads to level 1 maps the first 2 MiB and nothing above")
{
	pa_t root, table, a;
	struct bare_model r;

	bare_open(&r, NULL);
	root = bare_attach(&r, DEV, DOMAIN);
	table = bare_page(&r);
	a = bare_data(&r);
	*bare_word(root + 8) = table | PRESENT | NEXT(1) | BARE_RW;
	*bare_word(table + 8 * 3) = a | PRESENT | BARE_RW;
	EXPECT_EQ(bare_read(&r, DEV, BIT(39) + 0x3000), a);
	EXPECT_EQ(bare_event_of_read(&r, DEV, BIT(39) + 0x3000 + BIT(21)),
		  ABSENT);
	EXPECT_EQ(bare_event_of_read(&r, DEV, BIT(39) + 0x3000 + BIT(30)),
		  ABSENT);
	EXPECT_EQ(bare_event_of_read(&r, DEV, BIT(39) + 0x3000 + BIT(38)),
		  ABSENT);
	EXPECT_EQ(bare_read(&r, DEV, BIT(39) + 0x3000), a);
	EXPECT_EQ(model_names_table(r.m, table, NULL, 0), true);
	bare_close(&r);
}

/* ---- leaf sizes -------------------------------------------------------- */

/*
 * Test NextLevel 7 at `level` with size 2^shift: legal if within the level's
 * span.
 */
static void odd_size(struct bare_model *r, pa_t root, unsigned level,
		     unsigned shift)
{
	unsigned lowest = 12 + 9 * (level - 1);
	bool legal = shift >= lowest && shift < lowest + 9 && shift > 12;
	uint64_t pa = UINT64_C(3) << 42, *slot;
	iova_t iova = BARE_IOVA + (BIT(shift) - PAGE_SIZE) % BIT(lowest + 9);
	struct model_entry e;

	slot = bare_slot(r, root, iova, level);
	*slot = pa | (BIT(shift - 1) - PAGE_SIZE) | PRESENT | NEXT(7) | BARE_R;
	bare_flush_all(r);
	bare_read(r, DEV, iova);
	EXPECT_EQ(model_lookup(r->m, false, DOMAIN, iova, &e), legal);
	if (legal) {
		EXPECT_EQ(e.shift, shift);
		EXPECT_EQ(e.pa, pa);
		EXPECT_EQ(e.iova, ALIGN_DOWN(iova, BIT(shift)));
	} else {
		EXPECT_EQ(bare_event(r).w[0] & GENMASK(63, 48), RESERVED);
	}
	*slot = 0;
}

TEST(model_walk, seven_encodings_give_sizes_between_levels,
     "NextLevel 7 at levels 1 to 3 encodes 8 KiB to 256 GiB in the address")
{
	pa_t root;
	struct bare_model r;

	bare_open(&r, NULL);
	root = bare_attach(&r, DEV, DOMAIN);
	for (unsigned level = 1; level <= 3; level++)
		for (unsigned shift = 13; shift <= 41; shift++)
			odd_size(&r, root, level, shift);
	bare_close(&r);
}

TEST(model_walk, natural_leaves_must_be_aligned,
     "NextLevel 0 at levels 2 and 3 maps 2 MiB and 1 GiB at aligned addresses "
     "only")
{
	pa_t root;
	struct bare_model r;

	bare_open(&r, NULL);
	root = bare_attach(&r, DEV, DOMAIN);
	for (unsigned level = 2; level <= 3; level++) {
		unsigned shift = 12 + 9 * (level - 1);
		uint64_t *slot = bare_slot(&r, root, BARE_IOVA, level);
		struct model_entry e;

		*slot = BIT(shift + 2) | PRESENT | BARE_R;
		bare_flush_all(&r);
		bare_read(&r, DEV, BARE_IOVA + 0x5000);
		REQUIRE(model_lookup(r.m, false, DOMAIN, BARE_IOVA, &e));
		EXPECT(e.shift == shift && e.pa == BIT(shift + 2));
		for (unsigned bit = 12; bit < shift; bit++) {
			*slot ^= BIT(bit);
			EXPECT_EQ(bare_event_of_read(&r, DEV, BARE_IOVA),
				  RESERVED);
			*slot ^= BIT(bit);
		}
		*slot = 0;
	}
	bare_close(&r);
}
