/* SPDX-License-Identifier: MIT */
/*
 * huge.c - a device in an address space with pages of 2 MiB
 *
 * A device that walks the mm's table meets the huge entry itself; a mirror has 4 KiB
 * copies of the parts that its device has touched.
 */
#include "kernel/err.h"
#include "mm/huge/scan.h"
#include "mm/rmap/huge_zero.h"
#include "mm/rmap/rmap.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/fixture/mm/sync_point.h"

/* Pages that lie far apart in 2 MiB. */
static const unsigned far_apart[] = { 0, 77, 300, 511 };

/* An mm with 2 MiB at VA by one entry, i + 1 in page i, and device 0 bound. */
static struct mm *bound(struct iommu_fixture *s)
{
	struct mm *mm = fixture_mm(s, N);

	REQUIRE(!mm_advise_huge(mm, P(0), P(N), true));
	mm_bind(mm);
	for (unsigned i = 0; i < N; i++)
		REQUIRE(!wr(mm, P(i), i + 1));
	mm_bind(NULL);
	REQUIRE(entry_huge(entry_at(mm, P(0))));
	fixture_bind(s, 0, mm);
	return mm;
}

/* The same, and the device has read and may write the pages that lie far apart. */
static struct mm *warm(struct iommu_fixture *s)
{
	struct mm *mm = bound(s);

	for (unsigned i = 0; i < ARRAY_SIZE(far_apart); i++) {
		va_t va = P(far_apart[i]);

		REQUIRE(fixture_load(s, 0, va) == far_apart[i] + 1);
		REQUIRE(!fixture_store(s, 0, va + 8, 'd'));
	}
	return mm;
}

USER_TEST(
	huge, device_uses_a_huge_page,
	"CPU and device read each other's writes in every part of a huge page, "
	"which stays one entry")
{
	struct mm *mm = bound(s);

	for (unsigned i = 0; i < ARRAY_SIZE(far_apart); i++) {
		va_t va = P(far_apart[i]);

		EXPECT_EQ(fixture_load(s, 0, va), far_apart[i] + 1);
		EXPECT_EQ(fixture_store(s, 0, va + 8, 'a' + i), 0);
		EXPECT_EQ(rd(mm, va + 8), 'a' + i);
		EXPECT_EQ(wr(mm, va, 'A' + i), 0);
		EXPECT_EQ(fixture_load(s, 0, va), 'A' + i);
	}
	EXPECT(entry_huge(entry_at(mm, P(0))));
	EXPECT_STR_NULL(fixture_check(0));
}

USER_TEST(huge, device_makes_a_huge_page,
	  "a device's first write in a region that wants huge pages makes one, "
	  "as a CPU's does")
{
	struct mm *mm = fixture_mm(s, N);

	REQUIRE(!mm_advise_huge(mm, P(0), P(N), true));
	fixture_bind(s, 0, mm);
	EXPECT_EQ(fixture_read(s, 0, P(9)), BLOCKED);
	EXPECT_EQ(fixture_store(s, 0, P(7), 'x'), 0);
	EXPECT(entry_huge(entry_at(mm, P(0))));
	EXPECT_EQ(rd(mm, P(7)), 'x');
	EXPECT_EQ(fixture_load(s, 0, P(9)), 0);
}

USER_TEST(huge, device_reads_the_zeroes,
	  "a device's first reads map the block of zeroes, which it cannot "
	  "write; after a store of the CPU, or its own, it reads the new block "
	  "in every part that it had read before")
{
	struct mm *mm = fixture_mm(s, N);

	REQUIRE(!mm_advise_huge(mm, P(0), P(N), true));
	fixture_bind(s, 0, mm);
	for (unsigned i = 0; i < ARRAY_SIZE(far_apart); i++)
		EXPECT_EQ(fixture_load(s, 0, P(far_apart[i])), 0);
	EXPECT(entry_page(entry_at(mm, P(0))) == huge_zero);
	fixture_write(s, 0, P(300), 'x');
	EXPECT_EQ(*(uint64_t *)page_va(huge_zero + 300), 0);
	EXPECT_EQ(wr(mm, P(77), 7), 0);
	EXPECT_EQ(fixture_load(s, 0, P(77)), 7);
	EXPECT_EQ(fixture_store(s, 0, P(300), 'y'), 0);
	EXPECT_EQ(rd(mm, P(300)), 'y');
	EXPECT_EQ(fixture_load(s, 0, P(511)), 0);
	EXPECT_STR_NULL(fixture_check(0));
}

