/* SPDX-License-Identifier: MIT */
/*
 * iommu.c - bring-up, device table, teardown
 *
 *   off -> device table, rings, logs -> on -> flush everything cached
 *
 * The deny entry is a translation through an empty table: the one encoding that
 * blocks on every QEMU and on hardware.  TV = 0 passes on QEMU 7.2, mode 0
 * without rights passes on 11.1 (docs/limits.md).
 */
#include "arch/clock.h"
#include "drivers/pci.h"
#include "iommu/core/unresponsive.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "kernel/string.h"
#include "mm/frame/pmm.h"

#define TABLE_ORDER 9 /* 65,536 entries of 32 bytes: 2 MiB                  */
#define IDS_ORDER   2 /* a bit for each domain id, and for each device      */
#define BATCH       64u

_Static_assert(DEVIDS * sizeof(struct dte) == PAGE_SIZE << TABLE_ORDER, "");
_Static_assert((DOMAIN_IDS + DEVIDS) / 8 == PAGE_SIZE << IDS_ORDER, "");

/* ---- device table ------------------------------------------------------ */

struct dte iommu_deny(const struct iommu *iommu)
{
	struct dte dte = dte_deny(page_pa(iommu->empty));

	dte.w[2] = iommu->remaps ? dte_no_interrupts() : 0;
	return dte;
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

bool iommu_covers(const struct iommu *iommu, uint16_t devid)
{
	return !iommu->firmware || ids_test(iommu->firmware->covers, devid);
}

const struct iommu_unity *iommu_unity(const struct iommu *iommu, uint16_t devid,
				      unsigned n)
{
	uint16_t alias = iommu->n_unity ? iommu_alias(iommu, devid) : devid;

	for (unsigned i = 0; i < iommu->n_unity; i++) {
		const struct iommu_unity *u = &iommu->unity[i];

		if (!u->bad &&
		    ((devid >= u->first && devid <= u->last) ||
		     (alias >= u->first && alias <= u->last)) &&
		    !n--)
			return u;
	}
	return NULL;
}

/*
 * V, TV, mode and root are in w[0], stored last and in one piece: the IOMMU
 * reads the old translation or the new one (B56).  The domain id is in w[1]:
 * it changes only while w[0] denies, so that under a wrong id nothing but holes
 * can be cached.  w[2] is about interrupts: iommu/core/remap.c stores it.
 */
static void dte_store(struct dte *slot, const struct dte *new, uint16_t devid,
		      bool denies)
{
	if (denies)
		__atomic_store_n(&slot->w[0], new->w[0], __ATOMIC_RELEASE);
	if (CONFIG_CHECK) /* before and after the id changes, for tests */
		PROBE(dte_half, devid, slot->w[1]);
	WRITE_ONCE(slot->w[3], new->w[3]);
	WRITE_ONCE(slot->w[1], new->w[1]);
	if (CONFIG_CHECK)
		PROBE(dte_half, devid, slot->w[1]);
	__atomic_store_n(&slot->w[0], new->w[0], __ATOMIC_RELEASE);
}

int iommu_set_dte(struct iommu *iommu, uint16_t devid, struct dte dte,
		  uint16_t domain, bool answers)
{
	struct dte *slot = &iommu->table[devid], deny = iommu_deny(iommu);
	struct command c[3] = { command_invalidate_devtab_entry(devid) };
	bool own_tlb = slot->w[1] & DTE1_I;
	unsigned n = 1;

	require(locks_below(RANK_COMMAND));
	assert(slot->w[0] == deny.w[0] || dte.w[0] == deny.w[0] ||
	       slot->w[1] == dte.w[1]);
	dte_store(slot, &dte, devid, dte.w[0] == deny.w[0]);
	PROBE(dte_set, devid, dte.w[0]);
	/*
	 * The entry is flushed first: with the old one a walk could cache a
	 * translation again, with half of the new one a hole (NpCache).
	 */
	if (domain)
		c[n++] =
			command_invalidate_iommu_pages(domain, RANGE_ALL, true);
	/* Last (B7): also on detach, for a later attach may allow the TLB. */
	if (own_tlb && answers)
		c[n++] = command_invalidate_iotlb_pages(devid, devid, 1,
							RANGE_ALL);
	return queue_run(&iommu->queue, c, n);
}

/* ---- flushing everything ----------------------------------------------- */

/*
 * Flush the entries of devices [0, devids); all: their interrupts too, and what is
 * cached of as many domains.
 */
static int flush_each(struct iommu *iommu, unsigned devids, bool all)
{
	struct command c[3 * BATCH];
	int error = 0;

	for (unsigned id = 0; id < devids && !error; id += BATCH) {
		unsigned n = 0;

		for (unsigned i = id; i < id + BATCH; i++) {
			c[n++] = command_invalidate_devtab_entry((uint16_t)i);
			if (!all)
				continue;
			c[n++] =
				command_invalidate_interrupt_table((uint16_t)i);
			c[n++] = command_invalidate_iommu_pages(
				(uint16_t)i, RANGE_ALL, true);
		}
		error = queue_run(&iommu->queue, c, n);
	}
	return error;
}

/*
 * Flush what firmware or an earlier driver has left in the caches.  On QEMU 11.1
 * INVALIDATE_IOMMU_ALL keeps entries of the device table, so the entry of each
 * function is named too, also of functions that do not exist yet.
 */
static int flush_all(struct iommu *iommu)
{
	struct command all = command_invalidate_iommu_all();
	int error;

	if (!(iommu->efr & EFR_IA))
		return flush_each(iommu, DEVIDS, true);
	error = queue_run(&iommu->queue, &all, 1);
	return error ? error : flush_each(iommu, iommu->devids, false);
}

/* ---- life -------------------------------------------------------------- */

static void table_deny(struct dte *table, struct dte deny)
{
#pragma GCC unroll 8
	for (unsigned i = 0; i < DEVIDS; i++)
		table[i] = deny;
}

static int memory_take(struct iommu *iommu, const struct iommu_config *config)
{
	unsigned log_bits = config->log_bits ? config->log_bits : LOG_MIN_BITS;
	unsigned queue_bits =
		config->queue_bits ? config->queue_bits : QUEUE_MIN_BITS;
	int error;

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
	iommu->unresponsive = iommu->ids + DOMAIN_IDS / 64;
	memset(iommu->ids, 0, PAGE_SIZE << IDS_ORDER);
	table_deny(iommu->table, iommu_deny(iommu));
	error = queue_start(&iommu->queue, &iommu->port, queue_bits);
	if (!error)
		error = log_start(&iommu->events, &log_events, &iommu->port,
				  log_bits, iommu_handle_event, iommu);
	if (!error && iommu->efr & EFR_PPR)
		error = log_start(&iommu->requests, &log_requests, &iommu->port,
				  log_bits, iommu_handle_request, iommu);
	iommu->requests.restarted = iommu_requests_lost;
	iommu->events.early = unresponsive_note;
	return error ? error
		     : remap_start(iommu, config->grants, config->n_grants);
}

static void memory_give(struct iommu *iommu)
{
	struct page *pages[] = { iommu->table_pages, iommu->ids_pages,
				 iommu->empty };

	remap_stop(iommu);
	queue_stop(&iommu->queue);
	log_stop(&iommu->events);
	log_stop(&iommu->requests);
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++)
		if (pages[i])
			page_put(pages[i]);
}

