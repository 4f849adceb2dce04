/* SPDX-License-Identifier: MIT */
/*
 * guest_end.c - page-table pages, and a process, that end while a guest is there
 *
 * guest_shared walks the process's tables: one that is freed must be out of its reach,
 * also where no page goes with it.  guest_own has tables of its own, which stay as long
 * as the guest; but what is in them ends with the process.  In the wrong order a test
 * puts an entry back that the kernel has cleared.
 */
#include "kernel/probe.h"
#include "mm/rmap/block.h"
#include "tests/fixture/guest/resident.h"
#include "tests/fixture/mm/sync_point.h"
#include "tests/fixture/mm/victim.h"

static struct resident r;
static struct mm *mm;

/* ---- tables of the process ------------------------------------------------- */

/* The entry that leads to the table of page 0.  Another page keeps the table that it
 * is in. */
static uint64_t *above;

static void begin(void)
{
	va_t beside = VA + BLOCK_SIZE;

	mm = mm_fixture(1);
	REQUIRE(mm_map(mm, beside, PAGE_SIZE, RW, 0, NULL, 0, NULL) == 0);
	EXPECT_EQ(wr(mm, beside, 1), 0);
	EXPECT_EQ(wr(mm, P(0), 100), 0);
	above = pt_slot(&mm->pt, P(0), 1, false);
	resident_start(&r, &guest_shared, mm);
	EXPECT_EQ(guest_reads(&r, P(0)), 100);
}

static void end(void)
{
	resident_stop(&r);
	mm_put(mm);
}

/* Write entries for pages 0 to 3 to a page of the next owner: they lead to its 77. */
static void look_like_a_table(const struct victim *next)
{
	struct page *secret = page_at(next->mm, P(0));
	uint64_t entry =
		page_pa(secret) | PTE_P | PTE_W | PTE_U | PTE_A | PTE_D;

	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(wr(next->mm, next->va + 8 * pt_index(P(i), 0), entry),
			  0);
	page_put(secret);
}

/* Page 0 is unmapped, and the frame of its table has a new owner.  Returns what the guest
 * reads; hooked: as if an entry led to the frame still. */
static uint64_t walk_freed(bool hooked)
{
	uint64_t was, seen;
	struct victim next;

	begin();
	was = pte_read(above);
	victim_begin(&next);
	EXPECT_EQ(mm_unmap(mm, P(0), P(1)), 0);
	take(&next, page_of_pa(pt_pa(was)));
	look_like_a_table(&next);
	EXPECT_EQ(pte_read(above), 0);
	if (hooked)
		pte_write(above, was);
	seen = guest_peeks(&r, P(3));
	pte_write(above, 0);
	guest_kick(r.guest);
	victim_end(&next);
	end();
	return seen;
}

static void freed(void *unused)
{
	EXPECT_EQ(walk_freed(true), 77);
	EXPECT_EQ(walk_freed(false), BAD);
}

TEST(guest, freed_table_is_not_walked,
     "a page that was a table of the process, and holds data that look like "
     "entries, is not walked by a guest; were it not unhooked, the guest would "
     "read by them what is another process's (B3, C7)")
{
	need_svm();
	on_cpu(0, freed, NULL);
}

static struct {
	bool kicked;    /* since no entry leads to the table              */
	unsigned freed; /* tables                                         */
} seen;

static void at_kick(uint64_t guest, uint64_t unused, void *arg)
{
	if (guest == (uint64_t)r.guest && !pte_read(above))
		seen.kicked = true;
}

/* pt_lock is held: a called guest, which may sleep, cannot be asked. */
static void at_table_free(uint64_t of, uint64_t pa, void *unused)
{
	if (of != (uint64_t)mm)
		return;
	seen.freed++;
	EXPECT(seen.kicked);
	if (r.thread)
		EXPECT_EQ(guest_peeks(&r, P(0)), BAD);
}

