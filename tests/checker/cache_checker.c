/* SPDX-License-Identifier: MIT */
/*
 * cache_checker.c - what devices used, and what commands dropped since
 *
 * Commands and entries are decoded here a second time and not by
 * iommu/hw/command.h, so that an error there is not repeated here.
 *
 * A walk and what it records are one step under the lock.  The effect of a
 * command takes the lock after the entry was cleared.  So nothing is recorded
 * from an entry after its flush.
 */
#include "tests/checker/cache_checker.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "kernel/string.h"
#include "mm/frame/page.h"
#include "mm/pt/pt.h"
#include "tests/checker/cache_walk.h"

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
struct spinlock cache_checker_lock = SPINLOCK_INIT(RANK_CHECKER, "caches");
static struct iommu *iommu;    /* (O) NULL: closed                         */
static struct iommu_port real; /* (I) while open                           */
static unsigned tail;          /* (O) of the ring, as last seen            */
static uint64_t now;           /* (O) numbers uses and commands            */
static struct pending pending[PENDING]; /* (O) queued, not seen done        */
static unsigned n_pending;              /* (O)                              */
static uint64_t uses, dropped;          /* (O)                              */
/* (O) Changes whenever a known walk may have to be recorded again. */
static uint64_t generation;
static _Atomic uint64_t seen[SEEN / 64];

/* ---- uses ----------------------------------------------------------- */

#define D_DOMAIN GENMASK(15, 0)
#define D_ATS    BIT(32)

static _Atomic uint64_t *seen_word(pfn_t pfn)
{
	return &seen[pfn % SEEN / 64];
}

/* Most walks repeat the last one: is this step already known? */
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
	uint64_t frames =
		kind >= KNOWN_TABLE ? 1 : BIT(what->shift - PAGE_SHIFT);
	pfn_t pfn = what->frame >> PAGE_SHIFT;
	struct known k = *what;

	/* Roots and tables cover 2^21 bytes and more. */
	if (learnt(kind == KNOWN_DEVICE ? 7
		   : kind == KNOWN_LEAF ? 0
					: (what->shift - PAGE_SHIFT) / 9,
		   tag, devid, what))
		return;
	k.kind = (uint8_t)kind;
	k.tag = tag;
	k.devid = devid;
	k.stamp = now;
	generation += known_add(&k);
	for (uint64_t i = 0; i < frames; i++)
		atomic_fetch_or(seen_word(pfn + i), BIT((pfn + i) % 64));
}

/* A walk passes a table. */
static void passed(const struct walk *w, bool root, const struct known *table)
{
	uint16_t domain = (uint16_t)(w->dte.w[1] & D_DOMAIN);

	learn(root ? KNOWN_ROOT : KNOWN_TABLE, root ? w->devid : domain,
	      w->devid, table);
}

