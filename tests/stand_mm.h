/* SPDX-License-Identifier: MIT */
/*
 * stand_mm.h - a device of the stand in the address space of a process
 *
 *	struct mm *mm = stand_mm(s, 2);         pages 0 and 1 at VA
 *
 *	stand_share(s, 0, mm);                  device 0 walks the mm's tables
 *	wr(mm, P(0), 'A');
 *	EXPECT_EQ(stand_read(s, 0, P(0)), 'A');
 *
 * A real chip fetches its programs through the same translation: each mm has
 * two pages at OWN(dev), shared memory like any other, where the chip finds them.
 */
#pragma once

#include "iommu/sva.h"
#include "tests/stand.h"
#include "tests/world.h"

#define OWN(dev) (UINT64_C(0x0f000000) + (dev)*2 * DMA_STAGE)

/* world(n) with room for the devices' own pages; gone after the test. */
struct mm *stand_mm(struct stand *s, unsigned n);

/* It will not be missed: the test has put it, or does so now. */
void stand_forget(struct mm *mm);
void stand_exit(struct mm *mm);

/* mm_fork(), and gone after the test. */
struct mm *stand_fork(struct mm *mm);

/* sva_bind() and its end; ends the test if it cannot. */
struct sva *stand_share(struct stand *s, unsigned dev, struct mm *mm);
void stand_unshare(struct stand *s, unsigned dev);

/* The device reads or writes and, if it got nothing, faults by hand and tries
 * once more: BLOCKED, or the fault's error. */
uint64_t stand_load(struct stand *s, unsigned dev, va_t va);
int stand_store(struct stand *s, unsigned dev, va_t va, uint64_t v);

/* For stand_release(). */
void stand_mm_release(struct stand *s);
