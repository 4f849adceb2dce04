/* SPDX-License-Identifier: MIT */
/*
 * vram.c - map frames in a window, copy by peer-to-peer DMA, unmap
 *
 * Each page of the memory has an address of its own in the window, at which the frame
 * that goes to it, or comes from it, is mapped meanwhile.  Only one thread moves a page,
 * so the window needs no lock; and pages that follow one another have windows that do,
 * so one move of the engine copies them all.
 */
#include "iommu/sva/vram.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/frame/pmm.h"
#include "mm/hmm/migrate_vma.h"
#include "mm/rmap/migrate.h"

#define WINDOW UINT64_C(0x50000000)

static struct vram *of(struct device_memory *dm)
{
	return container_of(dm, struct vram, memory);
}

static iova_t window_of(const struct vram *v, const struct page *page)
{
	return WINDOW + device_page_offset(&v->memory, page);
}

static iova_t bus_of(const struct vram *v, const struct page *page)
{
	return v->memory.bus + device_page_offset(&v->memory, page);
}

/* Keep a frame for ever: the engine may still reach it. */
static int kept(struct page *frame)
{
	page_get(frame);
	return err(ETIMEDOUT);
}

static int vram_copy(struct device_memory *dm, struct page *to,
		     struct page *from)
{
	struct vram *v = of(dm);
	bool out = page_is_device(to);
	struct page *frame = out ? from : to, *page = out ? to : from;
	iova_t at = window_of(v, page);
	int ret;

	require(may_sleep());
	ret = domain_map(v->domain, at, page_pa(frame), PAGE_SIZE,
			 out ? PROT_R : PROT_W);
	if (ret)
		return ret;
	ret = out ? dma_copy(v->engine, bus_of(v, page), at, PAGE_SIZE)
		  : dma_copy(v->engine, at, bus_of(v, page), PAGE_SIZE);
	PROBE(vram_copied, frame, page);
	if (domain_unmap(v->domain, at, at + PAGE_SIZE))
		return kept(frame);
	return ret;
}

static const struct device_ops vram_ops = { .copy = vram_copy };

/* ---- many pages ------------------------------------------------------------- */

/* Return the frame that goes to page i: of a hole the zero page. */
static struct page *frame_of(const struct vram *v, unsigned i)
{
	struct page *frame = migrate_page_of(v->src[i]);

	return frame ? frame : zero_page;
}

/* Return whether page i + 1 follows page i in the memory. */
static bool follows(const struct vram *v, unsigned i)
{
	return v->dst[i] && v->dst[i + 1] == v->dst[i] + 1;
}

/* Map the frames of pages [i, end) in the window.  Returns how many were mapped. */
static unsigned map_frames(struct vram *v, unsigned i, unsigned end)
{
	unsigned first = i;

	while (i < end) {
		struct page *frame = frame_of(v, i);
		unsigned n = 1;

		while (i + n < end && frame_of(v, i + n) == frame + n)
			n++;
		if (domain_map(v->domain,
			       window_of(v, migrate_page_of(v->dst[i])),
			       page_pa(frame), n * PAGE_SIZE, PROT_R))
			break;
		i += n;
	}
	return i - first;
}

/* Copy pages [i, end), whose dst follow one another.  Returns how many were copied. */
static unsigned copy_run(struct vram *v, unsigned i, unsigned end)
{
	struct page *first = migrate_page_of(v->dst[i]);
	iova_t at = window_of(v, first);
	unsigned n = map_frames(v, i, end);
	int ret;

	if (!n)
		return 0;
	ret = dma_copy(v->engine, bus_of(v, first), at, n * PAGE_SIZE);
	if (domain_unmap(v->domain, at, at + n * PAGE_SIZE)) {
		for (unsigned k = 0; k < n; k++)
			ret = kept(frame_of(v, i + k));
	}
	return ret ? 0 : n;
}

/* Give pages [i, end) of the memory back, since they were not filled. */
static void give_back(struct vram *v, unsigned i, unsigned end)
{
	for (; i < end; i++) {
		page_put(migrate_page_of(v->dst[i]));
		v->dst[i] = 0;
	}
}

/* Fill all dst of n pages by runs. */
static void copy_all(struct vram *v, unsigned n)
{
	unsigned i = 0, end;

	for (; i < n; i = end) {
		end = i + 1;
		if (!v->dst[i])
			continue;
		while (end < n && follows(v, end - 1))
			end++;
		give_back(v, i + copy_run(v, i, end), end);
	}
}

