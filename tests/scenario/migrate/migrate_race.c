/* SPDX-License-Identifier: MIT */
/*
 * migrate_race.c - other threads while a page is on its way: C71, C72, C100, H24
 */
#include "kernel/err.h"
#include "mm/check/check.h"
#include "mm/core/entry.h"
#include "mm/frame/pmm.h"
#include "tests/fixture/mm/ksm_fixture.h"
#include "tests/fixture/mm/migrate_fixture.h"

/* The steps at which a migration may be met; frozen and copied come late. */
static const char *const steps[] = { "migrate_unmapped", "migrate_frozen",
				     "migrate_copied" };

static void write_b(void *mm)
{
	EXPECT_EQ(wr(mm, P(0) + 8, 'B'), 0);
}

TEST(migrate_race, fault_waits,
     "a thread that writes to a page on its way waits, and then writes to the "
     "new frame (C72)")
{
	struct mm *mm = mm_fixture(1);
	struct migration m;
	struct task t;

	EXPECT_EQ(wr(mm, P(0), 'A'), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		EXPECT_EQ(wr(mm, P(0) + 8, 0), 0);
		migration_begin(&m, mm, steps[i]);
		spawn(&t, write_b, mm);
		EXPECT(still_waits(&t));
		EXPECT_EQ(migration_end(&m), 0);
		join(&t);
		EXPECT_EQ(rd(mm, P(0)), 'A');
		EXPECT_EQ(rd(mm, P(0) + 8), 'B');
	}
	mm_put(mm);
}

TEST(migrate_race, fault_on_shared_memory_waits,
     "a thread that writes to an object's page on its way waits, and then "
     "writes to the new frame (C72)")
{
	struct object *object = object_create(1);
	struct migration m;
	struct mm *a, *b;
	struct task t;

	REQUIRE(object);
	a = mm_fixture_shared(object, 1);
	b = mm_fixture_shared(object, 1);
	object_put(object);
	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		EXPECT_EQ(wr(a, P(0), i), 0);
		EXPECT_EQ(wr(a, P(0) + 8, 0), 0);
		migration_begin(&m, a, steps[i]);
		spawn(&t, write_b, b);
		EXPECT(still_waits(&t));
		EXPECT_EQ(migration_end(&m), 0);
		join(&t);
		EXPECT_EQ(rd(a, P(0)), i);
		EXPECT_EQ(rd(a, P(0) + 8), 'B');
	}
	mm_put(a);
	mm_put(b);
}

TEST(migrate_race, no_reference_by_number,
     "the frame that is copied cannot be had by its number, and the new one "
     "not before it is the page")
{
	struct mm *mm = mm_fixture(1);
	struct page *other = page_alloc();
	struct migration m;

	REQUIRE(other);
	EXPECT_EQ(wr(mm, P(0), 'A'), 0);
	migration_begin(&m, mm, "migrate_copied");
	EXPECT(!page_try_get_user(m.page));
	EXPECT(!page_try_get_user(m.to));
	EXPECT_EQ(migrate_page(m.page, other), -EBUSY);
	EXPECT_EQ(migration_end(&m), 0);
	page_put(other);
	mm_put(mm);
}

/* ---- operations on an entry that waits ------------------------------------- */

/* An operation of the address space; it returns what is then at P(0), or BAD. */
struct change {
	const char *name;
	uint64_t (*make)(struct mm *mm);
};

static uint64_t forks(struct mm *mm)
{
	struct mm *child = fork_of(mm);

	mm_put(child);
	return 'A';
}

static uint64_t unmaps(struct mm *mm)
{
	EXPECT_EQ(mm_unmap(mm, P(0), P(1)), 0);
	return BAD;
}

static uint64_t discards(struct mm *mm)
{
	EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
	return 0;
}

static uint64_t protects(struct mm *mm)
{
	EXPECT_EQ(mm_protect(mm, P(0), P(1), PROT_R), 0);
	return 'A';
}

static uint64_t moves(struct mm *mm)
{
	EXPECT_EQ(mm_remap(mm, P(0), PAGE_SIZE, P(9), PAGE_SIZE, NULL), 0);
	return BAD;
}

static const struct change changes[] = { { "fork", forks },
					 { "unmap", unmaps },
					 { "discard", discards },
					 { "protect", protects },
					 { "move", moves } };

/* Make a change while the page is on its way at a step, and the move then fails or
 * not. */
static void change_at(const struct change *c, const char *step, bool fails)
{
	struct mm *mm = mm_fixture(2);
	struct migration m;
	uint64_t v;

	EXPECT_EQ(wr(mm, P(0), 'A'), 0);
	migration_begin(&m, mm, step);
	v = c->make(mm);
	if (fails)
		page_get(m.page);
	EXPECT_EQ(migration_end(&m), fails ? -EBUSY : 0);
	EXPECT_EQ(rd(mm, P(0)), v);
	if (c->make == moves)
		EXPECT_EQ(rd(mm, P(9)), 'A');
	if (c->make == protects)
		EXPECT(wr(mm, P(0), 1) != 0);
	if (fails)
		page_put(m.page);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
}

TEST(migrate_race, changes_meet_the_entry,
     "fork, unmap, discard, protect and move of a page on its way do what they "
     "do to a page, whether the migration then succeeds or is refused (C71)")
{
	for (unsigned i = 0; i < ARRAY_SIZE(changes); i++) {
		change_at(&changes[i], "migrate_unmapped", true);
		for (unsigned k = 0; k < ARRAY_SIZE(steps); k++)
			change_at(&changes[i], steps[k], false);
	}
}

