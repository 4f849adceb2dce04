/* SPDX-License-Identifier: MIT */
/*
 * race.h - a real device in a process's address space, and who listens for it
 *
 *   CR3 ──► the mm's tables ◄── DTE
 *
 * The device walks the CPU's own tables (pages A, B, C, D of the process are at
 * P(0) to P(3)); what it caches is flushed by a client of the notifier chain.
 * mm is right; a client may be wrong: it flushes in the wrong callback, or in
 * none.  Every experiment is done twice, by a wrong client and a right one, with
 * the same steps, and tells what the process, and whoever got its page, read.
 *
 * Steps are made in the middle of others' by hooks and gates at probes (gate.h),
 * by threads that each have a CPU of their own as far as there are so many.
 * What they do is shown by `explain` (explain.h): they read and write by the
 * functions below.
 */
#pragma once

#include "iommu/sva.h"
#include "tests/gate.h"
#include "tests/stand.h"

/* ---- clients ------------------------------------------------------------ */

struct client {
	struct mmu_notifier mn; /* of one that is wrong; else ops is NULL   */
	struct sva sva;         /* of the one that is right                 */
	struct stand *s;
	struct mm *mm;
	struct domain *domain; /* shared: the mm's tree                     */
	unsigned dev;          /* of the stand                              */
	bool attached;         /* (wrong)                                   */
	struct ppr *ppr; /* NULL: its requests are not served              */
	struct ppr_binding *binding; /* (wrong)                             */
	struct mmu_notifier own; /* takes the device's own pages out of mm  */
};

/* Who flushes where: what the callback names, and waits for it. */
extern const struct mmu_notifier_ops only_start, only_end, only_range;

/* The kernel's own client, iommu/sva.c, which flushes in invalidate_range(). */
#define SVA NULL

/* Let device dev of the stand into mm, and flush for it as ops say. */
void client_join(struct client *c, struct stand *s, unsigned dev, struct mm *mm,
		 const struct mmu_notifier_ops *ops);
void client_leave(struct client *c);

/* The same for an endpoint, whose page requests go to fault(c, ...), of SVA to
 * its own. */
void client_serve(struct client *c, struct stand *s, unsigned dev,
		  struct mm *mm, const struct mmu_notifier_ops *ops,
		  ppr_fault_fn *fault);

/* Put the device's own pages into mm, which no client does; out of it again,
 * which exit does too. */
void client_lend(struct client *c, struct stand *s, unsigned dev,
		 struct mm *mm);
void client_unlend(struct client *c);

/* Have the device forget [start, end), and wait. */
void client_flush(struct client *c, va_t start, va_t end);

/* What the device reads, BLOCKED if it may not; what it writes. */
uint64_t device_reads(struct client *c, va_t va);
void device_writes(struct client *c, va_t va, uint64_t v);

/* ---- processes ---------------------------------------------------------- */

/* The names of the first pages. */
#define A P(0)
#define B P(1)
#define C P(2)
#define D P(3)

/* Loads and stores that are shown. */
uint64_t cpu_reads(struct mm *mm, va_t va);
void cpu_writes(struct mm *mm, va_t va, uint64_t v);

/* Show these words, which are a constant, as a step of the caller. */
void says(const char *words);

/* A process with n pages at A, each holding 10; they and it get their names. */
struct mm *process(unsigned n, const char *name);

/* Call the page at va of mm name; returns it, without a reference. */
struct page *name_page(struct mm *mm, va_t va, const char *name);

/*
 * Another process, that gets a page which was freed as one of its own, and
 * writes 77 there.  It is there before, so that the page does not become one of
 * its tables.  take(): on the CPU that freed it.
 */
struct victim {
	struct mm *mm;
	va_t va;
};
void victim_begin(struct victim *v);
void take(struct victim *v, struct page *page);
uint64_t victim_reads(const struct victim *v);
void victim_end(struct victim *v);

/* ---- threads ------------------------------------------------------------ */

/* As spawn(), named, on CPU n, or on the same as n - cpu_count(). */
void go(struct task *t, unsigned n, const char *name, void (*fn)(void *arg),
	void *arg);

/* go() and join(). */
void done_by(unsigned n, const char *name, void (*fn)(void *arg), void *arg);
