/* SPDX-License-Identifier: MIT */
/*
 * attach.c - attach a device to a domain, detach it: the device table entries
 *
 *    attach:  the entry of its alias, then its own   (iommu/core/ids.h)
 *    detach:  the entry of its alias, if no other member uses the alias; then
 *             its own
 *
 * A struct attachment stands for one device table entry that leads to the domain:
 * the entry of a device that was attached itself, of a number that the requests
 * of members bear, or of both.
 *
 * Locks: iommu->lock to write, then domain->lock.  So a thread that flushes or
 * grows the tree under domain->lock sees a member together with its entry, or
 * neither.
 */
#include "iommu/core/domain_priv.h"
#include "iommu/core/unresponsive.h"
#include "kernel/err.h"
#include "mm/frame/pool.h"

static struct pool attachments;

void attach_init(void)
{
	pool_init(&attachments, "attachment", sizeof(struct attachment));
}

struct dte domain_dte(const struct domain *d, const struct attachment *a)
{
	struct dte dte = dte_translate(pt_root_pa(&d->pt), d->pt.levels, d->id);

	require(spin_held((struct spinlock *)&d->lock));
	if (a->flags & ATTACH_DENIED)
		return iommu_deny(d->iommu);
	if (a->flags & ATTACH_ATS)
		dte.w[1] |= DTE1_I;
	if (a->flags & ATTACH_PPR)
		dte.w[0] |= DTE0_PPR;
	return dte;
}

/* Find the attachment of a number; NULL: none.  Context: iommu->lock held. */
static struct attachment *attachment_of(struct iommu *iommu, uint16_t devid)
{
	struct attachment *a;

	require(rw_held(&iommu->lock));
	LIST_FOREACH (a, &iommu->attached, link)
		if (a->devid == devid)
			return a;
	return NULL;
}

/* True if requests of other devices bear this number. */
static bool is_alias(const struct iommu *iommu, uint16_t devid)
{
	for (unsigned i = 0; i < iommu->n_aliases; i++) {
		const struct iommu_alias *a = &iommu->aliases[i];

		if (a->alias == devid &&
		    (a->first != devid || a->last != devid))
			return true;
	}
	return false;
}

/* Check that devid may be attached to d.  Context: iommu->lock held to write. */
static int attach_check(struct domain *d, uint16_t devid, unsigned flags)
{
	struct iommu *iommu = d->iommu;
	struct attachment *own = attachment_of(iommu, devid);
	struct attachment *alias =
		attachment_of(iommu, iommu_alias(iommu, devid));

	require(rw_held_write(&iommu->lock));
	if (!iommu_covers(iommu, devid))
		return err(ENODEV);
	if (own && (own->itself || own->domain != d))
		return err(EBUSY);
	if (alias && alias->domain != d)
		return err(EBUSY);
	if (flags && is_alias(iommu, devid))
		return err(EINVAL);
	if (flags & ATTACH_ATS && iommu->firmware &&
	    ids_test(iommu->firmware->no_tlb, devid))
		return err(EPERM);
	if (flags & ATTACH_ATS && iommu_is_unresponsive(iommu, devid))
		return err(EIO);
	return 0;
}

/*
 * Point the device table entry of devid at the domain, if it does not yet: *fresh
 * becomes its attachment then.  Context: iommu->lock held to write.
 */
static int entry_attach(struct domain *d, uint16_t devid, unsigned flags,
			struct attachment **fresh, struct attachment **out)
{
	struct iommu *iommu = d->iommu;
	struct attachment *a = attachment_of(iommu, devid);
	int error;

	require(rw_held_write(&iommu->lock));
	*out = a;
	if (a)
		return 0;
	*out = a = *fresh;
	*fresh = NULL;
	a->devid = devid;
	a->domain = d;
	a->flags = flags;
	/* A member before its entry is set, so that no flush leaves it out. */
	LIST_INSERT_HEAD(&iommu->attached, a, link);
	spin_lock(&d->lock);
	LIST_INSERT_HEAD(&d->members, a, member);
	error = iommu_set_dte(iommu, devid, domain_dte(d, a), d->id, true);
	spin_unlock(&d->lock);
	return error;
}

/* Point both entries at the domain.  Context: iommu->lock held to write. */
static int entries_attach(struct domain *d, uint16_t devid, unsigned flags,
			  struct attachment *fresh[2])
{
	uint16_t alias = iommu_alias(d->iommu, devid);
	struct attachment *a;
	int error = 0, own;

	require(rw_held_write(&d->iommu->lock));
	if (alias != devid) {
		error = entry_attach(d, alias, 0, &fresh[0], &a);
		a->users++;
	}
	own = entry_attach(d, devid, flags, &fresh[1], &a);
	a->itself = true;
	a->aliased = alias != devid;
	return error ? error : own;
}

/* ---- memory that firmware uses through devices ------------------------- */

/* True if another member of the domain than devid needs this range too. */
static bool unity_shared(struct domain *d, uint16_t devid,
			 const struct iommu_unity *range)
{
	const struct iommu_unity *u;
	struct attachment *a;

	LIST_FOREACH (a, &d->members, member)
		for (unsigned i = 0; a->itself && a->devid != devid &&
				     (u = iommu_unity(d->iommu, a->devid, i));
		     i++)
			if (u->start < range->end && range->start < u->end)
				return true;
	return false;
}

