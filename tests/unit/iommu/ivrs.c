/* SPDX-License-Identifier: MIT */
/*
 * ivrs.c - the IVRS, where firmware describes the IOMMU: valid and invalid
 * tables
 *
 * Tables are built byte by byte, as QEMU and other firmware do.  Here are
 * tables that no machine has; tests/host/fuzz_firmware.c adds random ones.
 */
#include "tests/fixture/iommu/ivrs_table.h"

#define MMIO  MADE_MMIO
#define IOMMU MADE_DEVID
#define CAP   MADE_CAP

static void expect_good(void)
{
	EXPECT_STR_NULL(ivrs_read(0));
	EXPECT_EQ(made.ivrs.units[0].mmio, MMIO);
	EXPECT_EQ(made.ivrs.units[0].devid, IOMMU);
	EXPECT_EQ(made.ivrs.units[0].capability, CAP);
}

static void simple(void)
{
	ivrs_begin();
	ivrs_block(0x10, IOMMU, MMIO, 0);
}

/* ---- good tables ------------------------------------------------------- */

TEST(ivrs, each_type_of_block_is_read,
     "block types 10h, 11h and 40h describe the same IOMMU, alone or together")
{
	static const uint8_t types[] = { 0x10, 0x11, 0x40 };

	for (unsigned i = 0; i < 3; i++) {
		ivrs_begin();
		ivrs_block(types[i], IOMMU, MMIO, 0);
		ivrs_entry(2, 0x0080, 4);
		expect_good();
		EXPECT(ivrs_covers(0x80, 0x80));
	}
	ivrs_begin();
	for (unsigned i = 0; i < 3; i++) {
		ivrs_block(types[i], IOMMU, MMIO, 0);
		ivrs_entry(3, 0x0080, 4);
		ivrs_entry(4, 0x0097, 4);
	}
	expect_good();
	EXPECT(ivrs_covers(0x80, 0x97));
}

TEST(ivrs, last_entry_may_end_the_block,
     "an ACPI device without a name is read where its entry ends the block")
{
	simple();
	ivrs_entry(2, 0x0010, 4);
	ivrs_entry_hid(0x00a5, 0);
	expect_good();
	EXPECT(ivrs_covers(0x10, 0x10));
}

TEST(ivrs, aliases_are_read,
     "an alias is read for one device, for a range, and when it is named twice")
{
	simple();
	for (unsigned i = 0; i < 2; i++) {
		ivrs_entry_alias(0x42, 0x0108, 0x00f0);
		ivrs_entry_alias(0x43, 0x0200, 0x0200);
		ivrs_entry(4, 0x02ff, 4);
	}
	ivrs_entry(3, 0x0300, 4);
	ivrs_entry(4, 0x03ff, 4);
	expect_good();
	EXPECT_EQ(made.n_aliases, 2);
	EXPECT_EQ(ivrs_alias_of(0x0108), 0x00f0);
	EXPECT_EQ(ivrs_alias_of(0x0109), 0x0109);
	EXPECT_EQ(ivrs_alias_of(0x0200), 0x0200);
	EXPECT_EQ(ivrs_alias_of(0x02ff), 0x0200);
	EXPECT_EQ(ivrs_alias_of(0x0300), 0x0300);
	EXPECT(ivrs_covers(0x0108, 0x0108));
	EXPECT(ivrs_covers(0x0200, 0x03ff));

	simple();
	ivrs_entry_alias(0x42, 0x0108, 0x00f0);
	ivrs_entry_alias(0x42, 0x0108, 0x00f8);
	ivrs_expect_refused("*two aliases*");
}

TEST(ivrs, entries_of_every_length_are_read,
     "selects, ranges, aliases, extended entries, interrupt controllers, ACPI "
     "devices and padding in one block are all read")
{
	simple();
	ivrs_entry(0, 0, 4);
	ivrs_entry(2, 0x0010, 4);
	ivrs_entry(0x48, 0x00a0, 8);
	ivrs_entry(3, 0x0020, 4);
	ivrs_entry(4, 0x002f, 4);
	ivrs_entry_hid(0x00a5, 0);
	ivrs_entry(0x42, 0x0030, 8);
	ivrs_entry_hid(0x00a5, 17);
	ivrs_entry(0x43, 0x0040, 8);
	ivrs_entry(4, 0x0047, 4);
	ivrs_entry(0x46, 0x0050, 8);
	ivrs_entry(0x47, 0x0060, 8);
	ivrs_entry(4, 0x0061, 4);
	ivrs_entry(0x80, 0,
		   16); /* of a length that its type gives, and unknown */
	ivrs_entry(2, 0xffff, 4);
	expect_good();
	EXPECT(ivrs_covers(0x10, 0x10));
	EXPECT(ivrs_covers(0x20, 0x30)); /* the alias follows the range */
	EXPECT(ivrs_covers(0x40, 0x47));
	EXPECT(ivrs_covers(0x50, 0x50));
	EXPECT(ivrs_covers(0x60, 0x61));
	EXPECT(ivrs_covers(0xffff, 0xffff));
}

