/* SPDX-License-Identifier: MIT */
/*
 * dte.c - the strict IOMMU reads the device table as the manual defines it
 */
#include "tests/fixture/iommu/model_fixture.h"

#define DEV        8
#define DOMAIN     7
#define BAD_DTE    TYPE(ILLEGAL_DEV_TABLE_ENTRY)
#define BAD_DTE_RZ (BAD_DTE | EVENT0_RZ)

/* Map one page read-write at BARE_IOVA. */
static pa_t mapped(struct bare_model *r, pa_t *data)
{
	pa_t root = bare_attach(r, DEV, DOMAIN);

	*data = bare_data(r);
	bare_map(r, root, BARE_IOVA, *data, BARE_RW);
	return root;
}

TEST(model_dte, depth_bounds_the_address,
     "a tree of n levels ends at 2^(12 + 9n), and more than HATS is illegal")
{
	pa_t root, a;
	struct bare_model r;

	bare_open(&r, NULL);
	root = bare_attach(&r, DEV, DOMAIN);
	a = bare_data(&r);
	/* One table serves as every level: its entry 0 is the lowest leaf. */
	for (unsigned n = 1; n <= 7; n++) {
		uint64_t w0 = bare_dte(&r, DEV)->w[0] & ~DTE0_MODE;

		bare_dte(&r, DEV)->w[0] = w0 | FIELD_PREP(DTE0_MODE, n);
		*bare_word(root) = a | PRESENT | BARE_RW;
		if (n > 1) {
			pa_t leaves = bare_page(&r);

			*bare_word(leaves) = a | PRESENT | BARE_RW;
			*bare_word(root) = leaves | PRESENT | NEXT(1) | BARE_RW;
		}
		EXPECT_EQ(bare_event_of_read(&r, DEV, 0), n == 7 ? BAD_DTE : 0);
		if (n < 6)
			EXPECT_EQ(bare_event_of_read(&r, DEV, BIT(12 + 9 * n)),
				  ABSENT);
	}
	bare_close(&r);
}

TEST(model_dte, hats_says_how_deep,
     "an IOMMU with 4 levels rejects a DTE with 5")
{
	const struct model_config config = { .efr = EFR_IA };
	pa_t root, a;
	struct bare_model r;

	bare_open(&r, &config);
	root = mapped(&r, &a);
	EXPECT_EQ(bare_event_of_read(&r, DEV, BARE_IOVA), 0);
	*bare_dte(&r, DEV) = dte_translate(root, 5, DOMAIN);
	EXPECT_EQ(bare_event_of_read(&r, DEV, BARE_IOVA), BAD_DTE);
	bare_close(&r);
}

TEST(model_dte, invalid_dtes_pass_deny_or_are_illegal,
     "V=0 passes untranslated, TV=0 blocks, mode 0 has only the DTE's rights")
{
	struct bare_model r;
	struct dte *d;
	pa_t a;

	bare_open(&r, NULL);
	d = bare_dte(&r, DEV);
	a = bare_data(&r);
	EXPECT_EQ(bare_event_of_read(&r, DEV, a), ABSENT); /* dte_deny() */
	d->w[0] = 0;
	EXPECT_EQ(bare_event_of_read(&r, DEV, a), 0);
	EXPECT_EQ(bare_read(&r, DEV, a), a);
	d->w[0] = DTE0_V;
	EXPECT_EQ(bare_event_of_read(&r, DEV, a), ABSENT);
	EXPECT_EQ(bare_read(&r, DEV, a), NOTHING);
	EXPECT_EQ(bare_event(&r).w[0] >> 60, IO_PAGE_FAULT);
	d->w[0] = DTE0_V | DTE0_TV;
	EXPECT_EQ(bare_event_of_read(&r, DEV, a), DENIED);
	d->w[0] |= DTE0_IR;
	EXPECT_EQ(bare_event_of_read(&r, DEV, a), 0);
	EXPECT_EQ(bare_read(&r, DEV, a), a);
	EXPECT(!bare_write(&r, DEV, a, 1));
	bare_close(&r);
}

TEST(model_dte, reserved_dte_bits_are_illegal,
     "reserved bits 2-6 and 63, and GV without guest tables, make a DTE "
     "illegal")
{
	struct bare_model r;
	pa_t a;

	bare_open(&r, NULL);
	mapped(&r, &a);
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t *w0 = &bare_dte(&r, DEV)->w[0];

		if ((bit < 2 || bit > 6) && bit != 55 && bit != 63)
			continue;
		*w0 ^= BIT(bit);
		if (bit >= 2)
			EXPECT_EQ(bare_event_of_read(&r, DEV, BARE_IOVA),
				  BAD_DTE_RZ);
		*w0 ^= BIT(bit);
	}
	EXPECT_EQ(bare_event_of_read(&r, DEV, BARE_IOVA), 0);
	bare_close(&r);
}

TEST(model_dte, faults_are_logged_as_the_dte_says,
     "SE logs only the first fault until the DTE is read again, SA logs none")
{
	struct bare_model r;

	bare_open(&r, NULL);
	bare_attach(&r, DEV, DOMAIN);
	bare_dte(&r, DEV)->w[1] |= DTE1_SE;
	for (unsigned i = 0; i < 3; i++)
		bare_read(&r, DEV, BARE_IOVA);
	EXPECT_EQ(bare_events(&r), 1);
	bare_flush_all(&r);
	bare_read(&r, DEV, BARE_IOVA);
	EXPECT_EQ(bare_events(&r), 2);
	bare_dte(&r, DEV)->w[1] ^= DTE1_SE | DTE1_SA;
	bare_flush_all(&r);
	EXPECT_EQ(bare_read(&r, DEV, BARE_IOVA), NOTHING);
	EXPECT_EQ(bare_events(&r), 2);
	EXPECT_EQ(bare_stats(&r).events_suppressed, 3);
	bare_close(&r);
}

