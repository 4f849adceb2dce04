/* SPDX-License-Identifier: MIT */
/*
 * iommu.c - bring-up, device table, interrupts, teardown
 *
 *   off -> device table, rings, logs -> on -> forget everything cached
 *
 * The deny entry is a translation through an empty table: the one encoding that
 * blocks on every QEMU and on hardware.  TV = 0 passes on QEMU 7.2, mode 0
 * without rights passes on 11.1 (docs/limits.md).
 */
#include "iommu/mute.h"
#include "iommu/ppr.h"
#include "arch/clock.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "kernel/string.h"
#include "mm/pmm.h"

#define TABLE_ORDER 9 /* 65,536 entries of 32 bytes: 2 MiB                  */
#define IDS_ORDER   2 /* a bit for each domain id, and for each device      */
#define BATCH       64u

_Static_assert(DEVIDS * sizeof(struct dte) == PAGE_SIZE << TABLE_ORDER, "");
_Static_assert((DOMAIN_IDS + DEVIDS) / 8 == PAGE_SIZE << IDS_ORDER, "");

/* ---- device table ------------------------------------------------------ */

struct dte iommu_deny(const struct iommu *iommu)
{
	return dte_deny(page_pa(iommu->empty));
}

struct dte iommu_get_dte(const struct iommu *iommu, uint16_t devid)
{
	struct dte dte;

	for (unsigned i = 0; i < ARRAY_SIZE(dte.w); i++)
		dte.w[i] = READ_ONCE(iommu->table[devid].w[i]);
	return dte;
}

uint16_t iommu_alias(const struct iommu *iommu, uint16_t devid)
{
	for (unsigned i = 0; i < iommu->n_aliases; i++)
		if (devid >= iommu->aliases[i].first &&
		    devid <= iommu->aliases[i].last)
			return iommu->aliases[i].alias;
	return devid;
}

/*
 * V, TV, mode and root are in w[0], stored last and in one piece: the IOMMU
 * reads the old translation or the new one (B56).  The domain id is in w[1]:
 * it changes only while w[0] denies, so that nothing of one domain is cached
 * under the name of another.
 */
static void dte_store(struct dte *slot, const struct dte *new)
{
	for (unsigned i = 3; i; i--)
		WRITE_ONCE(slot->w[i], new->w[i]);
	__atomic_store_n(&slot->w[0], new->w[0], __ATOMIC_RELEASE);
}

int iommu_set_dte(struct iommu *iommu, uint16_t devid, struct dte dte,
		  uint16_t old)
{
	struct dte *slot = &iommu->table[devid], deny = iommu_deny(iommu);
	struct command c[3] = { command_invalidate_devtab_entry(devid) };
	bool own_tlb = slot->w[1] & DTE1_I;
	unsigned n = 1;

	assert(slot->w[0] == deny.w[0] || dte.w[0] == deny.w[0] ||
	       slot->w[1] == dte.w[1]);
	if (dte.w[0] == deny.w[0])
		__atomic_store_n(&slot->w[0], deny.w[0], __ATOMIC_RELEASE);
	dte_store(slot, &dte);
	PROBE(dte_set, devid, dte.w[0]);
	/* The entry first: a walk by the old one could fill in again. */
	if (old)
		c[n++] = command_invalidate_iommu_pages(old, RANGE_ALL, true);
	/* Last (B7).  It may be let use its own TLB again, elsewhere. */
	if (old && own_tlb)
		c[n++] = command_invalidate_iotlb_pages(devid, devid, 1,
							RANGE_ALL);
	return queue_run(&iommu->queue, c, n);
}

/* ---- forgetting everything --------------------------------------------- */

static int forget_each(struct iommu *iommu)
{
	struct command c[2 * BATCH];
	int error = 0;

	for (unsigned id = 0; id < DEVIDS && !error; id += BATCH) {
		for (unsigned i = 0; i < BATCH; i++) {
			uint16_t n = (uint16_t)(id + i);

			c[i] = command_invalidate_devtab_entry(n);
			c[BATCH + i] = command_invalidate_iommu_pages(
				n, RANGE_ALL, true);
		}
		error = queue_run(&iommu->queue, c, 2 * BATCH);
	}
	return error;
}

