/* SPDX-License-Identifier: MIT */
/*
 * pri.c - log, status bits and interrupt of page requests; answers out of the
 * command ring
 *
 * The layouts are the manual's (48882, 2.4.7 and 2.6), spelled here a third time
 * and not taken from iommu/.
 */
#include "tests/pri.h"
#include <stdatomic.h>
#include "arch/lapic.h"
#include "drivers/pci.h"
#include "iommu/regs.h"
#include "kernel/string.h"
#include "mm/pmm.h"

#define RECORD      16u
#define DEVICES     8u
#define TAGS        512u
#define CLASS_IOMMU 0x0806
#define OURS        (STATUS_PPR_OVERFLOW | STATUS_PPR_INT | STATUS_PPR_RUN)
#define LOG_LAST    BIT(41)
#define LOG_GUEST   BIT(56)
#define LOG_KIND    GENMASK(63, 60)

struct tag {
	struct pri_tally t;
	uint64_t asked_by; /* first word of the request that wants an answer */
};

/* Key: (P) lock  (I) from pri_open() to pri_close()  (Q) the ring's lock */
static struct pri {
	struct spinlock lock;   /* RANK_MODEL                                 */
	struct stand *s;        /* (I) NULL: closed                           */
	struct iommu_port real; /* (I)                                      */
	unsigned vector;        /* (I) the IOMMU's MSI                      */
	uint64_t status;        /* (P) bits of OURS but RUN                 */
	bool stopped;           /* (P) overflowed, not yet restarted        */
	unsigned decoded;       /* (Q) the ring's tail as we know it        */
	_Atomic uint64_t doorbells;
	pri_answer_fn *fn; /* (P)                                           */
	void *arg;         /* (P)                                           */
	unsigned n;        /* (P) devices seen                              */
	int owed;          /* (P) answers                                   */
	uint16_t devid[DEVICES];         /* (P)                             */
	struct pri_tally total[DEVICES]; /* (P)                             */
	struct page *pages;              /* (I) of tags                     */
	struct tag (*tags)[TAGS];        /* (P) by device                   */
} pri = { .lock = SPINLOCK_INIT(RANK_MODEL, "pri") };

#define TAG_PAGES_ORDER 7
_Static_assert(sizeof(struct tag[DEVICES][TAGS]) <= PAGE_SIZE
							    << TAG_PAGES_ORDER,
	       "all tags in one block");

struct waitq pri_news;
struct pri_when pri_when;

/* ---- what is owed ------------------------------------------------------- */

/* Context: lock held.  More than DEVICES share the last one's. */
static unsigned device_of(uint16_t devid)
{
	unsigned i = 0;

	while (i < pri.n && pri.devid[i] != devid)
		i++;
	if (i == pri.n && pri.n < DEVICES)
		pri.devid[pri.n++] = devid;
	return i < DEVICES ? i : DEVICES - 1;
}

static struct tag *tag_of(uint16_t devid, uint16_t tag)
{
	return &pri.tags[device_of(devid)][tag % TAGS];
}

static unsigned given(const struct pri_tally *t)
{
	unsigned n = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(t->answered); i++)
		n += t->answered[i];
	return n;
}

/* Before the entry can be seen; -1: it was not taken after all. */
static void owe(uint64_t w0, int n)
{
	uint64_t flags = spin_lock_irq(&pri.lock);
	struct tag *t = tag_of((uint16_t)w0, (uint16_t)(w0 >> 32 & 0x1ff));
	struct pri_tally *total = &pri.total[device_of((uint16_t)w0)];

	t->t.lost += n < 0;
	total->lost += n < 0;
	if (w0 & LOG_LAST && FIELD_GET(LOG_KIND, w0) == 1) {
		t->t.asked += (unsigned)n;
		total->asked += (unsigned)n;
		pri.owed += n;
		if (n > 0)
			t->asked_by = w0;
	}
	spin_unlock_irq(&pri.lock, flags);
}

