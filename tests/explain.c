/* SPDX-License-Identifier: MIT */
/*
 * explain.c - which probes make a step, whose lane it is, and in which words
 *
 * One row a probe in the table below; what has no row is no step.  Words have at
 * most two %s: what the arguments are called, in order, those of kind NONE left
 * out.
 */
#include "tests/explain.h"
#include "arch/cpu.h"
#include "iommu/command.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "kernel/probe.h"
#include "kernel/string.h"
#include "kernel/thread.h"
#include "tests/ktap.h"
#include "tests/test.h"
#include "tests/timeline.h"

#define NAMES 48
#define HITS  400

/* ---- names -------------------------------------------------------------- */

/* Made by any of the test's threads: each takes a place of its own, and is there
 * when its name is. */
static struct {
	enum explain_kind kind;
	uint64_t value;
	const char *name;
} names[NAMES];
static _Atomic unsigned n_names;
static uint64_t since;
static bool late;  /* the IOMMU is a model                                 */
static bool ended; /* then table has what there was                        */
static struct timeline table;

void explain_name(enum explain_kind kind, uint64_t value, const char *name)
{
	unsigned at;

	for (unsigned i = 0; i < n_names; i++)
		if (names[i].kind == kind && names[i].value == value) {
			names[i].name = name;
			return;
		}
	at = atomic_fetch_add(&n_names, 1);
	assert(at < NAMES);
	names[at].kind = kind;
	names[at].value = value;
	WRITE_ONCE(names[at].name, name);
}

void explain_thread(const char *name)
{
	explain_name(EXPLAIN_THREAD, current()->id, name);
}

void explain_begin(void)
{
	since = rdtsc();
	ended = false;
}

void explain_reset(void)
{
	memset(names, 0, sizeof(names));
	n_names = 0;
	late = false;
	explain_begin();
}

static const char *name_of(enum explain_kind kind, uint64_t value)
{
	for (unsigned i = 0; i < n_names; i++)
		if (names[i].kind == kind && names[i].value == value)
			return names[i].name;
	return NULL;
}

static unsigned count(enum explain_kind kind)
{
	unsigned n = 0;

	for (unsigned i = 0; i < n_names; i++)
		n += names[i].kind == kind;
	return n;
}

/* ---- the table ---------------------------------------------------------- */

enum lane {
	LANE_CPU,
	LANE_DEVICE, /* the devid is in the upper 16 bits of argument a     */
	LANE_IOMMU,
};

enum arg {
	NONE,
	TEXT,
	NUMBER,
	MM, /* "name: ", or nothing if there is only one               */
	ADDRESS,
	FRAME,
	DEVICE,
	DATA,    /* what a device got                                      */
	COMMAND, /* both arguments are one; all but COMPLETION_WAIT        */
	DONE,    /* the same, with it                                      */
};

/* QEMU's IOMMU does a command at once, the model when it likes. */
enum when {
	ALWAYS,
	AT_ONCE,
	LATE,
};

struct row {
	const char *probe;
	enum lane lane;
	const char *words;
	enum arg a, b;
	enum when when;
};

