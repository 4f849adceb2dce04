/* SPDX-License-Identifier: MIT */
/*
 * engines.h - bus masters as tests want them
 */
#pragma once

#include "drivers/dma.h"

/*
 * The engine of this name; ends the test with SKIP if it is not there.  Behind
 * an IOMMU it is let reach DMA_MEMORY and the memory of other devices, at their
 * own addresses, until the test ends.
 */
struct dma_engine *need_engine(const char *name);

/* After each test: nobody reaches anything any more. */
void engines_release(void);

/*
 * Memory for devices that say 32 bits: BUFFERS times BUFFER_SIZE, in the image.
 * engine_buffer() fills buffer i with a pattern of its own (never 0) first;
 * buffer_bus() is where a device finds it.
 */
#define BUFFERS     4
#define BUFFER_SIZE (UINT64_C(4) * PAGE_SIZE)
uint8_t *engine_buffer(unsigned i);
iova_t buffer_bus(const void *p);

/* What engine_buffer() puts at byte at of buffer i. */
uint8_t buffer_pattern(unsigned i, uint64_t at);
