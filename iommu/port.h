/* SPDX-License-Identifier: MIT */
/*
 * port.h - the narrow door to an IOMMU's registers
 *
 * Everything that iommu/ knows of the hardware's state goes through these two
 * calls and through memory (device table, rings, page tables).  Behind them
 * stands QEMU's device or the strict model of tests/model.h; the driver cannot
 * tell which.
 *
 * Registers are read and written 64 bits at a time: QEMU ignores one-byte
 * accesses and acts on base registers only when the upper half is written.
 */
#pragma once

#include <stdint.h>

struct iommu_port {
	const char *name;
	/* Byte offset of a register, below IOMMU_MMIO_SIZE, multiple of 8. */
	uint64_t (*read)(void *ctx, unsigned reg);
	void (*write)(void *ctx, unsigned reg, uint64_t value);
	void *ctx;
	/* How long an answer may take, 0: IOMMU_LIMIT_NS. */
	uint64_t limit_ns;
};

#define IOMMU_MMIO_SIZE 0x4000u
#define IOMMU_LIMIT_NS  UINT64_C(1000000000)

static inline uint64_t port_limit_ns(const struct iommu_port *p)
{
	return p->limit_ns ? p->limit_ns : IOMMU_LIMIT_NS;
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
