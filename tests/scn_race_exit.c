/* SPDX-License-Identifier: MIT */
/*
 * scn_race_exit.c - tables are freed, and all of it: experiments 7, 8
 *
 * A device that walks the process's own tables must have let go of a page of
 * tables before that is somebody's data, and of the root before the process is
 * gone; and of the process before its listeners are.
 */
#include "iommu/pt_amdv1.h"
#include "mm/entry.h"
#include "tests/explain.h"
#include "tests/oracle_device.h"
#include "tests/race.h"

static struct client client, lent;
static struct victim victim;
static struct mm *mm;
static struct task t0, t1;
static struct gate t1_turn;
static struct page *freed; /* what T1 wants                               */

/* ---- 7: a page of tables ------------------------------------------------ */

/* Flushes leaf entries, and leaves the directories. */
static void leaves_only(struct mmu_notifier *mn, struct mm *of, va_t start,
			va_t end)
{
	struct client *c = container_of(mn, struct client, mn);
	struct command command = command_invalidate_iommu_pages(
		c->domain->id, command_range(start, end), false);

	stand_run_commands(c->s, &command, 1);
}

static const struct mmu_notifier_ops leaves_ops = {
	.invalidate_range = leaves_only,
};

static void unmap_all(void *unused)
{
	mm_bind(mm);
	EXPECT_EQ(mm_unmap(mm, A, C), 0);
}

static void take_page(void *unused)
{
	gate_enter(&t1_turn);
	take(&victim, freed);
}

/*
 * The table of A and B is freed, and becomes a page of another process, who has
 * words in it that look like entries: the one for B leads to `secret`.  The
 * device has walked the table for A.  Who writes to B, where does it go?
 */
static uint64_t table_reused(struct stand *s,
			     const struct mmu_notifier_ops *ops)
{
	struct page *secret;

	STAND_NEEDS(s, caches_tables);
	secret = stand_page(s, 10);
	victim_begin(&victim);
	mm = process(2, "P");
	freed = page_of_va(pt_slot(&mm->pt, A, 0, false));
	explain_name(EXPLAIN_FRAME, page_pa(freed), "page 1");
	client_join(&client, s, 0, mm, ops);
	gate_close(&t1_turn, NULL, NULL);
	go(&t1, 0, "T1", take_page, NULL);
	explain_begin();
	EXPECT_EQ(device_reads(&client, A), 10);
	go(&t0, 0, "T0", unmap_all, NULL);
	join(&t0);
	gate_open(&t1_turn);
	join(&t1);
	EXPECT_EQ(wr(victim.mm, victim.va + 8,
		     page_pa(secret) | AMDV1_PR | AMDV1_IR | AMDV1_IW),
		  0);
	says("its words lead from B to a secret");
	device_writes(&client, B, 66);
	PROBE(victim_read, 0, stand_word(secret));
	explain_end();
	client_leave(&client);
	victim_end(&victim);
	mm_put(mm);
	return stand_word(secret);
}

IOMMU_TEST(race, freed_table_is_walked,
	   "flushed without its directories, a device walks a page of tables "
	   "that has become data, and goes where the data say")
{
	EXPECT_EQ(table_reused(s, &leaves_ops), 66);
}

IOMMU_TEST(race, freed_table_is_forgotten,
	   "a page of tables is flushed with its directories before it is free")
{
	EXPECT_EQ(table_reused(s, SVA), 10);
}

/* ---- 7, the root: QEMU keeps no directories, but it keeps the root ------- */

#define TRIES 64

static struct mm *successors[TRIES];
static unsigned n_successors;
static const uint64_t *root;

static void exit_p(void *unused)
{
	says("exit");
	mm_put(mm);
}

/* New processes, until one has the old root's page for its own root. */
static void succeed(void *unused)
{
	gate_enter(&t1_turn);
	for (n_successors = 0; n_successors < TRIES;) {
		struct mm *next = mm_create();

		REQUIRE(next);
		successors[n_successors++] = next;
		if (next->pt.root == root)
			return;
	}
	test_fail(__FILE__, __LINE__, "the root that was freed does not come");
}

/* P exits, and the next process gets its root.  What does that read at C, where P
 * had nothing, when P's device has written there? */
