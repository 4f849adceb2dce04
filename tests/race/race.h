/* SPDX-License-Identifier: MIT */
/*
 * race.h - a real device in a process's address space, and its notifier client
 *
 *   CR3 ──► the mm's tables ◄── DTE
 *
 * The device walks the CPU's own tables (pages A, B, C, D of the process are at
 * P(0) to P(3)); what it caches is flushed by a client of the notifier chain.
 * mm is always right; a client may be wrong: it flushes in the wrong callback,
 * or in none.  Every experiment is run twice, with a wrong client and a right
 * one, and the same steps; it checks what the process and the page's next owner
 * read.
 *
 * Hooks and sync points at probes (tests/fixture/mm/sync_point.h) run a step in
 * the middle of another.  Each thread has a CPU of its own if there are enough.
 * `explain` (explain.h) shows what threads do: they read and write with the
 * functions below.
 */
#pragma once

#include "iommu/sva/sva.h"
#include "tests/fixture/iommu/iommu_fixture.h"
#include "tests/fixture/mm/sync_point.h"
#include "tests/fixture/mm/victim.h"

/* ---- clients ------------------------------------------------------------ */

struct client {
	struct mmu_notifier mn; /* of a wrong client; else ops is NULL      */
	struct sva sva;         /* of the right client                      */
	struct iommu_fixture *s;
	struct mm *mm;
	struct domain *domain; /* shared: the mm's tree                     */
	unsigned dev;          /* its number in the fixture                 */
	bool attached;         /* (wrong client)                            */
	struct ppr *ppr; /* NULL: its requests are not served              */
	struct ppr_binding *binding; /* (wrong client)                      */
	struct mmu_notifier own; /* takes the device's own pages out of mm  */
};

/* Clients that flush in one callback only: the range that it names, and wait. */
extern const struct mmu_notifier_ops only_start, only_end, only_range;
/* Flushes leaf entries in invalidate_range(), without the directories. */
extern const struct mmu_notifier_ops only_leaves;
/* Flushes in invalidate_range(), the first page of the range. */
extern const struct mmu_notifier_ops only_first;
/* Flushes nowhere. */
extern const struct mmu_notifier_ops no_flush;

/* The kernel's own client, iommu/sva/sva.c, which flushes in invalidate_range(). */
#define SVA NULL

/* Attach device dev of the fixture to mm, and flush for it as ops say. */
void client_join(struct client *c, struct iommu_fixture *s, unsigned dev,
		 struct mm *mm, const struct mmu_notifier_ops *ops);
void client_leave(struct client *c);

/* The same for an endpoint.  Its page requests go to fault(c, ...); those of
 * SVA go to SVA's own function. */
void client_serve(struct client *c, struct iommu_fixture *s, unsigned dev,
		  struct mm *mm, const struct mmu_notifier_ops *ops,
		  ppr_fault_fn *fault);

/* Map the device's own pages in mm, which no client does; unmap them, which exit
 * does too. */
void client_lend(struct client *c, struct iommu_fixture *s, unsigned dev,
		 struct mm *mm);
void client_unlend(struct client *c);

/* Flush [start, end) from what the device has cached, and wait. */
void client_flush(struct client *c, va_t start, va_t end);

/* Let the device read (BLOCKED: it may not), and write. */
uint64_t device_reads(struct client *c, va_t va);
void device_writes(struct client *c, va_t va, uint64_t v);

/* ---- processes ---------------------------------------------------------- */

/* The names of the first pages. */
#define A P(0)
#define B P(1)
#define C P(2)
#define D P(3)

/* Load and store, shown as steps of the timeline. */
uint64_t cpu_reads(struct mm *mm, va_t va);
void cpu_writes(struct mm *mm, va_t va, uint64_t v);

/* Show this message, a constant string, as a step of the calling thread. */
void says(const char *words);

/* Create a process with n pages at A, each holding 10; name it and its pages. */
struct mm *process(unsigned n, const char *name);

/* Name the page at va of mm; return it, without a reference. */
struct page *name_page(struct mm *mm, va_t va, const char *name);

/* ---- threads ------------------------------------------------------------ */

/* Spawn a named thread on CPU n % cpu_count(). */
void go(struct task *t, unsigned n, const char *name, void (*fn)(void *arg),
	void *arg);

/* Spawn a named thread as above, and wait until it has ended. */
void done_by(unsigned n, const char *name, void (*fn)(void *arg), void *arg);