/* alone: no page goes with the table. */
static void unmap_watched(bool alone)
{
	begin();
	if (alone) {
		EXPECT_EQ(mm_discard(mm, P(0), P(1)), 0);
		EXPECT_EQ(guest_peeks(&r, P(0)), BAD); /* it walks the table */
	}
	seen.kicked = false;
	seen.freed = 0;
	hook("guest_kick", at_kick, NULL);
	hook("table_free", at_table_free, NULL);
	EXPECT_EQ(mm_unmap(mm, P(0), P(1)), 0);
	unhook("table_free");
	unhook("guest_kick");
	EXPECT_EQ(seen.freed, 1);
	end();
}

static void kicked(void *unused)
{
	unmap_watched(false);
	unmap_watched(true);
}

TEST(guest, table_is_freed_after_the_kick,
     "a guest is kicked after a table of its process is unhooked and before it "
     "is freed, also if the table maps no page (B3)")
{
	need_svm();
	on_cpu(0, kicked, NULL);
}

/* ---- tables of the guest ----------------------------------------------------- */

static void tables_stay(void)
{
	struct page *table;

	mm = mm_fixture(1);
	resident_start(&r, &guest_own, mm);
	EXPECT_EQ(guest_writes(&r, P(0), 1), 0);
	above = pt_slot(&r.guest->pt, P(0), 1, false);
	table = page_of_pa(pt_pa(pte_read(above)));
	EXPECT_EQ(mm_unmap(mm, P(0), P(1)), 0);
	EXPECT_EQ(guest_reads(&r, P(0)), BAD);
	EXPECT_EQ(guest_remove_slot(r.guest, resident_memory.gpa), 0);
	EXPECT_EQ(guest_reads(&r, P(0)), BAD);
	mm_put(mm);
	EXPECT(pte_read(above));
	EXPECT_EQ(page_refs(table), 1);
	resident_stop(&r);
}

TEST(guest, own_tables_stay,
     "a table of a guest's own is not freed by an unmap, with its slot, or by "
     "the exit of the process: no CPU in guest mode finds it gone (B3)")
{
	with_own(tables_stay);
}

/* ---- the process's end --------------------------------------------------------- */

/*
 * A process exits, and the object that it has mapped ends; its page has a new owner, and
 * the guest is still there.  Returns what it reads.  It is let in, for a table of its
 * own; kept: as if the exit had left the entry there.
 */
static uint64_t outlive(bool kept)
{
	bool own = guest_form() == &guest_own;
	struct object *file = object_create(1);
	uint64_t *entry = NULL, was = 0, v = 0;
	struct victim next;
	struct page *page;

	REQUIRE(file);
	mm = mm_fixture_shared(file, 1);
	resident_call(&r, guest_form(), mm);
	EXPECT_EQ(guest_writes(&r, P(0), 5), 0);
	page = page_at(mm, P(0));
	page_put(page);
	victim_begin(&next);
	if (own) {
		entry = pt_slot(&r.guest->pt, P(0), 0, false);
		was = pte_read(entry);
	}
	mm_put(mm);
	object_put(file);
	take(&next, page);
	if (kept)
		pte_write(entry, was);
	atomic_store(&r.guest->dead, !own);
	if (!guest_tries(&r, false, P(0), &v))
		v = BAD;
	atomic_store(&r.guest->dead, true);
	if (kept)
		pte_write(entry, 0);
	resident_stop(&r);
	victim_end(&next);
	return v;
}

static void outlived(void)
{
	if (guest_form() == &guest_own)
		EXPECT_EQ(outlive(true), 77);
	EXPECT_EQ(outlive(false), BAD);
}

TEST(guest, exit_frees_its_pages,
     "after a process's exit a page of a file that its guest has written is "
     "free, though the guest is there; by an entry that the exit left the "
     "guest "
     "would read the page's next owner (H12)")
{
	with_each_form(outlived);
}
