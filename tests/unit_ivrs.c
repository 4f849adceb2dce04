/* SPDX-License-Identifier: MIT */
/*
 * unit_ivrs.c - where firmware says that the IOMMU is: good tables and lies
 *
 * Tables are built byte by byte, as QEMU's and as others write them.  What no
 * machine can be made to say is said here; tests/host/fuzz_firmware.c says the
 * rest at random.
 */
#include "iommu/ivrs.h"
#include "iommu/port.h"
#include "kernel/string.h"
#include "tests/test.h"

#define MMIO  UINT64_C(0xfed80000)
#define IOMMU 0x0018
#define CAP   0x40

static struct acpi_table table;
static struct ivrs ivrs;
static unsigned block; /* where the last one begins                        */

static void put(unsigned at, uint64_t v, unsigned bytes)
{
	REQUIRE(at + bytes <= ACPI_MAX_TABLE);
	for (unsigned i = 0; i < bytes; i++)
		table.bytes[at + i] = (uint8_t)(v >> 8 * i);
}

static void append(uint64_t v, unsigned bytes)
{
	put(table.length, v, bytes);
	table.length += bytes;
}

static void table_begin(void)
{
	memset(&table, 0, sizeof(table));
	table.length = IVRS_FIRST_BLOCK;
}

/* A block's header; its length grows with entry(). */
static void block_begin(uint8_t type, uint16_t devid, uint64_t mmio,
			uint16_t segment)
{
	block = table.length;
	append(type, 2);
	append(0, 2);
	append(devid, 2);
	append(CAP, 2);
	append(mmio, 8);
	append(segment, 2);
	append(0, 6);
	if (type != 0x10)
		append(0x29d3, 16); /* images of the feature register */
	put(block + 2, table.length - block, 2);
}

/* An alias entry: whose requests bear `alias`. */
static void entry_alias(uint8_t type, uint16_t devid, uint16_t alias)
{
	append(type | (uint64_t)devid << 8, 4);
	append((uint64_t)alias << 8 | 0xee, 4);
	put(block + 2, table.length - block, 2);
}

static uint16_t alias_of(uint16_t devid)
{
	for (unsigned i = 0; i < ivrs.n_aliases; i++)
		if (devid >= ivrs.aliases[i].first &&
		    devid <= ivrs.aliases[i].last)
			return ivrs.aliases[i].alias;
	return devid;
}

static void entry(uint8_t type, uint16_t devid, unsigned bytes)
{
	append(type | (uint64_t)devid << 8, 4);
	for (; bytes > 4; bytes--)
		append(0xee, 1);
	put(block + 2, table.length - block, 2);
}

/* An ACPI device: 22 bytes and a name. */
static void entry_hid(uint8_t name_length)
{
	unsigned at = table.length;

	entry(0xf0, 0x00a5, 22 + name_length);
	put(at + 21, name_length, 1);
}

static bool covers(uint16_t first, uint16_t last)
{
	for (unsigned i = first; i <= last; i++)
		if (!ivrs_covers(&ivrs, (uint16_t)i))
			return false;
	return (!first || !ivrs_covers(&ivrs, first - 1)) &&
	       (last == 0xffff || !ivrs_covers(&ivrs, last + 1));
}

static void expect_good(void)
{
	EXPECT_STR_NULL(ivrs_parse(&table, &ivrs));
	EXPECT_EQ(ivrs.mmio, MMIO);
	EXPECT_EQ(ivrs.devid, IOMMU);
	EXPECT_EQ(ivrs.capability, CAP);
}

/* The sentence must hold these words. */
static void expect_lie(const char *words)
{
	const char *why = ivrs_parse(&table, &ivrs);

	if (!why || !glob_match(words, why))
		test_fail(__FILE__, __LINE__, "`%s` instead of `%s`",
			  why ? why : "(believed)", words);
}

static void simple(void)
{
	table_begin();
	block_begin(0x10, IOMMU, MMIO, 0);
}

/* ---- good tables ------------------------------------------------------- */

TEST(ivrs, each_type_of_block_is_read,
     "types 10h, 11h and 40h tell the same of one IOMMU, alone or together")
{
	static const uint8_t types[] = { 0x10, 0x11, 0x40 };

	for (unsigned i = 0; i < 3; i++) {
		table_begin();
		block_begin(types[i], IOMMU, MMIO, 0);
		entry(2, 0x0080, 4);
		expect_good();
		EXPECT(covers(0x80, 0x80));
	}
	table_begin();
	for (unsigned i = 0; i < 3; i++) {
		block_begin(types[i], IOMMU, MMIO, 0);
		entry(3, 0x0080, 4);
		entry(4, 0x0097, 4);
	}
	expect_good();
	EXPECT(covers(0x80, 0x97));
	EXPECT_EQ(ivrs.n_ranges, 1);
}

