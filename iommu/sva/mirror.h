/* SPDX-License-Identifier: MIT */
/*
 * mirror.h - an mm seen through a table of the device's own
 *
 *   CR3 ────► the mm's tables          │ a fault copies one entry
 *                                      ▼
 *   DTE.root ────► the domain's tables ── emptied by invalidations
 *
 * The device's table holds what has been faulted in and not been taken away: a
 * part of what the CPU's table says, never more.  Where the CPU has an entry of 2 MiB a
 * fault copies all of it.  It is a shadow
 * (mm/notifier/shadow.h): it needs start and end of an invalidation, and no flush
 * between them.
 *
 * Compare sva.h: there the table cannot be wrong, but each flush must reach what
 * the IOMMU has cached; here the caches follow the table.
 */
#pragma once

#include "iommu/sva/binding.h"
#include "mm/notifier/shadow.h"

/* Immutable from mirror_bind() to mirror_unbind(), but for the shadow's state. */
struct mirror {
	struct shadow shadow;
	struct binding binding; /* of a domain with a tree of its own */
};

/*
 * Bind the device to mm: it reaches, at the addresses of mm, the pages that were
 * faulted in; at first none.  ppr has its page requests served (NULL: no
 * requests are served, the caller uses mirror_fault()).  The caller holds a user of
 * mm, and need not keep it: when the mm exits the device is denied first.
 * flags: ATTACH_*.
 * Returns 0, or with nothing bound: -ENOMEM, -EBUSY if the device is in a domain,
 * -EIO if it is unresponsive, -EINVAL if firmware wants memory mapped for it,
 * -ETIMEDOUT.  Context: may sleep.
 */
must_check int mirror_bind(struct mirror *m, struct iommu *iommu,
			   struct ppr *ppr, uint16_t devid, unsigned flags,
			   struct mm *mm);

/*
 * Unbind the device.  From the return on it reaches nothing, no fault is served
 * for it, and *m may be freed.  Also after the mm's exit.  Context: may sleep.
 */
void mirror_unbind(struct mirror *m);

/*
 * Make the device's access to va possible, by the rules of a CPU's fault; access
 * is PROT_R or PROT_W.  A read of a writable page maps it writable too, and the page
 * counts as dirty: v1 tables do not record writes (B33).  After 0 a device that
 * retries finds the page, unless the entry has been removed again meanwhile.
 * Returns 0, -EFAULT if no region allows the access or the mm has exited, -ENOMEM,
 * -ETIMEDOUT.  Context: may sleep, also while an invalidation of the page is open.
 */
must_check int mirror_fault(struct mirror *m, va_t va, enum prot access);

/*
 * Do mirror_fault() for the pages from that of va on, in order; those that need it are
 * mapped with one flush.  Returns 0, or the error of the first page that failed: those
 * before it are as after 0, those after it as before.  pages: 1 to PPR_GROUP_MAX, none
 * beyond the last address.  Context as above.
 */
must_check int mirror_fault_pages(struct mirror *m, va_t va, unsigned pages,
				  enum prot access);