/* Whatever ran before us, firmware or an earlier driver, left in the caches. */
static int forget_all(struct iommu *iommu)
{
	struct command all = command_invalidate_iommu_all();

	if (iommu->efr & EFR_IA)
		return queue_run(&iommu->queue, &all, 1);
	return forget_each(iommu);
}

/* ---- logs -------------------------------------------------------------- */

static void handle_event(const struct log_entry *entry, void *arg)
{
	struct iommu *iommu = arg;
	log_handler *fn = READ_ONCE(iommu->on_event);

	if (fn)
		fn(entry, READ_ONCE(iommu->on_arg));
}

static void handle_request(const struct log_entry *entry, void *arg)
{
	struct iommu *iommu = arg;
	log_handler *fn = READ_ONCE(iommu->on_request);

	if (fn)
		fn(entry, READ_ONCE(iommu->on_arg));
	else
		ppr_refuse(iommu, entry);
}

static void requests_lost(void *arg)
{
	struct iommu *iommu = arg;
	void (*fn)(void *arg) = READ_ONCE(iommu->on_lost);

	if (fn)
		fn(READ_ONCE(iommu->on_arg));
}

static void worker(void *arg)
{
	struct iommu *iommu = arg;
	unsigned seen = 0, n = 0;

	for (;;) {
		/* By turns, until both had nothing: neither starves the other. */
		if (!n)
			wait_event(&iommu->wake,
				   atomic_load(&iommu->kicks) != seen);
		seen = atomic_load(&iommu->kicks);
		if (atomic_load(&iommu->stopping))
			return;
		n = log_drain(&iommu->events);
		n += log_drain(&iommu->requests);
		atomic_store(&iommu->drained, seen);
		wake_all(&iommu->wake);
	}
}

void iommu_kick(struct iommu *iommu)
{
	atomic_fetch_add(&iommu->kicks, 1);
	wake_all(&iommu->wake);
}

void iommu_settle(struct iommu *iommu)
{
	unsigned mine = atomic_fetch_add(&iommu->kicks, 1) + 1;

	wake_all(&iommu->wake);
	wait_event(&iommu->wake,
		   (int)(atomic_load(&iommu->drained) - mine) >= 0);
}

void iommu_set_handlers(struct iommu *iommu, log_handler *event,
			log_handler *request, void (*lost)(void *arg),
			void *arg)
{
	/* The worker may be looking: what they need before they are there. */
	if (arg)
		WRITE_ONCE(iommu->on_arg, arg);
	barrier();
	WRITE_ONCE(iommu->on_event, event);
	WRITE_ONCE(iommu->on_request, request);
	WRITE_ONCE(iommu->on_lost, lost);
}

/* ---- life -------------------------------------------------------------- */

static int memory_take(struct iommu *iommu, const struct iommu_config *config)
{
	unsigned log_bits = config->log_bits ? config->log_bits : LOG_MIN_BITS;
	unsigned queue_bits =
		config->queue_bits ? config->queue_bits : QUEUE_MIN_BITS;
	struct dte deny;

	iommu->table_pages = pages_alloc(TABLE_ORDER);
	iommu->ids_pages = pages_alloc(IDS_ORDER);
	iommu->empty = page_alloc_zeroed();
	if (!iommu->table_pages || !iommu->ids_pages || !iommu->empty)
		return err(ENOMEM);
	page_set_kind_block(iommu->table_pages, PAGE_IOMMU);
	page_set_kind_block(iommu->ids_pages, PAGE_IOMMU);
	page_set_kind(iommu->empty, PAGE_IOMMU);
	iommu->table = page_va(iommu->table_pages);
	iommu->ids = page_va(iommu->ids_pages);
	iommu->mute = iommu->ids + DOMAIN_IDS / 64;
	memset(iommu->ids, 0, PAGE_SIZE << IDS_ORDER);
	deny = iommu_deny(iommu);
	for (unsigned i = 0; i < DEVIDS; i++)
		iommu->table[i] = deny;
	if (queue_start(&iommu->queue, &iommu->port, queue_bits) ||
	    log_start(&iommu->events, &log_events, &iommu->port, log_bits,
		      handle_event, iommu) ||
	    log_start(&iommu->requests, &log_requests, &iommu->port, log_bits,
		      handle_request, iommu))
		return err(ENOMEM);
	iommu->requests.restarted = requests_lost;
	iommu->events.early = mute_note;
	return 0;
}

