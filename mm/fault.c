/* SPDX-License-Identifier: MIT */
/*
 * fault.c - keep a region's promise for one page
 *
 *   entry      read fault          write fault
 *   hole       zero page, r/o      fresh zeroed page
 *   zero page  -                   fresh zeroed page
 *   shared     -                   copy                  (COW)
 *   exclusive  -                   reuse: gains W
 *   parked     mapped again        mapped again, then as above
 *   object     the object's page   the object's page
 *
 * Each handler is entered with pt_lock held and leaves with it dropped.  One
 * that allocates drops it meanwhile, takes it again and looks whether the entry
 * is still what it was; if not, -EAGAIN starts over.  Slots stay where they
 * are: tables go only with mm->lock held to write.
 */
#include "mm/fault.h"
#include "arch/trap.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "kernel/thread.h"
#include "mm/entry.h"
#include "mm/gather.h"
#include "mm/ksm.h"
#include "mm/mm_priv.h"

enum want {
	WANT_READ,
	WANT_WRITE,
	WANT_UNSHARE
};

struct fault {
	struct mm *mm;
	struct region *region;
	va_t va; /* of the page */
	enum want want;
	uint64_t *slot;
	uint64_t entry; /* what was at slot when we looked */
};

/* Did somebody else change the entry?  What the CPU sets does not count. */
static bool fault_lost(const struct fault *f)
{
	return (pte_read(f->slot) ^ f->entry) & ~(PTE_A | PTE_D);
}

/* The used bits of an entry that is about to be used. */
static uint64_t fault_bits(const struct fault *f)
{
	return f->want == WANT_WRITE ? PTE_A | PTE_D : PTE_A;
}

/* The CPU that faulted has no stale translation left, and others walk again:
 * only other MMUs are told.  //: upgrade-tells-others */
static void entry_upgrade(struct fault *f, uint64_t bits)
{
	pte_or(f->slot, bits);
	PROBE(pte_upgrade, f->mm, f->va);
	tlb_upgrade_range(f->mm, f->va, f->va + PAGE_SIZE);
}

