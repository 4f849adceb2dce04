/* SPDX-License-Identifier: MIT */
/*
 * command.h - the eight commands, one constructor each
 *
 * 48882, section 2.4 "Commands".  No other code puts bits into a command.
 */
#pragma once

#include "arch/bits.h"
#include "arch/types.h"

struct command {
	uint64_t w[2];
};
_Static_assert(sizeof(struct command) == 16, "48882: a command is 128 bits");

enum command_op {
	COMPLETION_WAIT = 1,
	INVALIDATE_DEVTAB_ENTRY = 2,
	INVALIDATE_IOMMU_PAGES = 3,
	INVALIDATE_IOTLB_PAGES = 4,
	INVALIDATE_INTERRUPT_TABLE = 5,
	PREFETCH_IOMMU_PAGES = 6,
	COMPLETE_PPR_REQUEST = 7,
	INVALIDATE_IOMMU_ALL = 8,
};

#define CMD0_OP      GENMASK(63, 60)
#define CMD0_DEVID   GENMASK(15, 0)
#define CMD0_DOMAIN  GENMASK(47, 32)
#define CMD0_S       BIT(0)          /* COMPLETION_WAIT: store             */
#define CMD0_I       BIT(1)          /* ... interrupt                      */
#define CMD0_F       BIT(2)          /* ... what follows may not overtake  */
#define CMD0_STORE   GENMASK(51, 3)  /* ... where                          */
#define CMD0_QUEUE   GENMASK(47, 32) /* INVALIDATE_IOTLB_PAGES             */
#define CMD0_PENDING GENMASK(31, 24) /* ... PREFETCH_IOMMU_PAGES: pages    */
#define CMD0_PASID   GENMASK(51, 32) /* COMPLETE_PPR_REQUEST               */
#define CMD1_S       BIT(0)          /* a range, coded in the address      */
#define CMD1_PDE     BIT(1)          /* directory entries too              */
#define CMD1_GN      BIT(2)          /* the PASID counts                   */
#define CMD1_ADDRESS GENMASK(63, 12)
#define CMD1_TAG     GENMASK(40, 32) /* COMPLETE_PPR_REQUEST               */
#define CMD1_STATUS  GENMASK(47, 44)

/* How a page request ends. */
enum ppr_status {
	PPR_SUCCESS = 0,   /* ask for the translation again               */
	PPR_INVALID = 1,   /* there is no such page, or no such right     */
	PPR_FAILURE = 0xf, /* send no more page requests                  */
};

#define PPR_NO_PASID UINT32_MAX

/* A range of pages as INVALIDATE_* commands take it: see command_range(). */
struct command_range {
	uint64_t w; /* CMD1_ADDRESS and CMD1_S                            */
};

#define RANGE_ALL ((struct command_range){ GENMASK(62, 12) | CMD1_S })

/*
 * The smallest naturally aligned power of two that covers the pages of
 * [start, end), end > start.  With S set, the lowest zero bit k of the address
 * from bit 12 up says how large: 2^(k + 1) bytes.
 */
static inline struct command_range command_range(iova_t start, iova_t end)
{
	uint64_t first = start >> PAGE_SHIFT;
	uint64_t differ = first ^ ((end - 1) >> PAGE_SHIFT);
	unsigned high;

	if (!differ)
		return (struct command_range){ first << PAGE_SHIFT };
	high = 63 - (unsigned)__builtin_clzll(differ) + PAGE_SHIFT;
	if (high > 51)
		return RANGE_ALL;
	start &= ~GENMASK(high, 0);
	if (high > PAGE_SHIFT)
		start |= GENMASK(high - 1, PAGE_SHIFT);
	return (struct command_range){ start | CMD1_S };
}

/*
 * The same of one block: len is a power of two from PAGE_SIZE to 2^52, and start a
 * multiple of it.
 */
static inline struct command_range command_block(iova_t start, uint64_t len)
{
	uint64_t size = (len / 2 - 1) & PAGE_MASK;

	if (len > PAGE_SIZE)
		size |= CMD1_S;
	return (struct command_range){ start | size };
}

/* Store `data` at the 8-byte aligned address after all earlier commands. */
static inline struct command command_completion_wait(pa_t store, uint64_t data)
{
	return (struct command){ {
		FIELD_PREP(CMD0_OP, COMPLETION_WAIT) | CMD0_S |
			(store & CMD0_STORE),
		data,
	} };
}

/* Interrupt after all earlier commands; store nothing. */
static inline struct command command_completion_interrupt(void)
{
	return (struct command){ {
		FIELD_PREP(CMD0_OP, COMPLETION_WAIT) | CMD0_I,
		0,
	} };
}

/* Flush the cached DTE; translations stay. */
static inline struct command command_invalidate_devtab_entry(uint16_t devid)
{
	return (struct command){ {
		FIELD_PREP(CMD0_OP, INVALIDATE_DEVTAB_ENTRY) | devid,
		0,
	} };
}

/* Flush a domain's translations in the range; tables: directory entries too. */
static inline struct command
command_invalidate_iommu_pages(uint16_t domain, struct command_range range,
			       bool tables)
{
	return (struct command){ {
		FIELD_PREP(CMD0_OP, INVALIDATE_IOMMU_PAGES) |
			FIELD_PREP(CMD0_DOMAIN, domain),
		range.w | (tables ? CMD1_PDE : 0),
	} };
}

/* Have the device flush the range from its own TLB. */
static inline struct command
command_invalidate_iotlb_pages(uint16_t devid, uint16_t queue,
			       uint8_t max_pending, struct command_range range)
{
	return (struct command){ {
		FIELD_PREP(CMD0_OP, INVALIDATE_IOTLB_PAGES) | devid |
			FIELD_PREP(CMD0_PENDING, max_pending) |
			FIELD_PREP(CMD0_QUEUE, queue),
		range.w,
	} };
}

static inline struct command command_invalidate_interrupt_table(uint16_t devid)
{
	return (struct command){ {
		FIELD_PREP(CMD0_OP, INVALIDATE_INTERRUPT_TABLE) | devid,
		0,
	} };
}

/* Fetch `pages` translations ahead; only with EFR_PREFETCH. */
static inline struct command
command_prefetch_iommu_pages(uint16_t devid, iova_t iova, uint8_t pages)
{
	return (struct command){ {
		FIELD_PREP(CMD0_OP, PREFETCH_IOMMU_PAGES) | devid |
			FIELD_PREP(CMD0_PENDING, pages),
		iova & CMD1_ADDRESS,
	} };
}

/*
 * Answer the page request group `tag` of a device.  pasid: as in the request,
 * which needs EFR_GT; PPR_NO_PASID: the request had none.
 */
static inline struct command
command_complete_ppr_request(uint16_t devid, uint32_t pasid, uint16_t tag,
			     enum ppr_status status)
{
	bool process = pasid != PPR_NO_PASID;

	return (struct command){ {
		FIELD_PREP(CMD0_OP, COMPLETE_PPR_REQUEST) | devid |
			FIELD_PREP(CMD0_PASID, process ? pasid : 0),
		FIELD_PREP(CMD1_TAG, tag) | FIELD_PREP(CMD1_STATUS, status) |
			(process ? CMD1_GN : 0),
	} };
}

/* Flush everything; only with EFR_IA. */
static inline struct command command_invalidate_iommu_all(void)
{
	return (struct command){ {
		FIELD_PREP(CMD0_OP, INVALIDATE_IOMMU_ALL),
		0,
	} };
}