USER_TEST(huge, split_zeroes_read_as_before,
	  "after a split of the zeroes the device reads zeroes without a "
	  "fault, and the word of a page that is written then, of no other")
{
	struct mm *mm = fixture_mm(s, N);

	REQUIRE(!mm_advise_huge(mm, P(0), P(N), true));
	fixture_bind(s, 0, mm);
	for (unsigned i = 0; i < ARRAY_SIZE(far_apart); i++)
		EXPECT_EQ(fixture_load(s, 0, P(far_apart[i])), 0);
	huge_split_at(mm, P(1));
	EXPECT(!entry_huge(entry_at(mm, P(0))));
	for (unsigned i = 0; i < ARRAY_SIZE(far_apart); i++)
		EXPECT_EQ(fixture_read(s, 0, P(far_apart[i])), 0);
	EXPECT_EQ(wr(mm, P(77), 7), 0);
	EXPECT_EQ(fixture_load(s, 0, P(77)), 7);
	EXPECT_EQ(fixture_load(s, 0, P(300)), 0);
	EXPECT_EQ(fixture_store(s, 0, P(511), 'z'), 0);
	EXPECT_EQ(rd(mm, P(511)), 'z');
	EXPECT_STR_NULL(fixture_check(0));
}

USER_TEST(huge, unmap_takes_all_parts,
	  "after an unmap of a huge page the device reaches none of the parts "
	  "that it had used (C81)")
{
	struct mm *mm = warm(s);
	struct page *head = entry_page(entry_at(mm, P(0)));

	EXPECT_EQ(mm_unmap(mm, P(0), P(N)), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(far_apart); i++)
		fixture_expect_lost(s, P(far_apart[i]), head + far_apart[i]);
}

