/* SPDX-License-Identifier: MIT */
/*
 * device_mirror.c - clients of hmm_range_fault() and pages in the memory of a device: C63
 */
#include "kernel/err.h"
#include "mm/core/entry.h"
#include "mm/rmap/migrate.h"
#include "tests/fake/fake_device.h"
#include "tests/scenario/hmm/ask.h"

/* A space of n pages, page i holding i + 1, all with device d. */
static struct mm *with(struct fake_device *d, unsigned n)
{
	struct mm *mm = mm_fixture(n);

	for (unsigned i = 0; i < n; i++)
		REQUIRE(!wr(mm, P(i), i + 1));
	REQUIRE(device_take(d, mm, 0, n) == (int)n);
	return mm;
}

/* Does report i name the device page of the CPU's entry? */
static bool names_device_page(struct mm *mm, unsigned i)
{
	uint64_t e = entry_at(mm, P(i));

	return entry_device(e) &&
	       hmm_pfn(ask_pfns[i]) == (e & PTE_ADDR) >> PAGE_SHIFT;
}

TEST(device_mirror, own_pages_are_reported,
     "a client that owns the memory gets its device pages reported with W and "
     "without a fault; they stay with the device")
{
	struct fake_device *d = fake_device(0, 4);
	struct mm *mm = with(d, 2);

	ask_begin(mm, 0, 2, VW);
	ask_range.dev_private_owner = &d->memory;
	EXPECT_EQ(ask_once(), 0);
	for (unsigned i = 0; i < 2; i++) {
		EXPECT_EQ(ask_flags(i), VW);
		EXPECT(names_device_page(mm, i));
	}
	EXPECT_EQ(device_memory_used(&d->memory), 2);
	ask_end();
	mm_put(mm);
	fake_device_end(d);
}

TEST(device_mirror, pages_of_another_device_come_back,
     "a page of another device, or one for a client without memory, is "
     "reported 0 by a snapshot, and a request brings it back to RAM")
{
	struct fake_device *d = fake_device(0, 4), *other = fake_device(1, 4);
	struct mm *mm = with(d, 2);

	ask_begin(mm, 0, 2, 0);
	ask_range.dev_private_owner = &other->memory;
	EXPECT_EQ(ask_once(), 0);
	EXPECT_EQ(ask_pfns[0], 0);
	ask_range.dev_private_owner = NULL;
	EXPECT_EQ(ask_once(), 0);
	EXPECT_EQ(ask_pfns[0], 0);
	EXPECT_EQ(device_memory_used(&d->memory), 2);
	ask_range.dev_private_owner = &other->memory;
	ask_range.default_flags = VW;
	EXPECT_EQ(ask_until_done(4), 0);
	for (unsigned i = 0; i < 2; i++) {
		EXPECT_EQ(ask_flags(i), VW);
		EXPECT(ask_same_frame(mm, i, i));
		EXPECT_EQ(rd(mm, P(i)), i + 1);
	}
	EXPECT_EQ(device_memory_used(&d->memory), 0);
	ask_end();
	mm_put(mm);
	fake_device_end(other);
	fake_device_end(d);
}

TEST(device_mirror, shared_page_is_reported_without_write,
     "a device page that a fork shares is reported without W; a request to "
     "write brings it back and copies it, and the child keeps its word")
{
	struct fake_device *d = fake_device(0, 4);
	struct mm *mm = with(d, 1), *child = fork_of(mm);

	ask_begin(mm, 0, 1, HMM_PFN_REQ_FAULT);
	ask_range.dev_private_owner = &d->memory;
	EXPECT_EQ(ask_once(), 0);
	EXPECT_EQ(ask_flags(0), V);
	EXPECT(names_device_page(mm, 0));
	ask_range.default_flags = VW;
	EXPECT_EQ(ask_until_done(4), 0);
	EXPECT_EQ(ask_flags(0), VW);
	EXPECT(ask_same_frame(mm, 0, 0));
	EXPECT_EQ(wr(mm, P(0), 5), 0);
	EXPECT_EQ(rd(child, P(0)), 1);
	ask_end();
	mm_put(child);
	mm_put(mm);
	fake_device_end(d);
}

