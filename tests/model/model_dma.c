/* SPDX-License-Identifier: MIT */
/*
 * model_dma.c - the devices: transfers, their own TLBs, page requests
 *
 * A device with a TLB (ATS) asks for a translation first and then accesses
 * memory with it; the IOMMU does not check the address again.  So a stale entry
 * of its TLB is as dangerous as one of the IOTLB, and needs a command of its
 * own.
 */
#include "arch/layout.h"
#include "kernel/panic.h"
#include "kernel/san/san.h"
#include "kernel/string.h"
#include "tests/model/model_priv.h"

/* ---- devices with a TLB ------------------------------------------------ */

static struct ats_device *ats_slot(struct model *m, uint16_t devid)
{
	struct ats_device *room = NULL;

	for (unsigned i = 0; i < MODEL_ATS_DEVICES; i++) {
		struct ats_device *d = &m->ats[i];

		if (d->ats != MODEL_ATS_NONE && d->devid == devid)
			return d;
		if (d->ats == MODEL_ATS_NONE && !room)
			room = d;
	}
	return room;
}

enum model_ats ats_of(const struct model *m, uint16_t devid)
{
	for (unsigned i = 0; i < MODEL_ATS_DEVICES; i++)
		if (m->ats[i].ats != MODEL_ATS_NONE && m->ats[i].devid == devid)
			return m->ats[i].ats;
	return MODEL_ATS_NONE;
}

void model_set_ats(struct model *m, uint16_t devid, enum model_ats ats)
{
	uint64_t flags = model_enter(m);
	struct ats_device *d = ats_slot(m, devid);

	assert(d);
	*d = (struct ats_device){ devid, ats };
	if (ats == MODEL_ATS_NONE)
		cache_drop_tag(&m->device_tlb, devid);
	model_leave(m, flags);
}

/*
 * Use a hit in the device's TLB: only the device's right to use one is checked.
 */
static struct translation pretranslated(struct model *m, uint16_t devid,
					uint64_t iova, const struct cached *e)
{
	struct translation t = { .verdict = MODEL_ABORT };
	struct cached_dte *d = dte_get(m, devid, ACCESS_READ);

	m->stats.device_hits++;
	if (!d)
		return t;
	if (!(d->w[0] & DTE0_VALID) || !(d->w[1] & DTE1_TLB)) {
		event_log(m, EVENT(EV_BAD_REQUEST, devid) | BIT(57), iova);
		return t;
	}
	t.verdict = MODEL_DONE;
	t.pa = (e->value & VALUE_PAGE) | (iova & (BIT(e->shift) - 1));
	return t;
}

static struct translation through_device_tlb(struct model *m, uint16_t devid,
					     uint64_t iova, enum access a)
{
	const struct cached *e = cache_lookup(&m->device_tlb, devid, iova);
	struct translation t;
	uint64_t page;

	if (e && (e->value & a))
		return pretranslated(m, devid, iova, e);
	m->stats.device_misses++;
	t = translate(m, devid, iova, ACCESS_ATS);
	if (t.verdict != MODEL_DONE)
		return t;
	page = ALIGN_DOWN(t.pa, BIT(t.shift));
	cache_insert(&m->device_tlb, &m->rng, devid, iova, t.shift,
		     page | t.rights);
	if (!(t.rights & a))
		t.verdict = MODEL_REQUEST;
	return t;
}

/* ---- transfers --------------------------------------------------------- */

/* Move bytes within one page. */
static enum model_verdict move(struct model *m, uint16_t devid, uint64_t iova,
			       void *buf, size_t len, enum access a)
{
	struct translation t;

	t = ats_of(m, devid) == MODEL_ATS_NONE
		    ? translate(m, devid, iova, a)
		    : through_device_tlb(m, devid, iova, a);
	if (t.verdict == MODEL_DONE && !ram_at(t.pa))
		t.verdict = MODEL_ABORT;
	if (t.verdict != MODEL_DONE) {
		m->stats.dma_faults++;
		return t.verdict;
	}
	m->stats.dma_freed += ram_is_free(t.pa);
	m->stats.dma_bytes += len;
	if (a == ACCESS_WRITE)
		memcpy(phys_to_virt(t.pa), buf, len);
	else
		memcpy(buf, phys_to_virt(t.pa), len);
	return MODEL_DONE;
}

/* Send dwords, each a message; anything but whole dwords is refused. */
static enum model_verdict messages(struct model *m, uint16_t devid,
				   uint64_t iova, const void *buf, size_t len,
				   bool write)
{
	enum model_verdict v =
		write && !(iova % 4) && !(len % 4) ? MODEL_DONE : MODEL_ABORT;
	const char *p = buf;

	for (size_t at = 0; at < len && v == MODEL_DONE; at += 4) {
		struct model_message msg = { .address = iova + at };

		memcpy(&msg.data, p + at, 4);
		v = message(m, devid, msg, NULL);
	}
	return v;
}

