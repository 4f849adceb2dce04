/* SPDX-License-Identifier: MIT */
/*
 * ksm_merge.c - make an entry lead to another frame of the same content
 *
 *   start                                                            end
 *   ---+------------------------------------------------------------+--->
 *      | pt_lock  W off, flush | refs? equal? | clear, flush, set   |
 *                   all MMUs   ^ no write is possible from here on
 *
 * Everything between the write-protection and the new entry happens in one hold of
 * pt_lock, so the page that was compared is the page that is replaced: no CPU can
 * fault W back in; fork needs mm->lock, which is held; pinning needs pt_lock, and
 * an earlier pin shows as a reference too many.  A reference taken by the frame's
 * number writes nothing; it only makes page_freeze() fail, and so the change of the
 * frame's kind.  A device that walks this table has been flushed; one with a table
 * of its own is kept out by the invalidation (B45, B47).
 *
 * On failure the original access rights are restored.
 */
#include "kernel/err.h"
#include "kernel/probe.h"
#include "kernel/san/san.h"
#include "mm/core/entry.h"
#include "mm/ksm/ksm_priv.h"
#include "mm/notifier/flush.h"

int memcmp_pages(const struct page *a, const struct page *b)
{
	const uint64_t *p = page_va(a), *q = page_va(b);
	uint64_t n = PAGE_SIZE / 8;
	bool equal;

	san_touch(p, PAGE_SIZE, false);
	san_touch(q, PAGE_SIZE, false);
	__asm__ volatile("repe cmpsq"
			 : "+S"(p), "+D"(q), "+c"(n), "=@ccz"(equal)
			 :
			 : "memory");
	if (equal)
		return 0;
	return p[-1] < q[-1] ? -1 : 1;
}

/* Returns the slot that maps a private page at va, and the page; or NULL.  Context:
 * mm->pt_lock held. */
static uint64_t *anon_page_slot(struct mm *mm, va_t va, struct page **page)
{
	uint64_t *slot = pt_slot(&mm->pt, va, 0, false);
	uint64_t e = slot ? pte_read(slot) : 0;

	require(spin_held(&mm->pt_lock));
	if (!entry_mapped(e))
		return NULL;
	*page = entry_page(e);
	return page_kind(*page) == PAGE_ANON ? slot : NULL;
}

struct page *get_mergeable_page(struct mm *mm, va_t va, pfn_t pfn)
{
	struct page *page = NULL;

	require(rw_held_write(&ksm.lock) && mm->ksm.listed);
	spin_lock(&mm->pt_lock);
	if (!anon_page_slot(mm, va, &page) || (pfn && pfn_of(page) != pfn))
		page = NULL;
	if (page)
		page_get(page);
	spin_unlock(&mm->pt_lock);
	return page;
}

/* Starts the invalidation of the candidate's page. */
static void candidate_start(const struct ksm_candidate *c,
			    struct mmu_notifier_range *range)
{
	require(may_sleep() && rw_held(&c->mm->lock));
	mmu_notifier_range_init(range, MMU_NOTIFY_CLEAR, c->mm, c->va,
				c->va + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(range);
}

/* Restores W if the entry had it before write_protect_page(). */
static void unprotect_page(const struct ksm_candidate *c, uint64_t *slot,
			   uint64_t was)
{
	require(spin_held(&c->mm->pt_lock));
	if (!(was & PTE_W))
		return;
	pte_or(slot, ENTRY_W);
	PROBE(ksm_unprotected, c->mm, c->va);
	tlb_upgrade_range(c->mm, c->va, c->va + PAGE_SIZE);
}

/* Returns whether all references on the page are its entries' but one, the caller's. */
static bool page_refs_are_maps(const struct page *page)
{
	uint64_t count = page_count(page);

	return !page_pins(page) && PAGE_REFS(count) == PAGE_MAPS(count) + 1;
}

/*
 * Take W from the candidate's entry and flush it from all MMUs: from its return on
 * neither a CPU nor a device can write the page.  Linux: write_protect_page().
 * Returns the entry's slot, and the entry before the change in *was; or NULL, with
 * nothing changed, if another page is mapped or the page has other references.
 *
 * Context: pt_lock held until the entry is replaced or has its rights back.
 */
static uint64_t *write_protect_page(const struct ksm_candidate *c,
				    uint64_t *was)
{
	struct mm *mm = c->mm;
	struct page *page;
	uint64_t *slot = anon_page_slot(mm, c->va, &page);

	require(spin_held(&mm->pt_lock));
	if (!slot || page != c->page)
		return NULL;
	*was = pte_read(slot);
	if (*was & PTE_W) {
		pte_and(slot, ~ENTRY_W);
		PROBE(ksm_write_protect, mm, c->va);
		tlb_flush_range(mm, c->va, c->va + PAGE_SIZE);
		*was = pte_read(slot) | (*was & ENTRY_W); /* final D */
	}
	PROBE(ksm_write_protected, mm, c->va);
	/* Only after the flush: until then a device may be about to use the page. */
	if (page_refs_are_maps(page))
		return slot;
	unprotect_page(c, slot, *was);
	return NULL;
}

/* Returns the entry for kpage, and counts it. */
static uint64_t ksm_entry(const struct ksm_candidate *c, struct page *kpage)
{
	require(spin_held(&c->mm->pt_lock));
	if (kpage == zero_page) {
		zero_merged_add(1);
		c->mm->mapped--;
		return page_pa(zero_page) | PTE_D |
		       entry_rights(c->region->prot, false);
	}
	page_map_add(kpage);
	return entry_make(kpage, c->region->prot);
}

/*
 * Replace the candidate's entry by one of kpage.  Linux: replace_page().  The old
 * entry is read-only and its frame has the same content, so a CPU or device that
 * still uses it reads the same bytes: this flush could wait for the end of the
 * invalidation (B11, tests/fake/late_flush.h), and does not.
 * Context: pt_lock held, the entry write-protected.
 */
static void replace_page(const struct ksm_candidate *c, uint64_t *slot,
			 struct page *kpage)
{
	struct mm *mm = c->mm;
	uint64_t e = ksm_entry(c, kpage) | (pte_read(slot) & PTE_A);

