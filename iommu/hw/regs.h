/* SPDX-License-Identifier: MIT */
/*
 * regs.h - the registers of an AMD IOMMU
 *
 * AMD I/O Virtualization Technology (IOMMU) Specification, document 48882,
 * chapter 3.4 "IOMMU MMIO Registers".  Names and bit numbers are the manual's;
 * only what is used is named.  Head and tail registers hold byte offsets into
 * their ring.
 */
#pragma once

#include "arch/bits.h"

enum iommu_reg {
	REG_DEV_TABLE_BASE = 0x0000, /* devid -> DTE                         */
	REG_CMD_BASE = 0x0008,       /* command ring: kernel -> IOMMU        */
	REG_EVENT_BASE = 0x0010,     /* event log: IOMMU -> kernel           */
	REG_CONTROL = 0x0018,
	REG_EXCL_BASE = 0x0020,  /* from here to the limit nothing is ...    */
	REG_EXCL_LIMIT = 0x0028, /* ... translated: the exclusion range      */
	REG_EFR = 0x0030,        /* extended features, read-only         */
	REG_PPR_BASE = 0x0038,   /* page request log: device -> kernel   */
	REG_CMD_HEAD = 0x2000,   /* IOMMU advances                       */
	REG_CMD_TAIL = 0x2008,   /* kernel advances: the doorbell        */
	REG_EVENT_HEAD = 0x2010,
	REG_EVENT_TAIL = 0x2018,
	REG_STATUS = 0x2020,
	REG_PPR_HEAD = 0x2030,
	REG_PPR_TAIL = 0x2038,
};

/* REG_DEV_TABLE_BASE: size in units of 4 KiB, less one. */
#define DEV_TABLE_SIZE GENMASK(8, 0)
#define BASE_ADDRESS   GENMASK(51, 12)
/* REG_CMD_BASE, REG_EVENT_BASE, REG_PPR_BASE: log2 of the entries, 8..15. */
#define RING_LENGTH GENMASK(59, 56)
/* REG_*_HEAD, REG_*_TAIL */
#define RING_POINTER GENMASK(18, 4)

/* REG_CONTROL */
#define CONTROL_IOMMU_EN     BIT(0)
#define CONTROL_HT_TUNNEL    BIT(1)
#define CONTROL_EVENT_LOG_EN BIT(2)
#define CONTROL_EVENT_INT_EN BIT(3)
#define CONTROL_COMWAIT_INT  BIT(4)
#define CONTROL_INV_TIMEOUT  GENMASK(7, 5) /* of device TLBs; 0: never     */
#define INV_TIMEOUT_100MS    3
#define CONTROL_PASS_PW      BIT(8) /* how its requests pass on the bus   */
#define CONTROL_RES_PASS_PW  BIT(9) /* and their responses               */
#define CONTROL_COHERENT     BIT(10)
#define CONTROL_ISOC         BIT(11)
#define CONTROL_CMD_BUF_EN   BIT(12)
#define CONTROL_PPR_LOG_EN   BIT(13)
#define CONTROL_PPR_INT_EN   BIT(14)
#define CONTROL_PPR_EN       BIT(15)
#define CONTROL_GA_EN        BIT(17) /* IRTEs of 128 bits, not of 32       */

/* What firmware decides: the IVRS says it, software copies it (3.4.2). */
#define CONTROL_FIRMWARE                                             \
	(CONTROL_HT_TUNNEL | CONTROL_PASS_PW | CONTROL_RES_PASS_PW | \
	 CONTROL_ISOC)

/* REG_EXCL_BASE; the limit is the last page's address, bits 11:0 count as set. */
#define EXCL_EN    BIT(0)
#define EXCL_ALLOW BIT(1) /* for all devices, not only those of DTE.EX    */

/* REG_STATUS: the events are cleared by writing 1, the run bits read-only. */
#define STATUS_EVENT_OVERFLOW BIT(0)
#define STATUS_EVENT_INT      BIT(1)
#define STATUS_COMWAIT_INT    BIT(2)
#define STATUS_EVENT_RUN      BIT(3)
#define STATUS_CMD_RUN        BIT(4)
#define STATUS_PPR_OVERFLOW   BIT(5)
#define STATUS_PPR_INT        BIT(6)
#define STATUS_PPR_RUN        BIT(7)

/* REG_EFR */
#define EFR_PREFETCH BIT(0) /* PREFETCH_IOMMU_PAGES                     */
#define EFR_PPR      BIT(1)
#define EFR_GT       BIT(4) /* guest tables, PASIDs                     */
#define EFR_IA       BIT(6) /* INVALIDATE_IOMMU_ALL                     */
#define EFR_GA       BIT(7) /* IRTEs of 128 bits                        */
#define EFR_HATS     GENMASK(11, 10) /* levels of tables, less 4       */
#define HATS_NONE    3
