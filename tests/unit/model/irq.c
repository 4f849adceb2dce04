/* SPDX-License-Identifier: MIT */
/*
 * irq.c - the strict IOMMU judges messages as the manual says: 48882, 2.2.5
 *
 * Entries are built here bit by bit, a third time, independently of
 * iommu/hw/irte.h and of model_irq.c.
 */
#include "tests/fixture/iommu/model_fixture.h"

#define DEV     8
#define OTHER   9
#define V       0x51u
#define TO_2    UINT64_C(0xfee02000)
#define LOGICAL BIT(2)
#define NMI     0x400u
#define INIT    0x500u
#define EXT_INT 0x700u

#define IV        BIT(0)
#define LENGTH(n) ((uint64_t)(n) << 1)
#define IG        BIT(5)
#define REMAP     (UINT64_C(2) << 60)

/* Vector 0x99 to APIC 7, in both forms. */
#define SHORT       (BIT(0) | 0x0700 | 0x990000)
#define LONG_LOW    (BIT(0) | 0x0700)
#define LONG_HIGH   0x99
#define BY_THE_WORD 0x99u

static struct model_interrupt got;

static enum model_verdict send(struct bare_model *r, uint64_t address,
			       uint32_t data)
{
	got = (struct model_interrupt){ 0 };
	return model_message(r->m, DEV, (struct model_message){ address, data },
			     &got);
}

/* Set the DTE's word about interrupts, and invalidate the DTE. */
static void word(struct bare_model *r, uint64_t w)
{
	bare_dte(r, DEV)->w[2] = w;
	bare_flush_all(r);
}

static void expect_refused(struct bare_model *r, uint64_t address,
			   uint32_t data, uint64_t event)
{
	struct log_entry e;

	EXPECT(send(r, address, data) != MODEL_DONE);
	EXPECT_EQ(bare_events(r), event != 0);
	if (!event || !bare_events(r))
		return;
	e = bare_event(r);
	EXPECT_EQ(e.w[0], event | DEV);
	EXPECT_EQ(e.w[1], address);
}

/* I, and a write; the other bits depend on the test. */
#define EVENT_I  (BIT(51) | EVENT0_RW)
#define FAULT    (TYPE(IO_PAGE_FAULT) | EVENT_I)
#define FAULT_RZ (FAULT | EVENT0_PR | EVENT0_RZ)
#define BAD_DTE  (TYPE(ILLEGAL_DEV_TABLE_ENTRY) | EVENT_I)

static void expect_as_it_is(struct bare_model *r, uint32_t data)
{
	EXPECT_EQ(send(r, TO_2, data), MODEL_DONE);
	EXPECT_EQ(got.vector, data & 0xff);
	EXPECT_EQ(got.type, data >> 8);
	EXPECT_EQ(got.dest, 2);
	EXPECT(!got.logical);
}

TEST(model_irq, intctl_says_what_passes,
     "with IV = 0 all messages pass; with IV = 1 IntCtl 00b aborts, 01b "
     "forwards, 11b is illegal, whatever the entry")
{
	struct bare_model r;

	bare_open(&r, NULL);
	word(&r, 0);
	expect_as_it_is(&r, V);
	expect_as_it_is(&r, NMI | V);
	word(&r, IV);
	expect_refused(&r, TO_2, V, FAULT);
	expect_refused(&r, TO_2 | LOGICAL, V, FAULT);
	word(&r, IV | UINT64_C(1) << 60);
	expect_as_it_is(&r, V);
	expect_as_it_is(&r, 0x100 | V);
	word(&r, IV | UINT64_C(3) << 60);
	expect_refused(&r, TO_2, V, BAD_DTE);
	word(&r, IV | BIT(52));
	expect_refused(&r, TO_2, V, BAD_DTE | EVENT0_RZ);
	word(&r, IV | LENGTH(12));
	expect_refused(&r, TO_2, V, BAD_DTE);
	bare_dte(&r, DEV)->w[0] = 0;
	word(&r, IV);
	expect_refused(&r, TO_2, V, FAULT);
	bare_control(&r, BARE_ON & ~CONTROL_IOMMU_EN);
	expect_as_it_is(&r, V);
	bare_close(&r);
}

TEST(model_irq, pass_bits_are_for_one_type_each,
     "NMI, INIT and ExtINT pass by their own bit only, and to no logical "
     "destination; SMI and reserved types never pass")
{
	static const struct {
		uint32_t data;
		unsigned bit;
	} types[] = { { INIT, 56 }, { EXT_INT, 57 }, { NMI, 58 } };
	const uint64_t all = GENMASK(58, 56) | GENMASK(63, 62);
	struct bare_model r;

	bare_open(&r, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		word(&r, IV | BIT(types[i].bit));
		expect_as_it_is(&r, types[i].data);
		expect_refused(&r, TO_2 | LOGICAL, types[i].data, FAULT);
		word(&r, IV | (all & ~BIT(types[i].bit)));
		expect_refused(&r, TO_2, types[i].data, FAULT);
	}
	word(&r, IV | all);
	expect_refused(&r, TO_2, 0x200, FAULT);
	expect_refused(&r, TO_2, 0x300, FAULT);
	expect_refused(&r, TO_2, 0x600, FAULT);
	expect_refused(&r, TO_2, V, FAULT);
	bare_close(&r);
}

