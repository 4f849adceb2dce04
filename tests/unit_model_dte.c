/* SPDX-License-Identifier: MIT */
/*
 * unit_model_dte.c - the strict IOMMU reads the device table as written
 */
#include "tests/model_rig.h"

#define DEV        8
#define DOMAIN     7
#define BAD_DTE    TYPE(ILLEGAL_DEV_TABLE_ENTRY)
#define BAD_DTE_RZ (BAD_DTE | EVENT0_RZ)

/* One page mapped read-write at RIG_IOVA. */
static pa_t mapped(struct rig *r, pa_t *data)
{
	pa_t root = rig_attach(r, DEV, DOMAIN);

	*data = rig_data(r);
	rig_map(r, root, RIG_IOVA, *data, RIG_RW);
	return root;
}

TEST(model_dte, depth_bounds_the_address,
     "a tree of n levels ends at 2^(12 + 9n); more levels than HATS are "
     "illegal")
{
	pa_t root, a;
	struct rig r;

	rig_open(&r, NULL);
	root = rig_attach(&r, DEV, DOMAIN);
	a = rig_data(&r);
	/* One table serves as every level: the lowest leaf is its entry 0. */
	for (unsigned n = 1; n <= 7; n++) {
		uint64_t w0 = rig_dte(&r, DEV)->w[0] & ~DTE0_MODE;

		rig_dte(&r, DEV)->w[0] = w0 | FIELD_PREP(DTE0_MODE, n);
		*rig_word(root) = a | PRESENT | RIG_RW;
		if (n > 1) {
			pa_t leaves = rig_page(&r);

			*rig_word(leaves) = a | PRESENT | RIG_RW;
			*rig_word(root) = leaves | PRESENT | NEXT(1) | RIG_RW;
		}
		EXPECT_EQ(rig_event_of_read(&r, DEV, 0), n == 7 ? BAD_DTE : 0);
		if (n < 6)
			EXPECT_EQ(rig_event_of_read(&r, DEV, BIT(12 + 9 * n)),
				  ABSENT);
	}
	rig_close(&r);
}

TEST(model_dte, hats_says_how_deep,
     "an IOMMU of 4 levels finds a fifth in a DTE illegal")
{
	const struct model_config config = { .efr = EFR_IA };
	pa_t root, a;
	struct rig r;

	rig_open(&r, &config);
	root = mapped(&r, &a);
	EXPECT_EQ(rig_event_of_read(&r, DEV, RIG_IOVA), 0);
	*rig_dte(&r, DEV) = dte_translate(root, 5, DOMAIN);
	EXPECT_EQ(rig_event_of_read(&r, DEV, RIG_IOVA), BAD_DTE);
	rig_close(&r);
}

TEST(model_dte, invalid_dtes_pass_deny_or_are_illegal,
     "V=0 passes untranslated, TV=0 blocks, mode 0 has only the DTE's rights")
{
	struct rig r;
	struct dte *d;
	pa_t a;

	rig_open(&r, NULL);
	d = rig_dte(&r, DEV);
	a = rig_data(&r);
	EXPECT_EQ(rig_event_of_read(&r, DEV, a), ABSENT); /* dte_deny() */
	d->w[0] = 0;
	EXPECT_EQ(rig_event_of_read(&r, DEV, a), 0);
	EXPECT_EQ(rig_read(&r, DEV, a), a);
	d->w[0] = DTE0_V;
	EXPECT_EQ(rig_event_of_read(&r, DEV, a), ABSENT);
	EXPECT_EQ(rig_read(&r, DEV, a), NOTHING);
	EXPECT_EQ(rig_event(&r).w[0] >> 60, IO_PAGE_FAULT);
	d->w[0] = DTE0_V | DTE0_TV;
	EXPECT_EQ(rig_event_of_read(&r, DEV, a), DENIED);
	d->w[0] |= DTE0_IR;
	EXPECT_EQ(rig_event_of_read(&r, DEV, a), 0);
	EXPECT_EQ(rig_read(&r, DEV, a), a);
	EXPECT(!rig_write(&r, DEV, a, 1));
	rig_close(&r);
}

TEST(model_dte, reserved_dte_bits_are_illegal,
     "bits 2 to 6 and 63, and GV without guest tables, are told as such")
{
	struct rig r;
	pa_t a;

	rig_open(&r, NULL);
	mapped(&r, &a);
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t *w0 = &rig_dte(&r, DEV)->w[0];

		if ((bit < 2 || bit > 6) && bit != 55 && bit != 63)
			continue;
		*w0 ^= BIT(bit);
		if (bit >= 2)
			EXPECT_EQ(rig_event_of_read(&r, DEV, RIG_IOVA),
				  BAD_DTE_RZ);
		*w0 ^= BIT(bit);
	}
	EXPECT_EQ(rig_event_of_read(&r, DEV, RIG_IOVA), 0);
	rig_close(&r);
}

