/* SPDX-License-Identifier: MIT */
/*
 * mirror.c - fill by faults, empty by windows, and the race between the two
 *
 *   who faults                               who changes the mm
 *
 *   wait until no window is open over va     start: count++          |lock
 *   and remember the sequence     |lock             empty the range
 *   mm_fault(): the CPU has it               ... the entry changes ...
 *   look at the CPU's entry                  end:   sequence++       |lock
 *   no window, same sequence?     |lock             count--          |
 *       make ours                 |
 *   otherwise all over again
 *
 * The copy of an entry is old when it is made.  It is true all the same if no
 * window over it was open at any time since the sequence was read: every change
 * that takes a page or a right has one (mm/MMU_NOTIFIER.md), and one that opens
 * later finds our entry, because it empties the range behind the same lock.
 * What is given without a window (first touch, W regained) makes ours at most
 * too weak, and the device faults again.
 *
 * No page is held: between look and entry it is the CPU's entry that holds it.
 *
 * Locks: mm->pt_lock (aging) > mirror->lock > domain->lock.
 */
#include "iommu/mirror.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "mm/entry.h"

static struct mirror *of(struct mmu_notifier *mn)
{
	return container_of(mn, struct mirror, mn);
}

/* The IOMMU must confirm: nobody here can be told to keep the page. */
static void empty(struct mirror *m, va_t start, va_t end)
{
	if (domain_unmap(m->door.domain, start, end))
		panic("mirror: device %x does not forget %lx-%lx",
		      m->door.devid, start, end);
}

/* ---- windows ------------------------------------------------------------ */

static bool changing(const struct mirror *m, va_t va)
{
	return m->active && va >= m->from && va < m->to;
}

/* Several windows at once are taken for one that spans them all, until the last
 * is closed: faults in between only wait a little longer. */
static int invalidate_range_start(struct mmu_notifier *mn,
				  const struct mmu_notifier_range *range)
{
	struct mirror *m = of(mn);

	spin_lock(&m->lock);
	if (!m->active || range->start < m->from)
		m->from = range->start;
	if (!m->active || range->end > m->to)
		m->to = range->end;
	m->active++;
	spin_unlock(&m->lock);
	PROBE(mirror_closed, m, range->start);
	empty(m, range->start, range->end); //: mirror-start
	return 0;
}

/* Who looked before the change and comes now finds the count or the sequence:
 * never neither (B21). */
static void invalidate_range_end(struct mmu_notifier *mn,
				 const struct mmu_notifier_range *range)
{
	struct mirror *m = of(mn);

	spin_lock(&m->lock);
	assert(m->active > 0);
	m->seq++;
	m->active--;
	spin_unlock(&m->lock);
	wake_all(&m->idle);
}

/* ---- aging -------------------------------------------------------------- */

/* Nothing says whether the device has used an entry: that it has one is taken
 * for use.  Context: pt_lock held. */
static bool test_young(struct mmu_notifier *mn, struct mm *mm, va_t va)
{
	enum prot prot;
	pa_t pa;

	return domain_lookup(of(mn)->door.domain, va, &pa, &prot);
}

/* And to see the next use it must fault again. */
static bool clear_flush_young(struct mmu_notifier *mn, struct mm *mm,
			      va_t start, va_t end)
{
	struct mirror *m = of(mn);
	bool young = false;

	spin_lock(&m->lock);
	for (va_t va = start; va < end && !young; va += PAGE_SIZE)
		young = test_young(mn, mm, va);
	if (young)
		empty(m, start, end);
	spin_unlock(&m->lock);
	return young;
}

/* ---- the end ------------------------------------------------------------ */

/* What a fault still makes behind this, nobody walks. */
static void release(struct mmu_notifier *mn, struct mm *mm)
{
	admission_deny(&of(mn)->door);
}

