/* SPDX-License-Identifier: MIT */
/*
 * fakes.c - a fault of a secondary MMU beside changes of the mm: race 6
 *
 * Each kind of fake MMU looks an entry up and installs it a little later.  The
 * scenarios are those of tests/scenario/notifier/fakes_race.c, with no step named.
 */
#include "kernel/err.h"
#include "kernel/probe.h"
#include "mm/core/entry.h"
#include "tests/explore/explore.h"
#include "tests/fake/fake_mmu.h"
#include "tests/fake/recorder.h"

static struct {
	struct fake_mmu fake;
	struct mm *mm, *child;
	uint64_t saw, child_saw;
	bool changed; /* the change had returned when the load began       */
	bool done;
} now;

static void setup(const struct exploration *x)
{
	now.mm = written(1);
	now.child = NULL;
	now.changed = now.done = false;
	now.child_saw = BAD;
	fake_attach(&now.fake, x->arg, now.mm);
}

/* The verdict has been given: what a wrong client still holds is dropped. */
static void teardown(const struct exploration *x)
{
	spin_lock(&now.fake.lock);
	fake_zap(&now.fake, VA, VA + PAGE_SIZE);
	spin_unlock(&now.fake.lock);
	fake_detach(&now.fake);
	if (now.child)
		mm_put(now.child);
	mm_put(now.mm);
}

/* ---- discard ------------------------------------------------------------ */

static void replace(const struct exploration *x)
{
	change(now.mm, 0, 1);
	EXPECT_EQ(wr(now.mm, VA, 7), 0);
	WRITE_ONCE(now.done, true);
}

/* Opens an invalidation that may overlap the other one.  What is written in between
 * may go. */
static void discard_again(const struct exploration *x)
{
	change(now.mm, 0, 1);
}

static void load(const struct exploration *x)
{
	now.changed = READ_ONCE(now.done);
	now.saw = fake_read(&now.fake, VA);
}

static const char *no_stale_word(const struct exploration *x)
{
	const char *message = fake_check(&now.fake);

	if (message)
		return message;
	/* The other discard may have made it 0 again. */
	if (now.changed && now.saw && now.saw != 7)
		return "a fake MMU loads a word that was replaced before";
	return fake_read(&now.fake, VA) == rd(now.mm, VA)
		       ? NULL
		       : "a fake MMU keeps a page that is gone";
}

static struct exploration discard = {
	.setup = setup,
	.teardown = teardown,
	.verdict = no_stale_word,
	.actors = { { "changes", replace }, { "faults", load } },
};

TEST_FULL(explore, faults_of_fakes_beside_discard,
	  "in every order of two discards and a fault of each kind of fake MMU "
	  "it "
	  "keeps no translation of a page that went (B20, B21)",
	  1, EXPLORE_LIMIT)
{
	for (unsigned i = 0; fake_mmus()[i]; i++) {
		if (fake_mmus()[i]->guest)
			continue; /* an entry is one step: VMRUN knows no turns */
		discard.arg = fake_mmus()[i];
		EXPECT_EXPLORED(&discard);
	}
}

TEST_FULL(explore, overlapping_discards_beside_a_fault,
	  "in every order of two discards of a page and a fault of a shadow "
	  "table, or of an MMU without a table, "
	  "it keeps no translation of a page that went (C11)",
	  1, EXPLORE_LIMIT)
{
	static struct exploration two;

	two = discard;
	two.actors[2] = two.actors[1];
	two.actors[1].name = "changes too";
	two.actors[1].fn = discard_again;
	two.arg = &fake_shadow;
	EXPECT_EXPLORED(&two);
	two.arg = &fake_tlb;
	two.large = true;
	EXPECT_EXPLORED(&two);
}

/* ---- fork --------------------------------------------------------------- */

static void fork_and_look(const struct exploration *x)
{
	if (!mm_fork(now.mm, &now.child))
		now.child_saw = rd(now.child, VA);
}

static void store(const struct exploration *x)
{
	now.saw = (uint64_t)fake_write(&now.fake, VA, 66);
}

static const char *child_keeps_its_copy(const struct exploration *x)
{
	const char *message = fake_check(&now.fake);

	if (message)
		return message;
	if (!now.child)
		return "a fork fails";
	return rd(now.child, VA) == now.child_saw
		       ? NULL
		       : "a fake MMU of the parent writes to the child's "
			 "memory";
}

static struct exploration forks = {
	.setup = setup,
	.teardown = teardown,
	.verdict = child_keeps_its_copy,
	.actors = { { "forks", fork_and_look }, { "stores", store } },
};