TEST(migrate_race, exit_meets_the_entry,
     "an address space exits while its page is on its way, and the page is "
     "freed (C71)")
{
	for (unsigned k = 0; k < ARRAY_SIZE(steps); k++) {
		struct mm *mm = mm_fixture(1);
		struct migration m;

		EXPECT_EQ(wr(mm, P(0), 'A'), 0);
		migration_begin(&m, mm, steps[k]);
		mm_put(mm);
		EXPECT_EQ(migration_end(&m), 0);
	}
}

TEST(migrate_race, fork_shares_what_comes_back,
     "a fork that meets the entry of a page whose move is refused shares it: "
     "parent and child do not see each other's writes (B40)")
{
	struct mm *mm = mm_fixture(1), *child;
	struct migration m;

	EXPECT_EQ(wr(mm, P(0), 'A'), 0);
	migration_begin(&m, mm, "migrate_unmapped");
	child = fork_of(mm);
	page_get(m.page);
	EXPECT_EQ(migration_end(&m), -EBUSY);
	page_put(m.page);
	EXPECT_STR_NULL(mm_check());
	EXPECT_EQ(wr(mm, P(0), 'B'), 0);
	EXPECT_EQ(rd(child, P(0)), 'A');
	mm_put(child);
	migration_begin(&m, mm, "migrate_frozen");
	child = fork_of(mm);
	EXPECT_EQ(migration_end(&m), 0);
	EXPECT_EQ(wr(mm, P(0), 'C'), 0);
	EXPECT_EQ(rd(child, P(0)), 'B');
	mm_put(child);
	mm_put(mm);
}

TEST(migrate_race, entries_translate_nothing,
     "the entry of a page on its way carries no right and no next level, with "
     "A and D and without (B34, C121)")
{
	struct mm *mm = mm_fixture(1);
	struct migration m;
	uint64_t e;

	EXPECT_EQ(wr(mm, P(0), 'A'), 0);
	for (unsigned i = 0; i < 2; i++) {
		migration_begin(&m, mm, "migrate_unmapped");
		e = entry_at(mm, P(0));
		EXPECT(entry_evicted(e) && entry_names(e, m.to));
		EXPECT_EQ(e & (ENTRY_IR | ENTRY_IW | PTE_NEXT_LEVEL | PTE_P),
			  0);
		EXPECT_EQ(migration_end(&m), 0);
		EXPECT_EQ(mm_protect(mm, P(0), P(1), PROT_R), 0);
	}
	mm_put(mm);
}

/* ---- KSM ------------------------------------------------------------------- */

TEST(migrate_race, merged_page_takes_its_node_along,
     "a merged page of three address spaces moves with its stable node: later "
     "scans merge with the new frame (C100, H24)")
{
	struct mm *mm[3], *late;
	struct page *now;

	for (unsigned i = 0; i < 3; i++)
		mm[i] = ksm_equal(2, 'E');
	ksm_scans(2);
	REQUIRE(is_merged(mm[0], P(0)));
	EXPECT_EQ(migrate_at(mm[0], P(0)), 0);
	EXPECT_KSM(1, 5, 0, 0);
	EXPECT_KSM_SOUND();
	now = page_at(mm[0], P(0));
	REQUIRE(now && page_kind(now) == PAGE_KSM);
	EXPECT_EQ(mappings(now), 6);
	late = ksm_equal(1, 'E');
	ksm_scans(2);
	EXPECT(same_frame(late, P(0), mm[2], P(1)));
	page_put(now);
	for (unsigned i = 0; i < 3; i++) {
		EXPECT_EQ(wr(mm[i], P(0), i), 0);
		EXPECT_EQ(rd(mm[i], P(1)), 'E');
		mm_put(mm[i]);
	}
	EXPECT_EQ(rd(late, P(0)), 'E');
	mm_put(late);
}

TEST(migrate_race, scan_meets_a_moving_node,
     "scans that find the stable node of a frame that is copied, or unmapped, "
     "merge with no frame that is gone, and prune no link that is needed "
     "(H24)")
{
	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		struct mm *a = ksm_equal(2, 'E'), *b;
		struct migration m;
		int ret;

		ksm_scans(2);
		REQUIRE(is_merged(a, P(0)));
		b = ksm_equal(1, 'E');
		migration_begin(&m, a, steps[i]);
		ksm_scans(2);
		ret = migration_end(&m);
		EXPECT(ret == 0 || ret == -EBUSY);
		EXPECT_KSM_SOUND();
		EXPECT_STR_NULL(mm_check());
		ksm_scans(2);
		EXPECT_KSM_SOUND();
		EXPECT_EQ(rd(a, P(0)), 'E');
		EXPECT_EQ(rd(a, P(1)), 'E');
		EXPECT_EQ(rd(b, P(0)), 'E');
		mm_put(a);
		mm_put(b);
	}
}

TEST(migrate_race, links_of_a_moving_page_stay,
     "a scan that looks for room in a merged frame on its way prunes no link: "
     "every entry is found in the new frame (H24)")
{
	struct mm *a, *b, *c;
	struct migration m;

	EXPECT_EQ(ksm_set_bound(2), 0);
	a = ksm_equal(1, 'E');
	b = ksm_equal(1, 'E');
	ksm_scans(2);
	REQUIRE(same_frame(a, P(0), b, P(0)));
	c = ksm_equal(1, 'E');
	migration_begin(&m, a, "migrate_unmapped");
	ksm_scans(2);
	EXPECT_EQ(migration_end(&m), 0);
	EXPECT_EQ(rd(a, P(0)), 'E');
	EXPECT_EQ(rd(b, P(0)), 'E');
	EXPECT_KSM_SOUND();
	EXPECT_STR_NULL(mm_check());
	mm_put(a);
	mm_put(b);
	mm_put(c);
	ksm_knobs_reset();
}
