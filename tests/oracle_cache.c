/* SPDX-License-Identifier: MIT */
/*
 * oracle_cache.c - what was used, and what has been forgotten since
 *
 * Commands and entries are read here from their bytes, a second time and not by
 * iommu/command.h, so that a slip there is not one here too.
 *
 * A walk and what it learns are one piece under the lock, and the effect of a
 * command takes the lock after the entry was cleared: so nothing is learnt from
 * an entry behind the back of its flush.
 */
#include "tests/oracle_cache.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "kernel/string.h"
#include "mm/page.h"
#include "mm/pt.h"
#include "tests/oracle_known.h"

#define PENDING   1024u
#define SLOT      16u /* bytes of a command                                 */
#define SEEN      (UINT64_C(1) << 17) /* frames, by number modulo           */
#define FOR_EVER  UINT64_MAX
#define ADDRESSES UINT64_MAX

struct pending {
	uint64_t w[2];
	uint64_t stamp;
};

/* Key: (O) lock */
static struct spinlock lock = SPINLOCK_INIT(RANK_ORACLE, "oracle");
static struct iommu *iommu;    /* (O) NULL: nobody looks                   */
static struct iommu_port real; /* (I) while open                           */
static unsigned tail;          /* (O) of the ring, as last seen            */
static uint64_t now;           /* (O) numbers uses and commands            */
static struct pending pending[PENDING]; /* (O) queued, not seen done        */
static unsigned n_pending;              /* (O)                              */
static uint64_t uses, forgotten;        /* (O)                              */
/* (O) Counts what can make a lesson worth learning again. */
static uint64_t generation;
static _Atomic uint64_t seen[SEEN / 64];

/* ---- the walk ---------------------------------------------------------- */

#define E_PR     BIT(0)
#define E_NEXT   GENMASK(11, 9)
#define E_ADDR   GENMASK(51, 12)
#define E_RIGHTS GENMASK(62, 61)
#define D_VALID  GENMASK(1, 0) /* V and TV                                  */
#define D_DOMAIN GENMASK(15, 0)
#define D_ATS    BIT(32)

/* Is there a frame that we may look into? */
static bool is_ram(pa_t pa)
{
	pfn_t pfn = pa >> PAGE_SHIFT;

	return pfn < frames_end && page_kind(&frames[pfn]) > PAGE_FREE;
}

static _Atomic uint64_t *seen_word(pfn_t pfn)
{
	return &seen[pfn % SEEN / 64];
}

/* Most walks go the way of the last one: is this step of it known already? */
static bool learnt(unsigned level, uint16_t tag, uint16_t devid,
		   const struct known *what)
{
	static struct {
		uint64_t generation, iova, frame;
		uint16_t tag, devid;
		uint8_t prot;
	} last[8], *l;

	l = &last[level];
	if (l->generation == generation && l->iova == what->iova &&
	    l->frame == what->frame && l->tag == tag && l->devid == devid &&
	    l->prot == what->prot)
		return true;
	l->generation = generation;
	l->iova = what->iova;
	l->frame = what->frame;
	l->tag = tag;
	l->devid = devid;
	l->prot = what->prot;
	return false;
}

static void learn(enum known_kind kind, uint16_t tag, uint16_t devid,
		  const struct known *what)
{
	pfn_t pfn = what->frame >> PAGE_SHIFT;
	struct known k = *what;

	/* Roots and tables cover 2^21 bytes and more. */
	if (learnt(kind == KNOWN_DEVICE ? 7 : (what->shift - PAGE_SHIFT) / 9,
		   tag, devid, what))
		return;
	k.kind = (uint8_t)kind;
	k.tag = tag;
	k.devid = devid;
	k.stamp = now;
	generation += known_add(&k);
	atomic_fetch_or(seen_word(pfn), BIT(pfn % 64));
}

struct walk {
	struct dte dte;
	uint16_t devid;
	bool learning;
};

/* The leaf that entry e of a table of 2^shift bytes an entry is. */
static struct known leaf_of(uint64_t e, iova_t iova, unsigned shift,
			    uint64_t rights)
{
	uint64_t inside = iova & GENMASK(shift - 1, 0) & PAGE_MASK;

	return (struct known){
		.iova = iova & PAGE_MASK,
		.shift = PAGE_SHIFT,
		.frame = (e & E_ADDR & ~GENMASK(shift - 1, 0)) | inside,
		.prot = (uint8_t)((rights >> 61 & 1 ? PROT_R : 0) |
				  (rights >> 62 & 1 ? PROT_W : 0)),
	};
}