static void deliver(uint16_t devid, uint16_t tag, unsigned status)
{
	uint64_t flags = spin_lock_irq(&pri.lock);
	struct tag *t = tag_of(devid, tag);
	pri_answer_fn *fn = pri.fn;
	void *arg = pri.arg;
	bool owed;

	t->t.answered[status & 15]++;
	pri.total[device_of(devid)].answered[status & 15]++;
	pri.owed--;
	owed = given(&t->t) <= t->t.asked;
	spin_unlock_irq(&pri.lock, flags);
	if (!owed)
		test_fail(__FILE__, __LINE__,
			  "device %x, group %u: an answer that nobody wants",
			  devid, tag);
	if (fn)
		fn(arg, devid, tag, status);
	wake_all(&pri_news);
}

void pri_answered(uint16_t devid, uint16_t tag, unsigned status)
{
	if (pri.s)
		deliver(devid, tag, status);
}

/* ---- answers out of the ring; context: the ring's lock held -------------- */

static uint64_t pasid_asked(uint64_t w0)
{
	if (!(w0 & LOG_GUEST))
		return UINT64_MAX;
	return (w0 >> 16 & 0xffff) | (w0 >> 42 & 0xf) << 16;
}

static void completed(uint64_t w0, uint64_t w1)
{
	uint64_t pasid = w1 & BIT(2) ? w0 >> 32 & 0xfffff : UINT64_MAX;
	uint16_t devid = (uint16_t)w0, tag = (uint16_t)(w1 >> 32 & 0x1ff);
	uint64_t flags = spin_lock_irq(&pri.lock);
	bool same = pasid_asked(tag_of(devid, tag)->asked_by) == pasid;

	spin_unlock_irq(&pri.lock, flags);
	if (!same)
		test_fail(__FILE__, __LINE__,
			  "device %x, group %u: not the PASID of the request",
			  devid, tag);
	deliver(devid, tag, (unsigned)(w1 >> 44 & 15));
}

static void decode(unsigned tail)
{
	uint64_t base = reg_read(&pri.real, REG_CMD_BASE);
	unsigned size = RECORD << FIELD_GET(RING_LENGTH, base);

	while (pri.decoded != tail) {
		const uint64_t *w =
			phys_to_virt((base & BASE_ADDRESS) + pri.decoded);

		if (w[0] >> 60 == 7)
			completed(w[0], w[1]);
		pri.decoded = (pri.decoded + RECORD) % size;
	}
}

/* ---- the port ------------------------------------------------------------ */

static bool log_on(uint64_t control)
{
	uint64_t on = CONTROL_IOMMU_EN | CONTROL_PPR_LOG_EN;

	return (control & on) == on;
}

static uint64_t tapped_read(void *ctx, unsigned reg)
{
	uint64_t v = reg_read(&pri.real, reg), flags;

	(void)ctx;
	if (reg != REG_STATUS)
		return v;
	flags = spin_lock_irq(&pri.lock);
	v = (v & ~OURS) | pri.status;
	if (!pri.stopped && log_on(reg_read(&pri.real, REG_CONTROL)))
		v |= STATUS_PPR_RUN;
	spin_unlock_irq(&pri.lock, flags);
	return v;
}

static void control_written(uint64_t was, uint64_t is)
{
	/* It runs again by 0, then 1, and not with the overflow standing. */
	if (!log_on(was) && log_on(is) && !(pri.status & STATUS_PPR_OVERFLOW))
		pri.stopped = false;
}

