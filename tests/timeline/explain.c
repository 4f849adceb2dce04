/* SPDX-License-Identifier: MIT */
/*
 * explain.c - which probes make a step, in which lane, with which text
 *
 * The table below has one row for each probe that is shown.  A row's text has at
 * most two %s: the names of the probe's arguments, in order, without those of
 * kind NONE (explain_words.c).
 */
#include "arch/cpu.h"
#include "iommu/hw/command.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "kernel/probe.h"
#include "kernel/string.h"
#include "kernel/thread.h"
#include "mm/core/mm.h"
#include "tests/base/ktap.h"
#include "tests/base/test.h"
#include "tests/timeline/explain_priv.h"
#include "tests/timeline/state.h"
#include "tests/timeline/timeline.h"

#define NAMES 48
#define HITS  400

/* ---- names -------------------------------------------------------------- */

/* Entered by any of the test's threads: each takes a slot of its own, which is
 * valid when its name is set. */
static struct {
	enum explain_kind kind;
	uint64_t value;
	const char *name;
} names[NAMES];
static _Atomic unsigned n_names;
static uint64_t since;
static bool late;  /* the IOMMU is a model: commands complete later        */
static bool ended; /* table is complete                                    */
static _Atomic uint64_t broken; /* time of the first failure; 0: none      */
static struct timeline table;
static struct probe_hit hit_of[TIMELINE_STEPS]; /* of each step of table  */
static bool json;        /* the word explain=json                          */
static struct state end; /* after the last step, of json                   */

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

void explain_mm(const struct mm *mm, const char *name)
{
	explain_name(EXPLAIN_MM, (uint64_t)mm, name);
	state_root(HOLDER_CPU, (uint64_t)mm, pt_root_pa(&mm->pt));
}

void explain_thread(const char *name)
{
	explain_name(EXPLAIN_THREAD, current()->id, name);
}

void explain_begin(void)
{
	since = rdtsc();
	broken = 0;
	ended = false;
	state_begin();
}

unsigned explain_names(void)
{
	return n_names;
}

void explain_again(unsigned n)
{
	memset(names + n, 0, sizeof(names) - n * sizeof(names[0]));
	n_names = n;
	state_forget_roots();
	explain_begin();
}

void explain_reset(void)
{
	memset(names, 0, sizeof(names));
	n_names = 0;
	late = false;
	state_reset();
	explain_begin();
}

bool explain_nth(enum explain_kind kind, unsigned n, uint64_t *value)
{
	for (unsigned i = 0; i < n_names; i++)
		if (names[i].kind == kind && READ_ONCE(names[i].name) && !n--) {
			*value = names[i].value;
			return true;
		}
	return false;
}

const char *explain_name_of(enum explain_kind kind, uint64_t value)
{
	for (unsigned i = 0; i < n_names; i++)
		if (names[i].kind == kind && names[i].value == value)
			return names[i].name;
	return NULL;
}

unsigned explain_named(enum explain_kind kind)
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
	LANE_GUEST,  /* the vCPU's number likewise                          */
	LANE_IOMMU,
};

/* QEMU's IOMMU completes a command at once, the model later. */
enum when {
	ALWAYS,
	AT_ONCE,
	LATE,
};

struct row {
	const char *probe;
	enum lane lane;
	const char *text;
	enum explain_arg a, b;
	enum when when;
};