/* As the hardware walks: is there a translation of iova?  Context: lock held. */
static bool walk_to(const struct walk *w, iova_t iova, struct known *leaf)
{
	uint64_t e = w->dte.w[0], rights = e;
	unsigned level = (unsigned)FIELD_GET(E_NEXT, e), next;
	uint16_t domain = (uint16_t)(w->dte.w[1] & D_DOMAIN);

	if ((e & D_VALID) != D_VALID || !level || level > 6 ||
	    (level < 6 && iova >> (PAGE_SHIFT + 9 * level)))
		return false;
	for (bool root = true;; root = false, level = next) {
		unsigned shift = PAGE_SHIFT + 9 * (level - 1);
		pa_t table = e & E_ADDR;
		struct known here = { .iova = iova & ~GENMASK(shift + 8, 0),
				      .shift = (uint8_t)(shift + 9),
				      .frame = table };

		if (!is_ram(table))
			return false;
		if (w->learning)
			learn(root ? KNOWN_ROOT : KNOWN_TABLE,
			      root ? w->devid : domain, w->devid, &here);
		e = READ_ONCE(((const uint64_t *)phys_to_virt(
			table))[(iova >> shift) % 512]);
		next = (unsigned)FIELD_GET(E_NEXT, e);
		rights &= e;
		if (!(e & E_PR) || next >= level)
			return false;
		if (next)
			continue;
		*leaf = leaf_of(e, iova, shift, rights);
		return leaf->prot;
	}
}

void oracle_cache_use(uint16_t devid, iova_t iova, uint64_t len)
{
	struct known leaf;

	spin_lock(&lock);
	if (iommu && len) {
		struct walk w = { iommu_get_dte(iommu, devid), devid, true };
		uint16_t domain = (uint16_t)(w.dte.w[1] & D_DOMAIN);
		iova_t at = iova & PAGE_MASK;
		uint64_t n = (iova - at + len + PAGE_SIZE - 1) / PAGE_SIZE;

		now++;
		uses++;
		for (; n--; at += PAGE_SIZE) { /* it may wrap */
			if (!walk_to(&w, at, &leaf))
				continue;
			learn(KNOWN_LEAF, domain, devid, &leaf);
			if (w.dte.w[1] & D_ATS)
				learn(KNOWN_DEVICE, devid, devid, &leaf);
		}
	}
	spin_unlock(&lock);
}

/* ---- commands ---------------------------------------------------------- */

enum op {
	OP_WAIT = 1,
	OP_DEVTAB = 2,
	OP_PAGES = 3,
	OP_DEVICE = 4,
	OP_ALL = 8,
};

static enum op op_of(const struct pending *p)
{
	return (enum op)(p->w[0] >> 60);
}

/* Bits 12 and up of the second word, and S: which addresses are meant. */
static void range_of(uint64_t w, uint64_t *base, uint64_t *last)
{
	uint64_t page = w & ~GENMASK(11, 0), ones = ~page >> PAGE_SHIFT, size;

	size = GENMASK(11, 0);
	if (w & BIT(0)) {
		unsigned k = ones ? (unsigned)__builtin_ctzll(ones) : 63;

		size = k + PAGE_SHIFT >= 63 ? ADDRESSES
					    : GENMASK(k + PAGE_SHIFT, 0);
	}
	*base = page & ~size;
	*last = *base | size;
}

/* Could the device take it back from the IOMMU at once, with all its rights? */
static bool iommu_has(const struct known *k)
{
	const struct known *i = NULL;

	while ((i = known_of_frame(k->frame, i)))
		if (i->kind == KNOWN_LEAF && i->iova == k->iova &&
		    i->devid == k->devid && !(k->prot & ~i->prot))
			return true;
	return false;
}

static void apply(const struct pending *p)
{
	uint16_t devid = (uint16_t)p->w[0], domain = (uint16_t)(p->w[0] >> 32);
	uint64_t base, last;

	range_of(p->w[1], &base, &last);
	switch (op_of(p)) {
	case OP_DEVTAB:
		forgotten += known_drop(KNOWN_ROOT, devid, 0, ADDRESSES,
					p->stamp, NULL);
		break;
	case OP_PAGES:
		forgotten += known_drop(KNOWN_LEAF, domain, base, last,
					p->stamp, NULL);
		if (p->w[1] & BIT(1)) /* PDE */
			forgotten += known_drop(KNOWN_TABLE, domain, base, last,
						p->stamp, NULL);
		break;
	case OP_DEVICE:
		forgotten += known_drop(KNOWN_DEVICE, devid, base, last,
					p->stamp, iommu_has);
		break;
	case OP_ALL:
		forgotten += known_drop_all(p->stamp);
		break;
	default:
		break;
	}
}

/* Context: lock held. */
static void queued(const uint64_t *w)
{
	struct pending *p = &pending[n_pending];

	generation++;
	switch (w[0] >> 60) {
	case OP_WAIT:
	case OP_DEVTAB:
	case OP_PAGES:
	case OP_DEVICE:
	case OP_ALL:
		break;
	default:
		return;
	}
	/* Nobody has waited for a thousand commands: nothing is known. */
	if (n_pending == PENDING) {
		known_drop_all(FOR_EVER);
		n_pending = 0;
		p = pending;
	}
	*p = (struct pending){ { w[0], w[1] }, ++now };
	n_pending++;
}