static void tapped_write(void *ctx, unsigned reg, uint64_t value)
{
	uint64_t flags;

	(void)ctx;
	if (reg == REG_CMD_TAIL) {
		atomic_fetch_add(&pri.doorbells, 1);
		reg_write(&pri.real, reg, value);
		atomic_fetch_add(&pri.doorbells, 1);
		pri_when.told = rdtsc();
		decode((unsigned)value);
		return;
	}
	if (reg == REG_PPR_HEAD)
		pri_when.taken = rdtsc();
	flags = spin_lock_irq(&pri.lock);
	if (reg == REG_STATUS) {
		pri.status &= ~value;
		value &= ~OURS;
	}
	if (reg == REG_CONTROL)
		control_written(reg_read(&pri.real, reg), value);
	reg_write(&pri.real, reg, value);
	spin_unlock_irq(&pri.lock, flags);
}

uint64_t pri_doorbells(void)
{
	return atomic_load(&pri.doorbells);
}

/* ---- the log ------------------------------------------------------------- */

/*
 * Under icount QEMU lets one CPU run after the other, and an IPI takes the next
 * turn from all of them: who sends one in each of its turns leaves the others
 * none.  The pause gives it back.
 */
static void interrupt(void)
{
	if (pri.vector)
		lapic_ipi(0, pri.vector);
	else
		iommu_kick(pri.s->iommu);
	cpu_pause();
}

/* Returns whether there is a new reason to interrupt.  Context: lock held. */
static bool raise(uint64_t bit)
{
	bool new = !(pri.status & bit);

	pri.status |= bit;
	return new &&reg_read(&pri.real, REG_CONTROL) & CONTROL_PPR_INT_EN;
}

/* Context: lock held.  *tell: interrupt when it is dropped. */
static bool append(uint64_t w0, uint64_t w1, bool *tell)
{
	uint64_t base = reg_read(&pri.real, REG_PPR_BASE);
	uint64_t size = (uint64_t)RECORD << FIELD_GET(RING_LENGTH, base);
	uint64_t head = reg_read(&pri.real, REG_PPR_HEAD) % size;
	uint64_t tail = reg_read(&pri.real, REG_PPR_TAIL) % size;
	uint64_t *slot = phys_to_virt((base & BASE_ADDRESS) + tail);

	if (pri.stopped || !log_on(reg_read(&pri.real, REG_CONTROL)))
		return false;
	if ((tail + RECORD) % size == head) {
		pri.stopped = true;
		*tell = raise(STATUS_PPR_OVERFLOW);
		return false;
	}
	WRITE_ONCE(slot[1], w1);
	__atomic_store_n(&slot[0], w0, __ATOMIC_RELEASE);
	reg_write(&pri.real, REG_PPR_TAIL, (tail + RECORD) % size);
	pri_when.logged = rdtsc();
	*tell = raise(STATUS_PPR_INT);
	return true;
}

bool pri_log(uint64_t w0, uint64_t w1)
{
	bool tell = false, logged;
	uint64_t flags;

	owe(w0, 1);
	if (pri.s->model) {
		logged = model_log_request(pri.s->model, w0, w1);
	} else {
		flags = spin_lock_irq(&pri.lock);
		logged = append(w0, w1, &tell);
		spin_unlock_irq(&pri.lock, flags);
	}
	if (!logged)
		owe(w0, -1);
	if (tell)
		interrupt();
	return logged;
}

uint64_t pri_word(const struct model_ppr *p)
{
	uint64_t pasid = p->gn ? p->pasid : 0;

	return UINT64_C(1) << 60 | p->devid | (pasid & 0xffff) << 16 |
	       (uint64_t)(p->tag & 0x1ff) << 32 | (p->last ? LOG_LAST : 0) |
	       (pasid >> 16 & 0xf) << 42 | (uint64_t)p->exec << 49 |
	       (uint64_t)p->read << 50 | (uint64_t)p->write << 53 |
	       (uint64_t)p->user << 54 | (p->gn ? LOG_GUEST : 0);
}

