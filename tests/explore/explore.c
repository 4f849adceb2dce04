/* SPDX-License-Identifier: MIT */
/*
 * explore.c - the search: a depth-first walk over the choices of executions
 *
 *   trace    0 of 2   0 of 3   2 of 3   0 of 2  ...   the last execution
 *   prefix   0        1                               the next one: the last choice
 *                                                     that has an alternative left
 *
 * Alternative 0 goes on with the same actor where that is possible.  So an execution
 * without a prefix has no preemption.
 */
#include "tests/explore/explore.h"
#include "arch/clock.h"
#include "kernel/printk.h"
#include "kernel/string.h"
#include "tests/explore/actors.h"
#include "tests/explore/footprint.h"
#include "tests/timeline/explain.h"

#define CHOICES_MAX 2048
#define SEEN        (CONFIG_KCSAN ? 1u << 18 : 1u << 10)

struct choice {
	uint8_t taken, of;
	bool preempts; /* an alternative but 0 would                        */
	const char *from, *to, *at;
};

/* One exploration at a time. */
static struct {
	struct choice trace[CHOICES_MAX];
	unsigned depth;
	uint8_t prefix[CHOICES_MAX];
	unsigned n_prefix;
	unsigned spent; /* preemptions so far                               */
	bool reduces;
	bool pruned;   /* an order equivalent to this one has been followed */
	bool overflow; /* an execution has more choices than fit            */
	bool diverged; /* a prefix met other alternatives than before       */
} search;

/* Where executions of this bound have been: a hash of the order, of the actors that
 * can go on, and in the low bits the preemptions.  A newer one takes the place. */
#define SPENT UINT64_C(7)
static uint64_t seen[SEEN];

static unsigned words_bound = 1;
static bool words_sched; /* search.prefix is what sched= says               */

/*
 * Has an equivalent execution been here with as few preemptions?  Then all that can
 * follow has been tried, or is going to be.  An actor that loses the CPU costs a
 * preemption only while it has the CPU: equivalent means the same running actor.
 */
static bool seen_before(const struct actor *from, bool could_go_on,
			struct actor *const alternatives[], unsigned n)
{
	uint64_t hash = footprint_order(), key, *place;

	if (!hash)
		return false;
	hash += could_go_on ? from - actors_first() + 1u : 0;
	for (unsigned i = 0; i < n; i++)
		hash += UINT64_C(0x9e3779b97f4a7c15)
			<< (alternatives[i] - actors_first());
	hash *= UINT64_C(0xd6e8feb86659fd93);
	hash ^= hash >> 32;
	key = hash & ~SPENT;
	place = &seen[hash / (SPENT + 1) % SEEN];
	if ((*place & ~SPENT) == key && (*place & SPENT) <= search.spent)
		return true;
	*place = key | search.spent;
	return false;
}

static struct actor *choose(struct actor *from, bool could_go_on,
			    struct actor *const alternatives[], unsigned n)
{
	unsigned taken = 0;

	if (search.depth == CHOICES_MAX) {
		search.overflow = true;
		return alternatives[0];
	}
	if (search.pruned)
		return alternatives[0];
	if (search.reduces && search.depth >= search.n_prefix &&
	    seen_before(from, could_go_on, alternatives, n)) {
		search.pruned = true;
		return alternatives[0];
	}
	if (search.depth < search.n_prefix)
		taken = search.prefix[search.depth];
	if (taken >= n) {
		search.diverged = true;
		taken = 0;
	}
	search.trace[search.depth++] = (struct choice){
		.taken = (uint8_t)taken,
		.of = (uint8_t)n,
		.preempts = from && could_go_on,
		.from = from ? from->name : NULL,
		.to = alternatives[taken]->name,
		.at = from ? from->at : NULL,
	};
	search.spent += from && could_go_on && taken;
	return alternatives[taken];
}

static unsigned cost(const struct choice *c, unsigned taken)
{
	return c->preempts && taken;
}

/* Make the prefix of the next execution.  Returns false if there is none. */
static bool advance(unsigned bound)
{
	unsigned spent = 0, last = CHOICES_MAX;

	for (unsigned d = 0; d < search.depth; d++) {
		const struct choice *c = &search.trace[d];

		if (c->taken + 1 < c->of && spent + c->preempts <= bound)
			last = d;
		spent += cost(c, c->taken);
	}
	if (last == CHOICES_MAX)
		return false;
	for (unsigned d = 0; d < last; d++)
		search.prefix[d] = search.trace[d].taken;
	search.prefix[last] = search.trace[last].taken + 1;
	search.n_prefix = last + 1;
	return true;
}

/* Run the prefix, and go on without preemptions. */
static const char *execute(const struct exploration *x, unsigned names)
{
	const char *broken;

	explain_again(names);
	x->setup(x);
	search.depth = search.spent = 0;
	search.pruned = false;
	explain_begin();
	actors_run();
	broken = x->verdict(x);
	if (broken) {
		explain_broken();
		explain_end();
	}
	x->teardown(x);
	return broken;
}

/* ---- a counterexample ---------------------------------------------------- */

