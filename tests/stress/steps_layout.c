/* SPDX-License-Identifier: MIT */
/*
 * steps_layout.c - steps that change layout and spaces
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "tests/stress/steps.h"

static unsigned number(const struct step_space *s)
{
	return (unsigned)(s - stepping.model.space);
}

static void release(const struct step_space *s, unsigned page, unsigned n)
{
	step_release(&stepping.model, number(s), page, n);
}

void step_map(struct step_space *s, const struct op *op)
{
	unsigned flags = (op->dice & 1 ? MAP_REPLACE : 0) |
			 (op->dice & 6 ? 0 : MAP_LOCKED);
	bool taken = step_any(s, op->page, op->n) && !(flags & MAP_REPLACE);
	int ret = STEP_TRY(SNAP_STATE,
			   mm_map(s->mm, S(op->page), op->n * PAGE_SIZE,
				  op->prot, flags,
				  op->shared ? stepping.model.object : NULL,
				  op->shared ? op->index : 0, NULL));

	if (!step_ended(ret, taken ? -EEXIST : 0))
		return;
	release(s, op->page, op->n);
	for (unsigned i = 0; i < op->n; i++)
		s->page[op->page + i] =
			(struct step_page){ .mapped = true,
					    .shared = op->shared,
					    .locked = flags & MAP_LOCKED,
					    .prot = op->prot,
					    .index = op->index + i };
}

void step_unmap(struct step_space *s, const struct op *op)
{
	int ret = STEP_TRY(SNAP_STATE,
			   mm_unmap(s->mm, S(op->page), S(op->page + op->n)));

	if (!step_ended(ret, 0))
		return;
	release(s, op->page, op->n);
	for (unsigned i = 0; i < op->n; i++)
		s->page[op->page + i] = (struct step_page){ 0 };
}

void step_protect(struct step_space *s, const struct op *op)
{
	bool whole = step_all(s, op->page, op->n);
	int ret =
		STEP_TRY(SNAP_STATE, mm_protect(s->mm, S(op->page),
						S(op->page + op->n), op->prot));

	if (!step_ended(ret, whole ? 0 : -ENOENT))
		return;
	for (unsigned i = 0; i < op->n; i++)
		s->page[op->page + i].prot = op->prot;
}

void step_discard(struct step_space *s, const struct op *op)
{
	int ret = STEP_TRY(SNAP_STATE,
			   mm_discard(s->mm, S(op->page), S(op->page + op->n)));

	if (!step_ended(ret, 0))
		return;
	release(s, op->page, op->n);
	for (unsigned i = 0; i < op->n; i++)
		s->page[op->page + i].tag = 0;
}

void step_reap(struct step_space *s, const struct op *op)
{
	int ret = STEP_TRY(SNAP_STATE, mm_reap(s->mm));

	(void)op;
	if (!step_ended(ret, 0))
		return;
	release(s, 0, STEP_PAGES);
	for (unsigned i = 0; i < STEP_PAGES; i++)
		s->page[i].tag = 0;
}

/* ---- moves -------------------------------------------------------------- */

struct move {
	unsigned from, n, to, new_n; /* in place: to == from               */
	bool stays;
};

/* The pages of one region, from this one on: n, or as many as there are. */
static unsigned in_region(const struct step_space *s, unsigned page, unsigned n)
{
	const struct region *r = region_first(s->mm, S(page), S(page + 1));

	while (r && n > 1 && S(page + n) > r->end)
		n--;
	return n;
}

/*
 * Mostly of what one region maps.  In place a mapping shrinks, or grows where
 * the model has room for it.
 */
static struct move move_of(const struct step_space *s, const struct op *op)
{
	struct move m = { op->page, op->n, op->to, 1 + op->dice % 8,
			  op->dice & 8 };

	if (op->dice & 0x30) {
		m.from = step_near(s, op->page);
		m.n = in_region(s, m.from, 1 + (op->dice >> 6) % 8);
	}
	if (m.n > STEP_PAGES - m.from)
		m.n = STEP_PAGES - m.from;
	if (m.stays)
		m.to = m.from;
	if (m.new_n > STEP_PAGES - m.to)
		m.new_n = STEP_PAGES - m.to;
	if (m.stays && m.new_n > m.n &&
	    step_any(s, m.from + m.n, m.new_n - m.n))
		m.new_n = m.n;
	return m;
}

