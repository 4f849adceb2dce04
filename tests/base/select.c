/* SPDX-License-Identifier: MIT */
/*
 * select.c - parse parameters, match names, suggest the nearest name
 */
#include "tests/base/select.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "kernel/string.h"

#define WORD_MAX 256

extern const struct test *const __start_vv_tests[];
extern const struct test *const __stop_vv_tests[];

static void full_name(const struct test *t, char *buf, size_t len)
{
	snprintk(buf, len, "%s.%s", t->suite, t->name);
}

static void unknown_test(struct selection *s, const char *glob)
{
	char best[WORD_MAX] = "", name[WORD_MAX];
	unsigned distance = ~0u, d;

	for (const struct test *const *t = __start_vv_tests;
	     t < __stop_vv_tests; t++) {
		/* A star, or no dot, probably means a suite. */
		if (*glob &&
		    (glob[strlen(glob) - 1] == '*' || !strchr(glob, '.')))
			snprintk(name, sizeof(name), "%s.*", (*t)->suite);
		else
			full_name(*t, name, sizeof(name));
		d = edit_distance(glob, name);
		if (d < distance) {
			distance = d;
			memcpy(best, name, sizeof(best));
		}
	}
	snprintk(s->error, sizeof(s->error),
		 "no test matches `%s`: did you mean `%s`?", glob, best);
}

static bool known_lie(const char *text)
{
	for (unsigned i = 0; i < select_n_words; i++)
		if (!strcmp(text, select_words[i].text))
			return !strncmp(text, "lie=", 4);
	return false;
}

static void unknown_word(struct selection *s, const char *text)
{
	const char *best = "";
	unsigned distance = ~0u;

	for (unsigned i = 0; i < select_n_words; i++) {
		unsigned d = edit_distance(text, select_words[i].text);

		if (d < distance) {
			distance = d;
			best = select_words[i].text;
		}
	}
	snprintk(s->error, sizeof(s->error),
		 "unknown word `%s`: did you mean `%s`?", text, best);
}

static bool parse_number(const char *text, uint64_t *out)
{
	uint64_t v = 0;

	if (!*text)
		return false;
	for (; *text; text++)
		if (*text < '0' || *text > '9' ||
		    __builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*text - '0'), &v))
			return false;
	*out = v;
	return true;
}

/* Copy the text up to the separator; returns the rest, NULL at the end. */
static const char *take(const char *text, char separator, char *buf)
{
	size_t n = 0;

	while (text[n] && text[n] != separator) {
		if (n < WORD_MAX - 1)
			buf[n] = text[n];
		n++;
	}
	buf[n < WORD_MAX ? n : WORD_MAX - 1] = 0;
	return text[n] ? text + n + 1 : NULL;
}

/*
 * Return whether the list of globs selects this name.  The last match decides.
 */
static bool chosen(const char *globs, const char *name)
{
	char glob[WORD_MAX];
	bool yes = *globs == '-' || !*globs;

	while (globs) {
		globs = take(globs, ',', glob);
		if (glob[0] == '-' && glob_match(glob + 1, name))
			yes = false;
		else if (glob_match(glob, name))
			yes = true;
	}
	return yes;
}

/*
 * Keep suites in the order of their first test, and the tests of one suite
 * together: number the suites, count, and put each test after those of its
 * suite.
 */
static void add_all(struct selection *s, const char *globs)
{
	static uint16_t suite_of[SELECT_MAX], place[SUITES_MAX];
	static const char *suite[SUITES_MAX];
	const struct test *const *tests = __start_vv_tests;
	size_t n = (size_t)(__stop_vv_tests - tests);
	unsigned suites = 0, k = 0;
	char name[WORD_MAX];

	assert(n <= SELECT_MAX); /* else the rest would never run */
	memset(place, 0, sizeof(place));
	for (size_t i = 0; i < n; i++) {
		full_name(tests[i], name, sizeof(name));
		suite_of[i] = SUITES_MAX;
		if (!chosen(globs, name))
			continue;
		/* Most follow a test of the same suite in their file. */
		if (k == suites || strcmp(suite[k], tests[i]->suite) != 0)
			for (k = 0; k < suites; k++)
				if (!strcmp(suite[k], tests[i]->suite))
					break;
		if (k == suites) {
			assert(suites < SUITES_MAX);
			suite[suites++] = tests[i]->suite;
		}
		suite_of[i] = (uint16_t)k;
		place[k]++;
	}
	for (k = 0; k < suites; k++) {
		s->n += place[k];
		place[k] = (uint16_t)(s->n - place[k]);
	}
	for (size_t i = 0; i < n; i++)
		if (suite_of[i] < SUITES_MAX)
			s->tests[place[suite_of[i]]++] = tests[i];
}

/* Every glob must match something: a typo is an error, not an empty run. */
static void check_globs(struct selection *s, const char *globs)
{
	char glob[WORD_MAX], name[WORD_MAX];

	while (globs && *globs && !s->error[0]) {
		bool any = false;

		globs = take(globs, ',', glob);
		for (const struct test *const *t = __start_vv_tests;
		     t < __stop_vv_tests && !any; t++) {
			full_name(*t, name, sizeof(name));
			any = glob_match(glob + (glob[0] == '-'), name);
		}
		if (!any)
			unknown_test(s, glob + (glob[0] == '-'));
	}
}