/* "12:1,40:2": at choice 12 alternative 1 and so on, elsewhere alternative 0. */
static void note_sched(void)
{
	char text[160] = "";
	size_t len = 0;

	for (unsigned d = 0; d < search.depth && len < sizeof(text) - 12; d++)
		if (search.trace[d].taken)
			len += (size_t)snprintk(text + len, sizeof(text) - len,
						"%s%u:%u", len ? "," : "", d,
						search.trace[d].taken);
	test_note("to repeat it: make explore T=... SCHED=%s; make debug T=... "
		  "APPEND=sched=%s",
		  len ? text : "0:0", len ? text : "0:0");
}

static unsigned note_order(const char *broken)
{
	unsigned spent = 0;

	test_note("%s:", broken);
	for (unsigned d = 0; d < search.depth; d++) {
		const struct choice *c = &search.trace[d];

		spent += cost(c, c->taken);
		if (!c->from)
			test_note("  %s begins", c->to);
		else if (strcmp(c->from, c->to))
			test_note("  %s %s %s, %s runs", c->from,
				  c->preempts ? "is preempted at"
					      : "waits or ends after",
				  c->at ? c->at : "its start", c->to);
	}
	note_sched();
	return spent;
}

/* ---- the search --------------------------------------------------------- */

/* A line every ten seconds, or the host takes the run for dead. */
static void progress(const struct explore_result *r, unsigned bound)
{
	static uint64_t last;
	uint64_t now = clock_ns();

	if (r->executions == 1)
		last = now;
	if (now - last < UINT64_C(10000000000))
		return;
	last = now;
	test_note("%lu executions, bound %u ...", r->executions, bound);
}

/* Returns whether every order was right. */
static bool all_orders(const struct exploration *x, unsigned bound,
		       unsigned names, struct explore_result *r)
{
	search.reduces = (CONFIG_KCSAN || x->declares) && !x->equivalents &&
			 !words_sched;
	memset(seen, 0, search.reduces ? sizeof(seen) : 0);
	if (!words_sched)
		search.n_prefix = 0;
	do {
		r->broken = execute(x, names);
		r->executions++;
		r->pruned += search.pruned;
		progress(r, bound);
		if (search.depth > r->choices)
			r->choices = search.depth;
		if (search.overflow || search.diverged) {
			test_note("execution %lu %s", r->executions,
				  search.overflow ? "has too many choices"
						  : "cannot be repeated");
			return false;
		}
		if (r->broken) {
			r->preemptions = note_order(r->broken);
			return false;
		}
	} while (!words_sched && advance(bound));
	return true;
}

struct explore_result explore(const struct exploration *x, unsigned bound)
{
	struct explore_result r = { 0 };
	unsigned names = explain_names();

	CHECKED_ONLY("has the points at which orders differ");
	search.overflow = search.diverged = false;
	actors_begin(x, choose);
	for (unsigned b = words_sched ? bound : 0; b <= bound; b++) {
		r.complete = all_orders(x, b, names, &r);
		if (!r.complete)
			break;
	}
	actors_end();
	if (!r.broken)
		explain_again(names);
	return r;
}

/* The bound of EXPECT_FOUND(), or of EXPECT_EXPLORED(). */
static unsigned bound_of(const struct exploration *x, bool found)
{
	if (found)
		return words_bound < 2 ? 2 : words_bound;
	if (x->large && words_bound < 2)
		return 0;
	return words_bound;
}

void explore_expect(const struct exploration *x, bool found, const char *file,
		    int line)
{
	unsigned bound = bound_of(x, found);
	struct explore_result r = explore(x, bound);

	test_note("%lu executions, %lu pruned, of up to %u choices, %u "
		  "preemptions, %s",
		  r.executions, r.pruned, r.choices,
		  r.broken ? r.preemptions : bound,
		  r.broken     ? "one is wrong"
		  : r.complete ? "all are right"
			       : "INCOMPLETE");
	if (words_sched && (found || r.complete))
		return; /* one order says nothing of the others */
	if (found && !r.broken)
		test_fail(file, line, "no order with %u preemptions is wrong",
			  bound);
	else if (!found && !r.complete)
		test_fail(file, line, "%s",
			  r.broken ? r.broken : "the search is incomplete");
}

/* ---- the words of the command line ---------------------------------------- */

static bool read_number(const char **at, unsigned *n)
{
	const char *begin = *at;

	for (*n = 0; **at >= '0' && **at <= '9' && *n < CHOICES_MAX; ++*at)
		*n = *n * 10 + (unsigned)(**at - '0');
	return *at != begin;
}

const char *explore_configure(unsigned bound, const char *sched)
{
	static const char usage[] =
		"`sched=` wants choice:alternative,... with rising choices";
	unsigned choice, taken;

	words_bound = bound;
	words_sched = sched;
	search.n_prefix = 0;
	memset(search.prefix, 0, sizeof(search.prefix));
	while (sched) {
		if (!read_number(&sched, &choice) || *sched++ != ':' ||
		    !read_number(&sched, &taken) || choice >= CHOICES_MAX ||
		    taken >= ACTORS_MAX || choice < search.n_prefix)
			return usage;
		search.prefix[choice] = (uint8_t)taken;
		search.n_prefix = choice + 1;
		if (!*sched || *sched == ' ')
			break;
		if (*sched++ != ',')
			return usage;
	}
	return NULL;
}
