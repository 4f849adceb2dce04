/* SPDX-License-Identifier: MIT */
/*
 * hmm.h - which frames does a range of an address space have, and with which rights?
 *
 *	do {
 *		range.notifier_seq = mmu_interval_read_begin(range.notifier);
 *		ret = hmm_range_fault(&range);
 *		if (ret == -EBUSY)
 *			continue;
 *		if (ret)
 *			return ret;
 *		lock(client);
 *		again = mmu_interval_read_retry(range.notifier, range.notifier_seq);
 *		if (!again)
 *			... copy hmm_pfns[] to the device's table ...
 *		unlock(client);
 *	} while (ret || again);
 *
 * No frame is pinned or counted: what keeps it at its address is the client's
 * callback, which removes the entries from the device's table before the page
 * goes (mm/notifier/interval_notifier.h).  A report is true until the interval is
 * invalidated, and the sequence tells that it was.
 *
 * Names and contract are those of Linux's include/linux/hmm.h and mm/hmm.c since 5.8;
 * where the flags lie in a word is not.  The chapter is HMM.md.
 */
#pragma once

#include "mm/core/device.h"
#include "mm/notifier/interval_notifier.h"

/*
 * hmm_pfns[i], a report of one page:
 *
 *	60     56  54     53     52     39                                    0
 *	order      ERROR  WRITE  VALID  frame number
 *
 * It is an entry of the CPU's table, rotated by the bits of a page's offset.  0: an
 * access would fault, and the fault may help.  Before the call VALID and WRITE are a
 * request.
 */
#define HMM_PFN_VALID BIT(52) /* the frame may be read                  */
#define HMM_PFN_WRITE BIT(53) /* ... and written, without a fault       */
#define HMM_PFN_ERROR BIT(54) /* no access is possible                  */
#define HMM_PFN_ORDER GENMASK(60, 56)
#define HMM_PFN_FRAME GENMASK(39, 0)

#define HMM_PFN_REQ_FAULT HMM_PFN_VALID /* report it VALID: fault if need be */
#define HMM_PFN_REQ_WRITE HMM_PFN_WRITE /* with REQ_FAULT: and WRITE         */

struct hmm_range {
	struct mmu_interval_notifier *notifier;
	uint64_t notifier_seq; /* of mmu_interval_read_begin()           */
	va_t start, end;       /* inside the notifier's interval         */
	uint64_t *hmm_pfns;    /* one for each page: requests, reports   */
	/* What is requested of a page: default_flags, and of what its hmm_pfns[]
	 * holds the bits in pfn_flags_mask.  Both 0: a snapshot. */
	uint64_t default_flags, pfn_flags_mask;
	/* The memory of the client's own device, or NULL: pages in it are
	 * reported, with numbers that are not below frames_end; those of other
	 * devices are brought back to RAM if they are requested. */
	const struct device_memory *dev_private_owner;
};

/* Return the page frame number of a report that is VALID. */
static inline uint64_t hmm_pfn(uint64_t report)
{
	return report & HMM_PFN_FRAME;
}

/*
 * Return log2 of the pages that one entry of the CPU maps there, 0 or 9: this
 * page lies in an aligned block of so many, whose frames follow one another and
 * have the same rights.  Of a VALID report.
 */
static inline unsigned hmm_pfn_order(uint64_t report)
{
	return (unsigned)FIELD_GET(HMM_PFN_ORDER, report);
}

/* Return whether the range is aligned, not empty, and inside its notifier's interval. */
bool hmm_range_fits(const struct hmm_range *range);

/*
 * Report each page of the range, after a fault where it lacks what is requested.
 * Without a request (a snapshot) nothing changes, and no page is faulted in.
 *
 * Context: may sleep; takes mm->lock to read.  The caller holds a user of the mm,
 * and not the client's lock.
 * Returns 0: every page of the range is reported, as it was at some moment since
 * read_begin().
 * -EBUSY: the interval has been invalidated since, perhaps by a fault of this call,
 * which copies a shared page to make it writable; begin anew, with the requests.
 * -EFAULT: a page that is requested belongs to no region, or to one without rights.
 * -EPERM: REQ_WRITE, and the region may not be written.
 * -EIO, -ENOMEM: as mm_fault().
 * -EINVAL: the range is empty, unaligned or not inside the interval.
 * After an error the pages before that place are reported, and the others hold what
 * the caller wrote.  Linux: hmm_range_fault().
 */
must_check int hmm_range_fault(struct hmm_range *range);

/*
 * Do hmm_range_fault() for a client with a protocol of its own (mm/notifier/shadow.h):
 * range->notifier is NULL, and what is reported may be out of date.  The range is
 * aligned and not empty.  Returns as above, but never -EBUSY or -EINVAL.
 */
must_check int hmm_range_report(struct mm *mm, struct hmm_range *range);