TEST_FULL(explore, stores_of_fakes_beside_fork,
	  "in every order of a fork and a store of each kind of fake MMU the "
	  "child "
	  "keeps what the page held when the fork returned",
	  1, EXPLORE_LIMIT)
{
	for (unsigned i = 0; fake_mmus()[i]; i++) {
		if (fake_mmus()[i]->guest)
			continue; /* an entry is one step: VMRUN knows no turns */
		forks.arg = fake_mmus()[i];
		EXPECT_EXPLORED(&forks);
	}
}

/* ---- a copy (race 5) ------------------------------------------------------ */

static void cached_and_shared(const struct exploration *x)
{
	setup(x);
	now.child = fork_of(now.mm);
	now.saw = fake_read(&now.fake, VA);
}

static void copy(const struct exploration *x)
{
	EXPECT_EQ(mm_fault(now.mm, VA, PROT_W), 0);
}

static void write_and_report(const struct exploration *x)
{
	EXPECT_EQ(wr(now.mm, VA, 21), 0);
	WRITE_ONCE(now.done, true);
}

static const char *no_older_word(const struct exploration *x)
{
	const char *message = fake_check(&now.fake);

	if (message)
		return message;
	return now.changed && now.saw != 21
		       ? "a fake MMU reads an older word than a CPU"
		       : NULL;
}

static struct exploration copies = {
	.setup = cached_and_shared,
	.teardown = teardown,
	.verdict = no_older_word,
	.actors = { { "copies", copy },
		    { "writes", write_and_report },
		    { "loads", load } },
};

/* ---- clients that are wrong ---------------------------------------------- */

static int blind_start(struct mmu_notifier *mn,
		       const struct mmu_notifier_range *range)
{
	struct fake_mmu *a = container_of(mn, struct fake_mmu, mn);

	spin_lock(&a->lock);
	fake_zap(a, range->start, range->end);
	spin_unlock(&a->lock);
	return 0;
}

/* Installs what it saw, without a look at invalidations since. */
static int blind_fault(struct fake_mmu *a, va_t va, bool write)
{
	uint64_t entry;
	int error = fake_look(a, va, write, &entry);

	if (error)
		return error;
	PROBE(fake_looked, a, va);
	spin_lock(&a->lock);
	fake_install(a, va, entry);
	spin_unlock(&a->lock);
	page_put(entry_page(entry));
	return 0;
}

static const struct mmu_notifier_ops blind_ops = {
	.invalidate_range_start = blind_start,
};

static const struct fake_mmu_kind blind = {
	.name = "blind",
	.ops = &blind_ops,
	.fault = blind_fault,
};

TEST_FULL(explore, fault_without_a_sequence_is_found,
	  "the explorer finds that a client which installs what it saw, "
	  "without a "
	  "look at the sequence, keeps a page that is gone",
	  1, EXPLORE_LIMIT)
{
	discard.arg = &blind;
	EXPECT_FOUND(&discard);
}

/* Drops what it has only in end: a change_pte() that is late. */
static void zap_in_end(struct mmu_notifier *mn,
		       const struct mmu_notifier_range *range)
{
	(void)blind_start(mn, range);
}

static const struct mmu_notifier_ops late_ops = {
	.invalidate_range_end = zap_in_end,
};

static const struct fake_mmu_kind late = {
	.name = "late",
	.ops = &late_ops,
	.fault = blind_fault,
};

TEST_FULL(explore, late_change_of_an_entry_is_found,
	  "the explorer finds that a client which changes its entry in "
	  "invalidate_range_end reads an older word than a CPU",
	  1, EXPLORE_LIMIT)
{
	copies.arg = &late;
	EXPECT_FOUND(&copies);
}

/* ---- a client that relies on change_pte() ---------------------------------- */

/* As KVM until 2013 for KSM: the new entry is all that it is told. */
static void offer(struct mmu_notifier *mn, struct mm *mm, va_t va,
		  uint64_t entry)
{
	struct fake_mmu *a = container_of(mn, struct fake_mmu, mn);

	spin_lock(&a->lock);
	fake_zap(a, va, va + PAGE_SIZE);
	fake_install(a, va, entry);
	spin_unlock(&a->lock);
}

static const struct mmu_notifier_ops offered_ops = {
	.change_pte = offer,
};

static const struct fake_mmu_kind offered = {
	.name = "offered",
	.ops = &offered_ops,
	.fault = blind_fault,
};

TEST_FULL(
	explore, loads_of_a_shadow_beside_a_copy,
	"in every order of a copy, a write and a load of a shadow table, or of "
	"an MMU that has only change_pte(), it "
	"reads no older word than a CPU has read before",
	1, EXPLORE_LIMIT)
{
	copies.arg = &fake_shadow;
	EXPECT_EXPLORED(&copies);
	copies.arg = &offered;
	EXPECT_EXPLORED(&copies);
}
