/* SPDX-License-Identifier: MIT */
/*
 * entry.h - the states of a leaf entry of a user table
 *
 *   from         to           made by
 *   hole         zero         fault_zero()
 *                exclusive    fault_new(), fault_object(); copy_pinned() for a child
 *   zero         exclusive    fault_unzero(), fault_copy()
 *   exclusive    shared       fork: share_run(), in parent and child
 *   shared       exclusive    fault_copy(): another page
 *                             page_make_exclusive(): the same page
 *   exclusive,   merged       KSM (mm/ksm/ksm_merge.c)
 *   shared       zero         KSM, for a page of zeroes: entry with PTE_D
 *   merged       exclusive    fault_copy()
 *   all of a     evicted      entry_evict()
 *   private page
 *   evicted      as before    fault_evicted(), migrate.c
 *   all of a     swapped      entry_evict(), for swap_out()
 *   private page, evicted
 *   swapped      exclusive,   fault_swapped()
 *                shared
 *   exclusive    device       migrate_vma_pages(), migrate_page()
 *   hole         device       migrate_vma_pages()
 *   device       exclusive,   fault_device(), device_memory_evict()
 *                shared
 *   exclusive    device-      make_device_exclusive()
 *                exclusive
 *   device-      exclusive    fault_device_exclusive()
 *   exclusive    evicted      fork: share_special(); swap_out(), migrate_page()
 *   all          hole         zap_run(); entry_evict() for an object's page
 *   hole (2 MiB) huge         mm/huge/fault_huge.c: exclusive, or of zeroes;
 *                             share_huge() for a child
 *   huge zeroes  huge         mm/huge/fault_huge.c, exclusive
 *   huge         512 entries  huge_split(): exclusive, shared or zero, as the huge
 *                             one was
 *   huge         hole         zap of all 2 MiB
 *   huge         huge, no     mm/move/migrate_block.c, and back to another
 *                access       block; fault_no_access()
 *
 * entry_protect() changes rights, move_run() the address: the state stays.
 *
 *        63 NX  62 61  51        12 11..9   8        7  6 5 4 3 2 1 0
 *  mapped    x  IW IR  frame        0       .        .  D A . . U W P=1
 *  no access x    .    frame        0       NOACCESS .  D . . . . . P=0
 *  huge      as mapped or no access, in a table of level 1; frame is the head of
 *            a block, and bit 7 (PS) is 1
 *  evicted   .    .    frame        0       .        .  D A . . . 1 P=0
 *  device    .    .    device page  0       .        .  D A . DV . 1 P=0
 *  device-   .    .    frame        0       .        .  . A DX . . 1 P=0
 *  exclusive
 *  swapped   .    .    swap slot    0       .        .  . . . EX 1 . P=0
 *  hole      0
 *
 * A no-access entry in a region that allows access is one of a block that is on its way
 * (PG_MOVING), or was: then the next fault gives it its rights.
 *
 * A mapped or no-access entry counts in page_maps().  An evicted one does not: it
 * holds only a reference, and the next fault maps the page again.  While the frame that
 * it names has PG_MOVING it is what Linux calls a migration entry: the fault waits.  A
 * and D are those of the mapping that a migration replaced.  A device entry (DV) is an
 * evicted one whose page lies in the memory of a device (mm/core/device.h), where no
 * CPU can reach it: it is handled as evicted everywhere but in the fault, which has the
 * content copied back.  A device-exclusive entry (DX) is an evicted one whose page a
 * device may be using alone: a fault begins an invalidation before it maps the page,
 * and so does all else that changes the entry.  A swapped one
 * names no page: it is a user of a swap slot (mm/swap/swap.h).  EX says that no
 * other entry names the slot and the page was exclusive; a fork clears it.  Linux:
 * pte_swp_exclusive().
 *
 * An IOMMU can walk the same tree: bits 61 and 62, which the CPU ignores, are its
 * IR and IW, and bits 9-11 its NextLevel, 0 in a leaf.  IW is set with W and IR
 * with P, in the same store, so that no device has a right that the CPU lacks
 * (docs/invariants.md, B32); an entry that is not present has neither.
 *
 * An entry is writable only while its page has PG_EXCLUSIVE (B40): entry_make()
 * tests the flag for each new entry, and so does the code that adds W to an
 * existing one (mm/space/fault.c, protect.c).
 */
#pragma once

#include "arch/pte.h"
#include "mm/core/mm.h"
#include "mm/frame/page.h"

