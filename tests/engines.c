/* SPDX-License-Identifier: MIT */
/*
 * engines.c - buffers below 4 GiB, and the engine or SKIP
 */
#include "tests/engines.h"
#include "arch/layout.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "tests/test.h"

static uint8_t buffers[BUFFERS][BUFFER_SIZE]
	__attribute__((aligned(PAGE_SIZE)));

uint8_t buffer_pattern(unsigned i, uint64_t at)
{
	uint64_t h = (at + 1) * (2 * i + 0x9e3779b97f4a7c15);

	return (uint8_t)(h >> 32) | 1;
}

uint8_t *engine_buffer(unsigned i)
{
	for (uint64_t at = 0; at < BUFFER_SIZE; at++)
		buffers[i][at] = buffer_pattern(i, at);
	return buffers[i];
}

iova_t buffer_bus(const void *p)
{
	assert((va_t)p >= KERNEL_BASE);
	return (va_t)p - KERNEL_BASE;
}

struct dma_engine *need_engine(const char *name)
{
	static char why[60];
	struct dma_engine *e = dma_engine_named(name);

	snprintk(why, sizeof(why), "no %s on this machine", name);
	if (!e)
		SKIP(why);
	return e;
}
