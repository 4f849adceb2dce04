/* SPDX-License-Identifier: MIT */
/*
 * nonlinear_device.c - devices and CPUs that read an object while its order changes
 */
#include "kernel/err.h"
#include "tests/fixture/iommu/endpoint.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/sync_point.h"

#define AT(i) P(16 + (i)) /* where the object is shown                        */

/* Show n pages, from page number 0 on, of a new object of `all` pages; number i of them
 * holds i + 1.  Device 0 is bound. */
static struct mm *numbered(struct iommu_fixture *s, unsigned n, unsigned all)
{
	struct object *object = object_create(all);
	struct mm *mm = fixture_mm(s, 1);

	REQUIRE(object);
	REQUIRE(!mm_map(mm, AT(0), all * PAGE_SIZE, RW, 0, object, 0, NULL));
	object_put(object);
	for (unsigned i = 0; i < all; i++)
		REQUIRE(!wr(mm, AT(i), i + 1));
	if (n < all)
		REQUIRE(!mm_unmap(mm, AT(n), AT(all)));
	fixture_bind(s, 0, mm);
	fixture_may_be_refused(s, 0);
	return mm;
}

USER_TEST(nonlinear_device, old_page_is_lost,
	  "a device that has cached a page of an object does not reach it when "
	  "another has taken its place; its fault brings the new one, and what "
	  "it writes goes there")
{
	struct mm *mm = numbered(s, 4, 4);
	struct page *page = page_at(mm, AT(0));

	EXPECT_EQ(fixture_load(s, 0, AT(0)), 1);
	EXPECT_EQ(fixture_store(s, 0, AT(0) + 8, 'a'), 0);
	EXPECT_EQ(fixture_load(s, 0, AT(1)), 2);
	EXPECT_EQ(mm_remap_object(mm, AT(0), AT(1), 3), 0);
	fixture_expect_lost(s, AT(0), page);
	EXPECT_EQ(fixture_load(s, 0, AT(0)), 4);
	EXPECT_EQ(fixture_store(s, 0, AT(0) + 8, 'b'), 0);
	EXPECT_EQ(rd(mm, AT(3) + 8), 'b');
	EXPECT_EQ(*(uint64_t *)(page_va(page) + 8), 'a');
	EXPECT_EQ(fixture_read(s, 0, AT(1)), 2); /* the neighbour stays */
	EXPECT(page_mkclean(page)); /* the device had written it (B33) */
	page_put(page);
}

/* ---- while it changes --------------------------------------------------------- */

#define SHOWN         8u
#define CHANGES       16u
#define MODEL_CHANGES 8u /* its steps are slow                              */

static struct {
	struct mm *mm;
	unsigned changes;
	_Atomic unsigned order; /* changes that have returned: AT(i) shows page
				 * number i + order, or is about to show the
				 * one after it                              */
	_Atomic unsigned reads; /* by the device                             */
	_Atomic unsigned wrong; /* words of an order that had gone           */
} run;

static void change(void *unused)
{
	for (unsigned i = 0; i < run.changes; i++) {
		unsigned reads = atomic_load(&run.reads);

		/* Of two reads the second began after the last change. */
		while (atomic_load(&run.reads) < reads + 2)
			yield();
		EXPECT_EQ(mm_remap_object(run.mm, AT(0), AT(SHOWN), i + 1), 0);
		atomic_store(&run.order, i + 1);
	}
}

/* Judge v, read at AT(i) after `before` changes had returned. */
static void judge(unsigned i, unsigned before, uint64_t v)
{
	unsigned after = atomic_load(&run.order) + 1;
	uint64_t order = v - i - 1;

	if (order < before || order > after)
		atomic_fetch_add(&run.wrong, 1);
}

/* Read even pages; the device reads the odd ones, so that it has to fault them. */
static void cpu_reads(void *unused)
{
	for (unsigned i = 0; atomic_load(&run.order) < run.changes;
	     i = (i + 2) % SHOWN) {
		unsigned before = atomic_load(&run.order);

		judge(i, before, rd(run.mm, AT(i)));
		yield();
	}
}

USER_TEST(nonlinear_device, stream_reads_no_old_order,
	  "a device and a CPU read an object page by page while its order "
	  "changes: what they read after a change has returned is not of the "
	  "order before it, and a page request brings the new page")
{
	static struct endpoint e;
	struct task changes, cpu;

	run.changes = s->model ? MODEL_CHANGES : CHANGES;
	atomic_store(&run.order, 0);
	atomic_store(&run.reads, 0);
	atomic_store(&run.wrong, 0);
	fixture_serve(s);
	run.mm = numbered(s, SHOWN, SHOWN + run.changes);
	endpoint_open(&e, s, 0, &(struct endpoint_config){ .limit = 100000 });
	spawn(&changes, change, NULL);
	spawn(&cpu, cpu_reads, NULL);
	for (unsigned i = 1; atomic_load(&run.order) < run.changes;
	     i = (i + 2) % SHOWN) {
		unsigned before = atomic_load(&run.order);
		uint32_t word;

		EXPECT_EQ(endpoint_read(&e, AT(i), &word), 0);
		judge(i, before, word);
		atomic_fetch_add(&run.reads, 1);
	}
	join(&cpu);
	join(&changes);
	endpoint_close(&e);
	EXPECT_EQ(atomic_load(&run.wrong), 0);
	EXPECT(e.stats.faults >= run.changes);
	EXPECT_EQ(fixture_load(s, 0, AT(0)), run.changes + 1);
}