/*
 * Switch off, and wait until the run bits have fallen: until then the IOMMU writes
 * completions and log entries into memory.  48882, section 3.4, CmdBufEn.
 */
static int switch_off(struct iommu *iommu)
{
	uint64_t run = STATUS_CMD_RUN | STATUS_EVENT_RUN | STATUS_PPR_RUN;
	uint64_t end = clock_ns() + port_limit_ns(&iommu->port);

	reg_write(&iommu->port, REG_CONTROL, 0);
	while (reg_read(&iommu->port, REG_STATUS) & run) {
		if (clock_ns() > end) {
			printk("# iommu %s: the IOMMU does not stop\n",
			       iommu->port.name);
			return err(ETIMEDOUT);
		}
		cpu_pause();
	}
	return 0;
}

/*
 * Switch off the range in which devices are not translated, which firmware may
 * have left on.  -EPERM if firmware has locked it: the IOMMU is not used then.
 */
static int exclusion_off(const struct iommu_port *p)
{
	reg_write(p, REG_EXCL_BASE, 0);
	reg_write(p, REG_EXCL_LIMIT, 0);
	if (!(reg_read(p, REG_EXCL_BASE) & (EXCL_EN | EXCL_ALLOW)))
		return 0;
	printk("# iommu %s: the exclusion range that firmware has set cannot "
	       "be switched off\n",
	       p->name);
	return err(EPERM);
}

/* Switch on, after everything is set up in memory.  48882, section 3.4. */
static int switch_on(struct iommu *iommu)
{
	const struct iommu_port *p = &iommu->port;
	uint64_t control = iommu->control | CONTROL_COHERENT |
			   CONTROL_CMD_BUF_EN |
			   FIELD_PREP(CONTROL_INV_TIMEOUT, INV_TIMEOUT_100MS);
	int error;

	if (iommu->efr & EFR_GA)
		control |= CONTROL_GA_EN; /* before any IRTE is read */

	error = port_set_base(
		p, REG_DEV_TABLE_BASE,
		page_pa(iommu->table_pages) |
			FIELD_PREP(DEV_TABLE_SIZE, (1u << TABLE_ORDER) - 1));
	if (error)
		return error;
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
	return flush_all(iommu);
}

int iommu_start(struct iommu *iommu, const struct iommu_port *port,
		const struct iommu_config *config)
{
	int error;

	require(may_sleep());
	*iommu = (struct iommu){ .port = *port,
				 .np_cache = config->np_cache,
				 .bad_ids = config->bad_ids,
				 .devids = (config->last_bus + 1u) *
					   PCI_FUNCTIONS,
				 .firmware = config->ids,
				 .aliases = config->aliases,
				 .n_aliases = config->n_aliases,
				 .unity = config->unity,
				 .n_unity = config->n_unity,
				 .control = config->control,
				 .remaps = config->remaps,
				 .ioapic = config->ioapic };
	assert(!(config->control & ~CONTROL_FIRMWARE));
	rw_init(&iommu->lock, RANK_IOMMU, "iommu");
	rw_init(&iommu->drain, RANK_LOGS, "logs");
	iommu_threads_init(iommu);
	LIST_INIT(&iommu->attached);
	error = switch_off(iommu);
	if (error)
		return error;
	iommu->efr = reg_read(port, REG_EFR);
	error = exclusion_off(port);
	if (error)
		return error;
	error = memory_take(iommu, config);
	if (!error)
		error = switch_on(iommu);
	if (!error)
		error = iommu_threads_add(iommu, 1, NULL);
	if (error && !switch_off(iommu))
		memory_give(iommu);
	return error;
}

void iommu_stop(struct iommu *iommu)
{
	require(may_sleep());
	assert(LIST_EMPTY(&iommu->attached));
	iommu_threads_remove(iommu, 0);
	if (!switch_off(iommu))
		memory_give(iommu);
}
