/* SPDX-License-Identifier: MIT */
/*
 * layout.c - the owner of some pages changes their layout
 *
 * Each operation is a transition of the model (tests/stress/page_model.h) around a call of
 * mm: begin on every page, the call, end on every page.  What the call has to
 * answer is exact, because no other thread changes these pages.
 */
#include "kernel/err.h"
#include "tests/stress/ksm.h"
#include "tests/stress/one.h"

static bool is_mapped(unsigned page)
{
	return cell_look(page).cell != CELL_NONE;
}

static bool all_mapped(const struct op *op)
{
	for (unsigned i = 0; i < op->n; i++)
		if (!is_mapped(op->page + i))
			return false;
	return true;
}

/* A cell for a page that is being mapped; the object's have theirs. */
static unsigned cell_for(const struct op *op, unsigned i, unsigned page)
{
	unsigned cell = op->shared ? cell_of_object(op->index + i) : cell_new();

	cell_visit(cell, page);
	return cell;
}

/* Map op's pages, and what follows them up to len bytes. */
static int map(const struct op *op, uint64_t len, unsigned flags)
{
	unsigned cell[CELL_PAGES];
	int ret;

	for (unsigned i = 0; i < op->n; i++)
		cell_begin(op->page + i, op->prot, true);
	for (unsigned i = 0; i < op->n; i++)
		cell[i] = cell_for(op, i, op->page + i);
	ret = mm_map(one.mm, one_va(op->page), len, op->prot,
		     MAP_REPLACE | flags, op->shared ? one.object : NULL,
		     op->shared ? op->index : 0, NULL);
	for (unsigned i = 0; i < op->n; i++)
		cell_end(op->page + i, cell[i]);
	if (!ret)
		stress_ksm_map(one.mm, one_va(op->page), op);
	return ret;
}

void one_map(struct one_actor *a, const struct op *op)
{
	int ret = map(op, op->n * PAGE_SIZE, 0);

	if (ret)
		ONE_WRONG(a, "returns %d", ret);
}

int one_map_all(unsigned huge)
{
	struct op op = { .n = ONE_HALF, .prot = RW };
	int ret = 0;

	for (unsigned i = 0; i < ONE_OWNERS && !ret; i++) {
		op.page = i * ONE_HALF;
		op.dice = i != huge; /* what is merged is a region of its own */
		ret = i == huge ? map(&op, BLOCK_SIZE, MAP_HUGE)
				: map(&op, ONE_HALF * PAGE_SIZE, 0);
		if (!ret && i == huge)
			ret = mm_fault(one.mm, one_va(op.page), PROT_W);
	}
	return ret;
}

/* All of the owner's 2 MiB: the first write makes a huge entry, if there is a block, or a
 * collapse does. */
void one_map_huge(struct one_actor *a, const struct op *op)
{
	struct op all = { .page = a->id * ONE_HALF, .n = ONE_HALF, .prot = RW };
	bool later = op->dice & 1;
	int ret = map(&all, BLOCK_SIZE, later ? 0 : MAP_HUGE);

	if (!ret && later)
		ret = mm_fault(one.mm, one_va(all.page), PROT_W);
	if (ret)
		ONE_WRONG(a, "returns %d", ret);
	else if (later)
		one_collapse(a, &all);
}

static int unmap(unsigned page, unsigned n)
{
	int ret;

	for (unsigned i = 0; i < n; i++)
		cell_begin(page + i, PROT_NONE, true);
	ret = mm_unmap(one.mm, one_va(page), one_va(page) + n * PAGE_SIZE);
	for (unsigned i = 0; i < n; i++)
		cell_end(page + i, CELL_NONE);
	return ret;
}

void one_unmap(struct one_actor *a, const struct op *op)
{
	int ret = unmap(op->page, op->n);

	if (ret)
		ONE_WRONG(a, "returns %d", ret);
}

void one_protect(struct one_actor *a, const struct op *op)
{
	va_t start = one_va(op->page);
	bool whole = all_mapped(op);
	int ret;

	stress_ksm_change(one.mm, start, op);
	for (unsigned i = 0; whole && i < op->n; i++)
		cell_begin(op->page + i, op->prot, false);
	ret = mm_protect(one.mm, start, start + op->n * PAGE_SIZE, op->prot);
	if (ret != (whole ? 0 : -ENOENT))
		ONE_WRONG(a, "returns %d", ret);
	for (unsigned i = 0; whole && i < op->n; i++)
		cell_end(op->page + i, cell_look(op->page + i).cell);
}

/* Private pages are fresh again; the object's stay what they are. */
void one_discard(struct one_actor *a, const struct op *op)
{
	unsigned cell[CELL_PAGES];
	int ret;

	for (unsigned i = 0; i < op->n; i++) {
		struct look l = cell_look(op->page + i);

		cell[i] = CELL_NONE;
		if (!l.cell || cell_is_object(l.cell))
			continue;
		cell_begin(op->page + i, l.now, true);
		cell[i] = cell_new();
		cell_visit(cell[i], op->page + i);
	}
	ret = mm_discard(one.mm, one_va(op->page),
			 one_va(op->page) + op->n * PAGE_SIZE);
	if (ret)
		ONE_WRONG(a, "returns %d", ret);
	for (unsigned i = 0; i < op->n; i++)
		if (cell[i])
			cell_end(op->page + i, cell[i]);
}

static void move(struct one_actor *a, unsigned from, unsigned to, unsigned n)
{
	struct look was[CELL_PAGES];
	va_t at = 0;
	int ret;

	for (unsigned i = 0; i < n; i++) {
		was[i] = cell_look(from + i);
		cell_visit(was[i].cell, to + i);
		cell_begin(from + i, PROT_NONE, true);
		cell_begin(to + i, was[i].now, true);
	}
	ret = mm_remap(one.mm, one_va(from), n * PAGE_SIZE, one_va(to),
		       n * PAGE_SIZE, &at);
	for (unsigned i = 0; i < n; i++) {
		static const struct look hole = { .cell = CELL_NONE };

		if (ret) {
			cell_undo(from + i, &was[i]);
			cell_undo(to + i, &hole);
		} else {
			cell_end(from + i, CELL_NONE);
			cell_end(to + i, was[i].cell);
		}
	}
	/* Several pages may be several regions; one page is one. */
	if (ret ? ret != -ENOENT || n == 1 : at != one_va(to))
		ONE_WRONG(a, "returns %d, address %lx", ret, at);
}

void one_remap(struct one_actor *a, const struct op *op)
{
	unsigned from = op->page, to = op->to, n = op->n;

	/* The owner's pages end where those of op->page may. */
	if (!all_mapped(op))
		n = 1;
	while (n > 1 &&
	       (to + n > op->limit || (from < to + n && to < from + n)))
		n--;
	if (from == to || !is_mapped(from))
		return;
	for (unsigned i = 0; i < n; i++)
		if (is_mapped(to + i) && unmap(to + i, 1))
			return ONE_WRONG(a, "unmap fails");
	move(a, from, to, n);
}
