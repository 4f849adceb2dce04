/* SPDX-License-Identifier: MIT */
/*
 * scene.h - what the scenarios of devices begin with and look at
 *
 * A process P with pages A, B, ... that hold 10, devices that walk its table, and
 * the frame of A, which may be freed; its next owner fills it with 77.  A client
 * of race.h flushes for the devices: a right one (SVA), or one that is wrong and by
 * which the explorer shows that it finds the race.
 */
#pragma once

#include "tests/explore/explore.h"
#include "tests/race/race.h"

#define TAKEN_MAX 8

/* A scenario that needs a cache of directories, or that a flush drops only what it
 * names, as on the strict model. */
#define STRICT_TEST(suite, name, claim)                            \
	static void suite##_##name(struct iommu_fixture *s);       \
	FIXTURE_TEST(suite, name, model, claim, 1, EXPLORE_LIMIT); \
	static void suite##_##name(struct iommu_fixture *s)

struct scene {
	struct iommu_fixture *s;
	struct client client[2];
	struct mm *mm, *child;
	struct page *page;             /* of A, at the beginning             */
	struct page *taken[TAKEN_MAX]; /* by the next owner                  */
	bool owned;                    /* page is one of them                */
	uint64_t saw[4];               /* values that actors have read       */
	int error;                     /* of an operation                    */
};

/*
 * A test on QEMU's IOMMU alone.  The strict model takes three times as long and adds
 * the late completion of commands, which IOMMU_TEST_ON(explore, discard_beside_dma)
 * has.
 */
#define QEMU_TEST(suite, name, claim)                             \
	static void suite##_##name(struct iommu_fixture *s);      \
	FIXTURE_TEST(suite, name, qemu, claim, 1, EXPLORE_LIMIT); \
	static void suite##_##name(struct iommu_fixture *s)

extern struct scene scene;

/* Run x with a client of these ops (SVA: the right one) in each of n_clients
 * devices of s, and expect that all orders are right, or that one is wrong. */
void scene_explore(struct iommu_fixture *s, struct exploration *x,
		   const struct mmu_notifier_ops *ops, bool found);

/* For setup(): n pages; n_clients devices join. */
void scene_begin(const struct exploration *x, unsigned n, unsigned n_clients);

/* The same with one device, whose page requests are served. */
void scene_serve(const struct exploration *x, unsigned n);

/* teardown() of all scenarios. */
void scene_end(const struct exploration *x);

/* An actor: allocate frames; if the page is among them, fill it with 77. */
void take_frame(const struct exploration *x);

/* A verdict: the next owner reads what it wrote. */
const char *owner_reads_its_own(const struct exploration *x);

/* An actor: device 0 reads A, and writes 66 to it. */
void device_uses_a(const struct exploration *x);