/*
 * Unmap the first n ranges of the device that no other member needs.  A range
 * whose flush is not confirmed stays until the domain is destroyed; it holds no
 * page of the kernel's.
 */
static void unity_unmap(struct domain *d, uint16_t devid, unsigned n)
{
	const struct iommu_unity *u;

	for (unsigned i = 0; i < n && (u = iommu_unity(d->iommu, devid, i));
	     i++)
		if (!unity_shared(d, devid, u) &&
		    domain_unmap(d, u->start, u->end))
			PROBE(error, EIO, devid);
}

/* True if the range is mapped at its own address with these rights already. */
static bool unity_is_mapped(struct domain *d, const struct iommu_unity *u,
			    enum prot prot)
{
	for (pa_t at = u->start; at < u->end; at += PAGE_SIZE) {
		enum prot has;
		pa_t pa;

		if (!domain_lookup(d, at, &pa, &has) || pa != at ||
		    (has & prot) != prot)
			return false;
	}
	return true;
}

/*
 * Map the ranges that firmware uses through the device: before its entry leads to
 * the domain.  Context: iommu->lock held to write.
 */
static int unity_map(struct domain *d, uint16_t devid)
{
	const struct iommu_unity *u;
	int error = 0;

	require(rw_held_write(&d->iommu->lock));
	for (unsigned i = 0; (u = iommu_unity(d->iommu, devid, i)); i++) {
		enum prot prot =
			(u->read ? PROT_R : 0) | (u->write ? PROT_W : 0);

		if (d->shared)
			return err(EINVAL); /* the tree is an mm's */
		error = domain_map(d, u->start, u->start, u->end - u->start,
				   prot);
		if (error == -EEXIST)
			error = unity_is_mapped(d, u, prot) ? 0 : err(EBUSY);
		if (error) {
			unity_unmap(d, devid, i);
			return error;
		}
	}
	return 0;
}

/* ------------------------------------------------------------------------ */

int domain_attach(struct domain *d, uint16_t devid, unsigned flags)
{
	bool both = iommu_alias(d->iommu, devid) != devid;
	struct attachment *fresh[2] = {
		both ? pool_alloc(&attachments) : NULL,
		pool_alloc(&attachments),
	};
	int error = fresh[1] && (fresh[0] || !both) ? 0 : err(ENOMEM);

	require(may_sleep());
	if (!error) {
		rw_write_lock(&d->iommu->lock);
		error = attach_check(d, devid, flags);
		if (!error)
			error = unity_map(d, devid);
		if (!error)
			error = entries_attach(d, devid, flags, fresh);
		rw_write_unlock(&d->iommu->lock);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(fresh); i++)
		if (fresh[i])
			pool_free(&attachments, fresh[i]);
	return error;
}

/* Make the entry of an attachment deny, and free the attachment.
 * Context: iommu->lock held to write. */
static int entry_detach(struct attachment *a)
{
	struct domain *d = a->domain;
	struct iommu *iommu = d->iommu;
	struct unresponsive_since since = unresponsive_now(iommu);
	int error;

	require(rw_held_write(&iommu->lock));
	/* Under domain->lock: otherwise grow() could set the entry again. */
	spin_lock(&d->lock);
	error = iommu_set_dte(iommu, a->devid, iommu_deny(iommu), d->id, true);
	if (!error)
		LIST_REMOVE(a, member);
	spin_unlock(&d->lock);
	if (error)
		return error;
	/* The device is denied.  Record whether it acknowledged, so that without
	 * a reset it gets no TLB, which may hold translations of this domain. */
	if (a->flags & ATTACH_ATS)
		unresponsive_answered(iommu, a->devid, since);
	LIST_REMOVE(a, link);
	pool_free(&attachments, a);
	return 0;
}

/*
 * Detach both entries.  The alias first: if the hardware does not answer, the
 * device is a member as before, and a second try finds both.
 * Context: iommu->lock held to write.
 */
static int entries_detach(struct attachment *a)
{
	struct iommu *iommu = a->domain->iommu;
	struct attachment *alias =
		a->aliased ? attachment_of(iommu, iommu_alias(iommu, a->devid))
			   : NULL;
	int error = 0;

	require(rw_held_write(&iommu->lock));
	if (alias && alias->users == 1 && !alias->itself)
		error = entry_detach(alias);
	else if (alias)
		alias->users--;
	if (error)
		return error;
	a->aliased = false;
	if (!a->users)
		return entry_detach(a);
	a->itself = false;
	return 0;
}

int domain_detach(struct domain *d, uint16_t devid)
{
	struct attachment *a;
	int error;

	require(may_sleep());
	rw_write_lock(&d->iommu->lock);
	a = attachment_of(d->iommu, devid);
	if (!a || a->domain != d || !a->itself)
		error = err(ENOENT);
	else
		error = entries_detach(a);
	if (!error)
		unity_unmap(d, devid, UINT32_MAX);
	rw_write_unlock(&d->iommu->lock);
	return error;
}
