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
 * Strict only: when domain_unmap() has returned 0, no access of any member that
 * begins later reaches the page, and the page may be freed.  If it returns
 * -ETIMEDOUT the hardware did not confirm: then the page must be kept for ever.
 */
#pragma once

#include "iommu/iommu.h"
#include "mm/pt.h"

#define DOMAIN_LEVELS     3 /* 512 GiB of addresses; it grows when needed   */
#define DOMAIN_LEVELS_MAX 4

/* Key: (I) immutable  (D) lock  (L) iommu->lock */
struct domain {
	struct iommu *iommu;  /* (I)                                        */
	uint16_t id;          /* (I) the tag of its cached translations     */
	struct spinlock lock; /* RANK_DOMAIN                                */
	struct pt pt;         /* (D)                                        */
	bool shared;          /* (I) the tree is another's                  */
	LIST_HEAD(, attachment) members; /* (D|L) both to write             */
	uint64_t cleared;           /* (D) number of the last unmap's flush */
	uint64_t flushes, commands; /* (D) statistics                       */
};

/* Once, at boot. */
void domain_init(void);

/* An empty domain with an id of its own.  NULL: no memory, or no id left. */
struct domain *domain_create(struct iommu *iommu);

/*
 * A domain without a tree of its own: members walk the one of 4 levels at root,
 * over [0, top), which somebody else fills, flushes by domain_flush(), and keeps
 * until the last member has left.  Nothing is mapped through the domain.  NULL
 * as above.
 */
struct domain *domain_create_shared(struct iommu *iommu, uint64_t *root,
				    uint64_t top);

/*
 * Have all members forget [start, end), and the tables on the way to it, and
 * wait until they have.  -ETIMEDOUT.
 * Context: thread; spin locks below RANK_DOMAIN may be held.
 */
must_check int domain_flush(struct domain *domain, iova_t start, iova_t end);

/* Give back its tables and its id; it has no member. */
void domain_destroy(struct domain *domain);

/* The device has a TLB of its own (ATS): tell it too.  See iommu/mute.h. */
#define ATTACH_ATS 1u
/* It may send page requests (PRI): iommu/ppr.h serves them. */
#define ATTACH_PPR 2u
/* Not for callers: it was asked to forget, and did not answer; it is denied. */
#define ATTACH_CUT BIT(31)

/*
 * From now on the device sees memory through the domain.  -EBUSY if it is in
 * one, -EIO if it is mute (iommu/mute.h) and ATTACH_ATS, -ENOMEM; -ETIMEDOUT: it
 * is a member, but may not see it yet.  May sleep.
 *
 * What the IOMMU cannot tell apart (iommu/alias.h) is in one domain: -EBUSY if
 * its alias is in another, -EINVAL for flags of one whose number others bear.
 */
must_check int domain_attach(struct domain *domain, uint16_t devid,
			     unsigned flags);

/*
 * From now on the device reaches nothing, but what others of its alias, which
 * are still members, do.  0, -ENOENT if it is not a member, or
 * -ETIMEDOUT: then it still is one, and may reach what it did.  May sleep.
 */
must_check int domain_detach(struct domain *domain, uint16_t devid);

/*
 * Let members reach the frames [pa, pa + len) at iova, with PROT_R and PROT_W as
 * said; leaves of 2 MiB where both addresses allow.  All in bytes, page aligned.
 * 0; -EEXIST if something is mapped there, -ENOMEM, -EINVAL beyond the widest
 * tree; then nothing is mapped.  -ETIMEDOUT: it may be mapped and not be found.
 * Waits for an unmap that others have begun.  Context: thread; spin locks below
 * RANK_DOMAIN may be held.
 */
must_check int domain_map(struct domain *domain, iova_t iova, pa_t pa,
			  uint64_t len, enum prot prot);

/*
 * Take [start, end) from all members; holes are fine.  0, -ENOMEM if a larger
 * leaf had to be split (nothing has changed then), -ETIMEDOUT.  Context as above.
 */
must_check int domain_unmap(struct domain *domain, iova_t start, iova_t end);

/* Change the rights of what is mapped in [start, end), and flush: a right that
 * is gained must also reach a device that has cached less.  Errors as above. */
must_check int domain_protect(struct domain *domain, iova_t start, iova_t end,
			      enum prot prot);

/*
 * Make one leaf of the 2 MiB at iova, if they allow it; undo it.  The device may
 * run meanwhile, and sees no difference.  -EINVAL if they do not allow it.
 */
must_check int domain_join(struct domain *domain, iova_t iova);
must_check int domain_split(struct domain *domain, iova_t iova);

/* What the tables say of iova: true and the frame's address and rights. */
bool domain_lookup(struct domain *domain, iova_t iova, pa_t *pa,
		   enum prot *prot);

/* What the entry of a member must say.  Context: domain->lock held. */
struct dte domain_dte(const struct domain *domain, const struct attachment *a);
