/* SPDX-License-Identifier: MIT */
/*
 * guest_log.c - a log of the pages that a guest writes, and a copy of its memory while
 * it runs
 */
#include "drivers/guest/log.h"
#include "kernel/err.h"
#include "kernel/string.h"
#include "tests/fixture/guest/resident.h"
#include "tests/fixture/guest/vm.h"
#include "tests/fixture/mm/sync_point.h"

static struct resident r;
static struct mm *mm;
static uint64_t bits;
static struct guest_log the_log;

static void begin(enum guest_log_by by)
{
	mm = mm_fixture(4);
	bits = 0;
	the_log = (struct guest_log){ by, P(0), 4 * PAGE_SIZE, &bits };
	resident_start(&r, &guest_own, mm);
	REQUIRE(!guest_log_start(r.guest, &the_log));
}

static void end(void)
{
	guest_log_stop(r.guest);
	resident_stop(&r);
	mm_put(mm);
}

static uint64_t log_now(void)
{
	uint64_t now;

	guest_log_read(r.guest, &now);
	return now;
}

static void with_both(void (*body)(enum guest_log_by by))
{
	body(GUEST_LOG_W);
	body(GUEST_LOG_D);
}

/* ---- what is in it ------------------------------------------------------- */

static void contents(enum guest_log_by by)
{
	begin(by);
	EXPECT_EQ(guest_writes(&r, P(0), 1), 0);
	EXPECT_EQ(guest_reads(&r, P(1)), 0);
	EXPECT_EQ(guest_writes(&r, P(2), 1), 0);
	EXPECT_EQ(log_now(), 5);
	EXPECT_EQ(guest_reads(&r, P(0)), 1);
	EXPECT_EQ(log_now(), 0);
	EXPECT_EQ(guest_writes(&r, P(0), 2), 0);
	EXPECT_EQ(log_now(), 1);
	/* A page that goes is in the log, and one that a driver has written. */
	EXPECT_EQ(guest_writes(&r, P(3), 1), 0);
	EXPECT_EQ(mm_discard(mm, P(3), P(4)), 0);
	EXPECT_EQ(wr(mm, P(1), 7), 0);
	guest_log_mark(r.guest, P(1));
	guest_log_mark(r.guest, P(4));
	EXPECT_EQ(log_now(), 10);
	/* A read of a page that the process may write gives no W unseen. */
	EXPECT_EQ(guest_reads(&r, P(1)), 7);
	EXPECT_EQ(log_now(), 0);
	EXPECT_EQ(wr(mm, P(3), 1), 0);
	EXPECT_EQ(guest_reads(&r, P(3)), 1);
	EXPECT_EQ(guest_writes(&r, P(3), 2), 0);
	EXPECT_EQ(log_now(), 8);
	end();
}

static void contents_of_both(void *unused)
{
	with_both(contents);
}

TEST(guest_log, names_what_is_written,
     "the log of a guest's writes has each page that was written since it was "
     "read last, also if it has gone since, and no page that was only read")
{
	need_svm();
	on_cpu(0, contents_of_both, NULL);
}

static void dirty(void *unused)
{
	struct page *page;

	begin(GUEST_LOG_D);
	EXPECT_EQ(guest_writes(&r, P(0), 1), 0);
	page = page_at(mm, P(0));
	page_clear(page, PG_DIRTY);
	EXPECT_EQ(log_now(), 1);
	EXPECT(page_test(page, PG_DIRTY));
	page_put(page);
	end();
}

TEST(guest_log, reading_it_keeps_pages_dirty,
     "a page whose D bit is taken into the log is dirty from then on")
{
	need_svm();
	on_cpu(0, dirty, NULL);
}

static void refusals(void *unused)
{
	struct guest_log log = { GUEST_LOG_W, P(0), PAGE_SIZE, &bits };

	begin(GUEST_LOG_W);
	EXPECT_EQ(guest_log_start(r.guest, &log), -EBUSY);
	log.bytes = 0;
	EXPECT_EQ(guest_log_start(r.guest, &log), -EINVAL);
	log.bytes = PAGE_SIZE + 1;
	EXPECT_EQ(guest_log_start(r.guest, &log), -EINVAL);
	log.bytes = SVM_PA_END - P(0) + PAGE_SIZE;
	EXPECT_EQ(guest_log_start(r.guest, &log), -EINVAL);
	end();
}

TEST(guest_log, refuses_what_it_cannot_log,
     "a guest has one log at a time, of whole pages below the end of its "
     "addresses")
{
	need_svm();
	on_cpu(0, refusals, NULL);
}

static void of_shared(void *unused)
{
	struct guest_log log = { GUEST_LOG_D, P(0), PAGE_SIZE, &bits };

	mm = mm_fixture(1);
	bits = 0;
	resident_call(&r, &guest_shared, mm);
	EXPECT_EQ(wr(mm, P(0), 1), 0);
	EXPECT(entry_at(mm, P(0)) &
	       PTE_D); /* and the guest wrote nothing     */
	EXPECT_EQ(guest_log_start(r.guest, &log), -EOPNOTSUPP);
	log.by = GUEST_LOG_W;
	EXPECT_EQ(guest_log_start(r.guest, &log), -EOPNOTSUPP);
	EXPECT_EQ(guest_writes(&r, P(0), 2), 0);
	EXPECT_EQ(bits, 0);
	resident_stop(&r);
	mm_put(mm);
}

TEST(guest_log, shared_form_has_none,
     "a guest that walks the process's own table has no log, since a D bit "
     "there "
     "does not say which MMU wrote")
{
	need_svm();
	on_cpu(0, of_shared, NULL);
}

/* ---- the kick ------------------------------------------------------------ */

