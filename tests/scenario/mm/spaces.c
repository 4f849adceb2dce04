/* SPDX-License-Identifier: MIT */
/*
 * spaces.c - walks over all address spaces meet whole ones only
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "mm/check/check.h"
#include "tests/fixture/mm/sync_point.h"

#define N 1024u

static struct mm *kid;

static void fork_it(void *parent)
{
	kid = NULL;
	EXPECT_EQ(mm_fork(parent, &kid), 0);
}

/* Pages in four tables: a fork has steps. */
static struct mm *four_tables(void)
{
	struct mm *mm = mm_fixture(N);

	for (unsigned i = 0; i < N; i += 256)
		EXPECT_EQ(wr(mm, P(i), i + 1), 0);
	return mm;
}

static void count_id(struct mm *mm, void *arg)
{
	unsigned *id = arg;

	id[1] += mm->id == id[0];
}

/* How many spaces have this id, as a walk over all sees them. */
static unsigned listed(unsigned id)
{
	unsigned found[2] = { id, 0 };

	mm_for_each(count_id, found);
	return found[1];
}

TEST(spaces, incomplete_child_is_not_found,
     "mm_find() and walks over all address spaces find a child only when its "
     "fork is complete")
{
	struct mm *mm = four_tables(), *found;
	struct task t;
	struct sync_point g;

	sync_point_set(&g, "fork_shared", mm);
	spawn(&t, fork_it, mm);
	sync_point_await(&g);
	found = mm_find(mm->id + 1);
	EXPECT(!found);
	EXPECT_EQ(listed(mm->id + 1), 0);
	EXPECT_EQ(listed(mm->id), 1);
	sync_point_release(&g);
	join(&t);
	if (found)
		mm_put(found);
	REQUIRE(kid);
	EXPECT_EQ(kid->id, mm->id + 1);
	EXPECT_EQ(listed(kid->id), 1);
	found = mm_find(kid->id);
	EXPECT(found == kid);
	if (found)
		mm_put(found);
	mm_put(kid);
	EXPECT(!mm_find(mm->id + 1));
	mm_put(mm);
}

TEST(spaces, child_without_memory_is_not_found,
     "a fork that runs out of memory leaves no child in any list")
{
	struct mm *mm = four_tables(), *child;
	unsigned failed = 0;
	bool delivered = true;

	for (unsigned n = 1; delivered; n++) {
		unsigned before = mm->id + failed;
		int ret;

		child = NULL;
		inject_arm(n);
		ret = mm_fork(mm, &child);
		delivered = inject_disarm();
		if (child) {
			EXPECT(ret == 0 && listed(child->id) == 1);
			mm_put(child);
			continue;
		}
		EXPECT_EQ(ret, -ENOMEM);
		failed++;
		for (unsigned i = 1; i <= failed; i++)
			EXPECT_EQ(listed(before + i), 0);
	}
	EXPECT(failed > 8);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
}
