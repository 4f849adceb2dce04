/* SPDX-License-Identifier: MIT */
/*
 * exit.c - page tables are freed, and a process exits: experiments 7, 8
 *
 * A device that walks the process's own tables must no longer use a page-table
 * page when that page is given to another user, nor the root when the process is
 * gone, nor the process when its notifiers are freed.
 */
#include "mm/core/entry.h"
#include "mm/pt/pt_amdv1.h"
#include "tests/checker/device_checker.h"
#include "tests/race/race.h"
#include "tests/timeline/explain.h"

static struct client client, lent;
static struct victim victim;
static struct mm *mm;
static struct task t0, t1;
static struct sync_point t1_turn;
static struct page *freed; /* the page that T1 allocates again            */

/* ---- 7: a page of tables ------------------------------------------------ */

static void unmap_all(void *unused)
{
	mm_bind(mm);
	EXPECT_EQ(mm_unmap(mm, A, C), 0);
}

static void take_page(void *unused)
{
	sync_point_enter(&t1_turn);
	take(&victim, freed);
}

/*
 * The table of A and B is freed, and becomes a page of another process, which
 * writes data there that look like entries: the one for B leads to `secret`.
 * The device has cached the table when it read A.  Where does its write to B go?
 */
static uint64_t table_reused(struct iommu_fixture *s,
			     const struct mmu_notifier_ops *ops)
{
	struct page *secret;

	FIXTURE_NEEDS(s, caches_tables);
	secret = fixture_page(s, 10);
	victim_begin(&victim);
	mm = process(2, "P");
	freed = page_of_va(pt_slot(&mm->pt, A, 0, false));
	explain_name(EXPLAIN_FRAME, page_pa(freed), "page 1");
	client_join(&client, s, 0, mm, ops);
	sync_point_set(&t1_turn, NULL, NULL);
	go(&t1, 0, "T1", take_page, NULL);
	explain_begin();
	EXPECT_EQ(device_reads(&client, A), 10);
	go(&t0, 0, "T0", unmap_all, NULL);
	join(&t0);
	sync_point_release(&t1_turn);
	join(&t1);
	EXPECT_EQ(wr(victim.mm, victim.va + 8,
		     page_pa(secret) | AMDV1_PR | AMDV1_IR | AMDV1_IW),
		  0);
	says("its data map B to a secret page");
	device_writes(&client, B, 66);
	PROBE(victim_read, 0, fixture_word(secret));
	explain_end();
	client_leave(&client);
	victim_end(&victim);
	mm_put(mm);
	return fixture_word(secret);
}

IOMMU_TEST(race, freed_table_is_walked,
	   "a flush without directories lets a device walk a page-table page "
	   "that now holds data, and reach what the data name")
{
	EXPECT_EQ(table_reused(s, &only_leaves), 66);
}

IOMMU_TEST(race, freed_table_is_flushed,
	   "a page-table page is flushed with its directories before it is "
	   "free")
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
	sync_point_enter(&t1_turn);
	for (n_successors = 0; n_successors < TRIES;) {
		struct mm *next = mm_create();

		REQUIRE(next);
		successors[n_successors++] = next;
		if (next->pt.root == root)
			return;
	}
	test_fail(__FILE__, __LINE__, "the freed root was not allocated again");
}

/* P exits, and the next process, Q, gets its root.  Returns what Q reads at C,
 * where P had nothing, after P's device has written there. */