TEST(ivrs, aliases_are_read,
     "whose requests bear another's number: one device, a range, told twice")
{
	simple();
	for (unsigned i = 0; i < 2; i++) {
		entry_alias(0x42, 0x0108, 0x00f0);
		entry_alias(0x43, 0x0200, 0x0200);
		entry(4, 0x02ff, 4);
	}
	entry(3, 0x0300, 4);
	entry(4, 0x03ff, 4);
	expect_good();
	EXPECT_EQ(ivrs.n_aliases, 2);
	EXPECT_EQ(alias_of(0x0108), 0x00f0);
	EXPECT_EQ(alias_of(0x0109), 0x0109);
	EXPECT_EQ(alias_of(0x0200), 0x0200);
	EXPECT_EQ(alias_of(0x02ff), 0x0200);
	EXPECT_EQ(alias_of(0x0300), 0x0300);
	EXPECT(covers(0x0108, 0x0108));
	EXPECT(covers(0x0200, 0x03ff));

	simple();
	entry_alias(0x42, 0x0108, 0x00f0);
	entry_alias(0x42, 0x0108, 0x00f8);
	expect_lie("*two aliases*");
	simple();
	for (unsigned i = 0; i <= IVRS_ALIASES; i++)
		entry_alias(0x42, (uint16_t)(0x0100 + 2 * i), 0x00f0);
	expect_lie("*too many*");
}

TEST(ivrs, every_entry_is_stepped_over_right,
     "selects, ranges, aliases, extended ones, interrupt controllers, ACPI "
     "devices and padding, in one block")
{
	simple();
	entry(0, 0, 4);
	entry(2, 0x0010, 4);
	entry(0x48, 0x00a0, 8);
	entry(3, 0x0020, 4);
	entry(4, 0x002f, 4);
	entry_hid(0);
	entry(0x42, 0x0030, 8);
	entry_hid(17);
	entry(0x43, 0x0040, 8);
	entry(4, 0x0047, 4);
	entry(0x46, 0x0050, 8);
	entry(0x47, 0x0060, 8);
	entry(4, 0x0061, 4);
	entry(0x80, 0, 16); /* of a length that its type says, and unknown */
	entry(2, 0xffff, 4);
	expect_good();
	EXPECT(covers(0x10, 0x10));
	EXPECT(covers(0x20, 0x30)); /* the alias follows the range */
	EXPECT(covers(0x40, 0x47));
	EXPECT(covers(0x50, 0x50));
	EXPECT(covers(0x60, 0x61));
	EXPECT(covers(0xffff, 0xffff));
	EXPECT_EQ(ivrs.n_ranges, 6);
}

TEST(ivrs, all_devices_means_all,
     "entry 01h, or a range, covers what lies between devices that were named "
     "before it")
{
	for (unsigned i = 0; i < 2; i++) {
		simple();
		entry(2, 0x0000, 4);
		entry(2, 0xffff, 4);
		if (i) {
			entry(1, 0, 4);
		} else {
			entry(3, 0x0000, 4);
			entry(4, 0xffff, 4);
		}
		expect_good();
		EXPECT(covers(0, 0xffff));
	}
}

TEST(ivrs, other_segments_and_blocks_are_left_out,
     "another segment's IOMMU and blocks of other types do not matter")
{
	table_begin();
	block_begin(0x20, 0x1234, 0, 0); /* IVMD */
	block_begin(0x10, 0x0099, 0x1234, 7);
	entry(2, 0x0099, 4);
	block_begin(0x10, IOMMU, MMIO, 0);
	entry(2, 0x0080, 4);
	expect_good();
	EXPECT(covers(0x80, 0x80));
	EXPECT(!ivrs_covers(&ivrs, 0x99));
}

/* ---- lies -------------------------------------------------------------- */

TEST(ivrs, no_iommu_is_said,
     "a table without a block, with foreign ones only, or shorter than its "
     "header tells of no IOMMU")
{
	table_begin();
	expect_lie("*no IOMMU*");
	table.length = 36;
	expect_lie("*no IOMMU*");
	table_begin();
	block_begin(0x21, IOMMU, MMIO, 0);
	expect_lie("*no IOMMU*");
	table_begin();
	block_begin(0x11, IOMMU, MMIO, 1);
	expect_lie("*no IOMMU*");
}

