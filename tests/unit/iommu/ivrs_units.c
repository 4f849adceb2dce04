/* SPDX-License-Identifier: MIT */
/*
 * ivrs_units.c - several IOMMUs, blocks that disagree, device numbers, memory
 */
#include "tests/fixture/iommu/ivrs_table.h"

#define MMIO  MADE_MMIO
#define IOMMU MADE_DEVID
#define OTHER 0x4002

static void simple(uint8_t type)
{
	ivrs_begin();
	ivrs_block(type, IOMMU, MMIO, 0);
}

/* ---- units ------------------------------------------------------------- */

TEST(ivrs_units, each_iommu_is_a_unit,
     "two IOMMUs of segment 0 and one of another segment have registers and "
     "numbers of their own, in the table's order")
{
	ivrs_begin();
	ivrs_block(0x11, 0x0002, MMIO + 0x100000, 1);
	ivrs_entry(1, 0, 4);
	ivrs_block(0x11, OTHER, MMIO + 0x200000, 0);
	ivrs_entry(3, 0x4000, 4);
	ivrs_entry(4, 0x7fff, 4);
	ivrs_block(0x10, IOMMU, MMIO, 0);
	ivrs_entry(2, 0x0080, 4);
	EXPECT_STR_NULL(ivrs_read(0));
	EXPECT_EQ(made.ivrs.n_units, 3);
	EXPECT_EQ(made.ivrs.units[0].segment, 1);
	EXPECT(ivrs_covers(0, 0xffff));
	EXPECT_STR_NULL(ivrs_read(1));
	EXPECT_EQ(made.ivrs.units[1].mmio, MMIO + 0x200000);
	EXPECT_EQ(made.ivrs.units[1].devid, OTHER);
	EXPECT(ivrs_covers(0x4000, 0x7fff));
	EXPECT(!ids_test(made.ids.covers, 0x0080));
	EXPECT_STR_NULL(ivrs_read(2));
	EXPECT(ivrs_covers(0x80, 0x80));
	EXPECT(!ids_test(made.ids.covers, 0x4000));
}

TEST(ivrs_units, bad_unit_leaves_the_others,
     "impossible registers make one unit unusable and not the table, unless "
     "segment 0 has no other; the reason is reported")
{
	ivrs_begin();
	ivrs_block(0x10, OTHER, 0, 0);
	ivrs_entry(1, 0, 4);
	ivrs_expect_refused("*impossible register address*");
	ivrs_block(0x10, IOMMU, MMIO, 0);
	ivrs_entry(2, 0x0080, 4);
	EXPECT_STR_NULL(ivrs_read(1));
	EXPECT(made.ivrs.units[0].bad && !made.ivrs.units[1].bad);
	ivrs_begin();
	ivrs_block(0x10, IOMMU, MMIO, 7);
	ivrs_expect_refused("*no IOMMU of segment 0*");
}

TEST(ivrs_units, too_many_units_are_counted,
     "of more units than there is room for the first are kept, and the blocks "
     "of the others are counted")
{
	ivrs_begin();
	for (uint8_t type = 0x10; type <= 0x11; type++)
		for (uint16_t i = 0; i < IVRS_UNITS + 2; i++)
			ivrs_block(type, (uint16_t)(i << 8), MMIO, 0);
	EXPECT_STR_NULL(ivrs_read(IVRS_UNITS - 1));
	EXPECT_EQ(made.ivrs.n_units, IVRS_UNITS);
	EXPECT_EQ(made.ivrs.more_blocks, 4);
}

TEST(ivrs_units, highest_type_counts,
     "registers, capability, flags and numbers are those of the highest block "
     "type in any order, and a lower type that differs is noticed")
{
	for (unsigned order = 0; order < 2; order++) {
		ivrs_begin();
		for (unsigned i = 0; i < 2; i++) {
			bool high = i == order;

			ivrs_block(high ? 0x40 : 0x10, IOMMU, high ? MMIO : 0,
				   0);
			ivrs_put(made.block + 1, high ? 0x30 : 0xb0, 1);
			ivrs_entry(2, high ? 0x0080 : 0x0090, 4);
		}
		EXPECT_STR_NULL(ivrs_read(0));
		EXPECT_EQ(made.ivrs.n_units, 1);
		EXPECT_EQ(made.ivrs.units[0].mmio, MMIO);
		EXPECT_EQ(made.ivrs.units[0].type, 0x40);
		EXPECT_EQ(made.ivrs.units[0].flags, 0x30);
		EXPECT(ivrs_covers(0x80, 0x80));
		EXPECT(!ids_test(made.ids.covers, 0x90));
		EXPECT(made.ivrs.units[0].disagrees);
	}
}

