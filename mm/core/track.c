/* SPDX-License-Identifier: MIT */
/*
 * track.c - the bits of tracked ranges
 *
 * Threads that hold mm->lock to read, or pt_lock alone, set bits at the same time.  They
 * are cleared with both held, to write.
 */
#include "mm/core/track.h"
#include "kernel/panic.h"
#include "kernel/string.h"
#include "mm/frame/page.h"
#include "mm/frame/pmm.h"
#include "mm/frame/pool.h"

static struct pool track_pool;

void track_init(void)
{
	pool_init(&track_pool, "track", sizeof(struct track));
}

struct track *track_new(va_t start, va_t end)
{
	struct track *t = pool_alloc(&track_pool);

	require(locks_below(RANK_POOL));
	assert(end - start <= TRACK_PAGES << PAGE_SHIFT);
	if (!t)
		return NULL;
	t->frame = page_alloc();
	if (!t->frame) {
		pool_free(&track_pool, t);
		return NULL;
	}
	memset(page_va(t->frame), 0xff, PAGE_SIZE);
	t->start = start;
	t->end = end;
	return t;
}

void track_free(struct track *t)
{
	require(locks_below(RANK_POOL));
	page_put(t->frame);
	pool_free(&track_pool, t);
}

void track_insert(struct mm *mm, struct track *t)
{
	require(rw_held_write(&mm->lock));
	spin_lock(&mm->pt_lock);
	LIST_INSERT_HEAD(&mm->tracks, t, link);
	spin_unlock(&mm->pt_lock);
}

void track_remove(struct mm *mm, struct track *t)
{
	require(rw_held_write(&mm->lock));
	spin_lock(&mm->pt_lock);
	LIST_REMOVE(t, link);
	spin_unlock(&mm->pt_lock);
}

/* Return the next record after t that meets [start, end), or NULL. */
static struct track *track_next(struct track *t, va_t start, va_t end)
{
	while (t && (t->end <= start || end <= t->start))
		t = LIST_NEXT(t, link);
	return t;
}

struct track *track_find(struct mm *mm, va_t start, va_t end)
{
	require(rw_held(&mm->lock) || spin_held(&mm->pt_lock));
	return track_next(LIST_FIRST(&mm->tracks), start, end);
}

/* Return the word with the page's bit, and the bit in *bit. */
static _Atomic uint64_t *word_of(const struct track *t, va_t va, uint64_t *bit)
{
	uint64_t i = (va - t->start) >> PAGE_SHIFT;

	assert(va >= t->start && va < t->end);
	*bit = BIT(i % 64);
	return (_Atomic uint64_t *)page_va(t->frame) + i / 64;
}

bool track_noted(const struct track *t, va_t va)
{
	uint64_t bit, *word = (uint64_t *)word_of(t, va, &bit);

	return READ_ONCE(*word) & bit;
}

void track_clear(struct mm *mm, struct track *t, va_t va)
{
	_Atomic uint64_t *word;
	uint64_t bit;

	require(rw_held_write(&mm->lock) && spin_held(&mm->pt_lock));
	word = word_of(t, va, &bit);
	atomic_fetch_and_explicit(word, ~bit, memory_order_relaxed);
}

void track_note_slow(struct mm *mm, va_t start, va_t end)
{
	struct track *t = track_find(mm, start, end);
	_Atomic uint64_t *word;
	uint64_t bit;

	require(rw_held(&mm->lock) || spin_held(&mm->pt_lock));
	for (; t; t = track_next(LIST_NEXT(t, link), start, end)) {
		va_t va = t->start > start ? t->start : start;

		for (; va < end && va < t->end; va += PAGE_SIZE) {
			/* Ordered by the lock that gives W after this. */
			word = word_of(t, va, &bit);
			atomic_fetch_or_explicit(word, bit,
						 memory_order_relaxed);
		}
	}
}