static uint64_t root_reused(struct iommu_fixture *s,
			    const struct mmu_notifier_ops *ops)
{
	struct mm *next;
	uint64_t v;

	FIXTURE_NEEDS(s, caches);
	mm = process(2, "P");
	root = mm->pt.root;
	freed = page_of_va((void *)root);
	client_join(&client, s, 0, mm, ops);
	sync_point_set(&t1_turn, NULL, NULL);
	go(&t1, 0, "T1", succeed, NULL);
	explain_begin();
	EXPECT_EQ(device_reads(&client, A), 10);
	go(&t0, 0, "T0", exit_p, NULL);
	join(&t0);
	sync_point_release(&t1_turn);
	join(&t1);
	says("page 1 is the root of Q");
	next = successors[n_successors - 1];
	REQUIRE(!mm_map(next, C, PAGE_SIZE, RW, 0, NULL, 0, NULL));
	explain_mm(next, "Q");
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

IOMMU_TEST(race, freed_root_is_walked,
	   "a device that is not denied when its process exits walks the freed "
	   "root, which is the next process's, and writes to its memory")
{
	EXPECT_EQ(root_reused(s, &only_range), 66);
}

IOMMU_TEST(race, freed_root_is_not_walked,
	   "release() denies the device before anything of the process is "
	   "free, and the device reaches nothing")
{
	EXPECT_EQ(root_reused(s, SVA), 77);
}

/* ---- 8: a notifier is removed inside release() -------------------------- */

/* A notifier in an object of its own, which is freed when it is removed. */
static struct object_of {
	struct mmu_notifier mn;
	bool freed;
} leaver, spy;
static struct sync_point late_turn;
static unsigned strangers; /* calls of a notifier that was not registered  */

static void spied(struct mmu_notifier *mn, struct mm *of)
{
	says("an unregistered notifier is called");
	strangers++;
}

static const struct mmu_notifier_ops spy_ops = { .release = spied };

/*
 * The memory has a new owner.  Its data, which stand for what freed memory may
 * hold, lead the walk to the new owner's notifier and past the device's.
 */
static void leaver_free(void)
{
	says("the object is freed and used again");
	spy = (struct object_of){ .mn.ops = &spy_ops };
	atomic_store(&spy.mn.next, &client.own);
	atomic_store(&leaver.mn.next, &spy.mn);
	leaver.freed = true;
}

static void leaver_late(struct srcu_head *head)
{
	explain_thread("call_srcu");
	/* Without this its place in the timeline would vary. */
	sync_point_enter(&late_turn);
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

/* P exits; a notifier removes and frees itself inside release(), before the
 * device's own is called.  Returns what the next owner of A's page reads. */
static uint64_t left_inside(struct iommu_fixture *s,
			    const struct mmu_notifier_ops *ops)
{
	uint64_t v;

	FIXTURE_NEEDS(s, caches);
	strangers = 0;
	victim_begin(&victim);
	mm = process(2, "P");
	freed = name_page(mm, A, "page 1");
	client_join(&client, s, 0, mm, SVA);
	leaver = (struct object_of){ .mn.ops = ops };
	REQUIRE(!mmu_notifier_register(&leaver.mn, mm)); /* called first */
	sync_point_set(&t1_turn, NULL, NULL);
	sync_point_set(&late_turn, NULL, NULL);
	go(&t1, 0, "T1", take_page, NULL);
	explain_begin();
	EXPECT_EQ(device_reads(&client, A), 10);
	go(&t0, 0, "T0", exit_p, NULL);
	join(&t0);
	sync_point_release(&t1_turn);
	join(&t1);
	device_writes(&client, A, 66);
	v = victim_reads(&victim);
	sync_point_release(&late_turn);
	mmu_notifier_synchronize();
	EXPECT(leaver.freed);
	explain_end();
	client_leave(&client);
	victim_end(&victim);
	return v;
}

IOMMU_TEST(race, notifier_freed_inside_release,
	   "a notifier that frees itself inside release() misleads the walk of "
	   "the "
	   "list: an unregistered notifier is called, and the device is not "
	   "denied")
{
	device_checkers_allow_errors();
	EXPECT_EQ(left_inside(s, &at_once), 66);
	EXPECT_EQ(strangers, 1);
}

IOMMU_TEST(race, notifier_freed_after_release,
	   "a notifier that removes itself inside release() and is freed by "
	   "call_srcu() exists until the walk of the list has ended")
{
	EXPECT_EQ(left_inside(s, &srcu_late), 77);
	EXPECT_EQ(strangers, 0);
}