#define ENTRY_IR BIT(61)            /* a device may read: as P             */
#define ENTRY_IW BIT(62)            /* a device may write: as W            */
#define ENTRY_W  (PTE_W | ENTRY_IW) /* CPU and device may write            */

#define ENTRY_EVICTED BIT(1) /* PTE_W of a present entry           */
#define ENTRY_SWAPPED BIT(2) /* PTE_U of a present entry           */
#define ENTRY_SWAP_EX BIT(3) /* of a swapped entry: exclusive      */
#define ENTRY_DEVICE  BIT(3) /* of an evicted one: a device's page */
#define ENTRY_DEVICE_EXCLUSIVE \
	BIT(4) /* of an evicted one: a device may have it             */
#define ENTRY_SWP      GENMASK(27, 12) /* the number of its swap slot */
#define ENTRY_NOACCESS BIT(8)          /* PTE_G, which no user entry uses    */

/* Return true if the entry counts in page_maps().  (The zero page counts
 * nowhere.) */
static inline bool entry_mapped(uint64_t e)
{
	return e & (PTE_P | ENTRY_NOACCESS);
}

/* Return true if the entry is a leaf of 2 MiB, at level 1: PTE_PS is clear in a table
 * entry and in every other entry of a user table. */
static inline bool entry_huge(uint64_t e)
{
	return e & PTE_PS;
}

/* What tells the kinds of entries that are not mapped and not holes. */
#define ENTRY_KIND (PTE_P | ENTRY_NOACCESS | ENTRY_EVICTED | ENTRY_SWAPPED)

/* Return true if the entry is an evicted one, or a device entry. */
static inline bool entry_evicted(uint64_t e)
{
	return (e & ENTRY_KIND) == ENTRY_EVICTED;
}

/* Return true if the entry names a page in the memory of a device. */
static inline bool entry_device(uint64_t e)
{
	return (e & (ENTRY_KIND | ENTRY_DEVICE)) ==
	       (ENTRY_EVICTED | ENTRY_DEVICE);
}

/* Return true if the entry names a frame that a device may be using alone. */
static inline bool entry_device_exclusive(uint64_t e)
{
	return (e & (ENTRY_KIND | ENTRY_DEVICE_EXCLUSIVE)) ==
	       (ENTRY_EVICTED | ENTRY_DEVICE_EXCLUSIVE);
}

/* Return true if the entry is a swapped one. */
static inline bool entry_swapped(uint64_t e)
{
	return (e & ENTRY_KIND) == ENTRY_SWAPPED;
}

/* Return the swap slot that a swapped entry names. */
static inline uint32_t entry_swp(uint64_t e)
{
	return (uint32_t)FIELD_GET(ENTRY_SWP, e);
}

/* Return true if the entry names page: it maps it, or is an evicted one. */
static inline bool entry_names(uint64_t e, const struct page *page)
{
	return (entry_mapped(e) || entry_evicted(e)) &&
	       (e & PTE_ADDR) == page_pa(page);
}

/* Return the page of an entry that is neither 0 nor swapped. */
static inline struct page *entry_page(uint64_t e)
{
	return page_of((e & PTE_ADDR) >> PAGE_SHIFT);
}

/* The states; a no-access entry is in the state that its page gives it. */
enum entry_state {
	STATE_HOLE,      /* 0: nothing is mapped                          */
	STATE_ZERO,      /* the zero page                                 */
	STATE_EXCLUSIVE, /* a page that a write need not copy             */
	STATE_SHARED,    /* a private page that other entries may map     */
	STATE_MERGED,    /* a page that KSM has made of equal pages       */
	STATE_EVICTED,   /* only a reference is left                      */
	STATE_SWAPPED,   /* the content is in a swap slot, or its cache   */
	STATE_DEVICE,    /* the content is in the memory of a device      */
	STATE_DEVICE_EXCLUSIVE, /* a device may be using the frame alone  */
};

/* Return the state of an entry.  Context: the entry's pt_lock, or no other thread
 * changes entries. */
static inline enum entry_state entry_state(uint64_t e)
{
	if (!e)
		return STATE_HOLE;
	if (entry_device(e))
		return STATE_DEVICE;
	if (entry_device_exclusive(e))
		return STATE_DEVICE_EXCLUSIVE;
	if (entry_evicted(e))
		return STATE_EVICTED;
	if (entry_swapped(e))
		return STATE_SWAPPED;
	if (page_kind(entry_page(e)) == PAGE_ZERO)
		return STATE_ZERO;
	if (page_kind(entry_page(e)) == PAGE_KSM)
		return STATE_MERGED;
	return page_exclusive(entry_page(e)) ? STATE_EXCLUSIVE : STATE_SHARED;
}

