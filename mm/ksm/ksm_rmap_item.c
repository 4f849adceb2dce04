/* SPDX-License-Identifier: MIT */
/*
 * ksm_rmap_item.c - what the scanner records of a page: a frame and a checksum
 *
 * rmap_items lie in chunks of one frame each, found by address.  The position of
 * an rmap_item in its chunk says which page it describes, so it needs no pointer
 * to an mm and no address.  An empty rmap_item has word 0.
 */
#include "mm/ksm/ksm_priv.h"

static struct pool chunk_pool;

void ksm_rmap_item_init(void)
{
	pool_init(&chunk_pool, "ksm_chunk", sizeof(struct ksm_chunk));
}

static struct ksm_chunk *chunk_of(struct itree_node *node)
{
	return node ? container_of(node, struct ksm_chunk, node) : NULL;
}

struct ksm_chunk *chunk_find(struct mm *mm, va_t va)
{
	require(rw_held_write(&ksm.lock));
	return chunk_of(itree_first(&mm->ksm.chunks, va, va));
}

struct ksm_chunk *chunk_new(struct mm *mm, va_t va)
{
	struct ksm_chunk *chunk;
	struct page *frame;

	require(rw_held_write(&ksm.lock));
	chunk = pool_alloc(&chunk_pool);
	if (!chunk)
		return NULL;
	frame = page_alloc_zeroed();
	if (!frame) {
		pool_free(&chunk_pool, chunk);
		return NULL;
	}
	page_change_kind(frame, PAGE_KERNEL, PAGE_KERNEL, chunk, 0);
	chunk->mm = mm;
	chunk->rmap_items = page_va(frame);
	chunk->node.start = ALIGN_DOWN(va, CHUNK_BYTES);
	chunk->node.last = chunk->node.start + CHUNK_BYTES - 1;
	itree_insert(&mm->ksm.chunks, &chunk->node);
	ksm.chunks++;
	return chunk;
}

static void chunk_free(struct ksm_chunk *chunk)
{
	struct page *frame = page_of_va(chunk->rmap_items);

	require(rw_held_write(&ksm.lock));
	for (unsigned i = 0; i < CHUNK_PAGES; i++)
		require(!chunk->rmap_items[i].word);
	itree_remove(&chunk->mm->ksm.chunks, &chunk->node);
	page_put(frame);
	pool_free(&chunk_pool, chunk);
	ksm.chunks--;
}

static struct ksm_chunk *rmap_item_chunk(const struct ktree_node *rmap_item)
{
	return page_of_va(rmap_item)->mapping.chunk;
}

struct mm *rmap_item_mm(const struct ktree_node *rmap_item)
{
	return rmap_item_chunk(rmap_item)->mm;
}

va_t rmap_item_va(const struct ktree_node *rmap_item)
{
	const struct ksm_chunk *chunk = rmap_item_chunk(rmap_item);

	return chunk->node.start +
	       (va_t)(rmap_item - chunk->rmap_items) * PAGE_SIZE;
}

void rmap_item_insert(struct ktree_node *rmap_item,
		      const struct ktree_place *place)
{
	require(rw_held_write(&ksm.lock));
	require(rmap_item_seen(rmap_item) &&
		!(rmap_item->word & RMAP_ITEM_UNSHARED));
	ktree_insert(&ksm.unstable, rmap_item, place);
	rmap_item->word |= RMAP_ITEM_UNSHARED;
	ksm.unshared++;
}

void rmap_item_remove(struct ktree_node *rmap_item)
{
	if (!(rmap_item->word & RMAP_ITEM_UNSHARED))
		return;
	if (rmap_item_seen(rmap_item))
		ktree_remove(&ksm.unstable, rmap_item);
	rmap_item->word &= ~RMAP_ITEM_UNSHARED;
	ksm.unshared--;
}

void rmap_item_set(struct ktree_node *rmap_item, pfn_t pfn, uint32_t sum)
{
	require(rw_held_write(&ksm.lock));
	require(pfn >> (32 - RMAP_ITEM_PFN_SHIFT) == 0);
	rmap_item_remove(rmap_item);
	if (!rmap_item->word)
		ksm.rmap_items++;
	rmap_item->sum = sum;
	rmap_item->word = (uint32_t)(pfn << RMAP_ITEM_PFN_SHIFT) | ksm.pass;
}

void rmap_item_set_seen(struct ktree_node *rmap_item)
{
	require(rw_held_write(&ksm.lock) && rmap_item->word);
	rmap_item_remove(rmap_item);
	rmap_item->word = (rmap_item->word & ~RMAP_ITEM_PASS) | ksm.pass;
}

void rmap_item_clear(struct ktree_node *rmap_item)
{
	if (!rmap_item->word)
		return;
	rmap_item_remove(rmap_item);
	rmap_item->word = 0;
	ksm.rmap_items--;
}

void chunks_clear(struct mm *mm, va_t start, va_t end)
{
	struct itree_node *node, *next;

	require(rw_held_write(&ksm.lock) && start < end);
	for (node = itree_first(&mm->ksm.chunks, start, end - 1); node;
	     node = next) {
		struct ksm_chunk *chunk = chunk_of(node);
		va_t va = node->start;

		next = itree_next(node, start, end - 1);
		for (unsigned i = 0; i < CHUNK_PAGES; i++, va += PAGE_SIZE)
			if (va >= start && va < end)
				rmap_item_clear(&chunk->rmap_items[i]);
		if (chunk->node.start >= start && chunk->node.last < end)
			chunk_free(chunk);
	}
}

/* Clears the rmap_items that were not scanned in this pass.  Returns whether any
 * other is left. */
static bool chunk_end_pass(struct ksm_chunk *chunk)
{
	bool used = false;

	for (unsigned i = 0; i < CHUNK_PAGES; i++) {
		if (rmap_item_seen(&chunk->rmap_items[i]))
			used = true;
		else
			rmap_item_clear(&chunk->rmap_items[i]);
	}
	return used;
}

void chunks_end_pass(struct mm *mm)
{
	struct itree_node *node, *next;

	require(rw_held_write(&ksm.lock));
	for (node = itree_first(&mm->ksm.chunks, 0, USER_END); node;
	     node = next) {
		next = itree_next(node, 0, USER_END);
		if (!chunk_end_pass(chunk_of(node)))
			chunk_free(chunk_of(node));
	}
}
