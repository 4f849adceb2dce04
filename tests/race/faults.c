/* SPDX-License-Identifier: MIT */
/*
 * faults.c - a device faults while a page table changes: experiment 3
 *
 * The device is an endpoint: it sends page requests for what it cannot reach,
 * and enters its failure state when they do not help, as the engines of 2014
 * did.
 */
#include "kernel/err.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/iommu/endpoint.h"
#include "tests/race/race.h"
#include "tests/timeline/explain.h"

#define LIMIT 4u /* fruitless faults at one address, then it has failed     */

static struct client client;
static struct endpoint e;
static struct mm *mm;
static struct task t0;

/* ---- 3: the empty table, AMD IOMMUv2 before 2014 ------------------------ */

/* Between start and end the device's root is that of an empty address space,
 * which maps only the chip's own programs.  (domain's lock) */
static struct client lent;
static struct {
	struct mm *empty;
	pa_t root;
	unsigned active;
} workaround;

static void set_root(struct client *c, pa_t root)
{
	uint16_t devid = c->s->devid[c->dev];
	struct dte dte = iommu_get_dte(c->s->iommu, devid);

	dte.w[0] = (dte.w[0] & ~DTE0_ROOT) | root;
	REQUIRE(!iommu_set_dte(c->s->iommu, devid, dte, c->domain->id, true));
}

static int empty_start(struct mmu_notifier *mn,
		       const struct mmu_notifier_range *range)
{
	struct client *c = container_of(mn, struct client, mn);

	spin_lock(&c->domain->lock);
	WRITE_ONCE(workaround.active, workaround.active + 1);
	if (workaround.active == 1) {
		says("root := empty table");
		set_root(c, pt_root_pa(&workaround.empty->pt));
	}
	spin_unlock(&c->domain->lock);
	return 0;
}

static void empty_end(struct mmu_notifier *mn,
		      const struct mmu_notifier_range *range)
{
	struct client *c = container_of(mn, struct client, mn);

	spin_lock(&c->domain->lock);
	WRITE_ONCE(workaround.active, workaround.active - 1);
	if (!workaround.active) {
		says("root := process's table");
		set_root(c, workaround.root);
	}
	spin_unlock(&c->domain->lock);
}

static const struct mmu_notifier_ops empty_table = {
	.invalidate_range_start = empty_start,
	.invalidate_range_end = empty_end,
};

/* Serve a page request.  While an invalidation is open the workaround does
 * nothing, answers SUCCESS, and lets the device retry. */
static enum ppr_status serve(void *arg, va_t va, unsigned pages,
			     enum prot access)
{
	struct client *c = arg;

	REQUIRE(pages == 1);
	if (READ_ONCE(workaround.active)) {
		says("invalidation open: answers SUCCESS");
		return PPR_SUCCESS;
	}
	if (mm_fault(c->mm, va, access & PROT_W ? PROT_W : PROT_R))
		return PPR_INVALID;
	if (c->s->iommu->np_cache)
		client_flush(c, va & PAGE_MASK, (va & PAGE_MASK) + PAGE_SIZE);
	return PPR_SUCCESS;
}

/* Give every worker of the driver one lane of this name. */
static void name_worker(uint64_t va, uint64_t access, void *unused)
{
	explain_thread("driver");
}

static void endpoint_begins(struct iommu_fixture *s,
			    const struct mmu_notifier_ops *ops)
{
	static const struct endpoint_config config = { .limit = LIMIT };
	uint32_t word;

	pri_open(s); /* skips the test without PRI */
	mm = process(4, "P");
	workaround.empty = mm_create();
	REQUIRE(workaround.empty);
	client_lend(&lent, s, 0, workaround.empty);
	workaround.root = pt_root_pa(&mm->pt);
	workaround.active = 0;
	client_serve(&client, s, 0, mm, ops, serve);
	endpoint_open(&e, s, 0, &config);
	for (unsigned i = 0; i < 4; i++) {
		EXPECT_EQ(endpoint_read(&e, P(i), &word), 0);
		EXPECT_EQ(word, 10);
	}
	EXPECT_EQ(e.stats.faults, 0); /* the CPU had touched them */
	hook("ppr_fault", name_worker, NULL);
	explain_begin();
}

