/* SPDX-License-Identifier: MIT */
/*
 * state.c - snapshots of tables, caches and frames
 *
 * Each hit takes a slot of its own; a slot is valid when its point is set.
 */
#include "tests/timeline/state.h"
#include "arch/cpu.h"
#include "iommu/core/iommu.h"
#include "kernel/string.h"
#include "mm/pt/pt.h"
#include "mm/pt/pt_amdv1.h"
#include "mm/pt/pt_x86.h"
#include "tests/timeline/explain_priv.h"

#define SNAPSHOTS 160
#define ROOTS     8
#define FREED     16

struct snapshot {
	struct probe_hit hit;
	const char *until; /* NULL: the state is final                      */
	struct state state;
};

struct root {
	enum holder holder;
	uint64_t id;
	_Atomic pa_t root; /* 0: freed                                      */
};

static struct snapshot taken[SNAPSHOTS];
static _Atomic unsigned n_taken;
static struct root roots[ROOTS];
static _Atomic unsigned n_roots;
/* The last frames that were freed: a checker may keep one a while (canary.h). */
static pa_t freed[FREED];
static _Atomic unsigned n_freed;
static const struct iommu *iommu;
static void (*caches)(state_cached_fn *add, void *arg);
static bool exact;

void state_begin(void)
{
	unsigned n = n_taken < SNAPSHOTS ? n_taken : SNAPSHOTS;

	memset(taken, 0, n * sizeof(taken[0])); /* the others are as at boot */
	n_taken = 0;
}

void state_forget_roots(void)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < n_roots; i++)
		if (roots[i].holder == HOLDER_CPU &&
		    explain_name_of(EXPLAIN_MM, roots[i].id))
			roots[kept++] = roots[i];
	memset(roots + kept, 0, sizeof(roots) - kept * sizeof(roots[0]));
	n_roots = kept;
}

void state_reset(void)
{
	state_begin();
	state_forget_roots();
	memset(freed, 0, sizeof(freed));
	state_iommu(NULL, NULL, false);
}

void state_root(enum holder holder, uint64_t id, pa_t root)
{
	unsigned at = atomic_fetch_add(&n_roots, 1);

	assert(at < ROOTS);
	for (unsigned i = 0; i < at; i++) /* an mm that is gone had this page */
		if (roots[i].holder == holder && roots[i].root == root)
			roots[i].root = 0;
	roots[at].holder = holder;
	roots[at].id = id;
	roots[at].root = root;
}

void state_iommu(const struct iommu *of,
		 void (*each)(state_cached_fn *add, void *arg), bool is_exact)
{
	iommu = of;
	caches = each;
	exact = is_exact;
}

const char *state_caches(void)
{
	return !caches ? "none" : exact ? "exact" : "may";
}

/* ---- one snapshot ------------------------------------------------------- */

/* Load a word of memory that may belong to no object any more. */
static uint64_t load(pa_t pa)
{
	uint64_t v;

	__asm__ volatile("movq %1, %0"
			 : "=r"(v)
			 : "m"(*(const uint64_t *)phys_to_virt(pa)));
	return v;
}

static bool is_table(pa_t pa)
{
	pfn_t pfn = pa >> PAGE_SHIFT;

	return pfn && pfn < frames_end && page_kind(&frames[pfn]) == PAGE_TABLE;
}

static void add_cell(struct state *s, enum holder holder, uint64_t id,
		     va_t address, pa_t frame, uint8_t prot)
{
	if (s->n_cells == STATE_CELLS) {
		s->left_out++;
		return;
	}
	s->cells[s->n_cells++] = (struct state_cell){ holder, id, address,
						      frame & PAGE_MASK, prot };
}

/* Walk a tree of `levels` levels; return the leaf entry, or 0.  *rights: what all
 * levels grant so far, in the entry's bits. */
static uint64_t walk(const struct pt_format *f, pa_t table, unsigned levels,
		     va_t va, uint64_t *rights)
{
	for (unsigned level = levels; level--;) {
		unsigned shift = PAGE_SHIFT + PT_BITS * level;
		uint64_t e;

		if (!is_table(table))
			return 0;
		e = load(table + pt_index(va, level) * sizeof(e));
		*rights &= e;
		switch (pt_kind(f, e, level)) {
		case PT_HOLE:
			return 0;
		case PT_TABLE:
			table = pt_pa(e);
			break;
		case PT_LEAF:
			return e + (va & GENMASK(shift - 1, 0) & PAGE_MASK);
		}
	}
	return 0;
}

static void add_root(struct state *s, const struct root *r, va_t va)
{
	pa_t root = r->root;
	uint64_t rights = UINT64_MAX, e;

	if (!root)
		return;
	e = walk(&pt_x86_user, root, PT_USUAL, va, &rights);
	if (e)
		add_cell(s, r->holder, r->id, va, pt_pa(e),
			 (uint8_t)(PROT_R | (rights & PTE_W ? PROT_W : 0)));
}