	require(spin_held(&mm->pt_lock) && !(pte_read(slot) & PTE_W));
	pte_xchg(slot, 0);
	PROBE(pte_clear, mm, c->va);
	tlb_flush_range(mm, c->va, c->va + PAGE_SIZE);
	if (unlikely(mm_notifies(mm, MM_NOTIFY_PTE)))
		mmu_notifier_change_pte(mm, c->va, e);
	pte_write(slot, e);
	PROBE(pte_set, mm, c->va);
	page_map_drop(c->page);
}

int try_to_merge_one_page(const struct ksm_candidate *c, struct page *kpage)
{
	struct mmu_notifier_range range;
	struct mm *mm = c->mm;
	uint64_t *slot, was;
	bool merged;

	require(rw_held_write(&ksm.lock) && rw_held(&mm->lock));
	require(kpage == zero_page || page_kind(kpage) == PAGE_KSM);
	/* The reverse map must lead to the entry before it exists. */
	if (kpage != zero_page && rmap_link_add(kpage, c->region, c->va))
		return err(ENOMEM);
	candidate_start(c, &range);
	spin_lock(&mm->pt_lock);
	slot = write_protect_page(c, &was);
	merged = slot && !memcmp_pages(c->page, kpage);
	PROBE(ksm_compared, mm, c->va);
	if (merged)
		replace_page(c, slot, kpage);
	else if (slot)
		unprotect_page(c, slot, was);
	spin_unlock(&mm->pt_lock);
	PROBE(unptl, mm, c->va);
	mmu_notifier_invalidate_range_end(&range);
	ksm.merged += merged;
	return merged;
}

/* Returns whether sum, computed before, is the checksum of the write-protected page. */
static bool checksum_holds(const struct ksm_candidate *c, uint64_t was,
			   uint32_t sum)
{
	require(spin_held(&c->mm->pt_lock));
	if (c->dirty_tracked && !(was & PTE_D) && !mm_has_notifiers(c->mm))
		return true;
	return ksm_knobs.sum(page_va(c->page)) == sum;
}

/* Makes the candidate's frame a merged one, with one entry.  Returns whether it is. */
static bool convert_to_ksm_page(const struct ksm_candidate *c,
				struct ksm_stable_node *node, uint32_t sum)
{
	struct mmu_notifier_range range;
	uint64_t *slot, was;
	bool done = false;

	candidate_start(c, &range);
	spin_lock(&c->mm->pt_lock);
	slot = write_protect_page(c, &was);
	if (slot) {
		done = checksum_holds(c, was, sum) &&
		       stable_node_attach(node, c->page, sum);
		if (!done)
			unprotect_page(c, slot, was);
	}
	spin_unlock(&c->mm->pt_lock);
	mmu_notifier_invalidate_range_end(&range);
	PROBE(ksm_converted, c->mm, c->va);
	return done;
}

/* Makes the candidate's frame, which no other entry shares, private again.  The entry
 * stays read-only until the next write fault. */
static void revert_to_anon_page(const struct ksm_candidate *c)
{
	struct mm *mm = c->mm;
	uint64_t *slot;

	require(rw_held(&mm->lock));
	spin_lock(&mm->pt_lock);
	slot = pt_slot(&mm->pt, c->va, 0, false);
	if (slot && entry_mapped(pte_read(slot)) &&
	    entry_page(pte_read(slot)) == c->page)
		stable_node_detach(c->page);
	spin_unlock(&mm->pt_lock);
}

int try_to_merge_two_pages(const struct ksm_candidate *stay,
			   const struct ksm_candidate *go, uint32_t sum)
{
	struct ksm_stable_node *node = stable_node_new();
	int ret;

	require(rw_held(&stay->mm->lock) && rw_held(&go->mm->lock));
	if (!node)
		return err(ENOMEM);
	if (!convert_to_ksm_page(stay, node, sum)) {
		stable_node_discard(node);
		return 0;
	}
	ret = try_to_merge_one_page(go, stay->page);
	if (ret != 1)
		revert_to_anon_page(stay);
	return ret;
}