/* ---- tables ------------------------------------------------------------ */

static bool wide;

static struct model_config form(bool is_wide)
{
	wide = is_wide;
	return (struct model_config){ .efr = MODEL_EFR | EFR_GA };
}

/* Give the device a table of 256 entries. */
static pa_t table_open(struct bare_model *r, bool is_wide)
{
	struct model_config c = form(is_wide);
	pa_t table;

	bare_open(r, &c);
	bare_control(r, 0);
	bare_control(r, BARE_ON | (wide ? BIT(17) : 0));
	table = bare_page(r);
	word(r, IV | LENGTH(8) | table | REMAP);
	return table;
}

static void entry(pa_t table, unsigned i, uint64_t low, uint64_t high)
{
	uint32_t *narrow = phys_to_virt(table);

	if (!wide) {
		narrow[i] = (uint32_t)low;
		return;
	}
	bare_word(table)[2 * i + 1] = high;
	bare_word(table)[2 * i] = low;
}

static void good_entry(pa_t table, unsigned i)
{
	entry(table, i, wide ? LONG_LOW : SHORT, LONG_HIGH);
}

static void expect_remapped(struct bare_model *r)
{
	EXPECT_EQ(send(r, TO_2 | LOGICAL, V), MODEL_DONE);
	EXPECT_EQ(got.vector, BY_THE_WORD);
	EXPECT_EQ(got.type, 0);
	EXPECT_EQ(got.dest, 7);
	EXPECT(!got.logical);
}

TEST(model_irq, entry_determines_the_interrupt,
     "in both forms vector, type and destination come from the entry, "
     "whatever the message says")
{
	for (unsigned w = 0; w < 2; w++) {
		struct bare_model r;
		pa_t table = table_open(&r, w);

		good_entry(table, V);
		expect_remapped(&r);
		bare_flush_all(&r);
		entry(table, V, (wide ? LONG_LOW : SHORT) | BIT(2) | BIT(6),
		      LONG_HIGH);
		EXPECT_EQ(send(&r, TO_2, V), MODEL_DONE);
		EXPECT(got.logical && got.type == 1 && got.dest == 7);
		bare_close(&r);
	}
}

TEST(model_irq, bad_entries_are_refused,
     "an entry that is off, has reserved bits or a wrong type, or an index "
     "beyond the table, aborts and is logged unless IG or SupIOPF suppresses "
     "the event")
{
	for (unsigned w = 0; w < 2; w++) {
		struct bare_model r;
		pa_t table = table_open(&r, w);
		uint64_t good = w ? LONG_LOW : SHORT;

		expect_refused(&r, TO_2, V, FAULT);
		entry(table, V, good | BIT(7), LONG_HIGH);
		expect_refused(&r, TO_2, V, FAULT_RZ);
		bare_flush_all(&r);
		entry(table, V, good | BIT(w ? 33 : 24), LONG_HIGH);
		expect_refused(&r, TO_2, V, FAULT_RZ);
		bare_flush_all(&r);
		entry(table, V, good | 3 << 2, LONG_HIGH); /* NMI */
		expect_refused(&r, TO_2, V, FAULT_RZ);
		bare_flush_all(&r);
		entry(table, V, good | BIT(1) | BIT(7), LONG_HIGH);
		expect_refused(&r, TO_2, V, 0);
		bare_flush_all(&r);
		good_entry(table, 0x90);
		word(&r, IV | LENGTH(7) | table | REMAP);
		expect_refused(&r, TO_2, 0x90, FAULT);
		word(&r, IV | IG | LENGTH(7) | table | REMAP);
		expect_refused(&r, TO_2, 0x90, 0);
		word(&r, IV | LENGTH(8) | table | REMAP);
		EXPECT_EQ(send(&r, TO_2, 0x90), MODEL_DONE);
		bare_close(&r);
	}
	{
		struct bare_model r;
		pa_t table = table_open(&r, true);

		entry(table, V, LONG_LOW, LONG_HIGH | BIT(8));
		expect_refused(&r, TO_2, V, FAULT_RZ);
		bare_close(&r);
	}
}

