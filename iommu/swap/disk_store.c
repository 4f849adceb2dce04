/* SPDX-License-Identifier: MIT */
/*
 * disk_store.c - map a frame, copy it, unmap it, compare checksums
 */
#include "iommu/swap/disk_store.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "mm/frame/pmm.h"
#include "mm/ksm/ksm_sum.h"

/* Where the engine finds the frame of page n: each transfer has its own address, so
 * that several may be under way. */
#define WINDOW UINT64_C(0x40000000)

static struct disk_store *of(struct swap_store *store)
{
	return container_of(store, struct disk_store, store);
}

static const void *on_disk(const struct disk_store *d, uint32_t n)
{
	return d->disk->memory + n * PAGE_SIZE;
}

/*
 * Copy page n from the disk into the frame, or with out the other way.  The engine
 * reaches the frame only meanwhile.  Returns 0 or an error.
 */
static int transfer(struct disk_store *d, uint32_t n, struct page *frame,
		    bool out)
{
	iova_t at = WINDOW + n * PAGE_SIZE, disk;
	int ret = ivshmem_range(n * PAGE_SIZE, PAGE_SIZE, &disk);

	if (!ret)
		ret = domain_map(d->domain, at, page_pa(frame), PAGE_SIZE,
				 out ? PROT_R : PROT_W);
	if (ret)
		return ret;
	ret = out ? dma_copy(d->engine, disk, at, PAGE_SIZE)
		  : dma_copy(d->engine, at, disk, PAGE_SIZE);
	PROBE(disk_copied, frame, n);
	if (domain_unmap(d->domain, at, at + PAGE_SIZE)) {
		page_get(frame); /* the engine may still reach it: for ever */
		return err(ETIMEDOUT);
	}
	return ret;
}

static int disk_read(struct swap_store *store, uint32_t n, struct page *frame)
{
	struct disk_store *d = of(store);
	int ret;

	require(may_sleep());
	ret = transfer(d, n, frame, false);
	if (!ret && ksm_sum(page_va(frame)) != d->sums[n])
		return err(EIO); /* not what was written */
	return ret;
}

static int disk_write(struct swap_store *store, uint32_t n, struct page *frame)
{
	struct disk_store *d = of(store);
	uint32_t sum;
	int ret;

	require(may_sleep());
	sum = ksm_sum(page_va(frame));
	ret = transfer(d, n, frame, true);
	d->sums[n] = sum;
	if (ret || ksm_sum(on_disk(d, n)) == sum)
		return ret;
	/* A page that is back in use may have changed: its slot is not read. */
	return ksm_sum(page_va(frame)) == sum ? err(EIO) : 0;
}

/* Map what the engine always needs: its program, and the disk. */
static int map_own(struct disk_store *d)
{
	const struct dma_own *own = &d->engine->own;
	int ret = domain_map(d->domain, own->bus, own->pa, own->len,
			     PROT_R | PROT_W);

	if (ret)
		return ret;
	return domain_map(d->domain, d->disk->bus, d->disk->bus,
			  (uint64_t)d->store.pages * PAGE_SIZE,
			  PROT_R | PROT_W);
}

/* Allocate the checksums.  Returns 0 or -ENOMEM. */
static int sums_alloc(struct disk_store *d)
{
	d->block = pages_alloc(order_of(d->store.pages * sizeof(*d->sums)));
	if (!d->block)
		return err(ENOMEM);
	d->sums = page_va(d->block);
	return 0;
}

/* Return the size of the store in pages; 0: the engine does not reach all of it. */
static uint32_t disk_pages(const struct dma_engine *engine,
			   const struct ivshmem *disk)
{
	uint64_t pages = disk->size >> PAGE_SHIFT;

	if (pages > SWAP_STORE_MAX)
		pages = SWAP_STORE_MAX;
	return dma_reaches(engine, disk->bus, pages << PAGE_SHIFT)
		       ? (uint32_t)pages
		       : 0;
}

int disk_store_open(struct disk_store *d, struct iommu *iommu,
		    struct dma_engine *engine)
{
	const struct ivshmem *disk = ivshmem();
	uint32_t pages = disk ? disk_pages(engine, disk) : 0;
	int ret;

	require(may_sleep());
	if (!pages)
		return err(ENODEV);
	*d = (struct disk_store){ .store = { .name = "ivshmem",
					     .pages = pages,
					     .read = disk_read,
					     .write = disk_write },
				  .engine = engine,
				  .disk = disk };
	ret = sums_alloc(d);
	if (ret)
		return ret;
	d->domain = domain_create(iommu);
	ret = d->domain ? map_own(d) : err(ENOMEM);
	if (!ret)
		ret = domain_attach(d->domain, engine->devid, 0);
	if (ret)
		disk_store_close(d);
	return ret;
}

void disk_store_close(struct disk_store *d)
{
	int ret;

	require(may_sleep());
	if (d->domain) {
		ret = domain_detach(d->domain, d->engine->devid);
		if (ret && ret != -ENOENT)
			panic("swap: device %x cannot be denied",
			      d->engine->devid);
		domain_destroy(d->domain);
	}
	page_put(d->block);
}
