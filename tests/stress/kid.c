/* SPDX-License-Identifier: MIT */
/*
 * kid.c - a child is a photograph of its parent
 *
 * The parent goes on writing from other threads while it forks: each word of
 * the child must be a value that the parent held at some moment of the fork,
 * and must stay it for ever, whatever the parent does later; and what the child
 * writes carries a tag that no reader of the parent accepts.
 */
#include "tests/stress/one.h"

/* Not a writer of the parent's (tests/stress/page_model.c: the tag's top four bits). */
#define KID_TAG (UINT64_C(15) << 28)

struct moment {
	struct look look[CELL_PAGES];
	uint64_t bound[CELL_PAGES][CELL_WRITERS];
};

static void one_word(struct one_actor *a, const struct moment *before,
		     const struct look *after, unsigned page, unsigned k,
		     uint64_t high)
{
	struct bounds bounds = { before->bound[page][k], high };
	uint64_t got = rd(a->kid.mm, one_va(page) + 8 * k);
	char why[160];

	a->kid.word[page][k] = got;
	if (cell_judge(&before->look[page], after, k, bounds, got, why,
		       sizeof(why)))
		ONE_WRONG(a, "child, page %u word %u: %s", page, k, why);
}

/* The first look at a child, between moments before and after the fork. */
static void photograph(struct one_actor *a, const struct moment *before,
		       const struct moment *after)
{
	struct kid *kid = &a->kid;

	for (unsigned i = 0; i < CELL_PAGES; i++) {
		const struct look *l = &before->look[i];
		const struct look *m = &after->look[i];

		kid->known[i] = cell_settled(l, m) && l->seq == m->seq &&
				!(l->seq & 1) && l->cell &&
				!cell_is_object(l->cell) && (l->now & PROT_R);
		kid->prot[i] = l->now;
		for (unsigned k = 0; kid->known[i] && k < one.writers; k++)
			one_word(a, before, m, i, k, after->bound[0][k]);
	}
}

/* Every word must be what it was at the first look. */
static void look_again(struct one_actor *a, const char *when)
{
	struct kid *kid = &a->kid;

	for (unsigned i = 0; i < CELL_PAGES; i++) {
		for (unsigned k = 0; kid->known[i] && k < one.writers; k++) {
			uint64_t got = rd(kid->mm, one_va(i) + 8 * k);

			if (got != kid->word[i][k])
				ONE_WRONG(a,
					  "child %s, page %u word %u: %lx "
					  "became %lx",
					  when, i, k, kid->word[i][k], got);
		}
	}
}

void one_kid_end(struct one_actor *a)
{
	if (!a->kid.mm)
		return;
	mm_bind(a->kid.mm);
	look_again(a, "at its end");
	mm_bind(NULL);
	mm_put(a->kid.mm);
	a->kid.mm = NULL;
}

static void fork_parent(struct one_actor *a)
{
	struct moment before, after;
	struct mm *child;
	int ret;

	for (unsigned i = 0; i < CELL_PAGES; i++) {
		before.look[i] = cell_look(i);
		for (unsigned k = 0; k < one.writers; k++)
			before.bound[i][k] = cell_low(&before.look[i], k);
	}
	ret = mm_fork(one.mm, &child);
	for (unsigned k = 0; k < one.writers; k++)
		after.bound[0][k] = cell_high(k);
	for (unsigned i = 0; i < CELL_PAGES; i++)
		after.look[i] = cell_look(i);
	if (ret)
		return ONE_WRONG(a, "returns %d", ret);
	one_kid_end(a);
	a->kid.mm = child;
	mm_bind(child);
	photograph(a, &before, &after);
	mm_bind(one.mm);
}

/* The child's child takes its place: the same photograph. */
static void fork_kid(struct one_actor *a)
{
	struct mm *child;
	int ret = mm_fork(a->kid.mm, &child);

	if (ret)
		return ONE_WRONG(a, "the child's fork returns %d", ret);
	one_kid_end(a);
	a->kid.mm = child;
	mm_bind(child);
	look_again(a, "of the child");
	mm_bind(one.mm);
}

void one_fork(struct one_actor *a, const struct op *op)
{
	if (a->kid.mm && op->dice % 4 == 0)
		fork_kid(a);
	else
		fork_parent(a);
}

/* Look at the child, and let it write a word. */
void one_kid(struct one_actor *a, const struct op *op)
{
	struct kid *kid = &a->kid;
	unsigned i = op->page, k = op->dice % one.writers;
	uint64_t tag = KID_TAG | a->number;
	int ret;

	if (!kid->mm)
		return;
	mm_bind(kid->mm);
	look_again(a, "later");
	if (kid->known[i]) {
		ret = wr(kid->mm, one_va(i) + 8 * k, tag);
		if ((ret == 0) != !!(kid->prot[i] & PROT_W))
			ONE_WRONG(a, "the child's store returns %d", ret);
		if (!ret)
			kid->word[i][k] = tag;
	}
	mm_bind(one.mm);
}
