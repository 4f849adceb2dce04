/* SPDX-License-Identifier: MIT */
/*
 * port.h - read and write an IOMMU's registers
 *
 * iommu/ reaches the hardware by these two calls and by memory (device table,
 * rings, page tables) only.  They are served by QEMU's device or by the strict
 * model of tests/model/model.h; the driver cannot tell which.
 *
 * Registers are read and written 64 bits at a time: QEMU ignores one-byte
 * accesses and acts on base registers only when the upper half is written.
 */
#pragma once

#include <stdint.h>
#include "arch/compiler.h"

struct iommu_port {
	const char *name;
	/* Byte offset of a register, below IOMMU_MMIO_SIZE, multiple of 8. */
	uint64_t (*read)(void *ctx, unsigned reg);
	void (*write)(void *ctx, unsigned reg, uint64_t value);
	void *ctx;
	/* How long an answer may take, in ns; 0: IOMMU_LIMIT_NS. */
	uint64_t limit_ns;
	/* How long a log's entry may take that its tail register has announced; 0:
	 * IOMMU_VISIBLE_NS. */
	uint64_t visible_ns;
};

#define IOMMU_MMIO_SIZE  0x4000u
#define IOMMU_LIMIT_NS   UINT64_C(1000000000)
#define IOMMU_VISIBLE_NS UINT64_C(100000000)

static inline uint64_t port_limit_ns(const struct iommu_port *p)
{
	return p->limit_ns ? p->limit_ns : IOMMU_LIMIT_NS;
}

static inline uint64_t port_visible_ns(const struct iommu_port *p)
{
	return p->visible_ns ? p->visible_ns : IOMMU_VISIBLE_NS;
}

static inline uint64_t reg_read(const struct iommu_port *p, unsigned reg)
{
	return p->read(p->ctx, reg);
}

static inline void reg_write(const struct iommu_port *p, unsigned reg,
			     uint64_t value)
{
	p->write(p->ctx, reg, value);
}

/*
 * Set a base register (device table, ring, log) and read it back.  Returns 0, or
 * -EIO with a line on the console if the IOMMU keeps another value: the memory that
 * it uses then is not the kernel's.  Context: any.
 */
must_check int port_set_base(const struct iommu_port *p, unsigned reg,
			     uint64_t value);