#define NO_RAM BIT(45)

TEST(model_dte, nothing_outside_ram_is_touched,
     "tables, DTEs and pages outside RAM cause hardware errors, not faults")
{
	enum model_verdict why;
	pa_t root, a;
	uint64_t v = 0;
	struct bare_model r;

	bare_open(&r, NULL);
	root = mapped(&r, &a);
	*bare_slot(&r, root, BARE_IOVA, 1) = NO_RAM | PRESENT | BARE_RW;
	EXPECT_EQ(bare_event_of_read(&r, DEV, BARE_IOVA), 0);
	EXPECT_EQ(model_dma(r.m, DEV, BARE_IOVA, &v, 8, true, &why), 0);
	EXPECT_EQ(why, MODEL_ABORT);
	*bare_slot(&r, root, BARE_IOVA, 2) =
		NO_RAM | PRESENT | NEXT(1) | BARE_RW;
	EXPECT_EQ(bare_event_of_read(&r, DEV, BARE_IOVA),
		  TYPE(PAGE_TAB_HARDWARE_ERROR));
	EXPECT_EQ(bare_read(&r, 128, 0), NOTHING);
	EXPECT_EQ(bare_event(&r).w[0], BAD_DTE | 128);
	reg_write(&r.port, REG_CONTROL, 0);
	reg_write(&r.port, REG_DEV_TABLE_BASE, NO_RAM);
	EXPECT_EQ(bare_read(&r, DEV, a), a); /* off: untranslated */
	reg_write(&r.port, REG_CONTROL,
		  CONTROL_IOMMU_EN | CONTROL_EVENT_LOG_EN | CONTROL_CMD_BUF_EN);
	EXPECT_EQ(bare_event_of_read(&r, DEV, BARE_IOVA),
		  TYPE(DEV_TAB_HARDWARE_ERROR));
	bare_close(&r);
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

TEST(model_dte, random_tables_stay_in_ram,
     "20000 reads through random DTEs and tables end and stay inside RAM")
{
	struct rng rng = rng_seed(test_seed());
	pa_t pool[POOL];
	struct bare_model r;

	bare_open(&r, NULL);
	for (unsigned i = 0; i < POOL; i++)
		pool[i] = bare_page(&r);
	for (unsigned n = 0; n < 20000; n++) {
		struct dte *d = bare_dte(&r, (uint16_t)rng_below(&rng, 128));
		uint64_t buf[16], len = 1 + rng_below(&rng, sizeof(buf));

		for (unsigned i = 0; i < 4; i++)
			*bare_word(pool[rng_below(&rng, POOL)] +
				   8 * rng_below(&rng, 4)) =
				rubbish(&rng, pool);
		d->w[0] = rubbish(&rng, pool);
		d->w[1] = rng_next(&rng) & 3;
		EXPECT(model_dma(r.m, (uint16_t)rng_below(&rng, 140),
				 rng_next(&rng) >> rng_below(&rng, 64), buf,
				 len, false, NULL) <= len);
		if (!rng_below(&rng, 16))
			bare_flush_all(&r);
		if (bare_events(&r))
			bare_event(&r);
	}
	EXPECT(bare_stats(&r).dma_bytes && bare_stats(&r).dma_faults);
	bare_close(&r);
}

TEST(model_dte, exclusion_range_passes,
     "a device passes untranslated inside the exclusion range if its DTE has "
     "EX or the range allows all, and nowhere else")
{
	pa_t data;
	struct bare_model r;

	bare_open(&r, NULL);
	mapped(&r, &data);
	bare_control(&r, 0);
	reg_write(&r.port, REG_EXCL_LIMIT, data);
	reg_write(&r.port, REG_EXCL_BASE, data | EXCL_EN);
	bare_control(&r, BARE_ON);
	EXPECT_EQ(bare_event_of_read(&r, DEV, data), ABSENT);
	bare_dte(&r, DEV)->w[1] |= BIT(40); /* EX */
	EXPECT_EQ(bare_event_of_read(&r, DEV, data), 0);
	EXPECT_EQ(bare_event_of_read(&r, DEV, data + PAGE_SIZE - 8), 0);
	EXPECT_EQ(bare_event_of_read(&r, DEV, data - 8), ABSENT);
	EXPECT_EQ(bare_event_of_read(&r, DEV, data + PAGE_SIZE), ABSENT);
	EXPECT_EQ(bare_event_of_read(&r, DEV + 1, data), ABSENT);
	bare_control(&r, 0);
	reg_write(&r.port, REG_EXCL_BASE, data | EXCL_EN | EXCL_ALLOW);
	bare_control(&r, BARE_ON);
	EXPECT_EQ(bare_event_of_read(&r, DEV + 1, data), 0);
	bare_control(&r, 0);
	reg_write(&r.port, REG_EXCL_BASE, data | EXCL_ALLOW);
	bare_control(&r, BARE_ON);
	EXPECT_EQ(bare_event_of_read(&r, DEV + 1, data), ABSENT);
	bare_close(&r);
}
