/* SPDX-License-Identifier: MIT */
/*
 * hmm_driver.c - reports into the device's table, invalidations out of it
 */
#include "tests/fake/hmm_driver.h"
#include "iommu/sva/hmm_map.h"
#include "kernel/err.h"
#include "kernel/string.h"

static bool invalidate(struct mmu_interval_notifier *mni,
		       const struct mmu_notifier_range *change, uint64_t seq)
{
	struct hmm_driver *d = container_of(mni, struct hmm_driver, mni);

	if (mmu_notifier_range_own(change, d))
		return true; /* its own doing */
	if (!change->blockable)
		return false;
	rw_write_lock(&d->lock);
	mmu_interval_set_seq(mni, seq);
	EXPECT_EQ(hmm_dma_unmap(d->domain, &d->range, IOVA, change->start,
				change->end, true),
		  0);
	d->notified++;
	d->ended += change->event == MMU_NOTIFY_EXCLUSIVE;
	rw_write_unlock(&d->lock);
	return true;
}

static const struct mmu_interval_notifier_ops driver_ops = {
	.invalidate = invalidate,
};

void hmm_driver_start(struct hmm_driver *d, struct iommu_fixture *s, unsigned n,
		      struct mm *mm, unsigned first, unsigned end)
{
	memset(d, 0, sizeof(*d));
	rw_init(&d->lock, RANK_TRANSFER, "hmm driver");
	d->domain = fixture_domain(s);
	d->range = (struct hmm_range){ .notifier = &d->mni,
				       .start = P(first),
				       .end = P(end),
				       .hmm_pfns = d->mapped };
	REQUIRE(!mmu_interval_notifier_insert(
		&d->mni, mm, P(first), (end - first) * PAGE_SIZE, &driver_ops));
	fixture_attach(s, n, d->domain);
}

void hmm_driver_stop(struct hmm_driver *d)
{
	rw_write_lock(&d->lock);
	EXPECT_EQ(hmm_dma_unmap(d->domain, &d->range, IOVA, d->range.start,
				d->range.end, true),
		  0);
	rw_write_unlock(&d->lock);
	mmu_interval_notifier_remove(&d->mni);
}

/* Replace what the device's table has by the reports of range.  Returns as
 * hmm_dma_map().  Context: d->lock held. */
static int map_again(struct hmm_driver *d, const struct hmm_range *range)
{
	int ret = hmm_dma_unmap(d->domain, &d->range, IOVA, range->start,
				range->end, true);

	require(rw_held_write(&d->lock));
	if (!ret)
		ret = hmm_dma_map(d->domain, range, IOVA);
	if (!ret)
		memcpy(d->mapped, d->fresh, sizeof(d->mapped));
	return ret;
}

/* Have the range reported and mapped.  Returns 0 with the lock held, or an error. */
static int fill(struct hmm_driver *d, uint64_t request, bool exclusive)
{
	struct hmm_range range = d->range;
	int ret;

	range.hmm_pfns = d->fresh;
	range.default_flags = request;
	while (true) {
		range.notifier_seq = mmu_interval_read_begin(&d->mni);
		ret = exclusive ? make_device_exclusive(&range, d)
				: hmm_range_fault(&range);
		d->busy += ret == -EBUSY;
		if (ret == -EBUSY)
			continue;
		if (ret)
			return ret;
		rw_write_lock(&d->lock);
		if (!mmu_interval_read_retry(&d->mni, range.notifier_seq))
			break;
		rw_write_unlock(&d->lock);
	}
	ret = map_again(d, &range);
	if (ret)
		rw_write_unlock(&d->lock);
	return ret;
}

int hmm_driver_fault(struct hmm_driver *d, uint64_t request)
{
	int ret = fill(d, request, false);

	if (!ret)
		hmm_driver_unlock(d);
	return ret;
}

int hmm_driver_make_exclusive(struct hmm_driver *d)
{
	return fill(d, 0, true);
}

void hmm_driver_unlock(struct hmm_driver *d)
{
	rw_write_unlock(&d->lock);
}