static uint64_t root_reused(struct stand *s, const struct mmu_notifier_ops *ops)
{
	struct mm *next;
	uint64_t v;

	STAND_NEEDS(s, caches);
	mm = process(2, "P");
	root = mm->pt.root;
	freed = page_of_va((void *)root);
	client_join(&client, s, 0, mm, ops);
	gate_close(&t1_turn, NULL, NULL);
	go(&t1, 0, "T1", succeed, NULL);
	explain_begin();
	EXPECT_EQ(device_reads(&client, A), 10);
	go(&t0, 0, "T0", exit_p, NULL);
	join(&t0);
	gate_open(&t1_turn);
	join(&t1);
	says("page 1 is the root of Q");
	next = successors[n_successors - 1];
	REQUIRE(!mm_map(next, C, PAGE_SIZE, RW, 0, NULL, 0, NULL));
	explain_name(EXPLAIN_MM, (uint64_t)next, "Q");
	cpu_writes(next, C, 77);
	client_lend(&lent, s, 0, next);
	device_writes(&client, C, 66);
	v = cpu_reads(next, C);
	explain_end();
	client_unlend(&lent);
	client_leave(&client);
	while (n_successors)
		mm_put(successors[--n_successors]);
	return v;
}

IOMMU_TEST(race, root_of_the_dead_is_walked,
	   "not denied when its process exits, a device walks the root's page "
	   "when that is the next process's, and writes into it")
{
	EXPECT_EQ(root_reused(s, &only_range), 66);
}

IOMMU_TEST(race, root_of_the_dead_is_left,
	   "denied by release(), before anything of the process is free, the "
	   "device reaches nothing")
{
	EXPECT_EQ(root_reused(s, SVA), 77);
}

/* ---- 8: out of the list, from inside release() -------------------------- */

/* A listener in memory of its own, which is freed when it has left. */
static struct object_of {
	struct mmu_notifier mn;
	bool freed;
} leaver, spy;
static struct gate late_turn;
static unsigned strangers; /* calls of one who never joined                */

static void spied(struct mmu_notifier *mn, struct mm *of)
{
	says("calls who never joined");
	strangers++;
}

static const struct mmu_notifier_ops spy_ops = { .release = spied };

/*
 * The memory is another's now; its words lead to his own listener, and from there
 * past the device's: what stands in for whatever freed memory holds.
 */
static void leaver_free(void)
{
	says("the object is freed, and taken");
	spy = (struct object_of){ .mn.ops = &spy_ops };
	atomic_store(&spy.mn.next, &client.own);
	atomic_store(&leaver.mn.next, &spy.mn);
	leaver.freed = true;
}

static void leaver_late(struct srcu_head *head)
{
	explain_thread("call_srcu");
	gate_enter(&late_turn); /* or its place in the timeline were luck */
	leaver_free();
}

static void leave_at_once(struct mmu_notifier *mn, struct mm *of)
{
	mmu_notifier_unregister_no_release(mn);
	leaver_free();
}

static void leave_late(struct mmu_notifier *mn, struct mm *of)
{
	mmu_notifier_unregister_no_release(mn);
	mmu_notifier_call_srcu(mn, leaver_late);
}

static const struct mmu_notifier_ops at_once = { .release = leave_at_once };
static const struct mmu_notifier_ops srcu_late = { .release = leave_late };

/* P exits; a listener leaves and frees itself inside release(), before the
 * device's own is called.  What does the one who gets A's page read? */
static uint64_t left_inside(struct stand *s, const struct mmu_notifier_ops *ops)
{
	uint64_t v;

	STAND_NEEDS(s, caches);
	strangers = 0;
	victim_begin(&victim);
	mm = process(2, "P");
	freed = name_page(mm, A, "page 1");
	client_join(&client, s, 0, mm, SVA);
	leaver = (struct object_of){ .mn.ops = ops };
	REQUIRE(!mmu_notifier_register(&leaver.mn, mm)); /* called first */
	gate_close(&t1_turn, NULL, NULL);
	gate_close(&late_turn, NULL, NULL);
	go(&t1, 0, "T1", take_page, NULL);
	explain_begin();
	EXPECT_EQ(device_reads(&client, A), 10);
	go(&t0, 0, "T0", exit_p, NULL);
	join(&t0);
	gate_open(&t1_turn);
	join(&t1);
	device_writes(&client, A, 66);
	v = victim_reads(&victim);
	gate_open(&late_turn);
	mmu_notifier_synchronize();
	EXPECT(leaver.freed);
	explain_end();
	client_leave(&client);
	victim_end(&victim);
	return v;
}

IOMMU_TEST(
	race, freed_inside_release,
	"a listener that frees itself inside release() leads the walk astray: "
	"strangers are called, and the device is not denied")
{
	oracles_forgive();
	EXPECT_EQ(left_inside(s, &at_once), 66);
	EXPECT_EQ(strangers, 1);
}

IOMMU_TEST(
	race, freed_after_release,
	"a listener that leaves inside release() and is freed by call_srcu() "
	"is there until the walk has passed")
{
	EXPECT_EQ(left_inside(s, &srcu_late), 77);
	EXPECT_EQ(strangers, 0);
}
