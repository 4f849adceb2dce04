/* SPDX-License-Identifier: MIT */
/*
 * mm.c - random operations against a flat model
 *
 * Every actor owns a set of address spaces and performs all operations on them
 * that change layout, private contents or the tree of forks; the model of a space
 * is an array of MODEL_PAGES pages: mapped or not, rights, and the tag that its
 * first word must hold.  Tags are unique: a wrong page cannot look right.
 *
 * Actors run on all CPUs and meet in the allocators, in the reverse map, in
 * each other's shootdowns, in shared objects (each actor writes only its own
 * word of a shared page, and its model knows the value) and through an evictor
 * that calls try_to_unmap() for pages of any space.  A space's pages may be the begin
 * of a huge page.  So each actor's model is
 * exact while the CPUs really race.  A scanner merges what is equal.  Races inside one address space are the
 * subject of tests/stress/one.c.
 *
 * Operations are drawn by tests/stress/stress.h: any part of a run can be replayed.
 */
#include "arch/smp.h"
#include "arch/uaccess.h"
#include "kernel/err.h"
#include "mm/huge/collapse.h"
#include "mm/rmap/block.h"
#include "tests/fixture/mm/mm_fixture.h"
#include "tests/stress/ksm.h"
#include "tests/fake/migrator.h"
#include "tests/stress/stress.h"

#define ACTORS       4
#define SPACES       3  /* of one actor at a time                          */
#define MODEL_PAGES  48 /* pages that the model follows                    */
#define OBJECT_PAGES 16
#define OPS          3125 /* of each actor                                */

struct model_page {
	bool mapped, shared;
	enum prot prot;
	unsigned index; /* in the object                                   */
	uint64_t tag;   /* private pages: 0 until written                  */
};

struct space {
	struct mm *mm;
	struct model_page page[MODEL_PAGES];
};

struct actor {
	unsigned id, number; /* of the operation                           */
	struct space space[SPACES];
	uint64_t word[OBJECT_PAGES]; /* what this actor wrote to its word  */
};

static struct object *shared;
static struct stress stress;

#define WRONG(a, ...) STRESS_WRONG(&stress, (a)->id, __VA_ARGS__)

/* ---- one page: a real access, and what the model says of it ------------ */

static void check_read(struct actor *a, struct space *s, unsigned i)
{
	struct model_page *p = &s->page[i];
	va_t va = P(i) + (p->shared ? 8 * (1 + a->id) : 0);
	uint64_t got = rd(s->mm, va), want = p->tag;

	if (!p->mapped || !p->prot)
		want = BAD;
	else if (p->shared)
		want = a->word[p->index];
	if (got != want)
		WRONG(a, "page %u of space %u: read %lx, want %lx", i,
		      (unsigned)(s - a->space), got, want);
}

/* Every fourth store is of one of few tags, which pages of all actors hold: so
 * that there is something to merge. */
static uint64_t new_tag(const struct actor *a, const struct op *op)
{
	if (op->dice & 3)
		return (uint64_t)(a->id + 1) << 56 | (a->number + 1);
	return 1 + (op->dice >> 2) % 3;
}

static void check_write(struct actor *a, struct space *s, const struct op *op)
{
	unsigned i = op->page;
	struct model_page *p = &s->page[i];
	va_t va = P(i) + (p->shared ? 8 * (1 + a->id) : 0);
	uint64_t tag = new_tag(a, op);
	bool may = p->mapped && (p->prot & PROT_W);
	int ret = wr(s->mm, va, tag);

	if ((ret == 0) != may)
		WRONG(a, "the store returns %d", ret);
	if (!may)
		return;
	if (p->shared)
		a->word[p->index] = tag;
	else
		p->tag = tag;
}

/* ---- operations -------------------------------------------------------- */

static void op_map(struct actor *a, struct space *s, const struct op *op)
{
	int ret = mm_map(s->mm, P(op->page), op->n * PAGE_SIZE, op->prot,
			 MAP_REPLACE, op->shared ? shared : NULL,
			 op->shared ? op->index : 0, NULL);

	if (ret)
		return WRONG(a, "returns %d", ret);
	stress_ksm_map(s->mm, P(op->page), op);
	for (unsigned i = 0; i < op->n; i++)
		s->page[op->page + i] =
			(struct model_page){ true, op->shared, op->prot,
					     op->index + i, 0 };
}

/* What the pages hold does not change, whatever the answer is. */
static void op_collapse(struct actor *a, struct space *s, const struct op *op)
{
	int ret = mm_collapse(s->mm, VA);

	(void)op;
	if (ret && ret != -EBUSY && ret != -EINVAL && ret != -ENOENT &&
	    ret != -ENOMEM)
		WRONG(a, "returns %d", ret);
}