static void add_device(struct state *s, uint16_t devid, va_t va)
{
	struct dte dte = iommu_get_dte(iommu, devid);
	unsigned levels = (unsigned)FIELD_GET(DTE0_MODE, dte.w[0]);
	uint64_t rights = dte.w[0], e;
	uint8_t prot;

	if ((dte.w[0] & (DTE0_V | DTE0_TV)) != (DTE0_V | DTE0_TV) || !levels ||
	    levels > PT_MAX_LEVELS)
		return;
	e = walk(&pt_amdv1, dte.w[0] & DTE0_ROOT, levels, va, &rights);
	prot = (uint8_t)((rights & AMDV1_IR ? PROT_R : 0) |
			 (rights & AMDV1_IW ? PROT_W : 0));
	if (e && prot)
		add_cell(s, HOLDER_DEVICE, devid, va, pt_pa(e), prot);
}

static void add_cached(enum holder holder, uint64_t id, iova_t iova,
		       unsigned shift, pa_t pa, uint8_t prot, void *arg)
{
	uint64_t va;

	for (unsigned i = 0; explain_nth(EXPLAIN_ADDRESS, i, &va); i++)
		if (shift < 64 && va - iova < BIT(shift))
			add_cell(arg, holder, id, va, pa + (va - iova), prot);
}

/* A checker that keeps a freed frame has it as the kernel's own. */
static bool is_free(pa_t frame, const struct page *page)
{
	if (!page_refs(page))
		return true;
	for (unsigned i = 0; i < FREED; i++)
		if (freed[i] == frame)
			return page_kind(page) == PAGE_KERNEL;
	return false;
}

static void add_frame(struct state *s, pa_t frame)
{
	pfn_t pfn = frame >> PAGE_SHIFT;
	bool gone;

	if (pfn >= frames_end)
		return;
	for (unsigned i = 0; i < s->n_frames; i++)
		if (s->frames[i].frame == frame)
			return;
	if (s->n_frames == STATE_FRAMES) {
		s->left_out++;
		return;
	}
	gone = is_free(frame, &frames[pfn]);
	s->frames[s->n_frames++] = (struct state_frame){
		.frame = frame,
		.refs = gone ? 0 : page_refs(&frames[pfn]),
		.kind = gone ? PAGE_FREE : page_kind(&frames[pfn]),
		.word = load(frame),
	};
}

void state_now(struct state *s)
{
	uint64_t flags = irq_save(), value;

	memset(s, 0, sizeof(*s));
	for (unsigned i = 0; explain_nth(EXPLAIN_ADDRESS, i, &value); i++) {
		uint64_t devid;

		for (unsigned k = 0; k < n_roots; k++)
			add_root(s, &roots[k], value);
		for (unsigned k = 0;
		     iommu && explain_nth(EXPLAIN_DEVICE, k, &devid); k++)
			add_device(s, (uint16_t)devid, value);
	}
	if (caches)
		caches(add_cached, s);
	for (unsigned i = 0; explain_nth(EXPLAIN_FRAME, i, &value); i++)
		add_frame(s, value);
	for (unsigned i = 0; i < s->n_cells; i++)
		add_frame(s, s->cells[i].frame);
	irq_restore(flags);
}

/* ---- of hits ------------------------------------------------------------ */

void state_step(const struct probe_hit *hit, const char *until)
{
	unsigned at = atomic_fetch_add(&n_taken, 1);

	if (at >= SNAPSHOTS)
		return;
	state_now(&taken[at].state);
	taken[at].hit = *hit;
	WRITE_ONCE(taken[at].until, until);
}

static void frame_freed(pa_t frame)
{
	freed[atomic_fetch_add(&n_freed, 1) % FREED] = frame;
	for (unsigned i = 0; i < n_roots; i++)
		if (roots[i].root == frame)
			roots[i].root = 0;
}

void state_hit(const struct probe_hit *hit)
{
	const char *name = hit->point->name;
	unsigned n = n_taken < SNAPSHOTS ? n_taken : SNAPSHOTS;

	if (!strcmp(name, "frame_free"))
		frame_freed(hit->a);
	for (unsigned i = 0; i < n; i++) {
		const char *until = READ_ONCE(taken[i].until);

		if (!until || taken[i].hit.thread != hit->thread ||
		    (*until && strcmp(until, name)))
			continue;
		state_now(&taken[i].state);
		taken[i].until = NULL;
	}
}

const struct state *state_of(const struct probe_hit *hit)
{
	unsigned n = n_taken < SNAPSHOTS ? n_taken : SNAPSHOTS;

	for (unsigned i = 0; i < n; i++)
		if (taken[i].hit.tsc == hit->tsc &&
		    taken[i].hit.cpu == hit->cpu &&
		    taken[i].hit.point == hit->point)
			return &taken[i].state;
	return NULL;
}
