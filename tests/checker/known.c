/* SPDX-License-Identifier: MIT */
/*
 * known.c - one array with two chains
 *
 * Leaves of 4 KiB are chained by their address.  Tables and larger leaves, which are
 * few, are all in one chain of their own.  Every entry is also chained by its frame,
 * because each freed frame asks by frame.
 */
#include "tests/checker/known.h"
#include "kernel/printk.h"
#include "mm/pt/pt.h"
#include "kernel/panic.h"
#include "kernel/string.h"

#define BUCKETS  1024u
#define LARGE    BUCKETS /* the chain of tables, roots and larger leaves     */
#define NO_ENTRY UINT16_MAX
#define AT_ONCE  4u  /* chains that are looked at at once                 */
#define FEW      32u /* pages that are looked up singly                      */

static struct known all[KNOWN_MAX];
static uint16_t by_key[BUCKETS + 1], by_frame[BUCKETS];
static unsigned live, hand;
static uint64_t evicted;

static uint16_t *key_chain(const struct known *k)
{
	uint64_t h = (k->iova >> PAGE_SHIFT) ^ (uint64_t)k->tag * 0x9e37u;

	return &by_key[k->kind >= KNOWN_TABLE || k->shift > PAGE_SHIFT
			       ? LARGE
			       : h % BUCKETS];
}

static uint16_t *frame_chain(uint64_t frame)
{
	return &by_frame[(frame >> PAGE_SHIFT) % BUCKETS];
}

void known_clear(void)
{
	memset(all, 0, sizeof(all));
	memset(by_key, 0xff, sizeof(by_key));
	memset(by_frame, 0xff, sizeof(by_frame));
	live = hand = 0;
	evicted = 0;
}

static void take_out(struct known *k)
{
	uint16_t self = (uint16_t)(k - all), *at = key_chain(k);

	while (*at != self)
		at = &all[*at].next_key;
	*at = k->next_key;
	at = frame_chain(k->frame);
	while (*at != self)
		at = &all[*at].next_frame;
	*at = k->next_frame;
	k->live = false;
	live--;
}

static bool same(const struct known *a, const struct known *b)
{
	return a->kind == b->kind && a->tag == b->tag && a->iova == b->iova &&
	       a->shift == b->shift && a->frame == b->frame &&
	       a->prot == b->prot && a->devid == b->devid;
}

static struct known *place(void)
{
	if (live == KNOWN_MAX) {
		take_out(&all[hand]);
		evicted++;
	}
	while (all[hand].live)
		hand = (hand + 1) % KNOWN_MAX;
	return &all[hand];
}

bool known_add(const struct known *k)
{
	uint16_t *chain = key_chain(k);
	uint64_t before = evicted;
	struct known *to;

	for (uint16_t i = *chain; i != NO_ENTRY; i = all[i].next_key) {
		if (!same(&all[i], k))
			continue;
		all[i].stamp = k->stamp;
		return false;
	}
	to = place();
	*to = *k;
	to->live = true;
	to->next_key = *chain;
	*chain = (uint16_t)(to - all);
	chain = frame_chain(k->frame);
	to->next_frame = *chain;
	*chain = (uint16_t)(to - all);
	live++;
	return evicted != before;
}

/* Does a command for [base, last] drop the entry?  A leaf that is larger than the range
 * may stay: whether it does is up to the hardware. */
static bool dropped_by(const struct known *k, uint64_t base, uint64_t last)
{
	uint64_t end = k->iova + (BIT(k->shift) - 1);

	if (k->kind >= KNOWN_TABLE)
		return k->iova <= last && end >= base;
	return k->iova >= base && end <= last;
}

/* Is there an entry in one of AT_ONCE chains from i on?  Most have none. */
static bool any_in(unsigned i)
{
	uint64_t chains;

	memcpy(&chains, &by_key[i], sizeof(chains));
	return ~chains;
}
_Static_assert(AT_ONCE * sizeof(by_key[0]) == sizeof(uint64_t), "");

static unsigned drop_chain(uint16_t *chain, const struct known *like,
			   uint64_t last, uint64_t stamp,
			   bool (*keep)(const struct known *k))
{
	unsigned n = 0;

	for (uint16_t i = *chain, next; i != NO_ENTRY; i = next) {
		struct known *k = &all[i];

		next = k->next_key;
		if (k->kind != like->kind || k->tag != like->tag ||
		    !dropped_by(k, like->iova, last) || k->stamp >= stamp ||
		    (keep && keep(k)))
			continue;
		take_out(k);
		n++;
	}
	return n;
}

unsigned known_drop(enum known_kind kind, uint16_t tag, uint64_t base,
		    uint64_t last, uint64_t stamp,
		    bool (*keep)(const struct known *k))
{
	struct known like = { .kind = (uint8_t)kind, .tag = tag, .iova = base };
	unsigned n = drop_chain(&by_key[LARGE], &like, last, stamp, keep);

	if (kind >= KNOWN_TABLE)
		return n;
	if ((last - base) >> PAGE_SHIFT < FEW) {
		for (uint64_t i = 0; i <= (last - base) >> PAGE_SHIFT; i++) {
			like.iova = base + i * PAGE_SIZE;
			n += drop_chain(key_chain(&like), &like,
					like.iova + PAGE_SIZE - 1, stamp, keep);
		}
		return n;
	}
	for (unsigned i = 0; i < BUCKETS; i += AT_ONCE)
		for (unsigned k = i; any_in(i) && k < i + AT_ONCE; k++)
			n += drop_chain(&by_key[k], &like, last, stamp, keep);
	return n;
}

unsigned known_drop_all(uint64_t stamp)
{
	unsigned n = 0;

	for (unsigned i = 0; i < KNOWN_MAX; i++) {
		if (!all[i].live || all[i].stamp >= stamp)
			continue;
		take_out(&all[i]);
		n++;
	}
	return n;
}

const struct known *known_of_frame(uint64_t frame, const struct known *k)
{
	uint16_t i = k ? k->next_frame : *frame_chain(frame);

	for (; i != NO_ENTRY; i = all[i].next_frame)
		if (all[i].frame == frame)
			return &all[i];
	return NULL;
}

const struct known *known_next(const struct known *k)
{
	for (k = k ? k + 1 : all; k < all + KNOWN_MAX; k++)
		if (k->live)
			return k;
	return NULL;
}

unsigned known_count(void)
{
	return live;
}

uint64_t known_evicted(void)
{
	return evicted;
}

void known_describe(const struct known *k, char *text, size_t len)
{
	static const char *const holder[] = {
		[KNOWN_LEAF] = "IOTLB of domain",
		[KNOWN_DEVICE] = "TLB of device",
		[KNOWN_TABLE] = "directories of domain",
		[KNOWN_ROOT] = "cached entry of device",
	};

	snprintk(text, len, "%s %#x: %#lx may still lead to %#lx (%c%c)",
		 holder[k->kind], k->tag, k->iova, k->frame,
		 k->prot & PROT_R ? 'r' : '-', k->prot & PROT_W ? 'w' : '-');
}