/* Map 2 MiB, which begin with the model's pages: the first write makes a huge entry, if
 * there is a block, or a collapse does. */
static void op_map_huge(struct actor *a, struct space *s, const struct op *op)
{
	bool later = op->dice & 4;
	int ret;

	if (op->dice & 3)
		return; /* to clear a block takes as long as a thousand operations */
	ret = mm_map(s->mm, VA, BLOCK_SIZE, RW,
		     MAP_REPLACE | (later ? 0 : MAP_HUGE), NULL, 0, NULL);
	if (!ret && later)
		ret = mm_fault(s->mm, VA, PROT_W);
	if (ret)
		return WRONG(a, "returns %d", ret);
	for (unsigned i = 0; i < MODEL_PAGES; i++)
		s->page[i] = (struct model_page){ .mapped = true, .prot = RW };
	if (later)
		op_collapse(a, s, op);
}

static void op_unmap(struct actor *a, struct space *s, const struct op *op)
{
	int ret = mm_unmap(s->mm, P(op->page), P(op->page + op->n));

	if (ret)
		return WRONG(a, "returns %d", ret);
	for (unsigned i = 0; i < op->n; i++)
		s->page[op->page + i].mapped = false;
}

static void op_protect(struct actor *a, struct space *s, const struct op *op)
{
	bool whole = true;
	int ret;

	for (unsigned i = 0; i < op->n; i++)
		whole &= s->page[op->page + i].mapped;
	stress_ksm_change(s->mm, P(op->page), op);
	ret = mm_protect(s->mm, P(op->page), P(op->page + op->n), op->prot);
	if (ret != (whole ? 0 : -ENOENT))
		WRONG(a, "returns %d", ret);
	for (unsigned i = 0; whole && i < op->n; i++)
		s->page[op->page + i].prot = op->prot;
}

static void op_discard(struct actor *a, struct space *s, const struct op *op)
{
	int ret = mm_discard(s->mm, P(op->page), P(op->page + op->n));

	if (ret)
		return WRONG(a, "returns %d", ret);
	for (unsigned i = 0; i < op->n; i++)
		s->page[op->page + i].tag = 0;
}

/* Move one page to a hole: mm_remap() of a single page is always one region. */
static void op_remap(struct actor *a, struct space *s, const struct op *op)
{
	struct model_page *from = &s->page[op->page], *to = &s->page[op->to];
	va_t at = 0;
	int ret;

	if (from == to || !from->mapped || to->mapped)
		return;
	ret = mm_remap(s->mm, P(op->page), PAGE_SIZE, P(op->to), PAGE_SIZE,
		       &at);
	if (ret || at != P(op->to))
		return WRONG(a, "returns %d, address %lx", ret, at);
	*to = *from;
	from->mapped = false;
}

static void op_fork(struct actor *a, struct space *s, const struct op *op)
{
	struct space *to = &a->space[op->to_space];
	struct mm *child;
	int ret;

	if (to == s)
		return;
	ret = mm_fork(s->mm, &child);
	if (ret)
		return WRONG(a, "returns %d", ret);
	mm_bind(NULL);
	mm_put(to->mm);
	*to = *s;
	to->mm = child;
}

static void op_exit(struct actor *a, struct space *s, const struct op *op)
{
	(void)op;
	mm_bind(NULL);
	mm_put(s->mm);
	*s = (struct space){ .mm = mm_create() };
	if (!s->mm)
		WRONG(a, "no memory for an mm");
}

static void op_evict(struct actor *a, struct space *s, const struct op *op)
{
	struct page *page = stress_page(s->mm, P(op->page));

	if (!page)
		return;
	stress_take(page, op->dice);
	page_put(page);
}

static void op_pin(struct actor *a, struct space *s, const struct op *op)
{
	struct model_page *p = &s->page[op->page];
	bool may = p->mapped && p->prot;
	struct page *page;
	uint64_t got;
	int ret = pin_pages(s->mm, P(op->page), 1, 0, &page);

	if ((ret == 0) != may)
		WRONG(a, "returns %d", ret);
	if (ret)
		return;
	got = *(uint64_t *)page_va(page);
	if (may && !p->shared && got != p->tag)
		WRONG(a, "the pinned page holds %lx, want %lx", got, p->tag);
	unpin_pages(&page, 1);
}

/* Bound, and staying so: the next operation must flush this CPU. */
static void op_write(struct actor *a, struct space *s, const struct op *op)
{
	mm_bind(s->mm);
	check_write(a, s, op);
}

