/* SPDX-License-Identifier: MIT */
/*
 * state.c - the snapshots that `explain=json` prints after each step
 */
#include "tests/timeline/state.h"
#include "kernel/probe.h"
#include "kernel/string.h"
#include "tests/fixture/iommu/iommu_fixture.h"
#include "tests/fixture/mm/sync_point.h"
#include "tests/timeline/explain.h"

/* ---- which hit, which snapshot ------------------------------------------ */

/* Take a timeline with snapshots of one named page from here to shot(). */
static bool was;

static void snapshots_begin(const struct mm *mm)
{
	probes_begin();
	explain_thread("T0");
	if (mm)
		explain_mm(mm, "P");
	explain_name(EXPLAIN_ADDRESS, VA, "A");
	was = explain_json(true);
	explain_begin();
}

static void snapshots_end(void)
{
	explain_end();
	explain_json(was);
}

/* Return the snapshot of the nth newest hit of a probe's name; never NULL. */
static const struct state *shot(const char *name, unsigned n)
{
	static struct probe_hit hits[64];
	size_t count = probe_collect(hits, ARRAY_SIZE(hits), 0, 0);
	const struct state *s = NULL;

	while (count-- && !s)
		if (!strcmp(hits[count].point->name, name) && !n--)
			s = state_of(&hits[count]);
	REQUIRE(s);
	return s;
}

/* Return the only translation of A in s by holder; NULL: none. */
static const struct state_cell *in(const struct state *s, enum holder holder)
{
	const struct state_cell *found = NULL;

	for (unsigned i = 0; i < s->n_cells; i++) {
		if (s->cells[i].holder != holder || s->cells[i].address != VA)
			continue;
		EXPECT(!found);
		found = &s->cells[i];
	}
	return found;
}

static uint64_t word_of(const struct state *s, pa_t frame)
{
	for (unsigned i = 0; i < s->n_frames; i++)
		if (s->frames[i].frame == frame)
			return s->frames[i].word;
	return BAD;
}

TEST(state, cpu_table_before_and_after_a_copy,
     "a snapshot has the CPU's entry of a named page, its rights and frame, "
     "and the "
     "frame's first word, at the moment of its step")
{
	struct mm *mm = mm_fixture(1), *child;
	const struct state *s;
	pa_t first;

	EXPECT_EQ(wr(mm, VA, 10), 0);
	child = fork_of(mm);
	snapshots_begin(mm);
	EXPECT_EQ(wr(mm, VA, 21), 0);
	PROBE(cpu_says, "written", 0);
	snapshots_end();

	s = shot("cow_copied", 0);
	REQUIRE(in(s, HOLDER_CPU));
	first = in(s, HOLDER_CPU)->frame;
	EXPECT_EQ(in(s, HOLDER_CPU)->prot, PROT_R);
	EXPECT_EQ(word_of(s, first), 10);
	EXPECT(!in(shot("pte_clear", 0), HOLDER_CPU));
	s = shot("cpu_says", 0);
	REQUIRE(in(s, HOLDER_CPU));
	EXPECT(in(s, HOLDER_CPU)->frame != first);
	EXPECT_EQ(in(s, HOLDER_CPU)->prot, PROT_R | PROT_W);
	EXPECT_EQ(word_of(s, in(s, HOLDER_CPU)->frame), 21);
	mm_put(child);
	mm_put(mm);
}

static void another_hit(void *unused)
{
	PROBE(cpu_says, "of another thread", 0);
}

TEST(state, step_before_its_effect_is_taken_again,
     "the snapshot of a probe before its effect is taken again at the next "
     "probe of "
     "the same thread, and not at one of another thread")
{
	struct mm *mm = mm_fixture(1);
	struct task t;
	pa_t frame;

	EXPECT_EQ(wr(mm, VA, 10), 0);
	frame = entry_at(mm, VA) & PTE_ADDR;
	snapshots_begin(mm);
	PROBE(cpu_write, VA, 21);
	EXPECT_EQ(wr(mm, VA, 21), 0);
	spawn_on(&t, BIT(0), another_hit, NULL);
	join(&t);
	EXPECT_EQ(word_of(shot("cpu_write", 0), frame), 10);
	PROBE(cpu_says, "of this thread", 0);
	EXPECT_EQ(word_of(shot("cpu_write", 0), frame), 21);
	EXPECT_EQ(wr(mm, VA, 22), 0);
	PROBE(cpu_says, "the snapshot is final", 0);
	EXPECT_EQ(word_of(shot("cpu_write", 0), frame), 21);
	snapshots_end();
	mm_put(mm);
}

TEST(state, root_of_a_freed_mm_is_not_walked,
     "the table of an mm that is gone has no translation, also when its root "
     "is the "
     "root of another mm")
{
	struct mm *mm = mm_fixture(1), *other = mm_fixture(1);
	struct state s;

	EXPECT_EQ(wr(other, VA, 10), 0);
	snapshots_begin(mm);
	EXPECT_EQ(wr(mm, VA, 10), 0);
	state_now(&s);
	EXPECT_EQ(s.n_cells, 1);
	explain_mm(other, "Q");
	state_now(&s);
	EXPECT_EQ(s.n_cells, 2);
	/* As if both had had the same root, one after the other. */
	state_root(HOLDER_CPU, 0, pt_root_pa(&other->pt));
	state_now(&s);
	EXPECT_EQ(s.n_cells, 2);
	mm_put(mm);
	state_now(&s);
	EXPECT_EQ(s.n_cells, 1);
	snapshots_end();
	mm_put(other);
}

/* ---- devices ------------------------------------------------------------ */

IOMMU_TEST(state, caches_and_tables_of_a_device,
	   "a snapshot has what the device's table and the IOMMU's cache lead "
	   "to: the "
	   "cache keeps a translation that the table lost, until it is flushed")
{
	struct page *page = fixture_page(s, 10);
	struct domain *d = fixture_domain(s);
	const struct state_cell *cached;
	struct state now;

	FIXTURE_NEEDS(s, caches);
	if (!s->model && !CONFIG_CHECK)
		SKIP("the release build has no checker of caches");
	REQUIRE(!domain_map(d, VA, page_pa(page), PAGE_SIZE, IO_RW));
	fixture_attach(s, 0, d);
	snapshots_begin(NULL);
	state_now(&now);
	EXPECT(in(&now, HOLDER_DEVICE) && !in(&now, HOLDER_IOTLB));
	EXPECT_EQ(fixture_read(s, 0, VA), 10);
	device_checkers_allow_errors();
	pt_set(&d->pt, fixture_slot(d, VA), 0);
	state_now(&now);
	EXPECT(!in(&now, HOLDER_DEVICE));
	cached = in(&now, HOLDER_IOTLB);
	REQUIRE(cached);
	EXPECT_EQ(cached->frame, page_pa(page));
	EXPECT_EQ(cached->id, d->id);
	EXPECT_EQ(cached->prot, PROT_R | PROT_W);
	EXPECT_EQ(word_of(&now, page_pa(page)), 10);
	REQUIRE(!domain_flush(d, VA, VA + PAGE_SIZE));
	state_now(&now);
	EXPECT(!in(&now, HOLDER_IOTLB));
	snapshots_end();
	REQUIRE(!domain_map(d, VA, page_pa(page), PAGE_SIZE, IO_RW));
	REQUIRE(!domain_unmap(d, VA, VA + PAGE_SIZE));
}