static const struct row rows[] = {
	{ "cpu_says", LANE_CPU, "%s", TEXT, NONE, ALWAYS },
	{ "cpu_read", LANE_CPU, "read %s = %s", ADDRESS, NUMBER, ALWAYS },
	{ "child_read", LANE_CPU, "the child reads %s = %s", ADDRESS, NUMBER,
	  ALWAYS },
	{ "victim_read", LANE_CPU, "its owner reads %s", NONE, NUMBER, ALWAYS },
	{ "cpu_write", LANE_CPU, "write %s = %s", ADDRESS, NUMBER, ALWAYS },
	{ "range_start", LANE_CPU, "%sinvalidate_range_start %s", MM, ADDRESS,
	  ALWAYS },
	{ "range_end", LANE_CPU, "%sinvalidate_range_end %s", MM, ADDRESS,
	  ALWAYS },
	{ "release", LANE_CPU, "%srelease", MM, NONE, ALWAYS },
	{ "pte_clear", LANE_CPU, "%sclear PTE %s", MM, ADDRESS, ALWAYS },
	{ "pte_set", LANE_CPU, "%sset PTE %s", MM, ADDRESS, ALWAYS },
	{ "pte_upgrade", LANE_CPU, "%sPTE %s gains W", MM, ADDRESS, ALWAYS },
	{ "pte_protect", LANE_CPU, "%schange rights of PTE %s", MM, ADDRESS,
	  ALWAYS },
	{ "pte_move", LANE_CPU, "%smove PTE %s", MM, ADDRESS, ALWAYS },
	{ "pte_young", LANE_CPU, "%sclear accessed bit %s", MM, ADDRESS,
	  ALWAYS },
	{ "huge_split", LANE_CPU, "%ssplit 2 MiB at %s", MM, ADDRESS, ALWAYS },
	{ "collapse_cleared", LANE_CPU,
	  "%scollapse: clear the table's entry %s", MM, ADDRESS, ALWAYS },
	{ "collapse_copied", LANE_CPU, "%scollapse: 512 pages are copied to %s",
	  MM, ADDRESS, ALWAYS },
	{ "collapse_refused", LANE_CPU, "%scollapse is refused at %s", MM,
	  ADDRESS, ALWAYS },
	{ "cow_copied", LANE_CPU, "%scopy page of %s", MM, ADDRESS, ALWAYS },
	{ "fork_shared", LANE_CPU, "%sfork: write-protect PTE %s", MM, ADDRESS,
	  ALWAYS },
	{ "tlb_flush", LANE_CPU, "%sflush CPU TLBs %s", MM, ADDRESS, ALWAYS },
	{ "range", LANE_CPU, "%sinvalidate_range %s", MM, ADDRESS, ALWAYS },
	{ "change_pte", LANE_CPU, "%schange_pte %s", MM, ADDRESS, ALWAYS },
	{ "clear_flush_young", LANE_CPU, "%sclear_flush_young %s", MM, ADDRESS,
	  ALWAYS },
	{ "frame_free", LANE_CPU, "free %s", FRAME, NONE, ALWAYS },
	{ "table_free", LANE_CPU, "free %s", NONE, FRAME, ALWAYS },
	{ "dte_set", LANE_CPU, "set DTE %s", DEVICE, NONE, ALWAYS },
	{ "domain_map", LANE_CPU, "set I/O PTE %s", ADDRESS, NONE, ALWAYS },
	{ "domain_clear", LANE_CPU, "clear I/O PTE %s", ADDRESS, NONE, ALWAYS },
	{ "ppr_fault", LANE_CPU, "serve page request %s", ADDRESS, NONE,
	  ALWAYS },
	{ "device_read", LANE_DEVICE, "DMA read %s%s", ADDRESS, DATA, ALWAYS },
	{ "device_write", LANE_DEVICE, "DMA write %s = %s", ADDRESS, NUMBER,
	  ALWAYS },
	{ "endpoint_write", LANE_DEVICE, "DMA write %s%s", ADDRESS, DATA,
	  ALWAYS },
	{ "device_asks", LANE_DEVICE, "page request %s", ADDRESS, NONE,
	  ALWAYS },
	{ "device_fails", LANE_DEVICE, "FAILURE STATE at %s", ADDRESS, NONE,
	  ALWAYS },
	{ "guest_read", LANE_GUEST, "read %s%s", ADDRESS, WORD, ALWAYS },
	{ "guest_write", LANE_GUEST, "write %s = %s", ADDRESS, NUMBER, ALWAYS },
	{ "guest_kicked", LANE_CPU, "kick of %s", NONE, CPUS, ALWAYS },
	{ "vcpu_fault", LANE_CPU, "serve nested fault %s", NONE, ADDRESS,
	  ALWAYS },
	{ "iommu_command", LANE_IOMMU, "%s", DONE, NONE, AT_ONCE },
	{ "iommu_command", LANE_CPU, "queue %s", COMMAND, NONE, LATE },
	{ "model_done", LANE_IOMMU, "%s", DONE, NONE, LATE },
};

/* ---- steps -------------------------------------------------------------- */

void explain_model(bool yes)
{
	late = yes;
}