USER_TEST(
	huge, moved_entry_leaves_the_device,
	"after a move of a whole huge page the device reaches its parts at the "
	"new address only, and the entry was not split (C28)")
{
	struct mm *mm = warm(s);
	struct page *head = entry_page(entry_at(mm, P(0)));
	va_t to = P(4 * N);

	REQUIRE(!mm_remap(mm, P(0), BLOCK_SIZE, to, BLOCK_SIZE, NULL));
	EXPECT(entry_huge(entry_at(mm, to)));
	for (unsigned i = 0; i < ARRAY_SIZE(far_apart); i++)
		fixture_expect_lost(s, P(far_apart[i]), head + far_apart[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(far_apart); i++)
		EXPECT_EQ(fixture_load(s, 0, to + far_apart[i] * PAGE_SIZE),
			  far_apart[i] + 1);
	REQUIRE(!mm_unmap(mm, to, to + BLOCK_SIZE));
	for (unsigned i = 0; i < ARRAY_SIZE(far_apart); i++)
		fixture_expect_lost(s, to + far_apart[i] * PAGE_SIZE,
				    head + far_apart[i]);
}

USER_TEST(huge, split_stops_no_device,
	  "a split in place faults no device; a later unmap of one page stops "
	  "the device there and nowhere else (C82)")
{
	struct mm *mm = warm(s);
	struct page *head = entry_page(entry_at(mm, P(0)));

	huge_split_at(mm, P(1));
	EXPECT(!entry_huge(entry_at(mm, P(0))));
	for (unsigned i = 0; i < ARRAY_SIZE(far_apart); i++) {
		va_t va = P(far_apart[i]);

		EXPECT_EQ(fixture_read(s, 0, va), far_apart[i] + 1);
		fixture_write(s, 0, va + 8, 'e');
		EXPECT_EQ(rd(mm, va + 8), 'e');
	}
	EXPECT_EQ(mm_unmap(mm, P(300), P(301)), 0);
	fixture_expect_lost(s, P(300), head + 300);
	EXPECT_EQ(fixture_load(s, 0, P(0)), 1);
	EXPECT_EQ(fixture_load(s, 0, P(77)), 78);
	EXPECT_EQ(fixture_load(s, 0, P(511)), 512);
	EXPECT_STR_NULL(fixture_check(0));
}

USER_TEST(huge, partial_operations_reach_the_device,
	  "a protect, a discard and an eviction of one page of a huge page are "
	  "seen by a device that has used it as 2 MiB")
{
	struct mm *mm = warm(s);
	struct page *page;

	EXPECT_EQ(mm_protect(mm, P(77), P(78), PROT_R), 0);
	fixture_write(s, 0, P(77) + 8, 'X');
	EXPECT_EQ(rd(mm, P(77) + 8), 'd');
	EXPECT_EQ(mm_discard(mm, P(300), P(301)), 0);
	EXPECT_EQ(fixture_read(s, 0, P(300)), BLOCKED);
	EXPECT_EQ(fixture_load(s, 0, P(300)), 0);
	page = page_at(mm, P(511));
	EXPECT_EQ(try_to_unmap(page), 0);
	EXPECT_EQ(fixture_read(s, 0, P(511)), BLOCKED);
	EXPECT(page_test(page, PG_DIRTY)); /* the device's write (B33) */
	page_put(page);
	EXPECT_EQ(fixture_load(s, 0, P(511)), 512);
	EXPECT_EQ(fixture_load(s, 0, P(0)), 1);
}

USER_TEST(
	huge, fork_keeps_the_device_out_of_the_child,
	"what a device writes to a huge page after a fork is not in the child, "
	"and what the parent copies the device sees (C21, C24, H15)")
{
	struct mm *mm = warm(s), *child = fixture_fork(mm);

	fixture_write(s, 0, P(77), 'X'); /* refused: both lost W */
	EXPECT_EQ(rd(mm, P(77)), 78);
	EXPECT_EQ(fixture_store(s, 0, P(77), 'Y'), 0);
	EXPECT_EQ(rd(mm, P(77)), 'Y');
	EXPECT_EQ(rd(child, P(77)), 78);
	EXPECT_EQ(wr(mm, P(300), 'Z'), 0);
	EXPECT_EQ(fixture_load(s, 0, P(300)), 'Z');
	EXPECT_EQ(rd(child, P(300)), 301);
	EXPECT_EQ(wr(child, P(0), 'K'), 0);
	EXPECT_EQ(fixture_load(s, 0, P(0)), 1);
	EXPECT_STR_NULL(fixture_check(0));
}

USER_TEST(
	huge, protect_of_all_stops_the_device,
	"a protect of 2 MiB by one entry takes the device's right to write in "
	"all its parts, and gives it back")
{
	struct mm *mm = warm(s);

	EXPECT_EQ(mm_protect(mm, P(0), P(N), PROT_R), 0);
	EXPECT(entry_huge(entry_at(mm, P(0))));
	for (unsigned i = 0; i < ARRAY_SIZE(far_apart); i++) {
		fixture_write(s, 0, P(far_apart[i]) + 8, 'X');
		EXPECT_EQ(rd(mm, P(far_apart[i]) + 8), 'd');
	}
	EXPECT_EQ(mm_protect(mm, P(0), P(N), RW), 0);
	EXPECT_EQ(fixture_store(s, 0, P(77) + 8, 'f'), 0);
	EXPECT_EQ(rd(mm, P(77) + 8), 'f');
}

USER_TEST(huge, exit_frees_after_the_device,
	  "the exit of a process with a huge page stops its device before the "
	  "block is free")
{
	struct mm *mm = warm(s);
	struct page *head = entry_page(entry_at(mm, P(0)));

	fixture_exit(mm);
	for (unsigned i = 0; i < ARRAY_SIZE(far_apart); i++)
		fixture_expect_lost(s, P(far_apart[i]), head + far_apart[i]);
}

USER_TEST(huge, last_owner_writes_in_place,
	  "a device that has cached a huge page as read-only writes to it when "
	  "its process is the last owner again (H18)")
{
	struct mm *mm = warm(s), *child = fixture_fork(mm);

	EXPECT_EQ(fixture_load(s, 0, P(77)), 78);
	fixture_write(s, 0, P(77), 'X');
	EXPECT_EQ(rd(mm, P(77)), 78);
	fixture_exit(child);
	EXPECT_EQ(fixture_store(s, 0, P(77), 'Y'), 0);
	EXPECT_EQ(rd(mm, P(77)), 'Y');
	EXPECT(entry_huge(entry_at(mm, P(0))));
}

/* ---- a stream of DMA while the page is taken apart -------------------------- */

#define ROUNDS 40

static struct {
	struct mm *mm;
	_Atomic bool stop;
	_Atomic uint64_t steps; /* of the stream                            */
	uint64_t ops;
} apart;

/* Wait until the stream has come as far as the operations: each of them takes the
 * lock that its faults need. */
static void let_it_stream(void)
{
	while (apart.ops > atomic_load(&apart.steps) &&
	       !atomic_load(&apart.stop))
		yield();
}

/* Split, protect and discard parts that the stream does not use: odd pages. */
static void take_apart(void *arg)
{
	struct mm *mm = apart.mm;

	for (unsigned i = 0; !atomic_load(&apart.stop); i++) {
		unsigned at = i * 38 % N | 1;
		struct page *page;

		switch (i % 4) {
		case 0:
			EXPECT_EQ(mm_discard(mm, P(at), P(at + 1)), 0);
			break;
		case 1:
			EXPECT_EQ(mm_protect(mm, P(at), P(at + 1), PROT_R), 0);
			EXPECT_EQ(mm_protect(mm, P(at), P(at + 1), RW), 0);
			break;
		case 2:
			EXPECT_EQ(pin_pages(mm, P(at), 1, PIN_WRITE, &page), 0);
			unpin_pages(&page, 1);
			break;
		case 3: /* whole again, and its even pages as they were */
			EXPECT_EQ(mm_unmap(mm, P(2 * N), P(3 * N)), 0);
			EXPECT_EQ(mm_map(mm, P(2 * N), BLOCK_SIZE, RW, MAP_HUGE,
					 NULL, 0, NULL),
				  0);
			EXPECT_EQ(wr(mm, P(2 * N + at), 1), 0);
			huge_split_at(mm, P(2 * N + 1));
			break;
		}
		WRITE_ONCE(apart.ops, apart.ops + 1);
		let_it_stream();
	}
}

USER_TEST(huge, stream_across_splits,
	  "no write of a device is lost while other parts of the huge page are "
	  "split off, protected, pinned and discarded")
{
	struct mm *mm = warm(s);
	unsigned lost = 0;
	struct task t;

	apart.mm = mm;
	apart.ops = 0;
	atomic_store(&apart.steps, 0);
	atomic_store(&apart.stop, false);
	spawn(&t, take_apart, NULL);
	for (unsigned i = 1; i <= ROUNDS || READ_ONCE(apart.ops) < ROUNDS;
	     i++) {
		va_t va = P(i * 74 % N & ~1u) + 8;

		EXPECT_EQ(fixture_store(s, 0, va, i), 0);
		lost += rd(mm, va) != i || fixture_load(s, 0, va) != i;
		atomic_store(&apart.steps, i);
		yield(); /* the other may be on this CPU */
	}
	atomic_store(&apart.stop, true);
	join(&t);
	EXPECT_EQ(lost, 0);
	EXPECT_STR_NULL(fixture_check(0));
}

IOMMU_TEST(
	huge_scan, use_in_a_shared_table_sets_no_bit,
	"a device that walks the mm's own table sets no accessed bit there, "
	"on QEMU and on the model: pages that it alone uses stay small (C87)")
{
	struct mm *mm = fixture_mm(s, N);

	for (unsigned i = 0; i < N; i++)
		REQUIRE(!wr(mm, P(i), i + 1));
	fixture_bind_sva(s, 0, mm);
	EXPECT_EQ(fixture_read(s, 0, P(300)), 301);
	for (unsigned i = 0; i < N; i++) {
		struct page *page = page_at(mm, P(i));

		REQUIRE(page);
		page_mark_idle(page);
		page_put(page);
	}
	REQUIRE(!mm_advise_huge(mm, P(0), P(N), true));
	EXPECT_EQ(fixture_read(s, 0, P(300)), 301);
	EXPECT(!(entry_at(mm, P(300)) & PTE_A));
	huge_full_scan();
	EXPECT(!entry_huge(entry_at(mm, P(0))));
}