static void memory_give(struct iommu *iommu)
{
	struct page *pages[] = { iommu->table_pages, iommu->ids_pages,
				 iommu->empty };

	queue_stop(&iommu->queue);
	log_stop(&iommu->events);
	log_stop(&iommu->requests);
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++)
		if (pages[i])
			page_put(pages[i]);
}

/*
 * Off is off only when what has begun is done: until then it writes numbers and
 * log entries into memory.  48882, section 3.4, CmdBufEn.
 */
static int switch_off(struct iommu *iommu)
{
	uint64_t run = STATUS_CMD_RUN | STATUS_EVENT_RUN | STATUS_PPR_RUN;
	uint64_t end = clock_ns() + port_limit_ns(&iommu->port);

	reg_write(&iommu->port, REG_CONTROL, 0);
	while (reg_read(&iommu->port, REG_STATUS) & run) {
		if (clock_ns() > end) {
			printk("# iommu %s: it does not stop\n",
			       iommu->port.name);
			return err(ETIMEDOUT);
		}
		cpu_pause();
	}
	return 0;
}

/* From off to on; everything is set up in memory.  48882, section 3.4.  */
static int switch_on(struct iommu *iommu)
{
	const struct iommu_port *p = &iommu->port;
	uint64_t control = CONTROL_COHERENT | CONTROL_CMD_BUF_EN |
			   FIELD_PREP(CONTROL_INV_TIMEOUT, INV_TIMEOUT_100MS);

	reg_write(p, REG_DEV_TABLE_BASE,
		  page_pa(iommu->table_pages) |
			  FIELD_PREP(DEV_TABLE_SIZE, (1u << TABLE_ORDER) - 1));
	reg_write(p, REG_CONTROL, control);
	control |= CONTROL_EVENT_LOG_EN | CONTROL_EVENT_INT_EN;
	reg_write(p, REG_CONTROL, control);
	control |= CONTROL_IOMMU_EN;
	reg_write(p, REG_CONTROL, control);
	if (iommu->efr & EFR_PPR) {
		control |= CONTROL_PPR_EN | CONTROL_PPR_LOG_EN |
			   CONTROL_PPR_INT_EN;
		reg_write(p, REG_CONTROL, control);
	}
	return forget_all(iommu);
}

int iommu_start(struct iommu *iommu, const struct iommu_port *port,
		const struct iommu_config *config)
{
	int error;

	*iommu = (struct iommu){ .port = *port,
				 .np_cache = config->np_cache,
				 .bad_ids = config->bad_ids,
				 .n_aliases = config->n_aliases };
	assert(config->n_aliases <= IOMMU_ALIASES);
	for (unsigned i = 0; i < config->n_aliases; i++)
		iommu->aliases[i] = config->aliases[i];
	rw_init(&iommu->lock, RANK_IOMMU, "iommu");
	waitq_init(&iommu->wake);
	LIST_INIT(&iommu->attached);
	error = switch_off(iommu);
	if (error)
		return error;
	iommu->efr = reg_read(port, REG_EFR);
	error = memory_take(iommu, config);
	if (!error)
		error = switch_on(iommu);
	if (!error) {
		iommu->worker = thread_create("iommu", worker, iommu);
		error = iommu->worker ? 0 : err(ENOMEM);
	}
	if (error && !switch_off(iommu))
		memory_give(iommu);
	return error;
}

void iommu_stop(struct iommu *iommu)
{
	assert(LIST_EMPTY(&iommu->attached));
	atomic_store(&iommu->stopping, true);
	iommu_kick(iommu);
	thread_join(iommu->worker);
	if (!switch_off(iommu))
		memory_give(iommu);
}