static const struct row rows[] = {
	{ "cpu_says", LANE_CPU, "%s", TEXT, NONE, ALWAYS },
	{ "cpu_read", LANE_CPU, "read %s = %s", ADDRESS, NUMBER, ALWAYS },
	{ "child_read", LANE_CPU, "the child reads %s = %s", ADDRESS, NUMBER,
	  ALWAYS },
	{ "victim_read", LANE_CPU, "its owner reads %s", NONE, NUMBER, ALWAYS },
	{ "cpu_write", LANE_CPU, "write %s = %s", ADDRESS, NUMBER, ALWAYS },
	{ "range_start", LANE_CPU, "%sstart %s", MM, ADDRESS, ALWAYS },
	{ "range_end", LANE_CPU, "%send %s begins", MM, ADDRESS, ALWAYS },
	{ "release", LANE_CPU, "%srelease", MM, NONE, ALWAYS },
	{ "pte_clear", LANE_CPU, "%sclear PTE %s", MM, ADDRESS, ALWAYS },
	{ "pte_set", LANE_CPU, "%sset PTE %s", MM, ADDRESS, ALWAYS },
	{ "pte_upgrade", LANE_CPU, "%sPTE %s gains W", MM, ADDRESS, ALWAYS },
	{ "pte_protect", LANE_CPU, "%sprotect PTE %s", MM, ADDRESS, ALWAYS },
	{ "pte_move", LANE_CPU, "%smove PTE %s", MM, ADDRESS, ALWAYS },
	{ "pte_young", LANE_CPU, "%sPTE %s loses A", MM, ADDRESS, ALWAYS },
	{ "cow_copied", LANE_CPU, "%scopy of %s made", MM, ADDRESS, ALWAYS },
	{ "fork_shared", LANE_CPU, "%sfork takes W of %s", MM, ADDRESS,
	  ALWAYS },
	{ "tlb_flush", LANE_CPU, "%sflush CPUs %s", MM, ADDRESS, ALWAYS },
	{ "range", LANE_CPU, "%sinvalidate_range %s", MM, ADDRESS, ALWAYS },
	{ "change_pte", LANE_CPU, "%schange_pte %s", MM, ADDRESS, ALWAYS },
	{ "clear_flush_young", LANE_CPU, "%sclear_flush_young %s", MM, ADDRESS,
	  ALWAYS },
	{ "frame_free", LANE_CPU, "free %s", FRAME, NONE, ALWAYS },
	{ "table_free", LANE_CPU, "free %s", NONE, FRAME, ALWAYS },
	{ "dte_set", LANE_CPU, "set DTE %s", DEVICE, NONE, ALWAYS },
	{ "domain_map", LANE_CPU, "set I/O PTE %s", ADDRESS, NONE, ALWAYS },
	{ "domain_clear", LANE_CPU, "clear I/O PTE %s", ADDRESS, NONE, ALWAYS },
	{ "ppr_fault", LANE_CPU, "serve request %s", ADDRESS, NONE, ALWAYS },
	{ "device_read", LANE_DEVICE, "DMA read %s%s", ADDRESS, DATA, ALWAYS },
	{ "device_write", LANE_DEVICE, "DMA write %s = %s", ADDRESS, NUMBER,
	  ALWAYS },
	{ "endpoint_write", LANE_DEVICE, "DMA write %s%s", ADDRESS, DATA,
	  ALWAYS },
	{ "device_asks", LANE_DEVICE, "page request %s", ADDRESS, NONE,
	  ALWAYS },
	{ "device_fails", LANE_DEVICE, "FAILURE STATE at %s", ADDRESS, NONE,
	  ALWAYS },
	{ "iommu_command", LANE_IOMMU, "%s", DONE, NONE, AT_ONCE },
	{ "iommu_command", LANE_CPU, "queue %s", COMMAND, NONE, LATE },
	{ "model_done", LANE_IOMMU, "%s", DONE, NONE, LATE },
};

/* ---- arguments in words ------------------------------------------------- */

#define WORDS TIMELINE_WORDS

static const char *number(uint64_t value, char *buf)
{
	snprintk(buf, WORDS, value < 1000000 ? "%lu" : "%#lx", value);
	return buf;
}

/* A page by its name, or by what it is. */
static const char *address(uint64_t value, char *buf)
{
	/* Of a device's argument the upper bits are the device. */
	const char *name =
		name_of(EXPLAIN_ADDRESS, value & PAGE_MASK & GENMASK(47, 0));

	if (name)
		return name;
	snprintk(buf, WORDS, "%#lx", value & GENMASK(47, 0));
	return buf;
}

static const char *device(uint64_t devid, char *buf)
{
	const char *name = name_of(EXPLAIN_DEVICE, devid);

	if (name)
		return name;
	snprintk(buf, WORDS, "device %lx", devid);
	return buf;
}

/* The pages that a command names. */
static int pages(uint64_t w, char *out, size_t len)
{
	uint64_t at = w & CMD1_ADDRESS, size;
	char buf[WORDS];

	if (!(w & CMD1_S))
		return snprintk(out, len, "%s", address(at, buf));
	if (at == (RANGE_ALL.w & CMD1_ADDRESS))
		return snprintk(out, len, "all");
	/* The lowest zero bit says how large it is (command.h). */
	size = BIT(__builtin_ctzll(~(at >> PAGE_SHIFT)) + 1);
	return snprintk(out, len, "%s+%lu",
			address(at & ~(size * PAGE_SIZE - 1), buf), size);
}

static const char *flush_words(uint64_t w0, uint64_t w1, char *buf)
{
	uint64_t id = FIELD_GET(CMD0_DOMAIN, w0);
	const char *domain = name_of(EXPLAIN_DOMAIN, id);
	int n;

	if (!domain && count(EXPLAIN_DOMAIN))
		return NULL;
	n = domain ? snprintk(buf, WORDS, "INVALIDATE_IOMMU_PAGES %s ", domain)
		   : snprintk(buf, WORDS, "INVALIDATE_IOMMU_PAGES %lu ", id);
	n += pages(w1, buf + n, (size_t)(WORDS - n));
	snprintk(buf + n, (size_t)(WORDS - n), w1 & CMD1_PDE ? " PDE" : "");
	return buf;
}