/* What lies in the ring between the old tail and the new one. */
static void read_ring(unsigned to)
{
	spin_lock(&lock);
	if (iommu) {
		const struct command_queue *q = &iommu->queue;

		for (to %= q->size; tail != to; tail = (tail + SLOT) % q->size)
			queued(q->ring[tail / SLOT].w);
	}
	spin_unlock(&lock);
}

static void write_tapped(void *ctx, unsigned reg, uint64_t value)
{
	if (reg == REG_CMD_TAIL)
		read_ring((unsigned)value);
	real.write(ctx, reg, value);
}

void oracle_cache_complete(const struct command_queue *queue, uint64_t seq)
{
	unsigned done = 0;

	spin_lock(&lock);
	if (!iommu || queue != &iommu->queue) {
		spin_unlock(&lock);
		return;
	}
	for (unsigned i = 0; i < n_pending; i++)
		if (op_of(&pending[i]) == OP_WAIT &&
		    (int64_t)(pending[i].w[1] - seq) <= 0)
			done = i + 1;
	for (unsigned i = 0; i < done; i++)
		apply(&pending[i]);
	generation++;
	n_pending -= done;
	memmove(pending, pending + done, n_pending * sizeof(*pending));
	spin_unlock(&lock);
}

/* ---- questions --------------------------------------------------------- */

static void say(const struct known *k, char *words, size_t len)
{
	static const char *const holder[] = {
		[KNOWN_LEAF] = "IOTLB of domain",
		[KNOWN_DEVICE] = "TLB of device",
		[KNOWN_TABLE] = "directories of domain",
		[KNOWN_ROOT] = "cached entry of device",
	};

	snprintk(words, len, "%s %#x: %#lx may still lead to %#lx (%c%c)",
		 holder[k->kind], k->tag, k->iova, k->frame,
		 k->prot & PROT_R ? 'r' : '-', k->prot & PROT_W ? 'w' : '-');
}

bool oracle_cache_seen(const struct page *page)
{
	pfn_t pfn = pfn_of(page);

	return atomic_load_explicit(seen_word(pfn), memory_order_relaxed) &
	       BIT(pfn % 64);
}

bool oracle_cache_names(const struct page *page, char *words, size_t len)
{
	const struct known *k;

	/* Tables always, for the lock: a walk may be reading the page. */
	if (page_kind(page) != PAGE_TABLE && !oracle_cache_seen(page))
		return false;
	spin_lock(&lock);
	k = iommu ? known_of_frame(page_pa(page), NULL) : NULL;
	if (k && len)
		say(k, words, len);
	spin_unlock(&lock);
	return k;
}

bool oracle_cache_forget(const struct page *page)
{
	uint64_t bit = BIT(pfn_of(page) % 64);

	return atomic_fetch_and(seen_word(pfn_of(page)), ~bit) & bit;
}

/* Is it what the tables say?  Context: lock held. */
static bool still_true(const struct known *k)
{
	struct walk w = { iommu_get_dte(iommu, k->devid), k->devid, false };
	struct known leaf;

	if (k->kind == KNOWN_LEAF && (w.dte.w[1] & D_DOMAIN) != k->tag)
		return false;
	return walk_to(&w, k->iova, &leaf) && leaf.frame == k->frame &&
	       !(k->prot & ~leaf.prot);
}

const char *oracle_cache_check(void)
{
	static char words[120];
	const struct known *k = NULL;
	size_t n = 0;

	spin_lock(&lock);
	while (iommu && !n && (k = known_next(k))) {
		if (k->kind > KNOWN_DEVICE || still_true(k))
			continue;
		say(k, words, sizeof(words) - 30);
		n = strlen(words);
	}
	if (n)
		snprintk(words + n, sizeof(words) - n, ", the tables do not");
	spin_unlock(&lock);
	return n ? words : NULL;
}

struct oracle_cache_stats oracle_cache_stats(void)
{
	struct oracle_cache_stats s;

	spin_lock(&lock);
	s = (struct oracle_cache_stats){ .uses = uses,
					 .forgotten = forgotten,
					 .evicted = known_evicted(),
					 .known = known_count() };
	spin_unlock(&lock);
	return s;
}

/* ---- opening ----------------------------------------------------------- */

void oracle_cache_open(struct iommu *of)
{
	spin_lock(&lock);
	assert(!iommu);
	known_clear();
	memset(seen, 0, sizeof(seen));
	n_pending = 0;
	generation++;
	uses = forgotten = 0;
	tail = of->queue.tail;
	real = of->port;
	iommu = of;
	WRITE_ONCE(of->port.write, write_tapped);
	spin_unlock(&lock);
}

void oracle_cache_close(void)
{
	spin_lock(&lock);
	assert(iommu);
	WRITE_ONCE(iommu->port.write, real.write);
	iommu = NULL;
	spin_unlock(&lock);
}