/* What the device's entry and CONTROL say about requests. */
static bool may_ask(uint16_t devid)
{
	struct iommu *iommu = pri.s->iommu;
	struct dte dte = iommu_get_dte(iommu, devid);
	uint64_t on = CONTROL_IOMMU_EN | CONTROL_PPR_EN;

	return (reg_read(&pri.real, REG_CONTROL) & on) == on &&
	       dte.w[0] & BIT(0) && dte.w[0] & BIT(52);
}

enum pri_verdict pri_send(const struct model_ppr *p)
{
	uint64_t w0 = pri_word(p);

	if (!may_ask(p->devid))
		return PRI_REFUSED;
	if (!pri.s->model)
		return pri_log(w0, p->iova & PAGE_MASK) ? PRI_LOGGED : PRI_LOST;
	owe(w0, 1);
	if (model_page_request(pri.s->model, p))
		return PRI_LOGGED;
	owe(w0, -1);
	return PRI_LOST;
}

/* ---- life ---------------------------------------------------------------- */

static unsigned msi_vector(void)
{
	struct pci_dev *dev;

	for (unsigned i = 0; (dev = pci_at(i)); i++)
		if (dev->class >> 8 == CLASS_IOMMU)
			return dev->vector;
	return 0;
}

/*
 * The port's ctx stays what it is and each function is replaced in one store, so
 * that the log's reader may be in either at any moment.
 */
static void tap(struct iommu_port *port)
{
	pri.real = *port;
	pri.decoded = (unsigned)reg_read(port, REG_CMD_TAIL);
	WRITE_ONCE(port->read, tapped_read);
	WRITE_ONCE(port->write, tapped_write);
}

void pri_open(struct stand *s)
{
	if (pri.s == s)
		return;
	REQUIRE(!pri.s);
	if (!s->model)
		NEED_QUIRK(ppr_tail_writable);
	STAND_NEEDS(s, ppr_translates);
	pri.status = 0;
	pri.stopped = false;
	pri.n = 0;
	pri.owed = 0;
	pri.fn = NULL;
	pri.vector = s->model ? 0 : msi_vector();
	for (unsigned i = 0; i < DEVICES; i++)
		pri.total[i] = (struct pri_tally){ 0 };
	pri.pages = pages_alloc(TAG_PAGES_ORDER);
	REQUIRE(pri.pages);
	pri.tags = page_va(pri.pages);
	memset(pri.tags, 0, sizeof(struct tag[DEVICES][TAGS]));
	waitq_init(&pri_news);
	pri.real = s->iommu->port;
	pri.s = s;
	if (!s->model)
		tap(&s->iommu->port);
}

void pri_close(void)
{
	struct stand *s = pri.s;

	if (!s)
		return;
	EXPECT_EQ(pri_unanswered(), 0);
	pri.s = NULL;
	if (!s->model) {
		WRITE_ONCE(s->iommu->port.read, pri.real.read);
		WRITE_ONCE(s->iommu->port.write, pri.real.write);
		iommu_settle(s->iommu); /* its reader has left the tap */
	}
	page_put(pri.pages);
}

void pri_listen(pri_answer_fn *fn, void *arg)
{
	uint64_t flags = spin_lock_irq(&pri.lock);

	pri.fn = fn;
	pri.arg = arg;
	spin_unlock_irq(&pri.lock, flags);
}

/* ---- tallies ------------------------------------------------------------- */

struct pri_tally pri_tally(uint16_t devid, uint16_t tag)
{
	uint64_t flags = spin_lock_irq(&pri.lock);
	struct pri_tally t = tag_of(devid, tag)->t;

	spin_unlock_irq(&pri.lock, flags);
	return t;
}

struct pri_tally pri_total(uint16_t devid)
{
	uint64_t flags = spin_lock_irq(&pri.lock);
	struct pri_tally t = pri.total[device_of(devid)];

	spin_unlock_irq(&pri.lock, flags);
	return t;
}

unsigned pri_unanswered(void)
{
	return (unsigned)READ_ONCE(pri.owed);
}