/* Return the name of a state, for messages. */
const char *entry_state_name(enum entry_state state);

/*
 * Count n more (n < 0: fewer) entries that KSM merged with the zero page.  Such an
 * entry has PTE_D, which a CPU never sets in an entry without W.  The caller stores
 * or clears the entry under the same hold of pt_lock.
 */
void zero_merged_add(int n);

/* Return their number: exact while no thread changes entries. */
uint64_t zero_merged_count(void);

/* Return the access bits, without the frame, for prot. */
static inline uint64_t entry_rights(enum prot prot, bool writable)
{
	if (!prot)
		return ENTRY_NOACCESS | PTE_NX;
	return PTE_P | PTE_U | ENTRY_IR | (writable ? ENTRY_W : 0) |
	       (prot & PROT_X ? 0 : PTE_NX);
}

/* All bits that entry_rights() sets in one entry or another. */
#define ENTRY_RIGHTS \
	(PTE_P | ENTRY_W | PTE_U | PTE_NX | ENTRY_IR | ENTRY_NOACCESS)

/* Return e, a mapping without access, with the access that prot allows. */
static inline uint64_t entry_with_access(uint64_t e, enum prot prot)
{
	bool write = (prot & PROT_W) && page_exclusive(entry_page(e));

	return (e & ~ENTRY_RIGHTS) | entry_rights(prot, write);
}

/* Return the entry that maps page with prot, without W unless it is exclusive. */
static inline uint64_t entry_make(struct page *page, enum prot prot)
{
	return page_pa(page) |
	       entry_rights(prot, (prot & PROT_W) && page_exclusive(page));
}

/*
 * Return true if the page may have been written through the entry.  A CPU sets D.
 * A device that walks the same tree does not: a page that it may write may have
 * been written (B33).  Code that clears an entry, or W in it, calls this first.
 */
static inline bool entry_dirty(struct mm *mm, uint64_t e)
{
	return e & PTE_D || (e & ENTRY_IW && mm_has_notifiers(mm));
}

/* Return the entry that keeps a reference on page while no MMU may reach it: a device
 * entry for a page in the memory of a device. */
static inline uint64_t entry_make_evicted(struct page *page)
{
	return page_pa(page) | ENTRY_EVICTED |
	       (unlikely(page_is_device(page)) ? ENTRY_DEVICE : 0);
}

/* Return the entry that replaces old, a mapping, while its page is on the way to frame
 * `to`.  dirty: as entry_dirty() says.  Linux: make_writable_migration_entry(). */
static inline uint64_t entry_make_moving(struct page *to, uint64_t old,
					 bool dirty)
{
	return entry_make_evicted(to) | (old & PTE_A) | (dirty ? PTE_D : 0);
}

/* Return the entry that replaces old, a mapping, while a device uses the page alone.
 * Linux: make_writable_device_exclusive_entry(). */
static inline uint64_t entry_make_device_exclusive(struct page *page,
						   uint64_t old)
{
	return page_pa(page) | ENTRY_EVICTED | ENTRY_DEVICE_EXCLUSIVE |
	       (old & PTE_A);
}

/* Return the entry that maps the page which e, an evicted one, names. */
static inline uint64_t entry_unevict(uint64_t e, enum prot prot)
{
	struct page *page = entry_page(e);

	return entry_make(page, prot) | (e & (PTE_A | PTE_D)) |
	       (page_test(page, PG_DIRTY) ? PTE_D : 0);
}

/* Return the entry that names a swap slot.  exclusive: no other entry does. */
static inline uint64_t entry_make_swapped(uint32_t swp, bool exclusive)
{
	return FIELD_PREP(ENTRY_SWP, swp) | ENTRY_SWAPPED |
	       (exclusive ? ENTRY_SWAP_EX : 0);
}

/* No slot number is a right, or a next level, of a device (B34). */
_Static_assert(!(ENTRY_SWP & (ENTRY_IR | ENTRY_IW | PTE_NEXT_LEVEL | PTE_P |
			      ENTRY_NOACCESS)),
	       "a swap slot translates nothing");
_Static_assert(!((PTE_A | PTE_D | ENTRY_EVICTED | ENTRY_DEVICE |
		  ENTRY_DEVICE_EXCLUSIVE) &
		 (ENTRY_IR | ENTRY_IW | PTE_NEXT_LEVEL | ENTRY_KIND) &
		 ~ENTRY_EVICTED),
	       "nor does an evicted page, one of a device or for one");