TEST(ivrs, blocks_that_lie_about_their_length,
     "a block that is longer than the table, or shorter than itself")
{
	simple();
	put(block + 2, table.length - block + 1, 2);
	expect_lie("*runs out of the table*");
	put(block + 2, 0xffff, 2);
	expect_lie("*runs out of the table*");
	put(block + 2, 0, 2);
	expect_lie("*runs out of the table*");
	put(block + 2, 23, 2);
	expect_lie("*shorter than its header*");
	table_begin();
	block_begin(0x40, IOMMU, MMIO, 0);
	table.length -= 16;
	put(block + 2, 24, 2);
	expect_lie("*shorter than its header*");
}

TEST(ivrs, entries_that_lie_about_their_length,
     "an entry of every type that is cut off, and a name longer than the block")
{
	static const uint8_t types[] = { 2, 0x48, 0x80, 0xc0, 0xf0 };

	for (unsigned i = 0; i < sizeof(types); i++) {
		unsigned whole = i == 4 ? 22 : 4u << (types[i] >> 6);

		for (unsigned cut = 1; cut < whole; cut++) {
			simple();
			entry(types[i], 0x80, whole);
			put(table.length - whole + 21, 0, i == 4);
			table.length -= cut;
			put(block + 2, table.length - block, 2);
			expect_lie("*entry runs out of its block*");
		}
	}
	simple();
	entry_hid(10);
	put(table.length - 32 + 21, 11, 1);
	expect_lie("*entry runs out of its block*");
}

TEST(ivrs, ranges_that_cannot_be,
     "one that ends before it begins, has no beginning, no end, or another "
     "inside; and more ranges than anybody has")
{
	simple();
	entry(3, 0x0080, 4);
	entry(4, 0x007f, 4);
	expect_lie("*ends before it began*");
	simple();
	entry(4, 0x0080, 4);
	expect_lie("*ends before it began*");
	simple();
	entry(3, 0x0080, 4);
	entry(4, 0x0081, 4);
	entry(4, 0x0082, 4);
	expect_lie("*ends before it began*");
	simple();
	entry(0x43, 0x0080, 8);
	expect_lie("*does not end*");
	simple();
	entry(3, 0x0080, 4);
	entry(0x47, 0x0090, 8);
	expect_lie("*inside another*");
	simple();
	for (unsigned i = 0; i <= IVRS_RANGES; i++)
		entry(2, (uint16_t)(2 * i), 4);
	expect_lie("*too many ranges*");
}

TEST(ivrs, registers_that_cannot_be,
     "at zero, unaligned, beyond what is addressed, wrapping; two IOMMUs, or "
     "one "
     "in two places")
{
	static const uint64_t nowhere[] = { 0,
					    MMIO + 0x1000,
					    MMIO + 1,
					    UINT64_C(1) << 52,
					    -(uint64_t)IOMMU_MMIO_SIZE,
					    UINT64_MAX };

	for (unsigned i = 0; i < ARRAY_SIZE(nowhere); i++) {
		table_begin();
		block_begin(0x10, IOMMU, nowhere[i], 0);
		expect_lie("*impossible register address*");
	}
	simple();
	block_begin(0x11, IOMMU + 8, MMIO + 0x100000, 0);
	expect_lie("*two IOMMUs*");
	simple();
	block_begin(0x40, IOMMU, MMIO + 0x100000, 0);
	expect_lie("*contradicts itself*");
}

TEST(ivrs, registers_are_not_in_ram,
     "registers that overlap a range of RAM by a byte are refused, beside it "
     "not")
{
	struct mem_range ram[] = { { 0x100000, 0x200000 },
				   { MMIO + 0x100000, MMIO + 0x200000 } };

	simple();
	expect_good();
	EXPECT_STR_NULL(ivrs_check_mmio(&ivrs, ram, 2));
	ram[1] = (struct mem_range){ MMIO - PAGE_SIZE, MMIO };
	EXPECT_STR_NULL(ivrs_check_mmio(&ivrs, ram, 2));
	ram[1].end++;
	EXPECT(ivrs_check_mmio(&ivrs, ram, 2));
	ram[1] = (struct mem_range){ MMIO + IOMMU_MMIO_SIZE, MMIO + 0x100000 };
	EXPECT_STR_NULL(ivrs_check_mmio(&ivrs, ram, 2));
	ram[1].start--;
	EXPECT(ivrs_check_mmio(&ivrs, ram, 2));
	EXPECT_STR_NULL(ivrs_check_mmio(&ivrs, ram, 1));
}
