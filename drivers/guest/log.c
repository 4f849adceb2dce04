/* SPDX-License-Identifier: MIT */
/*
 * log.c - begin, read and end a log of written pages
 *
 *   GUEST_LOG_W                              GUEST_LOG_D
 *   write: no W, fault, bit, W               write: the CPU sets D
 *   read:  W off, kick, take bits            read:  D off and bit, kick, take bits
 *
 * The kick comes before the caller copies a page.  Without it a CPU in guest mode
 * still has the translation with W, or with D set, and writes on without a fault or
 * a D: the write is after the copy, and in no log.
 *
 * A leaf of 2 MiB goes when a log of a part of it begins: none comes back before its end.
 *
 * A page that leaves the nested table takes its D along into the log.  The log says
 * what the guest writes; other writers say so themselves (guest_log_mark()).
 */
#include "drivers/guest/log.h"
#include "kernel/err.h"
#include "kernel/string.h"
#include "mm/frame/page.h"

/* Move D from an entry to its page and the log. */
static void take_d(struct guest *g, gpa_t gpa, uint64_t *entry)
{
	uint64_t old = pte_read(entry);

	if (!(old & PTE_D))
		return;
	pte_and(entry, ~PTE_D); //: log-take-d
	page_part_set_dirty(page_of_pa(pt_pa(old)));
	log_set(g, GUEST_LOG_D, gpa);
}

/* Make the next write of each page noticed.  Context: g->shadow.lock held. */
static void arm(struct guest *g)
{
	const struct guest_log *log = g->log;
	gpa_t at = log->gpa, end = log->gpa + log->bytes;
	struct pt_run run;

	require(spin_held(&g->shadow.lock));
	while (pt_next_run(&g->pt, &at, end, &run)) {
		if (run.level) { //: log-small
			g->form->empty(g, run.va, run.va + pt_span(1));
			continue;
		}
		for (unsigned i = pt_next_live(run.slots, 0, run.count);
		     i < run.count;
		     i = pt_next_live(run.slots, i + 1, run.count))
			if (log->by == GUEST_LOG_W)
				pte_and(&run.slots[i], ~PTE_W); //: log-no-w
			else
				take_d(g, run.va + i * PAGE_SIZE,
				       &run.slots[i]);
	}
	guest_kick(g); //: log-kick
}

static bool range_logged(const struct guest_log *log)
{
	return log->bytes && IS_ALIGNED(log->gpa | log->bytes, PAGE_SIZE) &&
	       log->bytes <= SVM_PA_END && log->gpa <= SVM_PA_END - log->bytes;
}

int guest_log_start(struct guest *g, struct guest_log *log)
{
	bool busy;

	require(may_sleep());
	if (g->form != &guest_own)
		return err(EOPNOTSUPP);
	if (!range_logged(log))
		return err(EINVAL);
	spin_lock(&g->shadow.lock);
	busy = g->log;
	if (!busy) {
		g->log = log;
		arm(g);
	}
	spin_unlock(&g->shadow.lock);
	return busy ? err(EBUSY) : 0;
}

/* Entries without W stay so until the guest faults. */
void guest_log_stop(struct guest *g)
{
	require(may_sleep());
	spin_lock(&g->shadow.lock);
	assert(g->log);
	g->log = NULL;
	spin_unlock(&g->shadow.lock);
}

void guest_log_read(struct guest *g, uint64_t *bits)
{
	size_t n;

	require(may_sleep());
	spin_lock(&g->shadow.lock);
	assert(g->log);
	n = 8 * GUEST_LOG_WORDS(g->log->bytes);
	arm(g);
	memcpy(bits, g->log->bits, n);
	memset(g->log->bits, 0, n);
	spin_unlock(&g->shadow.lock);
}

void guest_log_mark(struct guest *g, gpa_t gpa)
{
	spin_lock(&g->shadow.lock);
	log_set(g, GUEST_LOG_W, gpa);
	log_set(g, GUEST_LOG_D, gpa);
	spin_unlock(&g->shadow.lock);
}
