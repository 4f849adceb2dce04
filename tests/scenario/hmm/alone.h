/* SPDX-License-Identifier: MIT */
/*
 * alone.h - a device that has pages alone, and adds to them
 *
 *	struct mm *mm = alone_begin(s);		P(0) to P(3) hold 1 to 4
 *
 *	alone_add(s, 1);			the device has them, P(1) holds 3
 *	EXPECT_EQ(rd(mm, P(1)), 3);		a CPU has P(1) again
 *	alone_end(s, mm);
 *
 * What the device does is a read, then a write of what it read plus one: two accesses,
 * with time between them.
 */
#pragma once

#include "mm/core/entry.h"
#include "tests/fake/hmm_driver.h"

#define PAGES 4u

extern struct hmm_driver alone; /* device 0 of the fixture                  */

/* Return a space with 1, 2, ... in its pages, which device 0 mirrors; check and end
 * both. */
struct mm *alone_begin(struct iommu_fixture *s);
void alone_end(struct iommu_fixture *s, struct mm *mm);

/* Give the range to the device alone, which adds 1 to page i. */
void alone_add(struct iommu_fixture *s, unsigned i);

/* Have the device add 1 to page i.  Context: the driver's lock held. */
void alone_add_held(struct iommu_fixture *s, unsigned i);

/* Call make_device_exclusive() once for pages [first, end), and give the device nothing. */
int alone_ask(unsigned first, unsigned end);

/* Return the state of the entry of page i. */
enum entry_state alone_state(struct mm *mm, unsigned i);

/* Return the page that a device-exclusive entry names, with a reference. */
struct page *alone_page(struct mm *mm, unsigned i);

/* Does the device's table have page i? */
bool alone_reaches(unsigned i);

/* Expect that page i is mapped once, writable, with no reference left. */
void alone_mapped_again(struct mm *mm, unsigned i);