#define ROUNDS       200u
#define RIGHT_ROUNDS 20u

static uint64_t exits;

/*
 * The guest has a translation by which it can write, and that was logged; the log is
 * read; the page is copied; the guest writes.  Returns whether the next log has it.
 */
static bool next_log_has_it(bool kick)
{
	EXPECT_EQ(guest_writes(&r, P(0), 1), 0);
	exits = resident_exits(&r);
	EXPECT_EQ(guest_writes(&r, P(0), 2), 0);
	if (!kick)
		kicks_hidden(&r, UINT64_MAX);
	EXPECT_EQ(log_now(), 1);
	kicks_shown();
	EXPECT_EQ(rd(mm, P(0)), 2);
	EXPECT_EQ(guest_writes(&r, P(0), 3), 0);
	EXPECT_EQ(rd(mm, P(0)), 3);
	return log_now() & 1;
}

static void lost(enum guest_log_by by)
{
	unsigned n = 0;
	bool has;

	begin(by);
	resident_tick(&r, false);
	do
		has = next_log_has_it(false);
	while (resident_exits(&r) != exits + 1 && ++n < ROUNDS);
	EXPECT(n < ROUNDS); /* one exit: the kick of the second log_now()     */
	EXPECT(!has);
	resident_tick(&r, true);
	end();
}

static void lost_by_both(void *unused)
{
	with_both(lost);
}

TEST_SMP(
	guest_log, without_a_kick_a_write_is_lost,
	"if the log is read without a kick, a write that the guest makes after "
	"the page was copied is in no log",
	2)
{
	need_svm();
	on_cpu(0, lost_by_both, NULL);
}

static void kept(enum guest_log_by by)
{
	begin(by);
	for (unsigned i = 0; i < RIGHT_ROUNDS; i++)
		EXPECT(next_log_has_it(true));
	end();
}

static void kept_by_both(void *unused)
{
	with_both(kept);
}

TEST_SMP(guest_log, a_kick_makes_the_next_write_seen,
	 "after the log was read each write of the guest is in the next one", 2)
{
	need_svm();
	on_cpu(0, kept_by_both, NULL);
}

/* ---- a copy of a guest that runs ----------------------------------------- */

#define PAGES 32u
#define ALL   (VM_DATA + PAGES)
#define FEW   (PAGES / 2) /* pages that the guest writes in each pass         */
#define MANY  6u          /* rounds                                       */
#define MORE  8u          /* passes of the copy alone, and more           */

static struct vm vm, copy;

static struct page *frame(struct mm *of, va_t va)
{
	struct page *page;

	do
		REQUIRE(rd(of, va) != BAD);
	while (!(page = page_at(of, va)));
	return page;
}

static void copy_page(struct mm *to, va_t va)
{
	struct page *from = frame(mm, va), *page;

	REQUIRE(!wr(to, va, 0)); /* now it has a frame of its own             */
	page = frame(to, va);
	memcpy(page_va(page), page_va(from), PAGE_SIZE);
	page_put(page);
	page_put(from);
}

/* Read the log and copy what is in it.  Returns how many pages. */
static unsigned copy_written(struct mm *to)
{
	unsigned n = 0;

	guest_log_read(&vm.guest, &bits);
	for (unsigned i = 0; i < ALL; i++)
		if (bits & BIT(i)) {
			copy_page(to, P(i));
			n++;
		}
	return n;
}

/* The guest has no last pass: it is stopped, and stands still in the last round. */
static void copy_live(struct mm *to)
{
	unsigned n = copy_written(to);

	EXPECT_EQ(n, ALL);
	REQUIRE(vm_start(&vm, UINT64_MAX));
	for (unsigned i = 0; i < MANY; i++) {
		uint64_t done = atomic_load(&vm.wanted);

		while (atomic_load(&vm.wanted) < done + 3 &&
		       !atomic_load(&vm.over))
			yield();
		n = copy_written(to);
	}
	/* The rest was written at the beginning only, or never. */
	EXPECT(n >= FEW && n < ALL - 8);
	vm_kill(&vm);
	EXPECT(copy_written(to) < ALL);
}

static void live(enum guest_log_by by)
{
	static uint64_t written;
	uint64_t passes;
	struct mm *to;

	mm = mm_fixture(ALL);
	to = mm_fixture(ALL);
	written = UINT64_MAX; /* nothing was copied yet                       */
	the_log = (struct guest_log){ by, 0, VM_BYTES(PAGES), &written };
	REQUIRE(!vm_load(&vm, mm, VA, PAGES, UINT64_MAX));
	REQUIRE(!guest_log_start(&vm.guest, &the_log));
	copy_live(to);
	EXPECT_EQ(vm.why, VCPU_STOPPED);
	passes = atomic_load(&vm.wanted) + MORE;
	REQUIRE(!wr(to, P(VM_BLOCK) + 8 * VM_PASSES, passes));
	REQUIRE(!vm_continue(&copy, &vm, to));
	guest_log_stop(&vm.guest);
	vm_destroy(&vm);
	mm_put(mm);
	REQUIRE(vm_start(&copy, UINT64_MAX));
	vm_wait(&copy);
	EXPECT_EQ(copy.why, VCPU_HLT);
	EXPECT_EQ(vm_word(&copy, VM_SUM), vm_sum(PAGES, passes));
	EXPECT_EQ(vm_word(&copy, VM_TICKS),
		  copy.ticks - !!(copy.vcpu.vmcb->interrupt_control & V_IRQ));
	vm_destroy(&copy);
	mm_put(to);
}

TEST(guest_log, copy_goes_on,
     "the memory of a guest that runs is copied by rounds of its log; the "
     "guest "
     "goes on in the copy, and its sum is right")
{
	need_svm();
	with_both(live);
}