TEST(ivrs, all_devices_means_all,
     "entry 01h, or a range, covers the devices between those that earlier "
     "entries named")
{
	for (unsigned i = 0; i < 2; i++) {
		simple();
		ivrs_entry(2, 0x0000, 4);
		ivrs_entry(2, 0xffff, 4);
		if (i) {
			ivrs_entry(1, 0, 4);
		} else {
			ivrs_entry(3, 0x0000, 4);
			ivrs_entry(4, 0xffff, 4);
		}
		expect_good();
		EXPECT(ivrs_covers(0, 0xffff));
	}
}

/* ---- invalid tables ---------------------------------------------------- */

TEST(ivrs, missing_iommu_is_reported,
     "a table without a block, with foreign blocks only, or shorter than its "
     "header has no IOMMU")
{
	ivrs_begin();
	ivrs_expect_refused("*no IOMMU*");
	made.table.length = 36;
	ivrs_expect_refused("*no IOMMU*");
	ivrs_begin();
	ivrs_block(0x21, IOMMU, MMIO, 0);
	ivrs_expect_refused("*no IOMMU*");
	ivrs_begin();
	ivrs_block(0x11, IOMMU, MMIO, 1);
	ivrs_expect_refused("*no IOMMU*");
}

TEST(ivrs, wrong_block_lengths_are_refused,
     "a block longer than the table, or shorter than its header, is refused")
{
	simple();
	ivrs_put(made.block + 2, made.table.length - made.block + 1, 2);
	ivrs_expect_refused("*runs out of the table*");
	ivrs_put(made.block + 2, 0xffff, 2);
	ivrs_expect_refused("*runs out of the table*");
	ivrs_put(made.block + 2, 0, 2);
	ivrs_expect_refused("*runs out of the table*");
	ivrs_put(made.block + 2, 23, 2);
	ivrs_expect_refused("*shorter than its header*");
	ivrs_begin();
	ivrs_block(0x40, IOMMU, MMIO, 0);
	made.table.length -= 16;
	ivrs_put(made.block + 2, 24, 2);
	ivrs_expect_refused("*shorter than its header*");
}

TEST(ivrs, wrong_entry_lengths_are_refused,
     "an entry of any type that is cut off, and a name longer than its block, "
     "are refused")
{
	static const uint8_t types[] = { 2, 0x48, 0x80, 0xc0, 0xf0 };

	for (unsigned i = 0; i < sizeof(types); i++) {
		unsigned whole = i == 4 ? 22 : 4u << (types[i] >> 6);

		for (unsigned cut = 1; cut < whole; cut++) {
			simple();
			ivrs_entry(types[i], 0x80, whole);
			ivrs_put(made.table.length - whole + 21, 0, i == 4);
			made.table.length -= cut;
			ivrs_put(made.block + 2, made.table.length - made.block,
				 2);
			ivrs_expect_refused("*entry runs out of its block*");
		}
	}
	simple();
	ivrs_entry_hid(0x00a5, 10);
	ivrs_put(made.table.length - 32 + 21, 11, 1);
	ivrs_expect_refused("*entry runs out of its block*");
}

TEST(ivrs, impossible_ranges_are_refused,
     "a range that ends before it begins, lacks its begin or end, or contains "
     "another, is refused")
{
	simple();
	ivrs_entry(3, 0x0080, 4);
	ivrs_entry(4, 0x007f, 4);
	ivrs_expect_refused("*ends before it began*");
	simple();
	ivrs_entry(4, 0x0080, 4);
	ivrs_expect_refused("*ends before it began*");
	simple();
	ivrs_entry(3, 0x0080, 4);
	ivrs_entry(4, 0x0081, 4);
	ivrs_entry(4, 0x0082, 4);
	ivrs_expect_refused("*ends before it began*");
	simple();
	ivrs_entry(0x43, 0x0080, 8);
	ivrs_expect_refused("*does not end*");
	simple();
	ivrs_entry(3, 0x0080, 4);
	ivrs_entry(0x47, 0x0090, 8);
	ivrs_expect_refused("*inside another*");
}

TEST(ivrs, impossible_registers_are_refused,
     "registers at zero, unaligned, beyond the address width, wrapping, or at "
     "two addresses are refused")
{
	static const uint64_t nowhere[] = { 0,
					    MMIO + 0x1000,
					    MMIO + 1,
					    UINT64_C(1) << 52,
					    -(uint64_t)IOMMU_MMIO_SIZE,
					    UINT64_MAX };

	for (unsigned i = 0; i < ARRAY_SIZE(nowhere); i++) {
		ivrs_begin();
		ivrs_block(0x10, IOMMU, nowhere[i], 0);
		ivrs_expect_refused("*impossible register address*");
	}
	simple();
	ivrs_block(0x10, IOMMU, MMIO + 0x100000, 0);
	ivrs_expect_refused("*contradicts itself*");
}