/*
 * Write blocks of type 10h and 40h that differ in one thing; return whether
 * that is noticed.
 */
static bool differs(unsigned thing)
{
	ivrs_begin();
	for (unsigned i = 0; i < 2; i++) {
		unsigned odd = i ? thing : 0;

		ivrs_block(i ? 0x40 : 0x10, IOMMU,
			   odd == 1 ? MMIO + 0x4000 : MMIO, 0);
		ivrs_put(made.block + 6, odd == 2 ? 0x64 : 0x40, 2);
		ivrs_put(made.block + 1, odd == 3 ? 0x10 : 0x30, 1);
		ivrs_entry(3, 0x0080, 4);
		ivrs_entry(4, odd == 4 ? 0x0098 : 0x0097, 4);
		ivrs_entry_alias(0x42, 0x0200, odd == 5 ? 0x0201 : 0x0200);
		ivrs_entry_special(odd == 6 ? 1 : 0, 0x00a0, 1);
		/* Allowed differences: flags of page requests, ACPI devices. */
		if (i && odd == 7)
			ivrs_put(made.block + 1, 0xf0, 1);
		if (i && odd == 7)
			ivrs_entry_hid(0x00a5, 9);
		if (i && odd == 7)
			ivrs_entry(0, 0, 4);
	}
	EXPECT_STR_NULL(ivrs_read(0));
	return made.ivrs.units[0].disagrees;
}

TEST(ivrs_units, disagreement_is_noticed,
     "a lower type with other registers, capability, flags, ranges, aliases "
     "or I/O APICs disagrees; one without the newer entries does not")
{
	EXPECT(!differs(0));
	for (unsigned thing = 1; thing <= 6; thing++)
		EXPECT(differs(thing));
	EXPECT(!differs(7));
}

TEST(ivrs_units, torn_blocks_refuse_the_table,
     "a damaged block refuses the whole table, also one of a lower type, of "
     "another IOMMU or of another segment")
{
	for (unsigned i = 0; i < 3; i++) {
		ivrs_begin();
		ivrs_block(0x11, IOMMU, MMIO, 0);
		ivrs_entry(1, 0, 4);
		ivrs_block(0x10, i == 1 ? OTHER : IOMMU, MMIO + 0x4000, i == 2);
		ivrs_entry(4, 0x0080, 4);
		ivrs_expect_refused("*ends before it began*");
		made.table.length -= 2;
		ivrs_expect_refused("*runs out of the table*");
	}
}

/* ---- numbers ----------------------------------------------------------- */

TEST(ivrs_units, any_number_of_ranges,
     "900 numbers far apart, each with an entry of its own, are covered, and "
     "no others")
{
	unsigned n = 0;

	simple(0x10);
	for (unsigned i = 0; i < 900; i++)
		ivrs_entry(2, (uint16_t)(i * 72), 4);
	EXPECT_STR_NULL(ivrs_read(0));
	for (unsigned i = 0; i < DEVIDS; i++)
		n += ids_test(made.ids.covers, (uint16_t)i);
	EXPECT_EQ(n, 900);
	EXPECT(ivrs_covers(899 * 72, 899 * 72) && ivrs_covers(0, 0));
}

TEST(ivrs_units, ranges_are_exact,
     "a range covers its numbers and neither neighbour, whether it begins "
     "inside a word, at its edge, or spans many")
{
	static const uint16_t at[][2] = { { 1, 1 },       { 62, 65 },
					  { 64, 127 },    { 63, 64 },
					  { 128, 1000 },  { 0, 0xffff },
					  { 65, 0xfffe }, { 0xffff, 0xffff } };

	for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
		simple(0x11);
		ivrs_entry(3, at[i][0], 4);
		ivrs_entry(4, at[i][1], 4);
		EXPECT_STR_NULL(ivrs_read(0));
		EXPECT(ivrs_covers(at[i][0], at[i][1]));
	}
}

