/* SPDX-License-Identifier: MIT */
/*
 * member.c - who is in a domain: attach, detach, and the entries that say so
 *
 *    attach:  its alias's entry, then its own        (iommu/alias.h)
 *    detach:  its alias's, if nobody else uses that; then its own
 *
 * An attachment is one entry of the device table that leads to the domain: of a
 * device that was attached itself, of a number that members' requests bear, or
 * of both.
 *
 * Locks: iommu->lock to write, then domain->lock: whoever flushes or grows the
 * tree finds a member with its entry, or neither.
 */
#include "iommu/domain_priv.h"
#include "iommu/mute.h"
#include "kernel/err.h"
#include "mm/pool.h"

static struct pool attachments;

void member_init(void)
{
	pool_init(&attachments, "attachment", sizeof(struct attachment));
}

struct dte domain_dte(const struct domain *d, const struct attachment *a)
{
	struct dte dte = dte_translate(pt_root_pa(&d->pt), d->pt.levels, d->id);

	if (a->flags & ATTACH_CUT)
		return iommu_deny(d->iommu);
	if (a->flags & ATTACH_ATS)
		dte.w[1] |= DTE1_I;
	if (a->flags & ATTACH_PPR)
		dte.w[0] |= DTE0_PPR;
	return dte;
}

/* Context: iommu->lock held. */
static struct attachment *attachment_of(struct iommu *iommu, uint16_t devid)
{
	struct attachment *a;

	LIST_FOREACH (a, &iommu->attached, link)
		if (a->devid == devid)
			return a;
	return NULL;
}

/* Do requests of others bear its number? */
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

/* May it come?  Context: iommu->lock held. */
static int admit(struct domain *d, uint16_t devid, unsigned flags)
{
	struct iommu *iommu = d->iommu;
	struct attachment *own = attachment_of(iommu, devid);
	struct attachment *alias =
		attachment_of(iommu, iommu_alias(iommu, devid));

	if (own && (own->itself || own->domain != d))
		return err(EBUSY);
	if (alias && alias->domain != d)
		return err(EBUSY);
	if (flags && is_alias(iommu, devid))
		return err(EINVAL);
	if (flags & ATTACH_ATS && iommu_is_mute(iommu, devid))
		return err(EIO);
	return 0;
}

/*
 * Its entry leads to the domain from here on, if it did not yet; *fresh is taken
 * for it then.  Context: iommu->lock held.
 */
static int enter(struct domain *d, uint16_t devid, unsigned flags,
		 struct attachment **fresh, struct attachment **out)
{
	struct iommu *iommu = d->iommu;
	struct attachment *a = attachment_of(iommu, devid);
	int error;

	*out = a;
	if (a)
		return 0;
	*out = a = *fresh;
	*fresh = NULL;
	a->devid = devid;
	a->domain = d;
	a->flags = flags;
	/* A member from here on: whoever flushes flushes for it too. */
	LIST_INSERT_HEAD(&iommu->attached, a, link);
	spin_lock(&d->lock);
	LIST_INSERT_HEAD(&d->members, a, member);
	error = iommu_set_dte(iommu, devid, domain_dte(d, a), 0);
	spin_unlock(&d->lock);
	return error;
}

/* Both entries.  Context: iommu->lock held. */
static int enter_both(struct domain *d, uint16_t devid, unsigned flags,
		      struct attachment *fresh[2])
{
	uint16_t alias = iommu_alias(d->iommu, devid);
	struct attachment *a;
	int error = 0, own;

	if (alias != devid) {
		error = enter(d, alias, 0, &fresh[0], &a);
		a->users++;
	}
	own = enter(d, devid, flags, &fresh[1], &a);
	a->itself = true;
	a->aliased = alias != devid;
	return error ? error : own;
}

int domain_attach(struct domain *d, uint16_t devid, unsigned flags)
{
	bool both = iommu_alias(d->iommu, devid) != devid;
	struct attachment *fresh[2] = {
		both ? pool_alloc(&attachments) : NULL,
		pool_alloc(&attachments),
	};
	int error = fresh[1] && (fresh[0] || !both) ? 0 : err(ENOMEM);

	if (!error) {
		rw_write_lock(&d->iommu->lock);
		error = admit(d, devid, flags);
		if (!error)
			error = enter_both(d, devid, flags, fresh);
		rw_write_unlock(&d->iommu->lock);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(fresh); i++)
		if (fresh[i])
			pool_free(&attachments, fresh[i]);
	return error;
}

/* Its entry denies from here on.  Context: iommu->lock held. */
static int leave(struct attachment *a)
{
	struct domain *d = a->domain;
	struct iommu *iommu = d->iommu;
	struct mute_moment since = mute_now(iommu);
	int error;

	/* Under its lock, or who grows the tree lets the device in again. */
	spin_lock(&d->lock);
	error = iommu_set_dte(iommu, a->devid, iommu_deny(iommu), d->id);
	if (!error)
		LIST_REMOVE(a, member);
	spin_unlock(&d->lock);
	if (error)
		return error;
	/* It is harmless; but what it remembers must not come back. */
	if (a->flags & ATTACH_ATS)
		mute_answered(iommu, a->devid, since);
	LIST_REMOVE(a, link);
	pool_free(&attachments, a);
	return 0;
}

/*
 * The alias first: if the hardware does not answer, the device is a member as
 * before, and who tries again finds both.  Context: iommu->lock held.
 */
static int leave_both(struct attachment *a)
{
	struct iommu *iommu = a->domain->iommu;
	struct attachment *alias =
		a->aliased ? attachment_of(iommu, iommu_alias(iommu, a->devid))
			   : NULL;
	int error = 0;

	if (alias && alias->users == 1 && !alias->itself)
		error = leave(alias);
	else if (alias)
		alias->users--;
	if (error)
		return error;
	a->aliased = false;
	if (!a->users)
		return leave(a);
	a->itself = false;
	return 0;
}

int domain_detach(struct domain *d, uint16_t devid)
{
	struct attachment *a;
	int error;

	rw_write_lock(&d->iommu->lock);
	a = attachment_of(d->iommu, devid);
	if (!a || a->domain != d || !a->itself)
		error = err(ENOENT);
	else
		error = leave_both(a);
	rw_write_unlock(&d->iommu->lock);
	return error;
}
