/* SPDX-License-Identifier: MIT */
/*
 * flat_model.c - compare address spaces with the flat model
 */
#include "tests/stress/flat_model.h"
#include "mm/check/check.h"
#include "mm/core/entry.h"

void step_store(struct steps *s, struct step_page *p, uint64_t v)
{
	if (p->shared)
		s->word[p->index] = v;
	else
		p->tag = v;
}

bool step_all(const struct step_space *s, unsigned page, unsigned n)
{
	while (n && s->page[page + n - 1].mapped)
		n--;
	return !n;
}

bool step_any(const struct step_space *s, unsigned page, unsigned n)
{
	while (n && !s->page[page + n - 1].mapped)
		n--;
	return n;
}

unsigned step_near(const struct step_space *s, unsigned page)
{
	for (unsigned i = 0; i < STEP_PAGES; i++)
		if (s->page[(page + i) % STEP_PAGES].mapped)
			return (page + i) % STEP_PAGES;
	return page;
}

void step_release(struct steps *s, unsigned space, unsigned page, unsigned n)
{
	for (unsigned i = 0; i < STEP_PINS; i++) {
		struct step_pin *pin = &s->pin[i];

		if (pin->space == space && pin->at - page < n)
			pin->held = false;
	}
}

static const char *check_region(const struct step_page *p,
				const struct region *r, va_t va)
{
	unsigned flags = (p->locked ? MAP_LOCKED : 0) |
			 (p->merge ? REGION_MERGEABLE : 0);

	if (!r != !p->mapped)
		return r ? "is mapped" : "is not mapped";
	if (!r)
		return NULL;
	if (r->prot != p->prot || r->flags != flags)
		return "has other rights or flags";
	if (!r->object != !p->shared)
		return "is memory of another sort";
	if (p->shared && region_pgoff(r, va) != p->index)
		return "is another page of the object";
	return NULL;
}

static const char *check_entry(const struct steps *s, const struct step_page *p,
			       uint64_t e)
{
	if (!p->mapped)
		return e ? "has an entry" : NULL;
	if (!e) /* an object's page is found in the object */
		return p->shared || !p->tag ? NULL : "is lost";
	if (*(uint64_t *)page_va(entry_page(e)) != step_value(s, p))
		return "holds something else";
	return NULL;
}

static const char *check_pin(const struct steps *s, const struct step_pin *pin)
{
	const struct step_space *space = &s->space[pin->space];
	uint64_t e;

	if (!pin->page || !pin->held)
		return NULL;
	e = entry_at(space->mm, S(pin->at));
	if (!entry_mapped(e) || entry_page(e) != pin->page)
		return check_message(
			"page %u of space %u: the pinned frame %lx "
			"was replaced, the entry is %lx",
			pin->at, pin->space, pfn_of(pin->page), e);
	return NULL;
}

static const char *check_space(const struct steps *s, unsigned n)
{
	const struct step_space *space = &s->space[n];

	const struct region *r = NULL;

	for (unsigned i = 0; space->mm && i < STEP_PAGES; i++) {
		const struct step_page *p = &space->page[i];
		uint64_t *slot = pt_slot(&space->mm->pt, S(i), 0, false);
		uint64_t e = slot ? pte_read(slot) : 0;
		const char *why;

		if (!r || r->end <= S(i))
			r = region_first(space->mm, S(i), S(i + 1));
		why = check_region(p, r, S(i));
		if (!why)
			why = check_entry(s, p, e);
		if (why)
			return check_message(
				"page %u of space %u %s: entry %lx, model %lx",
				i, n, why, e, p->mapped ? step_value(s, p) : 0);
	}
	return NULL;
}

const char *steps_check(const struct steps *s)
{
	const char *why = NULL;

	for (unsigned i = 0; !why && i < STEP_SPACES; i++)
		why = check_space(s, i);
	for (unsigned i = 0; !why && i < STEP_PINS; i++)
		why = check_pin(s, &s->pin[i]);
	return why;
}