static void op_read(struct actor *a, struct space *s, const struct op *op)
{
	mm_bind(s->mm);
	check_read(a, s, op->page);
}

#define IN_PAGE  (OP_PAGE | OP_SPACE)
#define IN_RANGE (OP_RANGE | OP_SPACE)

static const struct op_kind kinds[] = {
	{ "map", 8, IN_RANGE | OP_PROT | OP_OBJECT },
	{ "unmap", 5, IN_RANGE },
	{ "protect", 7, IN_RANGE | OP_PROT },
	{ "discard", 3, IN_RANGE },
	{ "remap", 5, IN_PAGE | OP_TO },
	{ "fork", 2, OP_SPACE | OP_TO_SPACE },
	{ "exit", 1, OP_SPACE },
	{ "evict", 5, IN_PAGE },
	{ "pin", 4, IN_PAGE },
	{ "write", 29, IN_PAGE },
	{ "read", 29, IN_PAGE },
	{ "map 2 MiB", 1, OP_SPACE },
	{ "collapse", 1, OP_SPACE },
	{ NULL, 0, 0 },
};

/* In the order of kinds[]. */
static void (*const run_op[])(struct actor *a, struct space *s,
			      const struct op *op) = {
	op_map,  op_unmap,    op_protect,  op_discard, op_remap,
	op_fork, op_exit,     op_evict,    op_pin,     op_write,
	op_read, op_map_huge, op_collapse,
};
_Static_assert(ARRAY_SIZE(run_op) + 1 == ARRAY_SIZE(kinds), "one each");

/* ---- the run ----------------------------------------------------------- */

static struct op draw(unsigned actor, unsigned number)
{
	static const struct op_limits limits = { .spaces = SPACES,
						 .pages = MODEL_PAGES,
						 .longest = 12,
						 .object_pages = OBJECT_PAGES };

	return op_draw(kinds, &limits, test_seed(), actor, number);
}

static void words(unsigned actor, unsigned number, char *buf, size_t len)
{
	struct op op = draw(actor, number);

	op_words(kinds, &op, buf, len);
}

static void check_all(struct actor *a)
{
	for (unsigned k = 0; k < SPACES; k++)
		for (unsigned i = 0; i < MODEL_PAGES; i++)
			check_read(a, &a->space[k], i);
}

static void actor_main(void *arg)
{
	struct actor *a = arg;
	unsigned end = stress.ops;

	for (a->number = stress_next(&stress, a->id, 0, end); a->number < end;
	     a->number = stress_next(&stress, a->id, a->number + 1, end)) {
		struct op op = draw(a->id, a->number);

		run_op[op.kind](a, &a->space[op.space], &op);
	}
	check_all(a);
	mm_bind(NULL);
	for (unsigned k = 0; k < SPACES; k++)
		mm_put(a->space[k].mm);
}

TEST_FULL(stress, mm_against_model,
	  "after 12,500 random operations on all CPUs every address space "
	  "equals the flat model",
	  1, 300)
{
	static struct actor actor[ACTORS];
	struct thread *t[ACTORS];
	struct migrator_count did;
	unsigned merged;

	stress = (struct stress){ .actors = ACTORS,
				  .ops = OPS * stress_times(),
				  .words = words };
	stress_begin(&stress);
	shared = object_create(OBJECT_PAGES);
	REQUIRE(shared);
	for (unsigned i = 0; i < ACTORS; i++) {
		actor[i] = (struct actor){ .id = i };
		for (unsigned k = 0; k < SPACES; k++) {
			actor[i].space[k].mm = mm_create();
			REQUIRE(actor[i].space[k].mm);
		}
	}
	stress_memory_begin();
	stress_ksm_begin(test_seed(), smp_online_mask());
	migrator_begin(test_seed(), smp_online_mask(), MODEL_PAGES);
	for (unsigned i = 0; i < ACTORS; i++) {
		t[i] = thread_create("actor", actor_main, &actor[i]);
		REQUIRE(t[i]);
	}
	for (unsigned i = 0; i < ACTORS; i++)
		thread_join(t[i]);
	did = migrator_end();
	merged = stress_ksm_end();
	stress_ksm_reset();
	migrator_reset();
	stress_end(&stress);
	stress_memory_end();
	test_note("%u pages were merged meanwhile", merged);
	test_note("%u went to a device, %u were a device's alone; %u copies "
		  "failed",
		  did.taken, did.alone, did.refused);
	if (!stress_planned() && !stress.failed) {
		EXPECT_EQ(stress.done, ACTORS * stress.ops);
		EXPECT(did.taken && did.alone && did.refused);
	}
	object_put(shared);
}
