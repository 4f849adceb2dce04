/* SPDX-License-Identifier: MIT */
/*
 * race.c - the device's door into an mm, clients, and processes
 *
 * A real LSI fetches its programs through the same door, so its own memory is
 * put into the process's tables, below everything that a process maps, as
 * entries that belong to no region.  They are there while the client is.
 */
#include "tests/race.h"
#include "arch/cpu.h"
#include "arch/smp.h"
#include "drivers/lsi.h"
#include "mm/entry.h"
#include "tests/explain.h"
#include "tests/oracle_device.h"
#include "tests/pri.h"

#define TAKES 200 /* frames that may be free before the one that we want   */

/* ---- the door ----------------------------------------------------------- */

/* Entries for the engine's own memory: there, or not. */
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

/* Who came first is asked last: the device is denied by then, or should be. */
void client_lend(struct client *c, struct stand *s, unsigned dev, struct mm *mm)
{
	static const struct mmu_notifier_ops ops = { .release = own_release };

	*c = (struct client){ .s = s, .mm = mm, .dev = dev, .own.ops = &ops };
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
		oracles_forgive();
		join_wrong(c, flags, fault);
	} else {
		REQUIRE(!sva_bind(&c->sva, c->s->iommu, c->ppr,
				  c->s->devid[c->dev], flags, c->mm));
		c->domain = c->sva.door.domain;
	}
	explain_name(EXPLAIN_DOMAIN, c->domain->id, c->dev ? "d1" : "d0");
}

void client_join(struct client *c, struct stand *s, unsigned dev, struct mm *mm,
		 const struct mmu_notifier_ops *ops)
{
	client_lend(c, s, dev, mm);
	join_as(c, ops, 0, NULL);
}

void client_serve(struct client *c, struct stand *s, unsigned dev,
		  struct mm *mm, const struct mmu_notifier_ops *ops,
		  ppr_fault_fn *fault)
{
	client_lend(c, s, dev, mm);
	pri_open(s);
	if (s->model)
		model_set_ats(s->model, s->devid[dev], MODEL_ATS_ON);
	c->ppr = stand_ppr(s);
	join_as(c, ops, ATTACH_PPR | ATTACH_ATS, fault);
}

/* Once: now, or when the mm goes. */
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
	return stand_read(c->s, c->dev, va);
}

void device_writes(struct client *c, va_t va, uint64_t v)
{
	stand_write(c->s, c->dev, va, v);
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
}

void says(const char *words)
{
	PROBE(cpu_says, words, 0);
}

struct mm *process(unsigned n, const char *name)
{
	static const char *const pages[] = { "A", "B", "C", "D" };
	struct mm *mm = world(n);

	for (unsigned i = 0; i < n; i++)
		EXPECT_EQ(wr(mm, P(i), 10), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++)
		explain_name(EXPLAIN_ADDRESS, P(i), pages[i]);
	explain_name(EXPLAIN_MM, (uint64_t)mm, name);
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

void victim_begin(struct victim *v)
{
	v->mm = world(TAKES);
	EXPECT_EQ(wr(v->mm, P(0), 77), 0);
}

void take(struct victim *v, struct page *page)
{
	canary_release(); /* O1 would keep the page for a while */
	for (unsigned i = 1; i < TAKES; i++) {
		struct page *got;

		v->va = P(i);
		EXPECT_EQ(wr(v->mm, v->va, 77), 0);
		got = page_at(v->mm, v->va);
		if (got)
			page_put(got);
		if (got == page) {
			says("page 1 is another's, 77");
			return;
		}
	}
	test_fail(__FILE__, __LINE__, "the page that was freed does not come");
}

uint64_t victim_reads(const struct victim *v)
{
	uint64_t value = rd(v->mm, v->va);

	PROBE(victim_read, v->va, value);
	return value;
}

void victim_end(struct victim *v)
{
	mm_put(v->mm);
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