void cache_checker_use(uint16_t devid, iova_t iova, uint64_t len)
{
	struct known leaf;

	spin_lock(&cache_checker_lock);
	if (iommu && len) {
		struct walk w = { iommu_get_dte(iommu, devid), devid, passed };
		uint16_t domain = (uint16_t)(w.dte.w[1] & D_DOMAIN);
		iova_t at = iova & PAGE_MASK;
		uint64_t n = (iova - at + len + PAGE_SIZE - 1) / PAGE_SIZE;

		now++;
		uses++;
		for (; n--; at += PAGE_SIZE) { /* it may wrap */
			if (!cache_walk(&w, at, &leaf))
				continue;
			learn(KNOWN_LEAF, domain, devid, &leaf);
			if (w.dte.w[1] & D_ATS)
				learn(KNOWN_DEVICE, devid, devid, &leaf);
		}
	}
	spin_unlock(&cache_checker_lock);
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

/* Decode the address range of an invalidation: bits 12 and up of w, and S. */
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

/* Return whether an entry of the IOMMU's from frame on has all of k. */
static bool iommu_has_from(uint64_t frame, const struct known *k)
{
	const struct known *i = NULL;

	while ((i = known_of_frame(frame, i)))
		if (i->kind == KNOWN_LEAF && i->devid == k->devid &&
		    k->iova - i->iova == k->frame - frame &&
		    k->shift <= i->shift &&
		    !((k->iova ^ i->iova) >> i->shift) && !(k->prot & ~i->prot))
			return true;
	return false;
}

/* Return whether the device's TLB can be refilled with the whole entry. */
static bool iommu_has(const struct known *k)
{
	return iommu_has_from(k->frame, k) ||
	       iommu_has_from(ALIGN_DOWN(k->frame, pt_span(1)), k);
}

static void apply(const struct pending *p)
{
	uint16_t devid = (uint16_t)p->w[0], domain = (uint16_t)(p->w[0] >> 32);
	uint64_t base, last;

	range_of(p->w[1], &base, &last);
	switch (op_of(p)) {
	case OP_DEVTAB:
		dropped += known_drop(KNOWN_ROOT, devid, 0, ADDRESSES, p->stamp,
				      NULL);
		break;
	case OP_PAGES:
		dropped += known_drop(KNOWN_LEAF, domain, base, last, p->stamp,
				      NULL);
		if (p->w[1] & BIT(1)) /* PDE */
			dropped += known_drop(KNOWN_TABLE, domain, base, last,
					      p->stamp, NULL);
		break;
	case OP_DEVICE:
		dropped += known_drop(KNOWN_DEVICE, devid, base, last, p->stamp,
				      iommu_has);
		break;
	case OP_ALL:
		dropped += known_drop_all(p->stamp);
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
	/* No wait for a thousand commands: assume that nothing is known. */
	if (n_pending == PENDING) {
		known_drop_all(FOR_EVER);
		n_pending = 0;
		p = pending;
	}
	*p = (struct pending){ { w[0], w[1] }, ++now };
	n_pending++;
}

/* Read the commands in the ring between the old tail and the new one. */
static void read_ring(unsigned to)
{
	spin_lock(&cache_checker_lock);
	if (iommu) {
		const struct command_queue *q = &iommu->queue;

		for (to %= q->size; tail != to; tail = (tail + SLOT) % q->size)
			queued(q->ring[tail / SLOT].w);
	}
	spin_unlock(&cache_checker_lock);
}

static void write_tapped(void *ctx, unsigned reg, uint64_t value)
{
	if (reg == REG_CMD_TAIL)
		read_ring((unsigned)value);
	real.write(ctx, reg, value);
}

void cache_checker_complete(const struct command_queue *queue, uint64_t seq)
{
	unsigned done = 0;

	spin_lock(&cache_checker_lock);
	if (!iommu || queue != &iommu->queue) {
		spin_unlock(&cache_checker_lock);
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
	spin_unlock(&cache_checker_lock);
}

/* ---- questions --------------------------------------------------------- */

bool cache_checker_seen(const struct page *page)
{
	pfn_t pfn = pfn_of(page);

	return atomic_load_explicit(seen_word(pfn), memory_order_relaxed) &
	       BIT(pfn % 64);
}

/* Return an entry that leads to the frame at pa: its own, or a leaf of 2 MiB.
 * Context: lock held. */
static const struct known *naming(pa_t pa)
{
	const struct known *k = known_of_frame(pa, NULL);
	pa_t block = ALIGN_DOWN(pa, pt_span(1));

	if (k)
		return k;
	while ((k = known_of_frame(block, k)))
		if (k->kind < KNOWN_TABLE && k->shift > PAGE_SHIFT)
			return k;
	return NULL;
}

bool cache_checker_names(const struct page *page, char *text, size_t len)
{
	const struct known *k;

	/*
	 * Tables always, to wait for the lock: a walk may be reading the page.
	 */
	if (page_kind(page) != PAGE_TABLE && !cache_checker_seen(page))
		return false;
	spin_lock(&cache_checker_lock);
	k = iommu ? naming(page_pa(page)) : NULL;
	if (k && len)
		known_describe(k, text, len);
	spin_unlock(&cache_checker_lock);
	return k;
}

bool cache_checker_clear_seen(const struct page *page)
{
	uint64_t bit = BIT(pfn_of(page) % 64);

	return atomic_fetch_and(seen_word(pfn_of(page)), ~bit) & bit;
}

/* Return whether the entry is what the tables say.  Context: lock held. */
static bool still_true(const struct known *k)
{
	struct walk w = { iommu_get_dte(iommu, k->devid), k->devid, NULL };
	uint64_t end = k->iova + BIT(k->shift);
	struct known leaf;

	if (k->kind == KNOWN_LEAF && (w.dte.w[1] & D_DOMAIN) != k->tag)
		return false;
	for (uint64_t at = k->iova; at != end;
	     at += BIT(k->shift < leaf.shift ? k->shift : leaf.shift))
		if (!cache_walk(&w, at, &leaf) || (k->prot & ~leaf.prot) ||
		    leaf.frame + (at - leaf.iova) != k->frame + (at - k->iova))
			return false;
	return true;
}

const char *cache_checker_check(void)
{
	static char text[120];
	const struct known *k = NULL;
	size_t n = 0;

	spin_lock(&cache_checker_lock);
	while (iommu && !n && (k = known_next(k))) {
		if (k->kind > KNOWN_DEVICE || still_true(k))
			continue;
		known_describe(k, text, sizeof(text) - 30);
		n = strlen(text);
	}
	if (n)
		snprintk(text + n, sizeof(text) - n, ", the tables do not");
	spin_unlock(&cache_checker_lock);
	return n ? text : NULL;
}

void cache_checker_each(void (*fn)(const struct known *k, void *arg), void *arg)
{
	spin_lock(&cache_checker_lock);
	for (const struct known *k = NULL; iommu && (k = known_next(k));)
		fn(k, arg);
	spin_unlock(&cache_checker_lock);
}

struct cache_checker_stats cache_checker_stats(void)
{
	struct cache_checker_stats s;

	spin_lock(&cache_checker_lock);
	s = (struct cache_checker_stats){ .uses = uses,
					  .dropped = dropped,
					  .evicted = known_evicted(),
					  .known = known_count() };
	spin_unlock(&cache_checker_lock);
	return s;
}

/* ---- opening ----------------------------------------------------------- */

void cache_checker_open(struct iommu *of)
{
	spin_lock(&cache_checker_lock);
	assert(!iommu);
	known_clear();
	memset(seen, 0, sizeof(seen));
	n_pending = 0;
	generation++;
	uses = dropped = 0;
	tail = of->queue.tail;
	real = of->port;
	iommu = of;
	WRITE_ONCE(of->port.write, write_tapped);
	spin_unlock(&cache_checker_lock);
}

void cache_checker_close(void)
{
	spin_lock(&cache_checker_lock);
	assert(iommu);
	WRITE_ONCE(iommu->port.write, real.write);
	iommu = NULL;
	spin_unlock(&cache_checker_lock);
}