static void endpoint_ends(void)
{
	explain_end();
	unhook("ppr_fault");
	endpoint_close(&e);
	client_leave(&client);
	mm_put(mm);
	client_unlend(&lent);
	mm_put(workaround.empty);
}

static void discard_b(void *unused)
{
	mm_bind(mm);
	change(mm, 1, 2);
}

/* B is discarded; between start and end the device reads A, which does not
 * change.  Returns 0, or the device's error. */
static int reads_a_meanwhile(void)
{
	struct sync_point g;
	uint32_t word;
	int error;

	sync_point_set(&g, "range_started", mm);
	go(&t0, 0, "T0", discard_b, NULL);
	sync_point_await(&g);
	error = endpoint_read(&e, A, &word);
	EXPECT(error || word == 10);
	sync_point_release(&g);
	join(&t0);
	return error;
}

IOMMU_TEST(
	race, empty_table_ends_in_failure_state,
	"an empty table between start and end makes a device fault at a page "
	"that does not change until it enters its failure state")
{
	uint32_t word;

	endpoint_begins(s, &empty_table);
	EXPECT_EQ(reads_a_meanwhile(), -EIO);
	EXPECT_EQ(e.state, ENDPOINT_FAILED);
	EXPECT_EQ(e.stats.faults, LIMIT);
	EXPECT_EQ(e.stats.fruitless, LIMIT);
	/* The invalidation has ended, A is mapped: too late. */
	EXPECT_EQ(endpoint_read(&e, A, &word), -EIO);
	endpoint_ends();
}

IOMMU_TEST(race, no_fault_outside_the_change,
	   "with invalidate_range a device faults once at a page that was "
	   "changed, and not at another page during the change")
{
	uint32_t word;

	endpoint_begins(s, SVA);
	EXPECT_EQ(reads_a_meanwhile(), 0);
	EXPECT_EQ(e.stats.faults, 0);
	EXPECT_EQ(endpoint_write(&e, B, 11), 0);
	EXPECT_EQ(endpoint_read(&e, B, &word), 0);
	EXPECT_EQ(word, 11);
	EXPECT_EQ(e.stats.faults, 1);
	EXPECT_EQ(e.stats.fruitless, 0);
	EXPECT_EQ(e.state, ENDPOINT_RUNS);
	endpoint_ends();
}

/* ---- 3: how many ------------------------------------------------------- */

#define OPERATIONS 16u

/* In the middle of each operation the device reads all four pages, and sends one
 * page request for each that it cannot reach. */
static void look_at_all(uint64_t of, uint64_t va, void *unused)
{
	uint32_t word;

	if (of != (uint64_t)mm)
		return;
	for (unsigned i = 0; i < 4; i++)
		if (!endpoint_reaches(&e, P(i), &word, false))
			EXPECT_EQ(endpoint_ask(&e, P(i), 1, false), 0);
}

static void protect_b(void *unused)
{
	mm_bind(mm);
	for (unsigned i = 0; i < OPERATIONS; i++)
		EXPECT_EQ(mm_protect(mm, B, C, i % 2 ? RW : PROT_R), 0);
}

static unsigned faults_of_operations(struct iommu_fixture *s,
				     const struct mmu_notifier_ops *ops)
{
	unsigned n;

	endpoint_begins(s, ops);
	hook("range_started", look_at_all, NULL);
	go(&t0, 0, "T0", protect_b, NULL);
	join(&t0);
	unhook("range_started");
	n = (unsigned)e.stats.faults;
	endpoint_ends();
	return n;
}

IOMMU_TEST(
	race, empty_table_faults_everywhere,
	"an empty table between start and end makes a device fault at each of "
	"the four pages it reads while one of them changes; invalidate_range "
	"makes it fault at none")
{
	unsigned empty = faults_of_operations(s, &empty_table);
	unsigned range = faults_of_operations(s, SVA);

	EXPECT_EQ(empty, 4 * OPERATIONS);
	EXPECT_EQ(range, 0);
	test_note("faults of %u operations: empty table %u, invalidate_range "
		  "%u",
		  OPERATIONS, empty, range);
}
