/* SPDX-License-Identifier: MIT */
/*
 * ram_store.c - a frame for each page of the store
 */
#include "mm/swap/ram_store.h"
#include "kernel/err.h"
#include "kernel/lock.h"
#include "kernel/panic.h"
#include "mm/frame/pmm.h"

static struct ram_store *of(struct swap_store *store)
{
	return container_of(store, struct ram_store, store);
}

static int ram_read(struct swap_store *store, uint32_t n, struct page *frame)
{
	page_copy(frame, of(store)->kept[n]);
	return 0;
}

static int ram_write(struct swap_store *store, uint32_t n, struct page *frame)
{
	page_copy(of(store)->kept[n], frame);
	return 0;
}

/* Free the first n frames, and their index. */
static void frames_free(struct ram_store *ram, uint32_t n)
{
	while (n)
		page_put(ram->kept[--n]);
	page_put(ram->index);
}

int ram_store_init(struct ram_store *ram, uint32_t pages)
{
	require(locks_below(RANK_PMM));
	if (!pages || pages > SWAP_STORE_MAX)
		return err(EINVAL);
	*ram = (struct ram_store){ .store = { .name = "memory",
					      .pages = pages,
					      .read = ram_read,
					      .write = ram_write },
				   .index = pages_alloc(order_of(
					   pages * sizeof(struct page *))) };
	if (!ram->index)
		return err(ENOMEM);
	ram->kept = page_va(ram->index);
	for (uint32_t n = 0; n < pages; n++) {
		ram->kept[n] = page_alloc();
		if (ram->kept[n])
			continue;
		frames_free(ram, n);
		return err(ENOMEM);
	}
	return 0;
}

void ram_store_destroy(struct ram_store *ram)
{
	require(locks_below(RANK_PMM));
	frames_free(ram, ram->store.pages);
}