static uint64_t number(struct selection *s, const char *word, const char *text,
		       uint64_t min, uint64_t max)
{
	uint64_t v = 0;

	if (!parse_number(text, &v) || v < min || v > max)
		snprintk(s->error, sizeof(s->error),
			 "`%s` wants a decimal number from %lu to %lu", word,
			 min, max);
	return v;
}

static void one_word(struct selection *s, const char *word, char *globs)
{
	if (globs[0] &&
	    (!strncmp(word, "test=", 5) || !strcmp(word, "quick"))) {
		snprintk(
			s->error, sizeof(s->error),
			"`%s` after another choice of tests: name all globs in "
			"one, test=GLOB,-GLOB",
			word);
	} else if (!strncmp(word, "test=", 5)) {
		memcpy(globs, word + 5, strlen(word + 5) + 1);
	} else if (!strncmp(word, "seed=", 5)) {
		s->seed = number(s, word, word + 5, 0, UINT64_MAX);
	} else if (!strncmp(word, "low=", 4)) {
		s->low = number(s, word, word + 4, 1, UINT64_MAX);
	} else if (!strncmp(word, "high=", 5)) {
		s->high = number(s, word, word + 5, 1, UINT64_MAX);
	} else if (!strncmp(word, "repeat=", 7)) {
		s->repeat = (unsigned)number(s, word, word + 7, 1, 1000000);
	} else if (!strncmp(word, "timeout=", 8)) {
		s->timeout = (unsigned)number(s, word, word + 8, 0, 1000000);
	} else if (!strncmp(word, "stress=", 7)) {
		s->stress = (unsigned)number(s, word, word + 7, 1, STRESS_MAX);
	} else if (!strncmp(word, "hugepages=", 10)) {
		s->pool = (unsigned)number(s, word, word + 10, 0, 1000000);
	} else if (!strcmp(word, "list")) {
		s->list = true;
	} else if (!strcmp(word, "shell")) {
		s->shell = true;
	} else if (!strcmp(word, "shuffle")) {
		s->shuffle = true;
	} else if (!strcmp(word, "explain")) {
		s->explain = true;
	} else if (!strcmp(word, "check=each")) {
		s->check_each = true;
	} else if (!strcmp(word, "explain=json")) {
		s->json = true;
	} else if (!strcmp(word, "bench")) {
		s->bench = true;
		memcpy(s->bench_glob, "*", 2);
	} else if (!strncmp(word, "bench=", 6)) {
		s->bench = true;
		snprintk(s->bench_glob, sizeof(s->bench_glob), "%s", word + 6);
	} else if (!strcmp(word, "lie=hang")) {
		s->hang = true;
	} else if (!strcmp(word, "lie=deaf")) {
		s->deaf = true;
	} else if (!strcmp(word, "quick")) {
		memcpy(globs, "-stress.*", 10);
	} else if (!strncmp(word, "fail=alloc:nth=", 15)) {
		s->fail_nth =
			(uint32_t)number(s, word, word + 15, 1, UINT32_MAX);
	} else if (!strncmp(word, "explore=", 8)) {
		s->explore = (unsigned)number(s, word, word + 8, 0, 4);
	} else if (strncmp(word, "ops=", 4) && strncmp(word, "sched=", 6) &&
		   strcmp(word, "quirks") && strcmp(word, "idle=poll") &&
		   !known_lie(word)) {
		unknown_word(s, word);
	}
}

static void shuffle(struct selection *s)
{
	struct rng rng = rng_seed(s->seed);

	/* Within each suite, so that suites stay together. */
	for (unsigned i = 0; i < s->n; i++) {
		unsigned end = i + 1, j;
		const struct test *swap;

		while (end < s->n &&
		       !strcmp(s->tests[end]->suite, s->tests[i]->suite))
			end++;
		j = i + (unsigned)rng_below(&rng, end - i);
		swap = s->tests[i];
		s->tests[i] = s->tests[j];
		s->tests[j] = swap;
	}
}

void select_tests(const char *cmdline, struct selection *s)
{
	char word[WORD_MAX], globs[WORD_MAX] = "";

	*s = (struct selection){
		.seed = 1, .repeat = 1, .stress = 1, .explore = 1
	};
	while (cmdline && !s->error[0]) {
		const char *at = cmdline;

		cmdline = take(cmdline, ' ', word);
		/* ops= may be longer than a word: it is read in place. */
		if (!strncmp(at, "ops=", 4))
			s->ops = at + 4;
		else if (!strncmp(at, "sched=", 6))
			s->sched = at + 6;
		else if (at[strlen(word)] && at[strlen(word)] != ' ')
			snprintk(s->error, sizeof(s->error),
				 "a word has at most %u characters: `%.40s...`",
				 WORD_MAX - 1, word);
		if (word[0] && !s->error[0])
			one_word(s, word, globs);
	}
	if (s->error[0])
		return;
	if (s->shell && globs[0])
		snprintk(s->error, sizeof(s->error),
			 "the shell runs no test by itself: type `run %s`",
			 globs);
	check_globs(s, globs);
	add_all(s, globs);
	/* A run of no test must not look like a run without a failure. */
	if (!s->n && !s->error[0])
		snprintk(s->error, sizeof(s->error),
			 "`%s` leaves no test to run: see `make list`", globs);
	if (s->shuffle)
		shuffle(s);
}