TEST(model_irq, entries_are_kept_until_named,
     "a cached entry is used until INVALIDATE_INTERRUPT_TABLE names its "
     "device or everything is invalidated")
{
	char text[160];
	struct bare_model r;
	pa_t table = table_open(&r, true);

	good_entry(table, V);
	expect_remapped(&r);
	EXPECT(model_coherent(r.m, text, sizeof(text)));
	entry(table, V, 0, 0);
	EXPECT(!model_coherent(r.m, text, sizeof(text)));
	expect_remapped(&r);
	bare_send(&r, command_invalidate_devtab_entry(DEV));
	bare_send(&r, command_invalidate_interrupt_table(OTHER));
	bare_sync(&r);
	expect_remapped(&r);
	EXPECT_EQ(bare_stats(&r).dropped_irtes, 0);
	bare_send(&r, command_invalidate_interrupt_table(DEV));
	bare_sync(&r);
	expect_refused(&r, TO_2, V, FAULT);
	good_entry(table, V);
	expect_remapped(&r);
	entry(table, V, 0, 0);
	bare_flush_all(&r);
	expect_refused(&r, TO_2, V, FAULT);
	EXPECT_EQ(bare_stats(&r).dropped_irtes, 2);
	bare_close(&r);
}

TEST(model_irq, absent_entries_may_be_cached,
     "an entry that is off is cached too if the model caches what is absent")
{
	struct model_config c = form(true);
	struct bare_model r;
	pa_t table;

	c.negative = true;
	bare_open(&r, &c);
	bare_control(&r, 0);
	bare_control(&r, BARE_ON | BIT(17));
	table = bare_page(&r);
	word(&r, IV | LENGTH(8) | table | REMAP);
	expect_refused(&r, TO_2, V, FAULT);
	good_entry(table, V);
	expect_refused(&r, TO_2, V, FAULT);
	bare_send(&r, command_invalidate_interrupt_table(DEV));
	bare_sync(&r);
	expect_remapped(&r);
	bare_close(&r);
}

TEST(model_irq, tables_are_named,
     "a page is named while a cached DTE points to it for interrupts or a "
     "cached interrupt was read from it")
{
	char text[160];
	struct bare_model r;
	pa_t table = table_open(&r, true);

	good_entry(table, V);
	expect_remapped(&r);
	EXPECT(model_names_table(r.m, table, text, sizeof(text)));
	bare_dte(&r, DEV)->w[2] = IV;
	bare_send(&r, command_invalidate_devtab_entry(DEV));
	bare_sync(&r);
	EXPECT(!model_names_table(r.m, table, text, sizeof(text)));
	EXPECT(model_any_names(table, text, sizeof(text)));
	bare_send(&r, command_invalidate_interrupt_table(DEV));
	bare_sync(&r);
	EXPECT(!model_any_names(table, text, sizeof(text)));
	bare_close(&r);
}

TEST(model_irq, writes_are_messages,
     "a write to the message range is one message per 4 bytes; a read, or a "
     "write of 2 bytes, is refused, and memory does not change")
{
	enum model_verdict why;
	uint32_t data[16];
	struct bare_model r;

	for (unsigned i = 0; i < ARRAY_SIZE(data); i++)
		data[i] = V + i;
	bare_open(&r, NULL);
	word(&r, 0);
	EXPECT_EQ(model_dma(r.m, DEV, TO_2, data, sizeof(data), true, &why),
		  sizeof(data));
	EXPECT_EQ(bare_stats(&r).messages, ARRAY_SIZE(data));
	EXPECT_EQ(model_dma(r.m, DEV, TO_2, data, 4, false, &why), 0);
	EXPECT_EQ(why, MODEL_ABORT);
	EXPECT_EQ(model_dma(r.m, DEV, TO_2, data, 2, true, &why), 0);
	word(&r, IV);
	EXPECT_EQ(model_dma(r.m, DEV, TO_2, data, sizeof(data), true, &why), 0);
	EXPECT_EQ(why, MODEL_FAULT);
	EXPECT_EQ(bare_stats(&r).messages_refused, 1);
	EXPECT_EQ(bare_stats(&r).dma_bytes, 0);
	bare_close(&r);
}

TEST(model_irq, table_outside_ram,
     "an interrupt table outside RAM aborts with a hardware error")
{
	struct log_entry e;
	struct bare_model r;

	table_open(&r, true);
	word(&r, IV | LENGTH(8) | UINT64_C(0xfffffffff000) | REMAP);
	EXPECT_EQ(send(&r, TO_2, V), MODEL_ABORT);
	e = bare_event(&r);
	EXPECT_EQ(e.w[0] >> 60, PAGE_TAB_HARDWARE_ERROR);
	bare_close(&r);
}

TEST(model_irq, form_is_chosen_while_off,
     "the entry format changes only while the IOMMU is off, and only if it "
     "has both")
{
	struct model_config c = form(true);
	struct bare_model r;

	bare_open(&r, &c);
	r.complaints_expected = true;
	bare_control(&r, BARE_ON | BIT(17));
	EXPECT(model_complaint(r.m));
	bare_close(&r);
	bare_open(&r, NULL);
	r.complaints_expected = true;
	bare_control(&r, 0);
	bare_control(&r, BARE_ON | BIT(17));
	EXPECT(model_complaint(r.m));
	bare_close(&r);
}