size_t model_dma(struct model *m, uint16_t devid, iova_t iova, void *buf,
		 size_t len, bool write, enum model_verdict *why)
{
	enum model_verdict v = MODEL_DONE;
	size_t done = 0;

	san_unseen();
	if (m->config.transfer)
		m->config.transfer(m->config.ctx, devid, iova, len);
	while (done < len && v == MODEL_DONE) {
		size_t in_page = PAGE_SIZE - ((iova + done) & ~PAGE_MASK);
		size_t n = len - done < in_page ? len - done : in_page;
		uint64_t flags = model_enter(m);

		if (is_message(iova + done))
			v = messages(m, devid, iova + done, (char *)buf + done,
				     n, write);
		else
			v = move(m, devid, iova + done, (char *)buf + done, n,
				 write ? ACCESS_WRITE : ACCESS_READ);
		model_leave(m, flags);
		if (v == MODEL_DONE)
			done += n;
	}
	if (why)
		*why = v;
	return done;
}

/* ---- page requests ----------------------------------------------------- */

static struct ppr_group *group_find(struct model *m, uint16_t devid,
				    uint16_t tag)
{
	for (unsigned i = 0; i < GROUPS; i++)
		if (m->groups[i].open && m->groups[i].devid == devid &&
		    m->groups[i].tag == tag)
			return &m->groups[i];
	return NULL;
}

/* Open a group by w0, the first word of its log record. */
static void group_open(struct model *m, uint64_t w0)
{
	struct ppr_group g = { .devid = (uint16_t)w0,
			       .tag = w0 >> 32 & 0x1ff,
			       .open = 1 };

	if (w0 & BIT(56))
		g.process = (uint32_t)(PROCESS | (w0 >> 42 & 0xf) << 16 |
				       (w0 >> 16 & 0xffff));
	for (unsigned i = 0; i < GROUPS; i++)
		if (!m->groups[i].open) {
			m->groups[i] = g;
			return;
		}
	complain(m, "more than %u page request groups unanswered", GROUPS);
}

void group_close(struct model *m, uint16_t devid, uint16_t tag,
		 uint32_t process)
{
	struct ppr_group *g = group_find(m, devid, tag);

	if (g && g->process != process)
		complain(m, "answer to group %u of device %#x: not its PASID",
			 tag, devid);
	if (g)
		g->open--;
	else
		complain(m, "answer to group %u of device %#x: none is open",
			 tag, devid);
}

static uint64_t ppr_word(const struct model_ppr *p)
{
	uint64_t pasid = p->gn ? p->pasid & GENMASK(19, 0) : 0;

	return UINT64_C(1) << 60 | p->devid | (pasid & 0xffff) << 16 |
	       (uint64_t)(p->tag & 0x1ff) << 32 | (uint64_t)p->last << 41 |
	       pasid >> 16 << 42 | (uint64_t)p->exec << 49 |
	       (uint64_t)p->read << 50 | (uint64_t)p->write << 53 |
	       (uint64_t)p->user << 54 | (uint64_t)p->gn << 56;
}

static bool request(struct model *m, const struct model_ppr *p)
{
	uint64_t on = CONTROL_IOMMU_EN | CONTROL_PPR_EN;
	struct cached_dte *d;

	if ((m->control & on) != on)
		return false;
	d = dte_get(m, p->devid, ACCESS_ATS);
	if (!d)
		return false;
	if (!(d->w[0] & DTE0_VALID) || !(d->w[0] & DTE0_REQUESTS)) {
		event_log(m, EVENT(EV_BAD_PPR, p->devid), p->iova & PAGE_MASK);
		return false;
	}
	if (p->last && group_find(m, p->devid, p->tag)) {
		complain(m, "device %#x reuses open group %u", p->devid,
			 p->tag);
		return false;
	}
	if (!ppr_log(m, ppr_word(p), p->iova & PAGE_MASK))
		return false;
	if (p->last)
		group_open(m, ppr_word(p));
	return true;
}

bool model_page_request(struct model *m, const struct model_ppr *ppr)
{
	uint64_t flags = model_enter(m);
	bool logged = request(m, ppr);

	model_leave(m, flags);
	return logged;
}

bool model_log_request(struct model *m, uint64_t w0, uint64_t w1)
{
	uint64_t flags = model_enter(m);
	bool logged = ppr_log(m, w0, w1);
	struct ppr_group *g;

	if (logged && w0 >> 60 == 1 && w0 & BIT(41)) {
		g = group_find(m, (uint16_t)w0, w0 >> 32 & 0x1ff);
		if (g)
			g->open++;
		else
			group_open(m, w0);
	}
	model_leave(m, flags);
	return logged;
}

unsigned model_unanswered(struct model *m)
{
	uint64_t flags = model_enter(m);
	unsigned n = 0;

	for (unsigned i = 0; i < GROUPS; i++)
		n += m->groups[i].open;
	model_leave(m, flags);
	return n;
}
