/* SPDX-License-Identifier: MIT */
/*
 * explain_json.c - a timeline as JSON lines; README.md in this folder is the schema
 *
 * Frames are named, never numbered by their address: a frame without a name gets one
 * by the order in which the lines mention it.  So the lines are the same in every run.
 */
#include "arch/cpu.h"
#include "kernel/printk.h"
#include "kernel/probe.h"
#include "kernel/string.h"
#include "mm/pt/pt.h"
#include "tests/base/ktap.h"
#include "tests/base/test.h"
#include "tests/timeline/explain_priv.h"
#include "tests/timeline/state.h"
#include "tests/timeline/timeline.h"

#define SCHEMA  1
#define UNNAMED 32
#define EXACT   (UINT64_C(1) << 53) /* more than a JSON number holds          */

static char line[KTAP_LINE];
static size_t used;
static pa_t unnamed[UNNAMED];
static unsigned n_unnamed;

static const char *const holders[] = {
	[HOLDER_CPU] = "cpu",
	[HOLDER_NESTED] = "nested",
	[HOLDER_DEVICE] = "device",
	[HOLDER_IOTLB] = "iotlb",
	[HOLDER_DEVICE_TLB] = "device tlb",
};

/* ---- text --------------------------------------------------------------- */

static void put(const char *fmt, ...) printf_like(1, 2);

static void put(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	used += (size_t)vsnprintk(line + used, sizeof(line) - used, fmt, args);
	va_end(args);
	assert(used < sizeof(line));
}

/* Write "key":"text". */
static void put_text(const char *key, const char *text)
{
	put("\"%s\":\"", key);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			put("\\%c", *text);
		else if ((uint8_t)*text < ' ')
			put("\\u%04x", (uint8_t)*text);
		else
			put("%c", *text);
	}
	put("\"");
}

static void line_begin(const struct test *t)
{
	char name[120];

	used = 0;
	snprintk(name, sizeof(name), "%s.%s", t->suite, t->name);
	put("{");
	put_text("timeline", name);
}

static void line_end(void)
{
	put("}");
	ktap_line(line);
}

/* ---- names -------------------------------------------------------------- */

static const char *frame_name(pa_t frame, char *buf)
{
	const char *name = explain_name_of(EXPLAIN_FRAME, frame);
	unsigned at = 0;

	if (name)
		return name;
	while (at < n_unnamed && unnamed[at] != frame)
		at++;
	if (at == n_unnamed && n_unnamed < UNNAMED)
		unnamed[n_unnamed++] = frame;
	snprintk(buf, TIMELINE_WORDS, "frame %u", at + 1);
	return buf;
}

/* Return the name of what holds a translation; NULL: it is not shown. */
static const char *holder_name(const struct state_cell *c, char *buf)
{
	const char *name;

	switch (c->holder) {
	case HOLDER_CPU:
		return explain_name_of(EXPLAIN_MM, c->id);
	case HOLDER_NESTED:
		snprintk(buf, TIMELINE_WORDS, "guest %lu", c->id);
		return buf;
	case HOLDER_IOTLB:
		name = explain_name_of(EXPLAIN_DOMAIN, c->id);
		if (name || explain_named(EXPLAIN_DOMAIN))
			return name;
		snprintk(buf, TIMELINE_WORDS, "domain %lu", c->id);
		return buf;
	case HOLDER_DEVICE:
	case HOLDER_DEVICE_TLB:
		return explain_device(c->id, buf);
	}
	return NULL;
}

/* ---- the state ---------------------------------------------------------- */

static void put_cell(const struct state_cell *c, unsigned *n)
{
	char holder[TIMELINE_WORDS], frame[TIMELINE_WORDS];
	const char *of = holder_name(c, holder);
	const char *page = explain_name_of(EXPLAIN_ADDRESS, c->address);

	if (!of || !page)
		return;
	put("%s{", (*n)++ ? "," : "");
	put_text("in", holders[c->holder]);
	put(",");
	put_text("of", of);
	put(",");
	put_text("page", page);
	put(",");
	put_text("frame", frame_name(c->frame, frame));
	put(",\"rights\":\"%s%s\"}", c->prot & PROT_R ? "r" : "",
	    c->prot & PROT_W ? "w" : "");
}

