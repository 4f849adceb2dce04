/* SPDX-License-Identifier: MIT */
/* ivrs_priv.h - between ivrs.c (blocks) and ivrs_ids.c (their entries) */
#pragma once

#include "iommu/core/ivrs.h"
#include "kernel/string.h"

static inline uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | (unsigned)p[1] << 8);
}

static inline uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Blocks that describe an IOMMU; fields by their offset. */
#define IVHD_OLD      0x10
#define IVHD_NEW      0x11
#define IVHD_HIDS     0x40
#define AT_FLAGS      1
#define AT_LENGTH     2
#define AT_DEVID      4
#define AT_CAPABILITY 6
#define AT_MMIO       8
#define AT_SEGMENT    16

static inline bool is_ivhd(const uint8_t *p)
{
	return p[0] == IVHD_OLD || p[0] == IVHD_NEW || p[0] == IVHD_HIDS;
}

static inline unsigned ivhd_header(const uint8_t *p)
{
	return p[0] == IVHD_OLD ? 24 : 40;
}

/* What one entry, or the two entries of a range, say. */
enum saying_kind {
	SAYS_COVERED, /* first .. last pass the IOMMU                     */
	SAYS_ALIAS,   /* and their requests bear the number `alias`       */
	SAYS_SPECIAL, /* I/O APIC or HPET number `handle` is `alias`      */
	SAYS_HID,     /* an ACPI device has this number                   */
};

struct saying {
	enum saying_kind kind;
	uint16_t first, last, alias;
	bool no_tlb;
	uint8_t handle, variety; /* of SAYS_SPECIAL */
};

#define VARIETY_IOAPIC 1

/*
 * Call fn for each entry of an IVHD block, until it returns a message.  Returns
 * that message, or one about a torn entry, or NULL.
 */
typedef const char *saying_fn(const struct saying *says, void *arg);
const char *ivhd_each(const uint8_t *block, saying_fn *fn, void *arg);

/* Return the block that begins at *at, and move *at to the next; NULL: the end. */
const uint8_t *ivrs_next(const struct acpi_table *table, uint32_t *at);