TEST(model_dte, faults_are_told_as_the_dte_wants,
     "SE tells the first fault until the DTE is read anew, SA tells none")
{
	struct rig r;

	rig_open(&r, NULL);
	rig_attach(&r, DEV, DOMAIN);
	rig_dte(&r, DEV)->w[1] |= DTE1_SE;
	for (unsigned i = 0; i < 3; i++)
		rig_read(&r, DEV, RIG_IOVA);
	EXPECT_EQ(rig_events(&r), 1);
	rig_forget(&r);
	rig_read(&r, DEV, RIG_IOVA);
	EXPECT_EQ(rig_events(&r), 2);
	rig_dte(&r, DEV)->w[1] ^= DTE1_SE | DTE1_SA;
	rig_forget(&r);
	EXPECT_EQ(rig_read(&r, DEV, RIG_IOVA), NOTHING);
	EXPECT_EQ(rig_events(&r), 2);
	EXPECT_EQ(rig_stats(&r).events_suppressed, 3);
	rig_close(&r);
}

#define NO_RAM BIT(45)

TEST(model_dte, nothing_outside_ram_is_touched,
     "tables, DTEs and pages where no memory is make hardware errors, no fault")
{
	enum model_verdict why;
	pa_t root, a;
	uint64_t v = 0;
	struct rig r;

	rig_open(&r, NULL);
	root = mapped(&r, &a);
	*rig_slot(&r, root, RIG_IOVA, 1) = NO_RAM | PRESENT | RIG_RW;
	EXPECT_EQ(rig_event_of_read(&r, DEV, RIG_IOVA), 0);
	EXPECT_EQ(model_dma(r.m, DEV, RIG_IOVA, &v, 8, true, &why), 0);
	EXPECT_EQ(why, MODEL_ABORT);
	*rig_slot(&r, root, RIG_IOVA, 2) = NO_RAM | PRESENT | NEXT(1) | RIG_RW;
	EXPECT_EQ(rig_event_of_read(&r, DEV, RIG_IOVA),
		  TYPE(PAGE_TAB_HARDWARE_ERROR));
	EXPECT_EQ(rig_read(&r, 128, 0), NOTHING);
	EXPECT_EQ(rig_event(&r).w[0], BAD_DTE | 128);
	reg_write(&r.port, REG_CONTROL, 0);
	reg_write(&r.port, REG_DEV_TABLE_BASE, NO_RAM);
	EXPECT_EQ(rig_read(&r, DEV, a), a); /* off: untranslated */
	reg_write(&r.port, REG_CONTROL,
		  CONTROL_IOMMU_EN | CONTROL_EVENT_LOG_EN | CONTROL_CMD_BUF_EN);
	EXPECT_EQ(rig_event_of_read(&r, DEV, RIG_IOVA),
		  TYPE(DEV_TAB_HARDWARE_ERROR));
	rig_close(&r);
}

/* ---- rubbish ----------------------------------------------------------- */

#define POOL 12u

static uint64_t rubbish(struct rng *rng, const pa_t *pool)
{
	uint64_t e = rng_next(rng) & rng_next(rng);

	if (rng_below(rng, 8))
		e = (e & ~GENMASK(60, 12)) | pool[rng_below(rng, POOL)];
	return e | (rng_below(rng, 4) ? PRESENT : 0);
}

TEST(model_dte, rubbish_ends_in_bounds,
     "20000 reads through random DTEs and tables end, none outside of RAM")
{
	struct rng rng = rng_seed(test_seed());
	pa_t pool[POOL];
	struct rig r;

	rig_open(&r, NULL);
	for (unsigned i = 0; i < POOL; i++)
		pool[i] = rig_page(&r);
	for (unsigned n = 0; n < 20000; n++) {
		struct dte *d = rig_dte(&r, (uint16_t)rng_below(&rng, 128));
		uint64_t buf[16], len = 1 + rng_below(&rng, sizeof(buf));

		for (unsigned i = 0; i < 4; i++)
			*rig_word(pool[rng_below(&rng, POOL)] +
				  8 * rng_below(&rng, 4)) = rubbish(&rng, pool);
		d->w[0] = rubbish(&rng, pool);
		d->w[1] = rng_next(&rng) & 3;
		EXPECT(model_dma(r.m, (uint16_t)rng_below(&rng, 140),
				 rng_next(&rng) >> rng_below(&rng, 64), buf,
				 len, false, NULL) <= len);
		if (!rng_below(&rng, 16))
			rig_forget(&r);
		if (rig_events(&r))
			rig_event(&r);
	}
	EXPECT(rig_stats(&r).dma_bytes && rig_stats(&r).dma_faults);
	rig_close(&r);
}
