/* SPDX-License-Identifier: MIT */
/*
 * race.c - attach a device to an mm; clients, processes and threads
 *
 * A real LSI fetches its programs through the same page table, so its own memory
 * is entered there, below everything that a process maps, as entries that belong
 * to no region.  They exist as long as the client.
 */
#include "tests/race/race.h"
#include "arch/cpu.h"
#include "arch/smp.h"
#include "drivers/lsi.h"
#include "mm/core/entry.h"
#include "tests/checker/device_checker.h"
#include "tests/fixture/iommu/pri.h"
#include "tests/timeline/explain.h"

/* ---- attach and detach -------------------------------------------------- */

/* Set or clear the entries of the engine's own memory. */
static void own_memory(struct client *c, bool there)
{
	struct dma_own *own;
	struct pt *pt = &c->mm->pt;

	if (c->s->model)
		return;
	own = &lsi_at(c->dev)->engine.own;
	for (uint64_t at = 0; at < own->len; at += PAGE_SIZE) {
		uint64_t *slot = pt_slot(pt, own->bus + at, 0, there);

		REQUIRE(slot && own->bus + own->len < VA);
		spin_lock(&c->mm->pt_lock);
		pt_set(pt, slot,
		       there ? (own->pa + at) | PTE_P | PTE_NX | ENTRY_IR |
				       ENTRY_IW
			     : 0);
		spin_unlock(&c->mm->pt_lock);
	}
}

static void own_release(struct mmu_notifier *mn, struct mm *mm)
{
	own_memory(container_of(mn, struct client, own), false);
}

/* release() of the oldest notifier is called last: the device has been denied by
 * then, or should have been. */
void client_lend(struct client *c, struct iommu_fixture *s, unsigned dev,
		 struct mm *mm)
{
	static const struct mmu_notifier_ops ops = { .release = own_release };

	*c = (struct client){ .s = s, .mm = mm, .dev = dev, .own.ops = &ops };
	fixture_may_be_refused(s, dev); /* of two clients one may be blocked */
	own_memory(c, true);
	REQUIRE(!mmu_notifier_register(&c->own, mm));
}

void client_unlend(struct client *c)
{
	mmu_notifier_unregister(&c->own);
}

static void join_wrong(struct client *c, unsigned flags, ppr_fault_fn *fault)
{
	uint16_t devid = c->s->devid[c->dev];

	c->domain = domain_create_shared(c->s->iommu, c->mm->pt.root, USER_END);
	REQUIRE(c->domain);
	if (c->ppr)
		REQUIRE(!ppr_bind(c->ppr, devid, PPR_NO_PASID, fault, c,
				  &c->binding));
	REQUIRE(!mmu_notifier_register(&c->mn, c->mm));
	REQUIRE(!domain_attach(c->domain, devid, flags));
	c->attached = true;
}

static void join_as(struct client *c, const struct mmu_notifier_ops *ops,
		    unsigned flags, ppr_fault_fn *fault)
{
	c->mn.ops = ops;
	if (ops) {
		device_checkers_allow_errors();
		join_wrong(c, flags, fault);
	} else {
		REQUIRE(!sva_bind(&c->sva, c->s->iommu, c->ppr,
				  c->s->devid[c->dev], flags, c->mm));
		c->domain = c->sva.binding.domain;
	}
	explain_name(EXPLAIN_DOMAIN, c->domain->id, c->dev ? "d1" : "d0");
}

void client_join(struct client *c, struct iommu_fixture *s, unsigned dev,
		 struct mm *mm, const struct mmu_notifier_ops *ops)
{
	client_lend(c, s, dev, mm);
	join_as(c, ops, 0, NULL);
}

void client_serve(struct client *c, struct iommu_fixture *s, unsigned dev,
		  struct mm *mm, const struct mmu_notifier_ops *ops,
		  ppr_fault_fn *fault)
{
	client_lend(c, s, dev, mm);
	pri_open(s);
	if (s->model)
		model_set_ats(s->model, s->devid[dev], MODEL_ATS_ON);
	c->ppr = fixture_ppr(s);
	join_as(c, ops, ATTACH_PPR | ATTACH_ATS, fault);
}

