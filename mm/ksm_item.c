/* SPDX-License-Identifier: MIT */
/*
 * ksm_item.c - what the scanner remembers of a page: a frame and a checksum
 *
 * Items lie in chunks of one frame each, found by address, so that an item
 * needs no back pointer: its place says which page it is of.  An item that
 * remembers nothing is all zero in word.
 */
#include "kernel/panic.h"
#include "mm/ksm_priv.h"

static struct pool chunk_pool;

void ksm_item_init(void)
{
	pool_init(&chunk_pool, "ksm_chunk", sizeof(struct ksm_chunk));
}

static struct ksm_chunk *chunk_of(struct itree_node *node)
{
	return node ? container_of(node, struct ksm_chunk, node) : NULL;
}

struct ksm_chunk *chunk_find(struct mm *mm, va_t va)
{
	return chunk_of(itree_first(&mm->ksm.chunks, va, va));
}

struct ksm_chunk *chunk_new(struct mm *mm, va_t va)
{
	struct ksm_chunk *chunk;
	struct page *frame;

	chunk = pool_alloc(&chunk_pool);
	if (!chunk)
		return NULL;
	frame = page_alloc_zeroed();
	if (!frame) {
		pool_free(&chunk_pool, chunk);
		return NULL;
	}
	frame->mapping = (uintptr_t)chunk;
	chunk->mm = mm;
	chunk->items = page_va(frame);
	chunk->node.start = ALIGN_DOWN(va, CHUNK_BYTES);
	chunk->node.last = chunk->node.start + CHUNK_BYTES - 1;
	itree_insert(&mm->ksm.chunks, &chunk->node);
	ksm.chunks++;
	return chunk;
}

static void chunk_free(struct ksm_chunk *chunk)
{
	struct page *frame = page_of_va(chunk->items);

	for (unsigned i = 0; i < CHUNK_PAGES; i++)
		assert(!chunk->items[i].word);
	itree_remove(&chunk->mm->ksm.chunks, &chunk->node);
	frame->mapping = 0;
	page_put(frame);
	pool_free(&chunk_pool, chunk);
	ksm.chunks--;
}

static struct ksm_chunk *item_chunk(const struct ktree_node *item)
{
	return (struct ksm_chunk *)page_of_va(item)->mapping;
}

struct mm *item_mm(const struct ktree_node *item)
{
	return item_chunk(item)->mm;
}

va_t item_va(const struct ktree_node *item)
{
	const struct ksm_chunk *chunk = item_chunk(item);

	return chunk->node.start + (va_t)(item - chunk->items) * PAGE_SIZE;
}

void item_insert(struct ktree_node *item, const struct ktree_place *place)
{
	assert(item_seen(item) && !(item->word & ITEM_UNSHARED));
	ktree_insert(&ksm.unstable, item, place);
	item->word |= ITEM_UNSHARED;
	ksm.unshared++;
}

void item_remove(struct ktree_node *item)
{
	if (!(item->word & ITEM_UNSHARED))
		return;
	if (item_seen(item))
		ktree_remove(&ksm.unstable, item);
	item->word &= ~ITEM_UNSHARED;
	ksm.unshared--;
}

void item_set(struct ktree_node *item, pfn_t pfn, uint32_t sum)
{
	item_remove(item);
	if (!item->word)
		ksm.items++;
	item->sum = sum;
	item->word = (uint32_t)(pfn << ITEM_SHIFT) | ksm.pass;
}

void item_see(struct ktree_node *item)
{
	item_remove(item);
	item->word = (item->word & ~ITEM_PASS) | ksm.pass;
}

void item_forget(struct ktree_node *item)
{
	if (!item->word)
		return;
	item_remove(item);
	item->word = 0;
	ksm.items--;
}

void chunks_forget(struct mm *mm, va_t start, va_t end)
{
	struct itree_node *node, *next;

	for (node = itree_first(&mm->ksm.chunks, start, end - 1); node;
	     node = next) {
		struct ksm_chunk *chunk = chunk_of(node);
		va_t va = node->start;

		next = itree_next(node, start, end - 1);
		for (unsigned i = 0; i < CHUNK_PAGES; i++, va += PAGE_SIZE)
			if (va >= start && va < end)
				item_forget(&chunk->items[i]);
		if (chunk->node.start >= start && chunk->node.last < end)
			chunk_free(chunk);
	}
}

/* False: nothing in it is remembered. */
static bool chunk_end_pass(struct ksm_chunk *chunk)
{
	bool used = false;

	for (unsigned i = 0; i < CHUNK_PAGES; i++) {
		if (item_seen(&chunk->items[i]))
			used = true;
		else
			item_forget(&chunk->items[i]);
	}
	return used;
}

void chunks_end_pass(struct mm *mm)
{
	struct itree_node *node, *next;

	for (node = itree_first(&mm->ksm.chunks, 0, USER_END); node;
	     node = next) {
		next = itree_next(node, 0, USER_END);
		if (!chunk_end_pass(chunk_of(node)))
			chunk_free(chunk_of(node));
	}
}