TEST(ivrs_units, acpi_devices_are_not_covered,
     "the number of an ACPI device is not covered, whether a range around it "
     "is before or after its entry")
{
	for (unsigned i = 0; i < 2; i++) {
		simple(0x40);
		if (i)
			ivrs_entry_hid(0x00a5, 9);
		ivrs_entry(3, 0x0080, 4);
		ivrs_entry(4, 0x00ff, 4);
		if (!i)
			ivrs_entry_hid(0x00a5, 9);
		EXPECT_STR_NULL(ivrs_read(0));
		EXPECT(ivrs_covers(0x80, 0xa4) && ivrs_covers(0xa6, 0xff));
	}
}

TEST(ivrs_units, forbidden_tlbs_are_read,
     "extended entries forbid single numbers and ranges a TLB, an IOMMU "
     "without remote TLBs forbids all, a plain entry none")
{
	simple(0x11);
	ivrs_entry(2, 0x0010, 4);
	ivrs_entry_extended(0x46, 0x0020, 0x80000000);
	ivrs_entry_extended(0x46, 0x0021, 0x7fffffff);
	ivrs_entry_extended(0x47, 0x0030, 0x80000000);
	ivrs_entry(4, 0x0037, 4);
	EXPECT_STR_NULL(ivrs_read(0));
	EXPECT(ivrs_covers(0x20, 0x21) && ivrs_covers(0x30, 0x37));
	for (uint16_t i = 0; i < 0x40; i++)
		EXPECT_EQ(ids_test(made.ids.no_tlb, i),
			  i == 0x20 || (i >= 0x30 && i <= 0x37));
	ivrs_put(made.block + 1, 0x2f, 1);
	EXPECT_STR_NULL(ivrs_read(0));
	EXPECT(ids_test(made.ids.no_tlb, 0x10) &&
	       ids_test(made.ids.no_tlb, 0xffff));
}

TEST(ivrs_units, aliases_find_room,
     "one alias on each bus is stored for all buses; a device whose alias "
     "finds no room is not covered and cannot be attached")
{
	simple(0x10);
	for (unsigned bus = 0; bus < 256; bus++) {
		ivrs_entry_alias(0x43, (uint16_t)(bus << 8),
				 (uint16_t)(bus * 8));
		ivrs_entry(4, (uint16_t)(bus << 8 | 0xf7), 4);
	}
	EXPECT_STR_NULL(ivrs_read(0));
	EXPECT_EQ(made.n_aliases, 256);
	EXPECT_EQ(ivrs_alias_of(0xff42), 0xff * 8);
	EXPECT(ivrs_covers(0xff00, 0xfff7));

	ivrs_entry_alias(0x42, 0x00ff, 0x0042);
	EXPECT_STR_NULL(ivrs_read(0));
	EXPECT(!ids_test(made.ids.covers, 0x00ff));
	EXPECT(ids_test(made.ids.covers, 0x01f7));
}

static void expect_ioapic(uint8_t id, uint16_t want)
{
	uint16_t devid = 0;

	EXPECT_STR_NULL(ivrs_ioapic(&made.ivrs, id, &devid));
	EXPECT_EQ(devid, want);
}

static void expect_no_ioapic(uint8_t id, const char *glob)
{
	uint16_t devid = 0x1234;
	const char *why = ivrs_ioapic(&made.ivrs, id, &devid);

	EXPECT(why && glob_match(glob, why));
	EXPECT_EQ(devid, 0x1234);
}

