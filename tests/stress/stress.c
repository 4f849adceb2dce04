/* SPDX-License-Identifier: MIT */
/*
 * stress.c - draw operations, leave some out, tell what failed
 */
#include "tests/stress/stress.h"
#include "arch/clock.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "kernel/string.h"

#define RANGES_MAX 64
#define SAID_MAX   64 /* a longer list is of no use to a reader          */
#define SILENCE_NS UINT64_C(10000000000) /* then a line says how far we are */

struct numbers {
	unsigned low, high; /* both run                                    */
};

/* (I) after the command line was read */
static struct {
	bool given;
	unsigned n[STRESS_ACTORS];
	struct numbers range[STRESS_ACTORS][RANGES_MAX];
} plan;

static unsigned times = 1; /* (I) likewise                               */

void stress_set_times(unsigned n)
{
	times = n;
}

unsigned stress_times(void)
{
	return times;
}

bool stress_planned(void)
{
	return plan.given;
}

/* ---- ops=0:17-40,52/2:3 ------------------------------------------------ */

static bool take_number(const char **text, unsigned *out)
{
	const char *c = *text;
	unsigned v = 0;

	for (; *c >= '0' && *c <= '9' && v < 100000000; c++)
		v = v * 10 + (unsigned)(*c - '0');
	if (c == *text)
		return false;
	*text = c;
	*out = v;
	return true;
}

static bool take_char(const char **text, char c)
{
	if (**text != c)
		return false;
	++*text;
	return true;
}

/* 17-40,52: ascending, because stress_next() takes the first that fits. */
static bool take_ranges(const char **text, unsigned actor)
{
	unsigned least = 0;

	do {
		struct numbers r;

		if (plan.n[actor] == RANGES_MAX || !take_number(text, &r.low))
			return false;
		r.high = r.low;
		if (take_char(text, '-') && !take_number(text, &r.high))
			return false;
		if (r.low < least || r.high < r.low)
			return false;
		least = r.high + 1;
		plan.range[actor][plan.n[actor]++] = r;
	} while (take_char(text, ','));
	return true;
}

const char *stress_plan(const char *text)
{
	unsigned actor;

	plan.given = text != NULL;
	memset(plan.n, 0, sizeof(plan.n));
	if (!text)
		return NULL;
	do {
		if (!take_number(&text, &actor) || actor >= STRESS_ACTORS ||
		    plan.n[actor] || !take_char(&text, ':') ||
		    !take_ranges(&text, actor))
			return "`ops=` wants ACTOR:LOW-HIGH,... joined by /, "
			       "ascending, as in ops=0:17-40,52/2:3";
	} while (take_char(&text, '/'));
	return *text && *text != ' ' ? "`ops=` ends in something else" : NULL;
}

static unsigned plan_next(unsigned actor, unsigned n, unsigned end)
{
	if (!plan.given)
		return n;
	for (unsigned i = 0; i < plan.n[actor]; i++) {
		const struct numbers *r = &plan.range[actor][i];

		if (n <= r->high)
			return n < r->low ? r->low : n;
	}
	return end;
}

/* ---- one operation ----------------------------------------------------- */

static unsigned pick(struct rng *rng, unsigned n)
{
	return n ? (unsigned)rng_below(rng, n) : 0;
}

