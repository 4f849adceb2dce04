/* SPDX-License-Identifier: MIT */
/*
 * model_cache.c - caches that drop only what a command names
 *
 * One structure for three caches.  IOTLB: the tag is the domain, the value the
 * frame.  Directories: the tag is the domain, the value the table that a walk
 * of this range reaches, so an entry of 2^21 bytes means a level 1 table.
 * Device TLBs: the tag is the devid.
 *
 * A hash table by (tag, base, size): a lookup probes each size in use.  Drops
 * are by range and exact: an entry is dropped if the range names any of its
 * bytes, or with `whole` all of them.
 *
 * The filter counts entries by the page that they name: every freed page asks
 * whether an entry names it, and the answer is nearly always no.
 */
#include "kernel/panic.h"
#include "kernel/string.h"
#include "tests/model/model_priv.h"

/* Above this number of probes scan all entries instead. */
#define PROBES 64

static unsigned hash(const struct cache *c, uint16_t tag, uint64_t base,
		     unsigned shift)
{
	uint64_t h = (base >> 12) * 0x9e3779b97f4a7c15 + tag * 0x85ebca6bu;

	return (unsigned)((h ^ h >> 32) + shift * 31) & (c->buckets - 1);
}

static uint16_t *filter_of(struct cache *c, uint64_t value)
{
	return &c->filter[(value >> 12) % FILTER];
}

static bool is_large(const struct cache *c, unsigned shift)
{
	return !c->tables && shift > 12;
}

static void count(struct cache *c, const struct cached *e, int by)
{
	c->live = (unsigned)((int)c->live + by);
	c->of_size[e->shift] = (uint16_t)(c->of_size[e->shift] + by);
	if (c->of_size[e->shift])
		c->sizes |= BIT(e->shift);
	else
		c->sizes &= ~BIT(e->shift);
	if (e->value & IS_ABSENT)
		return;
	if (is_large(c, e->shift))
		c->large = (unsigned)((int)c->large + by);
	else
		*filter_of(c, e->value) =
			(uint16_t)(*filter_of(c, e->value) + by);
}

size_t cache_bytes(unsigned size)
{
	/* Whole entries, so that the next cache is aligned. */
	return ALIGN_UP(size * (sizeof(struct cached) + sizeof(uint16_t)),
			_Alignof(struct cached));
}

void *cache_init(struct cache *c, void *p, unsigned size)
{
	assert(size && size < NO_SLOT && !(size & (size - 1)));
	memset(c, 0, sizeof(*c));
	c->e = p;
	c->bucket = (uint16_t *)(c->e + size);
	c->size = c->buckets = size;
	for (unsigned i = 0; i < size; i++) {
		c->bucket[i] = NO_SLOT;
		c->e[i].shift = 0;
		c->e[i].next = (uint16_t)(i + 1 < size ? i + 1 : NO_SLOT);
	}
	return (char *)p + cache_bytes(size);
}

struct cached *cache_find(struct cache *c, uint16_t tag, uint64_t iova,
			  unsigned shift)
{
	uint64_t base = ALIGN_DOWN(iova, BIT(shift));
	uint16_t i = c->bucket[hash(c, tag, base, shift)];

	for (; i != NO_SLOT; i = c->e[i].next)
		if (c->e[i].base == base && c->e[i].tag == tag &&
		    c->e[i].shift == shift)
			return &c->e[i];
	return NULL;
}

struct cached *cache_lookup(struct cache *c, uint16_t tag, uint64_t iova)
{
	for (uint64_t s = c->sizes; s; s &= s - 1) {
		struct cached *e =
			cache_find(c, tag, iova, (unsigned)__builtin_ctzll(s));

		if (e)
			return e;
	}
	return NULL;
}

static void drop(struct cache *c, struct cached *e)
{
	uint16_t slot = (uint16_t)(e - c->e);
	uint16_t *link = &c->bucket[hash(c, e->tag, e->base, e->shift)];

	while (*link != slot)
		link = &c->e[*link].next;
	*link = e->next;
	count(c, e, -1);
	e->shift = 0;
	e->next = c->free;
	c->free = slot;
}

void cache_insert(struct cache *c, struct rng *rng, uint16_t tag, uint64_t iova,
		  unsigned shift, uint64_t value)
{
	struct cached *e = cache_find(c, tag, iova, shift);
	uint16_t *bucket;

	assert(shift >= 12 && shift < 64);
	if (e)
		drop(c, e);
	if (c->free == NO_SLOT)
		drop(c, &c->e[rng_below(rng, c->size)]);
	e = &c->e[c->free];
	c->free = e->next;
	e->tag = tag;
	e->base = ALIGN_DOWN(iova, BIT(shift));
	e->shift = (uint8_t)shift;
	e->value = value;
	bucket = &c->bucket[hash(c, tag, e->base, shift)];
	e->next = *bucket;
	*bucket = (uint16_t)(e - c->e);
	count(c, e, 1);
}

/* Drop the entries of one size within the range, found by lookup. */
static unsigned drop_probing(struct cache *c, uint16_t tag, struct range r,
			     unsigned shift, uint64_t probes)
{
	unsigned n = 0;

	for (uint64_t i = 0; i < probes; i++) {
		struct cached *e =
			cache_find(c, tag, r.base + (i << shift), shift);

		if (e) {
			drop(c, e);
			n++;
		}
	}
	return n;
}

unsigned cache_drop(struct cache *c, uint16_t tag, struct range r)
{
	uint64_t left = c->sizes;
	unsigned n = 0;

	for (uint64_t s = left; s; s &= s - 1) {
		unsigned shift = (unsigned)__builtin_ctzll(s);
		unsigned more = r.shift > shift ? r.shift - shift : 0;

		if (c->whole && shift > r.shift) {
			left &= ~BIT(shift);
			continue;
		}
		if (more >= 63 || BIT(more) > PROBES)
			continue;
		n += drop_probing(c, tag, r, shift, BIT(more));
		left &= ~BIT(shift);
	}
	if (!left)
		return n;
	for (unsigned i = 0; i < c->size && c->live; i++) {
		struct cached *e = &c->e[i];

		if (e->shift && e->tag == tag &&
		    !(c->whole && e->shift > r.shift) &&
		    range_meets(r, e->base, e->shift)) {
			drop(c, e);
			n++;
		}
	}
	return n;
}

unsigned cache_drop_tag(struct cache *c, uint16_t tag)
{
	return cache_drop(c, tag, (struct range){ 0, 64 });
}

unsigned cache_drop_all(struct cache *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->size && c->live; i++)
		if (c->e[i].shift) {
			drop(c, &c->e[i]);
			n++;
		}
	return n;
}

const struct cached *cache_next(const struct cache *c, const struct cached *e)
{
	for (e = e ? e + 1 : c->e; e < c->e + c->size; e++)
		if (e->shift)
			return e;
	return NULL;
}

const struct cached *cache_names(const struct cache *c, pa_t page)
{
	const struct cached *e = NULL;

	if (!c->large && !c->filter[(page >> 12) % FILTER])
		return NULL;
	while ((e = cache_next(c, e))) {
		unsigned shift = is_large(c, e->shift) ? e->shift : 12;

		if (!(e->value & IS_ABSENT) &&
		    !((page ^ (e->value & VALUE_PAGE)) >> shift))
			return e;
	}
	return NULL;
}