static const char *command(uint64_t w0, uint64_t w1, char *buf)
{
	char who[WORDS];
	int n;

	switch (FIELD_GET(CMD0_OP, w0)) {
	case COMPLETION_WAIT:
		return "COMPLETION_WAIT";
	case INVALIDATE_IOMMU_PAGES:
		return flush_words(w0, w1, buf);
	case INVALIDATE_IOMMU_ALL:
		return "INVALIDATE_IOMMU_ALL";
	case INVALIDATE_IOTLB_PAGES:
		n = snprintk(buf, WORDS, "INVALIDATE_IOTLB_PAGES %s ",
			     device(FIELD_GET(CMD0_DEVID, w0), who));
		pages(w1, buf + n, (size_t)(WORDS - n));
		return buf;
	case INVALIDATE_DEVTAB_ENTRY:
		snprintk(buf, WORDS, "INVALIDATE_DEVTAB_ENTRY %s",
			 device(FIELD_GET(CMD0_DEVID, w0), who));
		return buf;
	case COMPLETE_PPR_REQUEST:
		snprintk(buf, WORDS, "COMPLETE_PPR_REQUEST %s",
			 FIELD_GET(CMD1_STATUS, w1) ? "refused" : "SUCCESS");
		return buf;
	default:
		return "another command";
	}
}

/* NULL: this step is not shown. */
static const char *argument(enum arg kind, uint64_t value, uint64_t other,
			    char *buf)
{
	const char *name;

	switch (kind) {
	case NONE:
		break;
	case TEXT:
		return (const char *)value;
	case NUMBER:
		return number(value, buf);
	case MM:
		name = name_of(EXPLAIN_MM, value);
		if (!name)
			return count(EXPLAIN_MM) ? NULL : "";
		snprintk(buf, WORDS, "%s: ", name);
		return count(EXPLAIN_MM) > 1 ? buf : "";
	case ADDRESS:
		return address(value, buf);
	case FRAME:
		return name_of(EXPLAIN_FRAME, value & PAGE_MASK);
	case DEVICE:
		return device(value, buf);
	case DATA:
		snprintk(buf, WORDS, value ? " = %lu" : ": nothing", value);
		return buf;
	case COMMAND:
		if (FIELD_GET(CMD0_OP, value) == COMPLETION_WAIT)
			return NULL;
		return command(value, other, buf);
	case DONE:
		return command(value, other, buf);
	}
	return "";
}

/* ---- steps -------------------------------------------------------------- */

void explain_model(bool yes)
{
	late = yes;
}

/* Lanes of threads stand in alphabetical order, and before those of CPUs. */
static uint64_t lane_of(const char *name)
{
	uint64_t key = 0;

	for (unsigned i = 0; i < 3; i++) {
		key = key << 8 | (uint8_t)*name;
		name += *name != '\0';
	}
	return key;
}

static void add(const struct row *row, const struct probe_hit *hit,
		const char *words)
{
	uint64_t key = (uint64_t)row->lane << 32;
	char buf[WORDS];

	if (row->lane == LANE_IOMMU) {
		timeline_add(&table, key, "IOMMU", words);
		return;
	}
	if (row->lane == LANE_DEVICE) {
		uint64_t devid = hit->a >> 48;

		timeline_add(&table, key | devid, device(devid, buf), words);
		return;
	}
	for (unsigned i = 0; i < n_names; i++)
		if (names[i].kind == EXPLAIN_THREAD &&
		    names[i].value == hit->thread) {
			timeline_add(&table, key | lane_of(names[i].name),
				     names[i].name, words);
			return;
		}
	snprintk(buf, sizeof(buf), "cpu%u", hit->cpu);
	timeline_add(&table, key | BIT(24) | hit->cpu, buf, words);
}

static void step(const struct row *row, const struct probe_hit *hit)
{
	char words[TIMELINE_WORDS], one[WORDS], two[WORDS];
	const char *a, *b;

	if (row->when != ALWAYS && (row->when == LATE) != late)
		return;
	a = argument(row->a, hit->a, hit->b, one);
	b = argument(row->b, hit->b, hit->a, two);
	if (!a || !b)
		return;
	if (row->a == NONE)
		a = b;
	snprintk(words, sizeof(words), row->words, a, b);
	add(row, hit, words);
}

static void emit(const char *line, void *arg)
{
	ktap_note("# %s", line);
}

void explain_end(void)
{
	static struct probe_hit hits[HITS];
	size_t n;

	if (ended)
		return;
	ended = true;
	n = probe_collect(hits, HITS, since, 0);
	memset(&table, 0, sizeof(table));
	for (size_t i = 0; i < n; i++)
		for (unsigned k = 0; k < ARRAY_SIZE(rows); k++)
			if (!strcmp(rows[k].probe, hits[i].point->name))
				step(&rows[k], &hits[i]);
}

const struct timeline *explain_table(void)
{
	explain_end();
	return &table;
}

void explain_show(const char *suite, const char *test)
{
	explain_end();
	if (!table.n_steps)
		return;
	ktap_note("# timeline of %s.%s", suite, test);
	timeline_print(&table, emit, NULL);
	ktap_note("# end of timeline");
}
