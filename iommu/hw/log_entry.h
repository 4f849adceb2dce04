/* SPDX-License-Identifier: MIT */
/*
 * log_entry.h - the entries of the event log and of the page request log
 *
 * 48882, sections 2.5 "Event Logging" and 2.6 "Peripheral Page Request (PPR)
 * Logging".  An entry is copied out of the ring once, and the copy is parsed: a
 * device decides what is in a page request, so every field is checked.
 */
#pragma once

#include "arch/bits.h"
#include "arch/types.h"
#include "iommu/hw/command.h"

struct log_entry {
	uint64_t w[2]; /* w[1]: an address                                */
};
_Static_assert(sizeof(struct log_entry) == 16, "48882: 128 bits an entry");

#define LOG0_TYPE GENMASK(63, 60) /* 0: not written yet                  */

/* Events */
enum event_type {
	ILLEGAL_DEV_TABLE_ENTRY = 1,
	IO_PAGE_FAULT = 2,
	DEV_TAB_HARDWARE_ERROR = 3,
	PAGE_TAB_HARDWARE_ERROR = 4,
	ILLEGAL_COMMAND_ERROR = 5, /* w[1]: where the command is          */
	COMMAND_HARDWARE_ERROR = 6,
	IOTLB_INV_TIMEOUT = 7,
	INVALID_DEVICE_REQUEST = 8,
	INVALID_PPR_REQUEST = 9,
};

#define EVENT0_DEVID  GENMASK(15, 0)
#define EVENT0_DOMAIN GENMASK(47, 32)
#define EVENT0_PR     BIT(52) /* the page was present                     */
#define EVENT0_RW     BIT(53) /* a write                                  */
#define EVENT0_PE     BIT(54) /* the access lacks a right                 */
#define EVENT0_RZ     BIT(55) /* a reserved bit or an illegal level       */

/* Page requests */
#define PPR_FAULT       1 /* LOG0_TYPE: the only type of page request        */
#define PPR0_DEVID      GENMASK(15, 0)
#define PPR0_PASID_LOW  GENMASK(31, 16)
#define PPR0_TAG        GENMASK(40, 32) /* the group                        */
#define PPR0_LAST       BIT(41)         /* its last request: answer now      */
#define PPR0_PASID_HIGH GENMASK(45, 42)
#define PPR0_EXEC       BIT(49)
#define PPR0_READ       BIT(50)
#define PPR0_WRITE      BIT(53)
#define PPR0_USER       BIT(54)
#define PPR0_RESERVED   BIT(55) /* a reserved bit was set in the tables     */
#define PPR0_GN         BIT(56) /* the PASID is valid                       */
#define LOG1_PAGE       GENMASK(63, 12)

/* The PASID that a page request names, or PPR_NO_PASID. */
static inline uint32_t request_pasid(const struct log_entry *entry)
{
	uint64_t w = entry->w[0];

	if (!(w & PPR0_GN))
		return PPR_NO_PASID;
	return (uint32_t)(FIELD_GET(PPR0_PASID_LOW, w) |
			  FIELD_GET(PPR0_PASID_HIGH, w) << 16);
}
