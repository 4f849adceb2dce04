/* SPDX-License-Identifier: MIT */
/*
 * iommu.c - the IOMMU to look at: its table, caches, ring, logs; the timeline
 */
#include "iommu/core/iommu.h"
#include "kernel/err.h"
#include "kernel/printk.h"
#include "kernel/probe.h"
#include "kernel/shell.h"
#include "tests/checker/cache_checker.h"
#include "tests/shell/shell.h"
#include "tests/timeline/explain.h"
#include "tests/timeline/timeline.h"

/* ---- dte ---------------------------------------------------------------- */

static int show_entry(unsigned argc, char **argv)
{
	struct iommu *iommu;
	struct dma_engine *e;
	struct dte dte, deny;

	if (argc != 2)
		return -EINVAL;
	iommu = shell_iommu();
	e = iommu ? shell_find_device(argv[1]) : NULL;
	if (!e)
		return -ENOENT;
	dte = iommu_get_dte(iommu, e->devid);
	deny = iommu_deny(iommu);
	printk("device %#x: %016lx %016lx %016lx %016lx\n", e->devid, dte.w[0],
	       dte.w[1], dte.w[2], dte.w[3]);
	printk("domain %lu, root %#lx, %lu levels, %c%c%s\n",
	       FIELD_GET(DTE1_DOMAIN, dte.w[1]), dte.w[0] & DTE0_ROOT,
	       FIELD_GET(DTE0_MODE, dte.w[0]), dte.w[0] & DTE0_IR ? 'r' : '-',
	       dte.w[0] & DTE0_IW ? 'w' : '-',
	       dte.w[0] == deny.w[0] ? ", denied: an empty table" : "");
	return 0;
}
SHELL_COMMAND(dte, "DEV", "a device's entry in the device table",
	      "new; bind lsi0 1 sva; dte lsi0; dte edu", show_entry);

/* ---- iotlb -------------------------------------------------------------- */

#define CACHED_SHOWN 32u

static void show_cached(const struct known *k)
{
	char rights[4];

	switch (k->kind) {
	case KNOWN_LEAF:
	case KNOWN_DEVICE:
		printk("%s %u: %#lx -> frame %#lx %s\n",
		       k->kind == KNOWN_LEAF ? "domain" : "TLB of device",
		       k->tag, k->iova, k->frame >> PAGE_SHIFT,
		       shell_rights(k->prot, rights));
		break;
	case KNOWN_TABLE:
		printk("domain %u: table at frame %#lx, for %#lx\n", k->tag,
		       k->frame >> PAGE_SHIFT, k->iova);
		break;
	default:
		printk("device %#x: root at frame %#lx\n", k->tag,
		       k->frame >> PAGE_SHIFT);
	}
}

/* Copy at most max of the entries.  Returns how many there are. */
static unsigned copy_known(struct known *out, unsigned max)
{
	unsigned n = 0;

	spin_lock(&cache_checker_lock);
	for (const struct known *k = known_next(NULL); k; k = known_next(k))
		if (n++ < max)
			out[n - 1] = *k;
	spin_unlock(&cache_checker_lock);
	return n;
}

/* What the IOMMU may have cached, by what devices have used and what was flushed. */
static int show_caches(unsigned argc, char **argv)
{
	static struct known list[CACHED_SHOWN];
	unsigned n;

	(void)argv;
	if (argc > 1)
		return -EINVAL;
	if (!shell_iommu())
		return -ENOENT;
	if (!shell_devices_bound()) {
		printk("no device is bound, and nothing is cached: bind DEV MM "
		       "sva\n");
		return 0;
	}
	if (!CONFIG_CHECK || !probe_on) {
		printk("this build keeps no record of caches\n");
		return 0;
	}
	n = copy_known(list, CACHED_SHOWN);
	for (unsigned i = 0; i < n && i < CACHED_SHOWN; i++)
		show_cached(&list[i]);
	printk("%u entries may be cached\n", n);
	return 0;
}
SHELL_COMMAND(iotlb, "", "what the IOMMU may have cached",
	      "new; bind lsi0 1 sva; dma lsi0 read 0x10000000; iotlb; "
	      "unmap 1 0x10000000 0x10001000; iotlb",
	      show_caches);

/* ---- ring, ppr ---------------------------------------------------------- */

static int show_ring(unsigned argc, char **argv)
{
	struct iommu *iommu;

	(void)argv;
	if (argc > 1)
		return -EINVAL;
	iommu = shell_iommu();
	if (!iommu)
		return -ENOENT;
	queue_dump(&iommu->queue);
	return 0;
}
SHELL_COMMAND(ring, "", "the command ring, and the commands around its head",
	      "new; bind lsi0 1 sva; unmap 1 0x10000000 0x10001000; ring",
	      show_ring);

static void show_log(const struct iommu_log *log)
{
	printk("%s: %u entries fit, head %lx, tail %lx; %lu entries, %lu lost, "
	       "%lu "
	       "restarts\n",
	       log->kind->name, log->size / (unsigned)sizeof(struct log_entry),
	       reg_read(log->port, log->kind->head),
	       reg_read(log->port, log->kind->tail), READ_ONCE(log->entries),
	       READ_ONCE(log->lost), READ_ONCE(log->restarts));
}

static int show_logs(unsigned argc, char **argv)
{
	struct iommu *iommu;

	(void)argv;
	if (argc > 1)
		return -EINVAL;
	iommu = shell_iommu();
	if (!iommu)
		return -ENOENT;
	iommu_settle(iommu);
	show_log(&iommu->requests);
	show_log(&iommu->events);
	return 0;
}
SHELL_COMMAND(ppr, "", "the logs of page requests and of events", "ppr",
	      show_logs);

/* ---- timeline ----------------------------------------------------------- */

static void emit(const char *line, void *arg)
{
	(void)arg;
	printk("%s\n", line);
}

static int show_timeline(unsigned argc, char **argv)
{
	const struct timeline *t;

	(void)argv;
	if (argc > 1)
		return -EINVAL;
	if (!probe_on) {
		printk("this build has its probes switched off\n");
		return 0;
	}
	t = explain_table();
	if (!t->n_steps)
		printk("no steps since the last timeline\n");
	timeline_print(t, emit, NULL);
	explain_again(explain_names());
	return 0;
}
SHELL_COMMAND(timeline, "", "the steps since the last `timeline`, as a table",
	      "new; bind lsi0 1 sva; timeline; dma lsi0 write 0x10000000 7; "
	      "unmap 1 0x10000000 0x10001000; timeline",
	      show_timeline);