TEST(ivrs_units, ioapics_are_read,
     "the number of an IOAPIC's interrupts is found by its id, and an HPET, "
     "another segment, and one named twice or not at all are refused")
{
	simple(0x11);
	ivrs_entry_special(2, 0x00a2, 2);
	ivrs_block(0x11, OTHER, MMIO, 1);
	ivrs_entry_special(2, 0x00a4, 1);
	EXPECT_STR_NULL(ivrs_read(0));
	expect_no_ioapic(2, "*names no IOAPIC");

	simple(0x11);
	ivrs_entry_special(2, 0x00a2, 2);
	for (unsigned i = 0; i < 2; i++) {
		ivrs_entry_special(2, 0x00a0, 1);
		ivrs_entry_special(9, 0x01f8, 1);
	}
	ivrs_entry_special(3, 0x0001, 1);
	ivrs_entry_special(3, 0x0002, 1);
	EXPECT_STR_NULL(ivrs_read(0));
	expect_ioapic(2, 0x00a0);
	expect_ioapic(9, 0x01f8);
	expect_no_ioapic(1, "*no IOAPIC with the MADT's id*");
	expect_no_ioapic(3, "*two numbers*");
}

/* ---- memory ------------------------------------------------------------ */

TEST(ivrs_units, memory_of_firmware,
     "memory for all devices, one, or a range is read with its rights in "
     "whole pages; an exclusion range counts as such memory, other kinds do "
     "not")
{
	const struct iommu_unity *u = made.ivrs.unity;

	simple(0x11);
	ivrs_memory(0x20, 3, 0x1234, 0, 0x7d900000, 0x100000);
	ivrs_memory(0x21, 5, 0x0060, 0xffff, 0x7d900800, 1);
	ivrs_memory(0x22, 8, 0x0000, 0x0fff, 0x9a432000, 1);
	ivrs_memory(0x21, 6, 0x0060, 0, 0x1000, 1);
	EXPECT_STR_NULL(ivrs_read(0));
	REQUIRE(made.ivrs.n_unity == 3);
	EXPECT(u[0].first == 0 && u[0].last == 0xffff);
	EXPECT(u[0].read && !u[0].write);
	EXPECT(u[0].start == 0x7d900000 && u[0].end == 0x7da00000);
	EXPECT(u[1].first == 0x60 && u[1].last == 0x60);
	EXPECT(!u[1].read && u[1].write);
	EXPECT(u[1].start == 0x7d900000 && u[1].end == 0x7d901000);
	EXPECT(u[2].first == 0 && u[2].last == 0x0fff);
	EXPECT(u[2].read && u[2].write);
	for (unsigned i = 0; i < 3; i++)
		EXPECT_STR_NULL(u[i].bad);
}

TEST(ivrs_units, impossible_memory_is_ignored,
     "memory at 0, empty, wrapping, beyond the address width, for an empty "
     "range of devices, or in our RAM is ignored and reported")
{
	static const struct {
		uint64_t start, size;
		const char *glob;
	} bad_memory[] = {
		{ 0, 1, "*begins at 0*" },
		{ 0x1000, 0, "*empty*" },
		{ UINT64_C(0xfffffffffffff000), 0x2000, "*wraps*" },
		{ PA_MAX, 0x1000, "*beyond*" },
		{ 0x1ff000, 0x1001, "*kernel*" },
		{ 0x2ff000, 1, "*kernel*" },
	};
	struct mem_range ram = { 0x200000, 0x300000 };

	simple(0x11);
	for (unsigned i = 0; i < ARRAY_SIZE(bad_memory); i++)
		ivrs_memory(0x20, 7, 0, 0, bad_memory[i].start,
			    bad_memory[i].size);
	ivrs_memory(0x22, 7, 0x0100, 0x00ff, 0x1000, 0x1000);
	ivrs_memory(0x20, 7, 0, 0, 0x1ff000, 0x1000);
	ivrs_memory(0x20, 7, 0, 0, 0x300000, 0x1000);
	EXPECT_STR_NULL(ivrs_read(0));
	ivrs_refuse_unity(&made.ivrs, &ram, 1, PA_MAX);
	for (unsigned i = 0; i < ARRAY_SIZE(bad_memory); i++) {
		const char *bad = made.ivrs.unity[i].bad;

		if (!bad || !glob_match(bad_memory[i].glob, bad))
			test_fail(__FILE__, __LINE__, "`%s`, not `%s`",
				  bad ? bad : "(accepted)", bad_memory[i].glob);
	}
	EXPECT(made.ivrs.unity[ARRAY_SIZE(bad_memory)].bad);
	EXPECT_STR_NULL(made.ivrs.unity[ARRAY_SIZE(bad_memory) + 1].bad);
	EXPECT_STR_NULL(made.ivrs.unity[ARRAY_SIZE(bad_memory) + 2].bad);
	for (unsigned i = 0; i < IVRS_UNITY; i++)
		ivrs_memory(0x20, 7, 0, 0, 0x400000, 0x1000);
	EXPECT_STR_NULL(ivrs_read(0));
	EXPECT_EQ(made.ivrs.n_unity, IVRS_UNITY);
	EXPECT_EQ(made.ivrs.more_unity, ARRAY_SIZE(bad_memory) + 3);
}

