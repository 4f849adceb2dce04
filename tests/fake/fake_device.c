/* SPDX-License-Identifier: MIT */
/*
 * fake_device.c - a device whose memory is a block of RAM
 */
#include "tests/fake/fake_device.h"
#include "kernel/err.h"
#include "kernel/string.h"
#include "mm/check/check.h"
#include "mm/core/entry.h"
#include "mm/frame/pmm.h"

static struct fake_device devices[FAKE_DEVICES];

/* Return the frame that holds a page of the device. */
static struct page *stored(struct fake_device *d, const struct page *page)
{
	return d->store + (page - d->memory.first);
}

/* Count one copy, to the device or back.  Returns 0 or -EIO. */
static int copy_allowed(struct fake_device *d, bool back)
{
	if (d->stop)
		sync_point_enter(d->stop);
	d->copies++;
	if (back && d->returns)
		return 0;
	if (d->succeed) {
		d->succeed--;
		return 0;
	}
	if (!d->fail)
		return 0;
	d->fail--;
	return err(EIO);
}

static int fake_copy(struct device_memory *dm, struct page *to,
		     struct page *from)
{
	struct fake_device *d = container_of(dm, struct fake_device, memory);
	int ret = copy_allowed(d, page_is_device(from));

	if (ret)
		return ret;
	page_copy(page_is_device(to) ? stored(d, to) : to,
		  page_is_device(from) ? stored(d, from) : from);
	return 0;
}

static const struct device_ops fake_ops = { .copy = fake_copy };

struct fake_device *fake_device(unsigned i, unsigned pages)
{
	struct fake_device *d = &devices[i];

	memset(d, 0, sizeof(*d));
	d->memory = (struct device_memory){ .name = "fake",
					    .ops = &fake_ops,
					    .pages = pages };
	d->store = pages_alloc(order_of(pages * PAGE_SIZE));
	REQUIRE(d->store);
	REQUIRE(!device_memory_add(&d->memory));
	return d;
}

void fake_device_end(struct fake_device *d)
{
	EXPECT_EQ(device_memory_used(&d->memory), 0);
	device_memory_close(&d->memory);
	REQUIRE(!device_memory_remove(&d->memory));
	page_put(d->store);
}

int device_take_begin(struct device_take *take, struct fake_device *d,
		      struct mm *mm, unsigned first, unsigned n)
{
	int ret;

	assert(n <= TAKE_MAX);
	take->d = d;
	take->args = (struct migrate_vma){ .mm = mm,
					   .start = P(first),
					   .end = P(first + n),
					   .src = take->src,
					   .dst = take->dst,
					   .owner = d };
	rw_read_lock(&mm->lock);
	ret = migrate_vma_setup(&take->args);
	if (ret) {
		rw_read_unlock(&mm->lock);
		return ret;
	}
	for (unsigned i = 0; i < n; i++)
		if (take->src[i] & MIGRATE_PFN_MIGRATE)
			take->dst[i] =
				migrate_pfn(device_page_alloc(&d->memory));
	return 0;
}

/* Fill one page of the device.  Returns 0 or -EIO. */
static int fill(struct fake_device *d, struct page *to, struct page *from)
{
	int ret;

	if (from)
		return fake_copy(&d->memory, to, from);
	ret = copy_allowed(d, false);
	if (!ret)
		page_zero(stored(d, to));
	return ret;
}

void device_take_copy(struct device_take *take)
{
	unsigned n =
		(unsigned)((take->args.end - take->args.start) >> PAGE_SHIFT);

	for (unsigned i = 0; i < n; i++) {
		struct page *to = migrate_page_of(take->dst[i]);

		if (to && fill(take->d, to, migrate_page_of(take->src[i]))) {
			page_put(to);
			take->dst[i] = 0;
		}
	}
}

int device_take_end(struct device_take *take)
{
	migrate_vma_finalize(&take->args);
	rw_read_unlock(&take->args.mm->lock);
	return (int)take->args.cpages;
}

int device_take(struct fake_device *d, struct mm *mm, unsigned first,
		unsigned n)
{
	static struct device_take take;
	int ret = device_take_begin(&take, d, mm, first, n);

	if (ret)
		return ret;
	device_take_copy(&take);
	migrate_vma_pages(&take.args);
	return device_take_end(&take);
}

struct page *device_page_at(struct mm *mm, va_t va)
{
	struct page *page = NULL;
	uint64_t *slot;

	spin_lock(&mm->pt_lock);
	slot = pt_slot(&mm->pt, va, 0, false);
	if (slot && entry_device(pte_read(slot))) {
		page = entry_page(pte_read(slot));
		page_get(page);
	}
	spin_unlock(&mm->pt_lock);
	return page;
}

/* Return the page of d that the entry at va names, with a reference, or NULL. */
static struct page *own_page(struct fake_device *d, struct mm *mm, va_t va)
{
	struct page *page = device_page_at(mm, va);

	if (page && device_memory_of(page) != &d->memory) {
		page_put(page);
		return NULL;
	}
	return page;
}

bool device_has(struct fake_device *d, struct mm *mm, va_t va)
{
	struct page *page = own_page(d, mm, va);

	if (page)
		page_put(page);
	return page;
}

uint64_t device_word(struct fake_device *d, struct mm *mm, va_t va)
{
	struct page *page = own_page(d, mm, va);
	uint64_t v = BAD;

	if (page) {
		v = *(uint64_t *)page_va(stored(d, page));
		page_put(page);
	}
	return v;
}

int device_store(struct fake_device *d, struct mm *mm, va_t va, uint64_t v)
{
	struct page *page = own_page(d, mm, va);

	if (!page)
		return err(EFAULT);
	*(uint64_t *)page_va(stored(d, page)) = v;
	page_put(page);
	return 0;
}

struct mm *mm_with_device(struct fake_device **d, unsigned n, unsigned room)
{
	struct mm *mm = mm_fixture(n);

	for (unsigned i = 0; i < n; i++)
		REQUIRE(!wr(mm, P(i), i + 1));
	*d = fake_device(0, room);
	REQUIRE(device_take(*d, mm, 0, n) == (int)n);
	return mm;
}

void mm_with_device_end(struct mm *mm, struct fake_device *d)
{
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
	fake_device_end(d);
}