/* Return the key of a thread's lane: in alphabetical order, before CPUs. */
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
		const char *text)
{
	uint64_t key = (uint64_t)row->lane << 32;
	char buf[TIMELINE_WORDS];

	if (row->lane == LANE_IOMMU) {
		timeline_add(&table, key, "IOMMU", text);
		return;
	}
	if (row->lane == LANE_DEVICE) {
		uint64_t devid = hit->a >> 48;

		timeline_add(&table, key | devid, explain_device(devid, buf),
			     text);
		return;
	}
	if (row->lane == LANE_GUEST) {
		snprintk(buf, sizeof(buf), "guest %lu", hit->a >> 48);
		timeline_add(&table, key | hit->a >> 48, buf, text);
		return;
	}
	for (unsigned i = 0; i < n_names; i++)
		if (names[i].kind == EXPLAIN_THREAD &&
		    names[i].value == hit->thread) {
			timeline_add(&table, key | lane_of(names[i].name),
				     names[i].name, text);
			return;
		}
	snprintk(buf, sizeof(buf), "cpu%u", hit->cpu);
	timeline_add(&table, key | BIT(24) | hit->cpu, buf, text);
}

/* Write the text of a step; false: it is not shown. */
static bool text_of(const struct row *row, const struct probe_hit *hit,
		    char *text)
{
	char one[TIMELINE_WORDS], two[TIMELINE_WORDS];
	const char *a, *b;

	if (row->when != ALWAYS && (row->when == LATE) != late)
		return false;
	a = explain_argument(row->a, hit->a, hit->b, one);
	b = explain_argument(row->b, hit->b, hit->a, two);
	if (!a || !b)
		return false;
	if (row->a == NONE)
		a = b;
	snprintk(text, TIMELINE_WORDS, row->text, a, b);
	return true;
}

static void step(const struct row *row, const struct probe_hit *hit)
{
	char text[TIMELINE_WORDS];
	unsigned n = table.n_steps;

	if (!text_of(row, hit, text))
		return;
	add(row, hit, text);
	if (table.n_steps > n)
		hit_of[n] = *hit;
}

/* Probes that stand before their effect, and the probe of the same thread at which
 * it can be seen; "": any. */
static const char *const effects[][2] = {
	{ "cpu_write", "" },  { "guest_write", "" },
	{ "frame_free", "" }, { "table_free", "" },
	{ "model_done", "" }, { "iommu_command", "iommu_complete" },
};

static const char *until(const struct row *row, const struct probe_hit *hit)
{
	/* QEMU's caches are those of the checker, which waits for the completion. */
	if (row->a == COMMAND ||
	    (row->when == AT_ONCE &&
	     FIELD_GET(CMD0_OP, hit->a) != COMPLETION_WAIT))
		return NULL;
	for (unsigned i = 0; i < ARRAY_SIZE(effects); i++)
		if (!strcmp(effects[i][0], row->probe))
			return effects[i][1];
	return NULL;
}

static void observe(const struct probe_hit *hit)
{
	char text[TIMELINE_WORDS];

	if (ended || cpu_irq_depth())
		return;
	state_hit(hit);
	for (unsigned k = 0; k < ARRAY_SIZE(rows); k++)
		if (!strcmp(rows[k].probe, hit->point->name) &&
		    text_of(&rows[k], hit, text))
			state_step(hit, until(&rows[k], hit));
}

bool explain_json(bool on)
{
	bool was = json;

	json = on;
	probe_observe(on ? observe : NULL);
	return was;
}

void explain_broken(void)
{
	uint64_t none = 0;

	atomic_compare_exchange_strong(&broken, &none, rdtsc());
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
	if (json)
		state_now(&end);
	n = probe_collect(hits, HITS, since, 0);
	memset(&table, 0, sizeof(table));
	for (size_t i = 0; i < n; i++) {
		for (unsigned k = 0; k < ARRAY_SIZE(rows); k++)
			if (!strcmp(rows[k].probe, hits[i].point->name))
				step(&rows[k], &hits[i]);
		if (hits[i].tsc <= broken)
			table.broken = table.n_steps;
	}
}

const struct timeline *explain_table(void)
{
	explain_end();
	return &table;
}

void explain_show(const struct test *t, const char *verdict, bool as_table)
{
	explain_end();
	if (!table.n_steps)
		return;
	if (json)
		explain_print_json(t, &table, hit_of, &end, verdict);
	if (!as_table)
		return;
	ktap_note("# timeline of %s.%s", t->suite, t->name);
	timeline_print(&table, emit, NULL);
	ktap_note("# end of timeline");
}