/* Do vram_take() for at most VRAM_BATCH pages.  Context: mm->lock held. */
static int take_batch(struct vram *v, struct migrate_vma *args)
{
	unsigned n = (unsigned)((args->end - args->start) >> PAGE_SHIFT);
	int ret;

	require(rw_held(&args->mm->lock));
	ret = migrate_vma_setup(args);
	if (ret)
		return ret;
	for (unsigned i = 0; i < n; i++)
		if (v->src[i] & MIGRATE_PFN_MIGRATE)
			v->dst[i] = migrate_pfn(device_page_alloc(&v->memory));
	copy_all(v, n);
	migrate_vma_pages(args);
	migrate_vma_finalize(args);
	return (int)args->cpages;
}

int vram_take(struct vram *v, struct mm *mm, va_t start, va_t end, void *owner)
{
	int moved = 0, ret = 0;

	require(may_sleep());
	rw_read_lock(&mm->lock);
	while (start < end && ret >= 0) {
		struct migrate_vma args = { .mm = mm,
					    .start = start,
					    .end = end,
					    .src = v->src,
					    .dst = v->dst,
					    .owner = owner };

		if (end - start > VRAM_BATCH * PAGE_SIZE)
			args.end = start + VRAM_BATCH * PAGE_SIZE;
		ret = take_batch(v, &args);
		moved += ret > 0 ? ret : 0;
		start = args.end;
	}
	rw_read_unlock(&mm->lock);
	return moved || ret >= 0 ? moved : ret;
}

/* ---- open and close --------------------------------------------------------- */

/* Map what the engine always needs: its program, and the memory. */
static int map_own(struct vram *v)
{
	const struct dma_own *own = &v->engine->own;
	int ret = domain_map(v->domain, own->bus, own->pa, own->len,
			     PROT_R | PROT_W);

	if (ret)
		return ret;
	return domain_map(v->domain, v->memory.bus, v->memory.bus,
			  v->memory.pages * PAGE_SIZE, PROT_R | PROT_W);
}

/* Write a word to the last page of the memory by DMA, and read it back.  Returns 0, or
 * -ENODEV if it does not come. */
static int probe_peer(struct vram *v)
{
	iova_t at = v->memory.bus + (v->memory.pages - 1) * PAGE_SIZE;
	uint64_t out = UINT64_C(0x7669736176697321), in = 0;

	if (dma_write(v->engine, at, &out, sizeof(out)) ||
	    dma_read(v->engine, at, &in, sizeof(in)) || in != out)
		return err(ENODEV);
	return 0;
}

/* Attach the engine and probe.  Returns as vram_open(). */
static int attach(struct vram *v, struct iommu *iommu)
{
	int ret;

	v->domain = domain_create(iommu);
	if (!v->domain)
		return err(ENOMEM);
	ret = map_own(v);
	if (!ret)
		ret = domain_attach(v->domain, v->engine->devid, 0);
	if (!ret)
		ret = probe_peer(v);
	return ret;
}

static void detach(struct vram *v)
{
	int ret;

	if (!v->domain)
		return;
	ret = domain_detach(v->domain, v->engine->devid);
	if (ret && ret != -ENOENT)
		panic("vram: device %x cannot be denied", v->engine->devid);
	domain_destroy(v->domain);
}

int vram_open(struct vram *v, struct iommu *iommu, struct dma_engine *engine)
{
	const struct ivshmem *bar = ivshmem_at(1);
	int ret;

	require(may_sleep());
	if (!bar || !dma_reaches(engine, bar->bus, bar->size))
		return err(ENODEV);
	v->memory = (struct device_memory){ .name = "vram",
					    .ops = &vram_ops,
					    .pages = (unsigned)(bar->size >>
								PAGE_SHIFT),
					    .bus = bar->bus };
	v->engine = engine;
	v->domain = NULL;
	ret = attach(v, iommu);
	if (!ret)
		ret = device_memory_add(&v->memory);
	if (ret)
		detach(v);
	return ret;
}

void vram_close(struct vram *v)
{
	require(may_sleep());
	device_memory_close(&v->memory);
	device_memory_evict(&v->memory, v->memory.pages);
	if (device_memory_remove(&v->memory))
		panic("vram: %u pages cannot come back",
		      device_memory_used(&v->memory));
	detach(v);
}
