/* SPDX-License-Identifier: MIT */
/*
 * engines.h - bus masters as tests want them
 */
#pragma once

#include "drivers/dma.h"
#include "iommu/quirks.h"

/*
 * The engine of this name; ends the test with SKIP if it is not there.  Behind
 * an IOMMU it is let reach DMA_MEMORY and the memory of other devices, at their
 * own addresses, until the test ends.
 */
struct dma_engine *need_engine(const char *name);

/*
 * Ends the test with SKIP, and a sentence, if this machine's IOMMU does not do
 * what the row of struct iommu_quirks claims, or nobody could ask it.
 */
#define NEED_QUIRK(row) need_quirk(#row, iommu_quirks()->row)
void need_quirk(const char *row, bool holds);

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