/* Detach a wrong client's device, if that has not been done. */
static void detach(struct client *c)
{
	if (c->attached)
		REQUIRE(!domain_detach(c->domain, c->s->devid[c->dev]));
	c->attached = false;
}

void client_leave(struct client *c)
{
	if (c->mn.ops) {
		detach(c);
		if (c->ppr)
			ppr_unbind(c->ppr, c->binding);
		mmu_notifier_unregister(&c->mn);
		domain_destroy(c->domain);
	} else {
		sva_unbind(&c->sva);
	}
	client_unlend(c);
}

void client_flush(struct client *c, va_t start, va_t end)
{
	REQUIRE(!domain_flush(c->domain, start, end));
}

uint64_t device_reads(struct client *c, va_t va)
{
	return fixture_read(c->s, c->dev, va);
}

void device_writes(struct client *c, va_t va, uint64_t v)
{
	fixture_write(c->s, c->dev, va, v);
}

/* ---- clients ------------------------------------------------------------ */

static struct client *of(struct mmu_notifier *mn)
{
	return container_of(mn, struct client, mn);
}

static int start(struct mmu_notifier *mn,
		 const struct mmu_notifier_range *range)
{
	client_flush(of(mn), range->start, range->end);
	return 0;
}

static void end(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	client_flush(of(mn), range->start, range->end);
}

static void range(struct mmu_notifier *mn, struct mm *mm, va_t from, va_t to)
{
	client_flush(of(mn), from, to);
}

static void first(struct mmu_notifier *mn, struct mm *mm, va_t from, va_t to)
{
	client_flush(of(mn), from, from + PAGE_SIZE);
}

static void leaves(struct mmu_notifier *mn, struct mm *mm, va_t from, va_t to)
{
	struct client *c = of(mn);
	struct command command = command_invalidate_iommu_pages(
		c->domain->id, command_range(from, to), false);

	fixture_run_commands(c->s, &command, 1);
}

const struct mmu_notifier_ops no_flush = { 0 };
const struct mmu_notifier_ops only_first = { .invalidate_range = first };
const struct mmu_notifier_ops only_leaves = { .invalidate_range = leaves };
const struct mmu_notifier_ops only_range = { .invalidate_range = range };
const struct mmu_notifier_ops only_start = { .invalidate_range_start = start };
const struct mmu_notifier_ops only_end = { .invalidate_range_end = end };

/* ---- processes ---------------------------------------------------------- */

uint64_t cpu_reads(struct mm *mm, va_t va)
{
	uint64_t v = rd(mm, va);

	PROBE(cpu_read, va, v);
	return v;
}

void cpu_writes(struct mm *mm, va_t va, uint64_t v)
{
	PROBE(cpu_write, va, v);
	EXPECT_EQ(wr(mm, va, v), 0);
	PROBE(cpu_wrote, va, v); /* for snapshots (state.h) */
}

void says(const char *words)
{
	PROBE(cpu_says, words, 0);
}

struct mm *process(unsigned n, const char *name)
{
	static const char *const pages[] = { "A", "B", "C", "D" };
	struct mm *mm = mm_fixture(n);

	for (unsigned i = 0; i < n; i++)
		EXPECT_EQ(wr(mm, P(i), 10), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++)
		explain_name(EXPLAIN_ADDRESS, P(i), pages[i]);
	explain_mm(mm, name);
	explain_thread("T");
	return mm;
}

struct page *name_page(struct mm *mm, va_t va, const char *name)
{
	struct page *page = page_at(mm, va);

	REQUIRE(page);
	explain_name(EXPLAIN_FRAME, page_pa(page), name);
	page_put(page);
	return page;
}

/* ---- threads ------------------------------------------------------------ */

void go(struct task *t, unsigned n, const char *name, void (*fn)(void *arg),
	void *arg)
{
	spawn_on(t, BIT(n % cpu_count()), fn, arg);
	explain_name(EXPLAIN_THREAD, t->thread->id, name);
}

void done_by(unsigned n, const char *name, void (*fn)(void *arg), void *arg)
{
	struct task t;

	go(&t, n, name, fn, arg);
	join(&t);
}