static unsigned min(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static unsigned pick_kind(const struct op_kind *kinds, struct rng *rng)
{
	unsigned dice = pick(rng, 100), sum = 0, i = 0;

	for (;; i++) {
		assert(kinds[i].name);
		sum += kinds[i].weight;
		if (dice < sum)
			return i;
	}
}

struct op op_draw(const struct op_kind *kinds, const struct op_limits *l,
		  uint64_t seed, unsigned actor, unsigned number)
{
	static const enum prot rights[] = { PROT_R | PROT_W, PROT_R | PROT_W,
					    PROT_R, PROT_NONE };
	/* Not the generator's own step: neighbours would share a stream. */
	struct rng rng = rng_seed(seed + ((uint64_t)actor << 32 | number) *
						 0xd1342543de82ef95);
	struct op op = { .kind = pick_kind(kinds, &rng) };

	op.space = pick(&rng, l->spaces);
	op.to_space = pick(&rng, l->spaces);
	op.page = pick(&rng, l->pages);
	op.n = 1 + pick(&rng, min(l->pages - op.page, l->longest));
	op.to = l->first + pick(&rng, l->pages);
	op.page += l->first;
	op.limit = l->first + l->pages;
	op.prot = rights[pick(&rng, ARRAY_SIZE(rights))];
	op.shared = pick(&rng, 3) == 0;
	op.index = pick(&rng, l->object_pages);
	if (op.shared && (kinds[op.kind].shows & OP_OBJECT))
		op.n = min(op.n, l->object_pages - op.index);
	op.dice = pick(&rng, 1u << 16);
	return op;
}

void op_words(const struct op_kind *kinds, const struct op *op, char *buf,
	      size_t len)
{
	const struct op_kind *k = &kinds[op->kind];
	size_t at = 0;

#define SAY(...)                                        \
	(at += (size_t)snprintk(buf + min(at, len - 1), \
				len - min(at, len - 1), __VA_ARGS__))
	SAY("%s", k->name);
	if (k->shows & OP_PAGE)
		SAY(" page %u", op->page);
	if (k->shows & OP_RANGE)
		SAY(" pages %u..%u", op->page, op->page + op->n - 1);
	if (k->shows & OP_SPACE)
		SAY(" of space %u", op->space);
	if (k->shows & OP_TO)
		SAY(" to page %u", op->to);
	if (k->shows & OP_TO_SPACE)
		SAY(" into space %u", op->to_space);
	if (k->shows & OP_PROT)
		SAY(" %c%c-", op->prot & PROT_R ? 'r' : '-',
		    op->prot & PROT_W ? 'w' : '-');
	if ((k->shows & OP_OBJECT) && op->shared)
		SAY(", the object from page %u", op->index);
#undef SAY
}

/* ---- a run ------------------------------------------------------------- */

static struct stress *running;
static _Atomic uint64_t spoke; /* ns: when the last line was printed      */

static unsigned planned_ops(unsigned actors)
{
	unsigned sum = 0;

	for (unsigned a = 0; a < actors; a++)
		for (unsigned i = 0; i < plan.n[a]; i++)
			sum += plan.range[a][i].high - plan.range[a][i].low + 1;
	return sum;
}

void stress_begin(struct stress *s)
{
	static const struct stress *said; /* repeat= says it once */
	char text[100];
	unsigned n;

	assert(s->actors <= STRESS_ACTORS);
	if (said != s)
		test_note("stress: %u actors, %u operations each", s->actors,
			  s->ops);
	if (said != s && plan.given && planned_ops(s->actors) <= SAID_MAX) {
		for (unsigned a = 0; a < s->actors; a++) {
			for (n = plan_next(a, 0, s->ops); n < s->ops;
			     n = plan_next(a, n + 1, s->ops)) {
				s->words(a, n, text, sizeof(text));
				test_note("actor %u, op %u: %s", a, n, text);
			}
		}
	}
	said = s;
	atomic_store(&spoke, clock_ns());
	WRITE_ONCE(running, s);
}

void stress_end(struct stress *s)
{
	assert(running == s);
	WRITE_ONCE(running, NULL);
}

static void count_one(struct stress *s)
{
	unsigned done = 1 + atomic_fetch_add_explicit(&s->done, 1,
						      memory_order_relaxed);

	uint64_t last = atomic_load_explicit(&spoke, memory_order_relaxed);
	uint64_t now = done % 1024 ? 0 : clock_ns();

	if (now > last + SILENCE_NS &&
	    atomic_compare_exchange_strong(&spoke, &last, now))
		test_note("stress: %u operations done", done);
}

unsigned stress_next(struct stress *s, unsigned actor, unsigned n, unsigned end)
{
	n = plan_next(actor, n, end);
	if (n > end)
		n = end;
	atomic_store_explicit(&s->at[actor], n, memory_order_relaxed);
	if (atomic_load_explicit(&s->failed, memory_order_relaxed))
		return end;
	if (n < end)
		count_one(s);
	return n;
}

bool stress_any(unsigned actor, unsigned begin, unsigned end)
{
	return plan_next(actor, begin, end) < end;
}

void stress_tell(void)
{
	struct stress *s = READ_ONCE(running);
	char text[200] = "";
	size_t at = 0;

	if (!s || plan.given)
		return;
	for (unsigned a = 0; a < s->actors; a++)
		at += (size_t)snprintk(text + at, sizeof(text) - at,
				       "%s%u:%u-%u", a ? "/" : "", a,
				       atomic_load(&s->from),
				       atomic_load(&s->at[a]));
	printk("# ran: ops=%s\n", text);
}

void stress_wrong(struct stress *s, unsigned actor, const char *file, int line,
		  const char *fmt, ...)
{
	unsigned number = atomic_load(&s->at[actor]);
	char what[100], text[160];
	va_list args;

	if (atomic_exchange(&s->failed, true))
		return;
	va_start(args, fmt);
	vsnprintk(text, sizeof(text), fmt, args);
	va_end(args);
	if (number < s->ops)
		s->words(actor, number, what, sizeof(what));
	else
		snprintk(what, sizeof(what), "the last look");
	test_fail(file, line, "actor %u, op %u (%s): %s", actor, number, what,
		  text);
	stress_tell();
}