/* The page at va is to be replaced.  Context: without pt_lock. */
static void replace_start(struct fault *f, struct mmu_notifier_range *range)
{
	mmu_notifier_range_init(range, MMU_NOTIFY_CLEAR, f->mm, f->va,
				f->va + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(range);
}

/* Make page, new and ours, the region's at va: what its entry will be. */
static uint64_t adopt(const struct fault *f, struct page *page)
{
	page_set_anon(page, f->region, f->va);
	page_ref_to_map(page);
	/* Dirty, whoever asked for it: its content is nowhere else. */
	return entry_make(page, f->region->prot) | PTE_A | PTE_D;
}

/*
 * Put page where the zero page (old NULL) or old was: clear, tell, set, so that
 * nobody sees the new one while another sees the old.  Takes the reference on
 * page.  Context: without pt_lock.
 */
static int replace(struct fault *f, struct page *page, struct page *old)
{
	struct mmu_notifier_range range;
	struct mm *mm = f->mm;
	bool lost;

	replace_start(f, &range);
	spin_lock(&mm->pt_lock);
	lost = fault_lost(f);
	if (likely(!lost)) {
		uint64_t e = adopt(f, page), was;

		was = pte_xchg(f->slot, 0);
		PROBE(pte_clear, mm, f->va);
		tlb_flush_range_notify(mm, f->va, f->va + PAGE_SIZE);
		if (unlikely(mm_has_notifiers(mm)))
			mmu_notifier_change_pte(mm, f->va, e);
		pte_write(f->slot, e);
		PROBE(pte_set, mm, f->va);
		if (old) {
			page_map_drop(old);
		} else {
			mm->mapped++;
			if (was & PTE_D)
				ksm_zero_count(-1);
		}
	}
	spin_unlock(&mm->pt_lock);
	PROBE(unptl, mm, f->va);
	mmu_notifier_invalidate_range_only_end(&range);
	if (unlikely(lost))
		page_put(page);
	return lost ? -EAGAIN : 0;
}

/* Nothing is there.  Context: without pt_lock. */
static int fault_new(struct fault *f)
{
	struct mm *mm = f->mm;
	struct page *page = page_alloc_zeroed();

	if (!page)
		return err(ENOMEM);
	PROBE(fault_fresh, mm, f->va);
	spin_lock(&mm->pt_lock);
	if (unlikely(fault_lost(f))) {
		spin_unlock(&mm->pt_lock);
		page_put(page);
		return -EAGAIN;
	}
	pt_count(&mm->pt, f->slot, 1);
	mm->mapped++;
	pte_write(f->slot, adopt(f, page));
	PROBE(pte_set, mm, f->va);
	spin_unlock(&mm->pt_lock);
	return 0;
}

/* The zero page is there, to be written. */
static int fault_unzero(struct fault *f)
{
	struct page *page;

	spin_unlock(&f->mm->pt_lock);
	page = page_alloc_zeroed();
	return page ? replace(f, page, NULL) : err(ENOMEM);
}

static int fault_fresh(struct fault *f)
{
	spin_unlock(&f->mm->pt_lock);
	return fault_new(f);
}

static int fault_zero(struct fault *f)
{
	pt_set(&f->mm->pt, f->slot,
	       page_pa(zero_page) | entry_rights(f->region->prot, false) |
		       PTE_A);
	PROBE(pte_set, f->mm, f->va);
	spin_unlock(&f->mm->pt_lock);
	return 0;
}

/* Linux: wp_page_copy().  //: cow-copy */
static int fault_copy(struct fault *f, struct page *old)
{
	struct mm *mm = f->mm;
	struct page *page;
	int ret;

	page_get(old); /* it must not change or go while we read it */
	spin_unlock(&mm->pt_lock);
	page = page_alloc();
	if (page) {
		page_copy(page, old);
		PROBE(cow_copied, mm, f->va);
		ret = replace(f, page, old);
	} else {
		ret = err(ENOMEM);
	}
	page_put(old); /* not before the end: B11 */
	return ret;
}

/*
 * May the page become ours alone?  Only if our entry is the only reference:
 * a mapping count of 1 is not enough, somebody may hold a pin from when it was
 * shared (CVE-2020-29374).  Linux: do_wp_page().
 */
static bool page_make_exclusive(struct page *page)
{
	if (page_count(page) != PAGE_MAP)
		return false;
	if (page_kind(page) == PAGE_KSM)
		return false; /* its content is what others look for */
	page_set_exclusive(page);
	return true;
}

static int fault_mapped(struct fault *f)
{
	struct page *page = entry_page(f->entry);

	if (f->want == WANT_READ ||
	    (f->want == WANT_WRITE && (f->entry & PTE_W))) {
		/* Somebody was faster, or the CPU's translation was stale. */
		pte_or(f->slot, fault_bits(f));
		spin_unlock(&f->mm->pt_lock);
		return 0;
	}
	if (page == zero_page)
		return fault_unzero(f);
	if (!page_exclusive(page) && !page_make_exclusive(page))
		return fault_copy(f, page);
	if (f->want == WANT_WRITE)
		entry_upgrade(f, ENTRY_W | fault_bits(f));
	spin_unlock(&f->mm->pt_lock);
	return 0;
}

static int fault_parked(struct fault *f)
{
	struct page *page = entry_page(f->entry);

	page_ref_to_map(page);
	f->mm->mapped++;
	pte_write(f->slot, entry_make(page, f->region->prot) |
				   (page_test(page, PG_DIRTY) ? PTE_D : 0));
	PROBE(pte_set, f->mm, f->va);
	spin_unlock(&f->mm->pt_lock);
	return -EAGAIN; /* it maps, but perhaps not enough */
}

static int fault_object(struct fault *f)
{
	struct region *r = f->region;
	struct mm *mm = f->mm;
	struct page *page;

	spin_unlock(&mm->pt_lock);
	page = object_page(r->object, region_pgoff(r, f->va));
	if (!page)
		return err(ENOMEM);
	spin_lock(&mm->pt_lock);
	if (fault_lost(f)) {
		spin_unlock(&mm->pt_lock);
		page_put(page);
		return -EAGAIN;
	}
	page_ref_to_map(page);
	pt_set(&mm->pt, f->slot, entry_make(page, r->prot) | fault_bits(f));
	mm->mapped++;
	PROBE(pte_set, mm, f->va);
	spin_unlock(&mm->pt_lock);
	return 0;
}

static int fault_page(struct fault *f)
{
	struct mm *mm = f->mm;

	/* A first write allocates anyway, and looks again after that: the look
	 * before it needs no lock. */
	f->slot = pt_slot(&mm->pt, f->va, 0, false);
	if (f->slot && f->want == WANT_WRITE && !f->region->object) {
		f->entry = pte_read(f->slot);
		if (!f->entry)
			return fault_new(f);
	}
	spin_lock(&mm->pt_lock);
	if (!f->slot)
		f->slot = pt_slot(&mm->pt, f->va, 0, true);
	if (!f->slot) {
		spin_unlock(&mm->pt_lock);
		return err(ENOMEM);
	}
	f->entry = pte_read(f->slot);
	if (f->entry & PTE_P)
		return fault_mapped(f);
	if (f->entry)
		return fault_parked(f);
	if (f->region->object)
		return fault_object(f);
	return f->want == WANT_READ ? fault_zero(f) : fault_fresh(f);
}

static int fault_in(struct mm *mm, va_t va, enum prot access, enum want want)
{
	struct fault f = { .mm = mm, .va = va & PAGE_MASK, .want = want };
	int ret;

	rw_read_lock(&mm->lock);
	f.region = region_find(mm, va);
	if (!f.region || (f.region->prot & access) != access || !f.region->prot)
		ret = err(EFAULT);
	else
		while ((ret = fault_page(&f)) == -EAGAIN)
			;
	rw_read_unlock(&mm->lock);
	return ret;
}

int mm_fault(struct mm *mm, va_t va, enum prot access)
{
	return fault_in(mm, va, access,
			access & PROT_W ? WANT_WRITE : WANT_READ);
}

int mm_fault_unshare(struct mm *mm, va_t va)
{
	return fault_in(mm, va, PROT_R, WANT_UNSHARE);
}

/* fault_copy() without a fault, of the zero page too. */
static int own_copy(struct fault *f, struct page *old)
{
	struct page *page = page_alloc();

	if (!page)
		return err(ENOMEM);
	page_copy(page, old);
	PROBE(own_copied, f->mm, f->va);
	return replace(f, page, old == zero_page ? NULL : old);
}

static int own_page(struct fault *f)
{
	struct page *page;
	int ret = 0;

	f->slot = pt_slot(&f->mm->pt, f->va, 0, false);
	if (!f->slot)
		return 0;
	spin_lock(&f->mm->pt_lock);
	f->entry = pte_read(f->slot);
	page = entry_page(f->entry);
	if (entry_parked(f->entry))
		return fault_parked(f);
	if (!f->entry || page_exclusive(page) || page_make_exclusive(page)) {
		spin_unlock(&f->mm->pt_lock);
		return 0;
	}
	page_get(page);
	spin_unlock(&f->mm->pt_lock);
	ret = own_copy(f, page);
	page_put(page); /* not before the end: B11 */
	return ret;
}

int fault_own(struct mm *mm, struct region *region, va_t va)
{
	struct fault f = {
		.mm = mm, .region = region, .va = va, .want = WANT_UNSHARE
	};
	int ret;

	assert(rw_held(&mm->lock));
	while ((ret = own_page(&f)) == -EAGAIN)
		;
	return ret;
}

/* #PF.  User addresses of a thread with an mm are served; the rest is fixed up
 * by the exception table or is a bug. */
static void page_fault(struct trap_frame *frame)
{
	va_t va = read_cr2();
	struct thread *t = current();
	struct mm *mm = t ? t->mm : NULL;
	enum prot access = frame->error & PF_WRITE   ? PROT_W
			   : frame->error & PF_FETCH ? PROT_X
						     : PROT_R;
	int ret = -EFAULT;

	if (mm && va < USER_END && !cpu_preempt_count() && !cpu_irq_depth() &&
	    (frame->rflags & RFLAGS_IF)) {
		irq_enable();
		ret = mm_fault(mm, va, access);
		irq_disable();
	}
	if (ret && !trap_fixup(frame))
		trap_fatal(frame);
}

void fault_init(void)
{
	trap_set_handler(TRAP_PF, page_fault);
}
