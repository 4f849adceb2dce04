/* SPDX-License-Identifier: MIT */
/*
 * steps_pages.c - steps that touch, pin, evict and merge pages
 */
#include "kernel/err.h"
#include "mm/core/entry.h"
#include "mm/ksm/ksm.h"
#include "tests/stress/steps.h"

static unsigned number(const struct step_space *s)
{
	return (unsigned)(s - stepping.model.space);
}

void step_write(struct step_space *s, const struct op *op)
{
	struct step_page *p = &s->page[op->page];
	bool may = p->mapped && (p->prot & PROT_W);
	int ret = STEP_TRY(SNAP_CONTENTS, wr(s->mm, S(op->page), stepping.tag));

	if (ret == -EFAULT && may && stepping.delivered)
		return; /* its fault found no memory */
	if (step_ended(ret, may ? 0 : -EFAULT))
		step_store(&stepping.model, p, stepping.tag);
}

void step_read(struct step_space *s, const struct op *op)
{
	uint64_t want = step_reads(&stepping.model, &s->page[op->page]);
	uint64_t got = 0;
	int ret = STEP_TRY(SNAP_CONTENTS,
			   (got = rd(s->mm, S(op->page))) == BAD ? -EFAULT : 0);

	if (ret && want != BAD && stepping.delivered)
		return;
	if (got != want)
		STEP_WRONG("read %lx, want %lx", got, want);
}

void step_fault(struct step_space *s, const struct op *op)
{
	const struct step_page *p = &s->page[op->page];
	enum prot access = op->dice & 1 ? PROT_W : PROT_R;
	bool may =
		p->mapped && p->prot && (access == PROT_R || p->prot & PROT_W);

	(void)step_ended(
		STEP_TRY(SNAP_CONTENTS, mm_fault(s->mm, S(op->page), access)),
		may ? 0 : -EFAULT);
}

/* ---- eviction and aging -------------------------------------------------- */

/* Is the page mapped where it may not be evicted? */
static bool locked(const struct page *page)
{
	for (unsigned i = 0; i < STEP_SPACES * STEP_PAGES; i++) {
		const struct step_space *s =
			&stepping.model.space[i / STEP_PAGES];
		unsigned at = i % STEP_PAGES;
		uint64_t e;

		if (!s->mm || !s->page[at].locked)
			continue;
		e = entry_at(s->mm, S(at));
		if (entry_mapped(e) && entry_page(e) == page)
			return true;
	}
	return false;
}

void step_evict(struct step_space *s, const struct op *op)
{
	struct page *page = page_at(s->mm, S(op->page));
	bool stays;
	int ret;

	if (!page || page == zero_page) {
		if (page)
			page_put(page);
		return;
	}
	stays = page_pins(page) || locked(page);
	ret = STEP_TRY(SNAP_NOTHING, try_to_unmap(page));
	(void)step_ended(ret, stays ? -EBUSY : 0);
	if (!stays && page_maps(page))
		STEP_WRONG("evicted, and %u entries map it", page_maps(page));
	page_put(page);
}

void step_age(struct step_space *s, const struct op *op)
{
	struct page *page = page_at(s->mm, S(op->page));
	unsigned used;

	if (page && page != zero_page) {
		used = op->dice & 1 ? page_referenced(page)
				    : page_mark_idle(page);
		if (used > page_maps(page))
			STEP_WRONG("used %u times by %u entries", used,
				   page_maps(page));
		if (page_young(page))
			STEP_WRONG("young after it was asked");
	}
	if (page)
		page_put(page);
}

/* ---- pins ---------------------------------------------------------------- */

static bool pin_allowed(const struct step_page *p, unsigned flags)
{
	if (!p->mapped || !p->prot)
		return false;
	if (!(flags & PIN_WRITE) || (flags & PIN_FORCE && !p->shared))
		return true;
	return p->prot & PROT_W;
}

/* Through the frame, as a device would. */
static void use(struct step_pin *pin, bool write)
{
	struct step_space *s = &stepping.model.space[pin->space];
	volatile uint64_t *word = page_va(pin->page);

	if (!pin->held)
		return;
	if (*word != step_value(&stepping.model, &s->page[pin->at]))
		STEP_WRONG("the pinned frame holds %lx", *word);
	if (!write || !pin->write)
		return;
	*word = stepping.tag;
	step_store(&stepping.model, &s->page[pin->at], stepping.tag);
}

void step_pin(struct step_space *s, const struct op *op)
{
	static const unsigned kinds[] = { 0, PIN_WRITE, PIN_WRITE,
					  PIN_WRITE | PIN_FORCE };
	unsigned flags = kinds[op->dice & 3];
	struct step_pin *pin = &stepping.model.pin[(op->dice >> 2) % STEP_PINS];
	bool may = pin_allowed(&s->page[op->page], flags);
	struct page *page;

	if (pin->page)
		return use(pin, op->dice & 64);
	if (!step_ended(STEP_TRY(SNAP_CONTENTS, pin_pages(s->mm, S(op->page), 1,
							  flags, &page)),
			may ? 0 : -EFAULT))
		return;
	*pin = (struct step_pin){ page, number(s), op->page, true,
				  flags & PIN_WRITE };
	use(pin, op->dice & 64);
}

void step_unpin(struct step_space *s, const struct op *op)
{
	struct step_pin *pin = &stepping.model.pin[(op->dice >> 2) % STEP_PINS];

	(void)s;
	if (!pin->page)
		return;
	use(pin, op->dice & 1);
	unpin_pages(&pin->page, 1);
	*pin = (struct step_pin){ 0 };
}

/* ---- merging ------------------------------------------------------------- */

void step_opt_in(struct step_space *s, const struct op *op)
{
	bool whole = step_all(s, op->page, op->n);
	int ret = STEP_TRY(SNAP_STATE, ksm_mergeable(s->mm, S(op->page),
						     S(op->page + op->n)));

	if (!step_ended(ret, whole ? 0 : -ENOENT))
		return;
	for (unsigned i = op->page; i < op->page + op->n; i++)
		s->page[i].merge = !s->page[i].shared;
}

/* Without memory some regions are done and some are not. */
void step_opt_out(struct step_space *s, const struct op *op)
{
	bool whole = step_all(s, op->page, op->n);
	int ret = STEP_TRY(SNAP_NOTHING, ksm_unmergeable(s->mm, S(op->page),
							 S(op->page + op->n)));
	bool done = step_ended(ret, whole ? 0 : -ENOENT);

	if (!done && ret != -ENOMEM)
		return;
	for (unsigned i = op->page; i < op->page + op->n; i++) {
		struct region *r = region_first(s->mm, S(i), S(i + 1));

		if (done || (r && !(r->flags & REGION_MERGEABLE)))
			s->page[i].merge = false;
	}
}

void step_scan(struct step_space *s, const struct op *op)
{
	int ret = STEP_TRY(SNAP_CONTENTS,
			   op->dice & 1 ? ksm_full_scan()
					: ksm_scan(1 + op->dice % 64));

	(void)s;
	(void)step_ended(ret > 0 ? 0 : ret, 0);
}
