/* SPDX-License-Identifier: MIT */
/*
 * domain.h - one I/O page table, and the devices that see memory through it
 *
 *	struct domain *d = domain_create(iommu);
 *	domain_map(d, iova, pa, len, PROT_R | PROT_W);
 *	domain_attach(d, devid, 0);
 *	... the device reads and writes [iova, iova + len) ...
 *	domain_unmap(d, iova, iova + len);        now it does not
 *	domain_detach(d, devid);
 *	domain_destroy(d);
 *
 * Strict mode only: after domain_unmap() has returned 0 no access of any member
 * that begins later reaches the page, and the page may be freed.  -ETIMEDOUT
 * means that the hardware did not confirm: then the page must be kept for ever.
 *
 * Addresses and lengths are in bytes and page aligned, ranges are half-open
 * [start, end).  48882, section 2.2.3.
 */
#pragma once

#include "iommu/core/iommu.h"
#include "mm/pt/pt.h"

#define DOMAIN_LEVELS 3 /* 512 GiB of addresses; it grows when needed   */
/* Addresses end below 2^48: the translation cache of QEMU keeps the device's
 * number in the bits above. */
#define DOMAIN_LEVELS_MAX 4
_Static_assert(12 + 9 * DOMAIN_LEVELS_MAX <= 48, "IOVAs stay below 2^48");

/* Key: (I) immutable  (D) lock  (L) iommu->lock */
struct domain {
	struct iommu *iommu;  /* (I)                                        */
	uint16_t id;          /* (I) the tag of its cached translations     */
	struct spinlock lock; /* RANK_DOMAIN                                */
	struct pt pt;         /* (D)                                        */
	bool shared;          /* (I) the tree is an mm's, not the domain's  */
	LIST_HEAD(, attachment) members; /* (D|L) both to write             */
	uint64_t cleared;           /* (D) number of the last unmap's flush */
	uint64_t flushes, commands; /* (D) statistics                       */
};

/* Make the pools.  Context: boot, once. */
void domain_init(void);

/*
 * Make an empty domain with an id of its own.  NULL: no memory, or no id left.
 * Context: may sleep.
 */
struct domain *domain_create(struct iommu *iommu);

/*
 * Make a domain without a tree of its own: members walk the tree of 4 levels at
 * root, over [0, top).  The caller fills the tree, flushes by domain_flush(), and
 * keeps it until the last member is detached.  domain_map() and domain_unmap()
 * are not for such a domain.  NULL and context as above.
 */
struct domain *domain_create_shared(struct iommu *iommu, uint64_t *root,
				    uint64_t top);

/*
 * Flush [start, end), and the directory entries on the way to it, from the IOMMU
 * and from the TLB of each member, and wait.  Returns 0 or -ETIMEDOUT.
 * Context: thread; spin locks below RANK_DOMAIN may be held.
 */
must_check int domain_flush(struct domain *domain, iova_t start, iova_t end);

/* Free the tables and the id of a domain without members.  Context: may sleep. */
void domain_destroy(struct domain *domain);

/* The device has a TLB of its own (ATS), which is flushed too. */
#define ATTACH_ATS 1u
/* It may send page requests (PRI): iommu/sva/ppr.h serves them. */
#define ATTACH_PPR 2u
/* Not for callers: the device did not answer an invalidation, and is denied. */
#define ATTACH_DENIED BIT(31)

/*
 * Attach the device: it reaches memory through the domain.
 * Returns 0, or with the device not attached: -EBUSY if it is in a domain, -EIO
 * for ATTACH_ATS if it is unresponsive (iommu/core/unresponsive.h), -ENOMEM.
 * -ETIMEDOUT: it is a member, but may still be denied.
 *
 * Devices that the IOMMU cannot tell apart (iommu/core/ids.h) are in one domain:
 * -EBUSY if the alias is in another, -EINVAL for flags if the requests of other
 * devices bear this device's number.
 *
 * What firmware says (iommu/core/ids.h): -ENODEV if this IOMMU does not cover the
 * device, -EPERM for ATTACH_ATS if the device must have no TLB.  Memory that
 * firmware uses through the device is mapped at its own address until detach:
 * -EBUSY if another page is mapped there, -EINVAL if the tree is shared.
 * Context: may sleep.
 */
must_check int domain_attach(struct domain *domain, uint16_t devid,
			     unsigned flags);

/*
 * Detach the device.  After 0 it reaches nothing, except what devices with the
 * same alias reach that are still members.  Returns 0, -ENOENT if it is not a
 * member, or -ETIMEDOUT: it still is one, and may reach what it did.
 * Context: may sleep.
 */
must_check int domain_detach(struct domain *domain, uint16_t devid);

/*
 * Map the frames [pa, pa + len) at iova with the rights PROT_R and PROT_W of prot,
 * by leaves of 2 MiB where both addresses allow.
 * Returns 0, or with nothing mapped: -EEXIST if a page is mapped there, -ENOMEM,
 * -EINVAL beyond the widest tree.  -ETIMEDOUT: it may be mapped, and a member may
 * still find a hole.
 * Waits for the flush of an unmap that another thread has begun.
 * Context: thread; spin locks below RANK_DOMAIN may be held.
 */
must_check int domain_map(struct domain *domain, iova_t iova, pa_t pa,
			  uint64_t len, enum prot prot);

/*
 * Map the frames of n segments, one after the other, from iova on: one lock, one flush.
 * Segments that follow one another in memory count as one, so a leaf of 2 MiB may reach
 * across them.  Returns as domain_map() does for the whole; -EINVAL also if a
 * segment is empty or not page-aligned, or if there is none.  Context as above.
 * Linux: iommu_map_sg().
 */
must_check int domain_map_sg(struct domain *domain, iova_t iova,
			     const struct segment *sg, unsigned n,
			     enum prot prot);

/*
 * Unmap [start, end), which may have holes, and flush.  Returns 0, -ENOMEM if a
 * larger leaf could not be split (nothing has changed then), or -ETIMEDOUT: keep
 * the pages for ever.  Context as above.
 */
must_check int domain_unmap(struct domain *domain, iova_t start, iova_t end);

/*
 * Change the rights of what is mapped in [start, end), and flush: a right that is
 * gained must also reach a device that has cached less.  Errors, context as above.
 */
must_check int domain_protect(struct domain *domain, iova_t start, iova_t end,
			      enum prot prot);

/*
 * Replace the table for the 2 MiB around iova by one leaf, or a leaf by a table.
 * The device may run meanwhile, and sees no difference.  Returns 0, -EINVAL if
 * the entries do not allow it, -ENOMEM, -ETIMEDOUT.  Context as above.
 */
must_check int domain_join(struct domain *domain, iova_t iova);
must_check int domain_split(struct domain *domain, iova_t iova);

/* Look iova up in the tables: false, or true with the frame's address and rights.
 * Context as above. */
bool domain_lookup(struct domain *domain, iova_t iova, pa_t *pa,
		   enum prot *prot);

/* Make the device table entry of a member.  Context: domain->lock held. */
struct dte domain_dte(const struct domain *domain, const struct attachment *a);