TEST(ivrs_units, forbidden_memory_is_ignored,
     "memory over interrupt controllers or IOMMU registers, beyond the CPU's "
     "addresses, or of more than 1 GiB is ignored, and memory beside these is "
     "not")
{
	static const struct {
		uint64_t start, size;
		const char *glob; /* NULL: accepted                      */
	} at[] = {
		{ 0xfee00000, 0x1000, "*interrupt controllers*" },
		{ 0xfebff000, 0x1001, "*interrupt controllers*" },
		{ 0xfebff000, 0x1000, NULL },
		{ 0xff000000, 0x1000, NULL },
		{ 0xfd003000, 0x1001, "*registers of an IOMMU*" },
		{ 0xfd007fff, 1, "*registers of an IOMMU*" },
		{ 0xfd003000, 0x1000, NULL },
		{ 0xfd008000, 0x1000, NULL },
		{ BIT(40) - 0x1000, 0x1001, "*beyond*" },
		{ BIT(40) - 0x2000, 0x2000, NULL },
		{ BIT(32), BIT(30) + 1, "*1 GiB*" },
		{ BIT(32), BIT(30), NULL },
	};

	simple(0x11);
	ivrs_block(0x11, OTHER, 0xfd004000, 0);
	for (uint16_t i = 0; i < ARRAY_SIZE(at); i++)
		ivrs_memory(0x21, 7, i, 0, at[i].start, at[i].size);
	EXPECT_STR_NULL(ivrs_read(0));
	ivrs_refuse_unity(&made.ivrs, NULL, 0, BIT(40));
	for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
		const char *bad = made.ivrs.unity[i].bad;

		if (at[i].glob ? !bad || !glob_match(at[i].glob, bad) : !!bad)
			test_fail(__FILE__, __LINE__, "%lx: `%s`, not `%s`",
				  at[i].start, bad ? bad : "(accepted)",
				  at[i].glob ? at[i].glob : "(accepted)");
	}
}

TEST(ivrs_units, overlapping_memory_is_ignored,
     "of two overlapping ranges of one device the second is ignored unless "
     "the first includes it with its rights; other pairs are both accepted")
{
	const struct iommu_unity *u = made.ivrs.unity;

	simple(0x11);
	ivrs_memory(0x22, 3, 0x10, 0x1f, 0x400000, 0x4000); /* read */
	ivrs_memory(0x21, 3, 0x18, 0, 0x401000, 0x1000);    /* in it */
	ivrs_memory(0x21, 7, 0x18, 0, 0x401000, 0x1000);    /* and write */
	ivrs_memory(0x21, 3, 0x10, 0, 0x403000, 0x2000);    /* part of it */
	ivrs_memory(0x20, 3, 0, 0, 0x3ff000, 0x1001);
	ivrs_memory(0x21, 3, 0x20, 0, 0x403000, 0x2000); /* another device */
	ivrs_memory(0x21, 3, 0x1f, 0, 0x404000, 0x1000); /* beside it */
	EXPECT_STR_NULL(ivrs_read(0));
	ivrs_refuse_unity(&made.ivrs, NULL, 0, PA_MAX);
	REQUIRE(made.ivrs.n_unity == 7);
	for (unsigned i = 0; i < 7; i++)
		EXPECT_EQ(u[i].bad && glob_match("*overlaps*", u[i].bad),
			  i >= 2 && i <= 4);
}