TEST(device_mirror, rights_of_the_region_are_reported,
     "a device page in a region that may not be written is reported without W, "
     "and a request to write is -EPERM")
{
	struct fake_device *d = fake_device(0, 4);
	struct mm *mm = with(d, 1);

	EXPECT_EQ(mm_protect(mm, P(0), P(1), PROT_R), 0);
	ask_begin(mm, 0, 1, HMM_PFN_REQ_FAULT);
	ask_range.dev_private_owner = &d->memory;
	EXPECT_EQ(ask_once(), 0);
	EXPECT_EQ(ask_flags(0), V);
	ask_range.default_flags = VW;
	EXPECT_EQ(ask_once(), -EPERM);
	EXPECT_EQ(device_memory_used(&d->memory), 1);
	ask_end();
	mm_put(mm);
	fake_device_end(d);
}

TEST(device_mirror, report_ends_when_the_page_comes_back,
     "a fault of a CPU that brings a page back invalidates the interval of the "
     "client that has it (B29)")
{
	struct fake_device *d = fake_device(0, 4);
	struct mm *mm = with(d, 1);

	ask_begin(mm, 0, 1, V);
	ask_range.dev_private_owner = &d->memory;
	EXPECT_EQ(ask_once(), 0);
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT(mmu_interval_read_retry(&ask_watch.mni, ask_range.notifier_seq));
	ask_end();
	mm_put(mm);
	fake_device_end(d);
}

/* ---- the owner of an invalidation ------------------------------------------- */

/* A client that ignores the invalidations of its own migrations. */
struct client {
	struct mmu_interval_notifier mni;
	void *owner;
	unsigned ignored, heard;
};

static bool invalidate(struct mmu_interval_notifier *mni,
		       const struct mmu_notifier_range *range, uint64_t seq)
{
	struct client *c = container_of(mni, struct client, mni);

	if (range->event == MMU_NOTIFY_MIGRATE && range->owner == c->owner) {
		c->ignored++;
		return true;
	}
	mmu_interval_set_seq(mni, seq);
	c->heard++;
	return true;
}

static const struct mmu_interval_notifier_ops client_ops = {
	.invalidate = invalidate,
};

TEST(device_mirror, owner_ignores_its_own_migration,
     "of a migration the owner's client gets an event of its own, which it may "
     "ignore, and the client of another device one that it may not; on the way "
     "back no client owns the event (C63, B30)")
{
	struct fake_device *d = fake_device(0, 4), *other = fake_device(1, 4);
	struct mm *mm = mm_fixture(2);
	struct client own = { .owner = d }, second = { .owner = other };

	EXPECT_EQ(wr(mm, P(0), 1), 0);
	REQUIRE(!mmu_interval_notifier_insert(&own.mni, mm, P(0), 2 * PAGE_SIZE,
					      &client_ops));
	REQUIRE(!mmu_interval_notifier_insert(&second.mni, mm, P(0),
					      2 * PAGE_SIZE, &client_ops));
	EXPECT_EQ(device_take(d, mm, 0, 2), 2);
	EXPECT(own.ignored == 1 && own.heard == 0);
	EXPECT(second.ignored == 0 && second.heard == 1);
	EXPECT_EQ(rd(mm, P(0)), 1);
	EXPECT(own.ignored == 1 && own.heard == 1);
	EXPECT(second.ignored == 0 && second.heard == 2);
	mmu_interval_notifier_remove(&own.mni);
	mmu_interval_notifier_remove(&second.mni);
	mm_put(mm);
	fake_device_end(other);
	fake_device_end(d);
}

TEST(device_mirror, two_devices_at_once,
     "pages of one range lie with two devices and in RAM, each holds its own "
     "content, and a page goes from one device to the other by RAM")
{
	struct fake_device *d = fake_device(0, 4), *other = fake_device(1, 4);
	struct mm *mm = mm_fixture(6);

	for (unsigned i = 0; i < 6; i++)
		EXPECT_EQ(wr(mm, P(i), i + 1), 0);
	EXPECT_EQ(device_take(d, mm, 0, 2), 2);
	EXPECT_EQ(device_take(other, mm, 2, 2), 2);
	EXPECT_EQ(device_take(other, mm, 0, 4), 0);
	EXPECT_EQ(device_word(d, mm, P(1)), 2);
	EXPECT_EQ(device_word(other, mm, P(2)), 3);
	EXPECT_EQ(mm_fault(mm, P(1), PROT_R), 0);
	EXPECT_EQ(device_take(other, mm, 1, 1), 1);
	EXPECT_EQ(device_word(other, mm, P(1)), 2);
	EXPECT_EQ(device_memory_used(&d->memory), 1);
	for (unsigned i = 0; i < 6; i++)
		EXPECT_EQ(rd(mm, P(i)), i + 1);
	mm_put(mm);
	fake_device_end(other);
	fake_device_end(d);
}