static const struct mmu_notifier_ops ops = {
	.release = release,
	.clear_flush_young = clear_flush_young,
	.clear_young = clear_flush_young,
	.test_young = test_young,
	.invalidate_range_start = invalidate_range_start,
	.invalidate_range_end = invalidate_range_end,
};

/* ---- faults ------------------------------------------------------------- */

/* May entries be made of what is seen from now on?  Takes the sequence. */
static bool begin(struct mirror *m, va_t va, uint64_t *seq)
{
	bool ready;

	spin_lock(&m->lock);
	ready = !changing(m, va);
	*seq = m->seq;
	spin_unlock(&m->lock);
	return ready;
}

/* What the CPU's table says now: rights that a device may have, or none. */
static enum prot look(struct mm *mm, va_t va, uint64_t *entry)
{
	uint64_t *slot;

	spin_lock(&mm->pt_lock);
	slot = pt_slot(&mm->pt, va, 0, false);
	*entry = slot ? pte_read(slot) : 0;
	spin_unlock(&mm->pt_lock);
	if (!(*entry & PTE_P))
		return PROT_NONE;
	return *entry & PTE_W ? PROT_R | PROT_W : PROT_R;
}

/* Nothing is there, or the same page with fewer rights.  Context: lock held. */
static int make(struct mirror *m, va_t va, uint64_t entry, enum prot prot)
{
	struct domain *d = m->door.domain;
	enum prot old;
	pa_t pa;

	if (prot & PROT_W)
		page_set_dirty(entry_page(entry));
	if (!domain_lookup(d, va, &pa, &old))
		return domain_map(d, va, pt_pa(entry), PAGE_SIZE, prot);
	assert(pa == pt_pa(entry));
	if ((old & prot) == prot)
		return 0;
	return domain_protect(d, va, va + PAGE_SIZE, prot);
}

/* One attempt.  -EAGAIN: what we saw may not be true any more. */
static int fault(struct mirror *m, va_t va, enum prot access)
{
	struct mm *mm = m->mn.mm;
	uint64_t seq, entry;
	enum prot prot;
	int error;

	wait_event(&m->idle, begin(m, va, &seq));
	error = mm_fault(mm, va, access);
	if (error)
		return error;
	prot = look(mm, va, &entry);
	PROBE(mirror_looked, m, va);
	spin_lock(&m->lock);
	m->faults++;
	if (changing(m, va) || seq != m->seq || (prot & access) != access)
		error = -EAGAIN;
	else
		error = make(m, va, entry, prot); //: mirror-make
	m->retries += error == -EAGAIN;
	spin_unlock(&m->lock);
	return error;
}

int mirror_fault(struct mirror *m, va_t va, enum prot access)
{
	struct mm *mm = m->mn.mm;
	int error;

	assert(access == PROT_R || access == PROT_W);
	if (va >= USER_END || !mm_try_get(mm))
		return err(EFAULT);
	while ((error = fault(m, va & PAGE_MASK, access)) == -EAGAIN)
		;
	mm_put(mm);
	return error;
}

static int door_fault(struct admission *door, va_t va, enum prot access)
{
	return mirror_fault(container_of(door, struct mirror, door), va,
			    access);
}

/* ---- binding ------------------------------------------------------------ */

int mirror_bind(struct mirror *m, struct iommu *iommu, struct ppr *ppr,
		uint16_t devid, unsigned flags, struct mm *mm)
{
	struct domain *d = domain_create(iommu);

	if (!d)
		return err(ENOMEM);
	*m = (struct mirror){ .mn = { .ops = &ops },
			      .door = { .domain = d,
					.mn = &m->mn,
					.devid = devid,
					.flags = flags,
					.ppr = ppr,
					.fault = door_fault } };
	spin_init(&m->lock, RANK_MIRROR, "mirror");
	waitq_init(&m->idle);
	return admission_open(&m->door, mm);
}

void mirror_unbind(struct mirror *m)
{
	admission_close(&m->door);
}