/* One that is larger than a JSON number is a text; so is the poison of free frames,
 * which may have the frame's number in it. */
static void put_word(const struct state_frame *f)
{
	if (f->word < EXACT)
		put("%lu", f->word);
	else if (f->kind == PAGE_FREE)
		put("\"poison\"");
	else
		put("\"%#lx\"", f->word);
}

static void put_frame(const struct state_frame *f, bool first)
{
	char buf[TIMELINE_WORDS];

	put("%s{", first ? "" : ",");
	put_text("frame", frame_name(f->frame, buf));
	put(",");
	put_text("use", page_kind_name(f->kind));
	put(",\"refs\":%u,\"holds\":", f->refs);
	put_word(f);
	put("}");
}

static void put_state(const struct state *s)
{
	unsigned n = 0;

	put(",\"state\":");
	if (!s) {
		put("null");
		return;
	}
	put("{\"translations\":[");
	for (unsigned i = 0; i < s->n_cells; i++)
		put_cell(&s->cells[i], &n);
	put("],\"frames\":[");
	for (unsigned i = 0; i < s->n_frames; i++)
		put_frame(&s->frames[i], !i);
	put("],\"left_out\":%u}", s->left_out);
}

/* ---- lines -------------------------------------------------------------- */

static void put_begin(const struct test *t, const struct timeline *table)
{
	uint64_t va;

	line_begin(t);
	put(",\"schema\":%u,", SCHEMA);
	put_text("claim", t->claim);
	put(",");
	put_text("file", t->file);
	put(",\"cpus\":%u,\"steps\":%u,\"left_out\":%u,", cpu_count(),
	    table->n_steps, table->left_out);
	put_text("caches", state_caches());
	put(",\"lanes\":[");
	for (unsigned i = 0; i < table->n_lanes; i++) {
		put("%s{", i ? "," : "");
		put_text("title", table->lanes[i].title);
		put("}");
	}
	put("],\"pages\":[");
	for (unsigned i = 0; explain_nth(EXPLAIN_ADDRESS, i, &va); i++) {
		put("%s{", i ? "," : "");
		put_text("page", explain_name_of(EXPLAIN_ADDRESS, va));
		put(",\"address\":\"%#lx\"}", va);
	}
	put("]");
	line_end();
}

static const char *lane_title(const struct timeline *table, uint64_t key)
{
	unsigned i = 0;

	while (table->lanes[i].key != key)
		i++;
	return table->lanes[i].title;
}

static void put_step(const struct test *t, const struct timeline *table,
		     unsigned n, const struct probe_hit *hit)
{
	const struct timeline_step *step = &table->steps[n];

	line_begin(t);
	put(",\"step\":%u,", n + 1);
	put_text("lane", lane_title(table, step->lane));
	put(",");
	put_text("words", step->words);
	put(",");
	put_text("probe", hit->point->name);
	put(",");
	put_text("file", hit->point->file);
	put(",\"line\":%d,\"thread\":%u,\"cpu\":%u,\"broken\":%s",
	    hit->point->line, hit->thread, hit->cpu,
	    n + 1 == table->broken ? "true" : "false");
	put_state(state_of(hit));
	line_end();
}

void explain_print_json(const struct test *t, const struct timeline *table,
			const struct probe_hit *hits, const struct state *end,
			const char *verdict)
{
	n_unnamed = 0;
	put_begin(t, table);
	for (unsigned i = 0; i < table->n_steps; i++)
		put_step(t, table, i, &hits[i]);
	line_begin(t);
	put(",");
	put_text("verdict", verdict);
	put_state(end);
	line_end();
}