static int move_wanted(const struct step_space *s, const struct move *m)
{
	const struct region *r =
		region_first(s->mm, S(m->from), S(m->from + 1));
	const struct step_page *p = &s->page[m->from];

	if (!m->stays && m->to < m->from + m->n && m->from < m->to + m->new_n)
		return -EINVAL;
	if (!r || r->end < S(m->from + m->n))
		return -ENOENT;
	if (p->shared && p->index + m->new_n > STEP_WORDS)
		return -EINVAL;
	return !m->stays && step_any(s, m->to, m->new_n) ? -EEXIST : 0;
}

/* Pages that moved take their pins along; what was cut off does not. */
static void move_pins(const struct step_space *s, const struct move *m)
{
	for (unsigned i = 0; i < STEP_PINS; i++) {
		struct step_pin *pin = &stepping.model.pin[i];
		unsigned at = pin->at - m->from;

		if (!pin->held || pin->space != number(s) || at >= m->n)
			continue;
		pin->held = at < m->new_n;
		pin->at = m->to + at;
	}
}

void step_remap(struct step_space *s, const struct op *op)
{
	struct move m = move_of(s, op);
	struct step_page was[STEP_PAGES], *p = s->page;
	va_t at = 0;
	int want = move_wanted(s, &m);
	int ret =
		STEP_TRY(SNAP_STATE, mm_remap(s->mm, S(m.from), m.n * PAGE_SIZE,
					      m.stays ? 0 : S(m.to),
					      m.new_n * PAGE_SIZE, &at));

	if (!step_ended(ret, want))
		return;
	if (at != S(m.to))
		return STEP_WRONG("it moved to %lx", at);
	move_pins(s, &m);
	for (unsigned i = 0; i < m.n; i++) {
		was[i] = p[m.from + i];
		p[m.from + i] = (struct step_page){ 0 };
	}
	for (unsigned i = 0; i < m.new_n; i++) {
		p[m.to + i] = i < m.n ? was[i] : was[0];
		if (i < m.n)
			continue;
		p[m.to + i].tag = 0;
		p[m.to + i].index = was[0].index + i;
	}
}

static int show_wanted(const struct step_space *s, const struct op *op,
		       unsigned n)
{
	const struct step_page *p = &s->page[op->page];

	for (unsigned i = 0; i < n; i++)
		if (p[i].mapped && !p[i].shared)
			return -EINVAL;
	if (step_any(s, op->page, n) && op->index + n > STEP_WORDS)
		return -EINVAL;
	return step_all(s, op->page, n) ? 0 : -ENOENT;
}

void step_show(struct step_space *s, const struct op *op)
{
	unsigned n = op->dice & 1 ? in_region(s, op->page, op->n) : op->n;
	int want = show_wanted(s, op, n);
	int ret = STEP_TRY(SNAP_STATE,
			   mm_remap_object(s->mm, S(op->page), S(op->page + n),
					   op->index));

	if (!step_ended(ret, want))
		return;
	release(s, op->page, n);
	for (unsigned i = 0; i < n; i++)
		s->page[op->page + i].index = op->index + i;
}

/* ---- spaces ------------------------------------------------------------- */

static void put(struct step_space *s)
{
	release(s, 0, STEP_PAGES);
	if (s->mm)
		mm_put(s->mm);
	*s = (struct step_space){ 0 };
}

void step_fork(struct step_space *s, const struct op *op)
{
	struct step_space *to = &stepping.model.space[op->to_space];
	struct mm *child = NULL;
	int ret;

	if (to == s)
		return;
	put(to);
	ret = STEP_TRY(SNAP_CONTENTS, mm_fork(s->mm, &child));
	if (!step_ended(ret, 0))
		return;
	*to = *s;
	to->mm = child;
}

void step_exit(struct step_space *s, const struct op *op)
{
	(void)op;
	put(s);
}
