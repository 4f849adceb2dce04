/* SPDX-License-Identifier: MIT */
/*
 * fuzz_text.c - kernel/string.c and kernel/printk.c against the host's libc
 *
 * Both get the same random input and must agree in every byte and return value.
 * Memory ends at an unmapped page, because the sanitizer does not see the
 * accesses of the kernel's inline assembly.
 *
 * Arguments of any type are passed as 64-bit words: in this ABI an int is the
 * low half of one, and code that reads more disagrees with the host.
 */
#include <fnmatch.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include "kernel/printk.h"
#include "tests/host/host.h"

#define PAGE   4096
#define ROUNDS 500000

/* The kernel's functions, renamed by the Makefile. */
void *kernel_memcpy(void *to, const void *from, size_t n);
void *kernel_memmove(void *to, const void *from, size_t n);
void *kernel_memset(void *to, int byte, size_t n);
int kernel_memcmp(const void *a, const void *b, size_t n);
size_t kernel_strlen(const char *s);
int kernel_strcmp(const char *a, const char *b);
int kernel_strncmp(const char *a, const char *b, size_t n);
char *kernel_strchr(const char *s, int c);
bool glob_match(const char *pattern, const char *text);
unsigned edit_distance(const char *a, const char *b);

/* printk.c is linked for vsnprintk(); its locks are never taken here. */
void preempt_check(void);
void lock_record(const void *lock, const char *name, int rank, bool spinning,
		 bool nested);
void lock_forget(const void *lock, const char *name);

void preempt_check(void)
{
	abort();
}

void lock_record(const void *lock, const char *name, int rank, bool spinning,
		 bool nested)
{
	abort();
}

void lock_forget(const void *lock, const char *name)
{
	abort();
}

/* Map one page between two unmapped ones. */
static char *guarded_page(void)
{
	char *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mprotect(p, PAGE, PROT_NONE) ||
	    mprotect(p + 2 * PAGE, PAGE, PROT_NONE))
		exit(2);
	return p + PAGE;
}

/* Choose where n bytes begin: often such that they end with the page. */
static size_t place(size_t n)
{
	return below(3) ? PAGE - n : below(PAGE - n + 1);
}

/* The host works on h, the kernel on k; both were equal before. */
static void move_once(char *h, char *k, const char *from)
{
	size_t n = below(8) ? below(40) : below(PAGE + 1);
	size_t at = place(n), source = place(n);
	int byte = (int)below(1024) - 512;
	void *got;

	switch (below(3)) {
	case 0:
		memcpy(h + at, from + source, n);
		got = kernel_memcpy(k + at, from + source, n);
		break;
	case 1:
		memmove(h + at, h + source, n);
		got = kernel_memmove(k + at, k + source, n);
		break;
	default:
		memset(h + at, byte, n);
		got = kernel_memset(k + at, byte, n);
	}
	CHECK(got == k + at && !memcmp(h, k, PAGE), "%zu bytes %zu -> %zu", n,
	      source, at);
}

static void moves(void)
{
	char *h = guarded_page(), *k = guarded_page(), *from = guarded_page();

	for (unsigned i = 0; i < PAGE; i++) {
		from[i] = (char)below(256);
		h[i] = k[i] = (char)below(256);
	}
	for (host_round = 0; host_round < ROUNDS; host_round++)
		move_once(h, k, from);
	printf("ok moves: %u\n", ROUNDS);
}

/* Return a string of at most max letters that ends with the page. */
static char *random_text(char *page, size_t max, const char *letters)
{
	size_t n = below(max + 1);
	char *text = page + PAGE - n - 1;

	for (size_t i = 0; i < n; i++)
		text[i] = letters[below(strlen(letters))];
	text[n] = 0;
	return text;
}

static int sign(int n)
{
	return (n > 0) - (n < 0);
}

static void compare_once(char *p, char *q)
{
	const char *a = random_text(p, 12, "ab\x80\xff");
	const char *b = random_text(q, 12, "ab\x80\xff");
	size_t la = strlen(a), lb = strlen(b), n = below(16);
	size_t both = la < lb ? la : lb;
	int c = (int)below(3) ? a[below(la + 1)] : (int)below(1024) - 512;

	CHECK(kernel_strlen(a) == la, "%s", a);
	CHECK(sign(kernel_strcmp(a, b)) == sign(strcmp(a, b)), "%s %s", a, b);
	CHECK(sign(kernel_strncmp(a, b, n)) == sign(strncmp(a, b, n)),
	      "%s %s %zu", a, b, n);
	/* Without a final 0 in reach. */
	CHECK(sign(kernel_strncmp(a + 1, a + 1, la)) == 0, "%s", a);
	CHECK(sign(kernel_memcmp(a, b, both)) == sign(memcmp(a, b, both)),
	      "%s %s %zu", a, b, both);
	CHECK(kernel_strchr(a, c) == strchr(a, c), "%s %d", a, c);
}

/* By the definition: the last letters are equal, or one edit makes them so. */
static unsigned slow_distance(const char *a, size_t la, const char *b,
			      size_t lb)
{
	unsigned best, n;

	if (!la || !lb)
		return (unsigned)(la + lb);
	best = slow_distance(a, la - 1, b, lb - 1) + (a[la - 1] != b[lb - 1]);
	n = slow_distance(a, la - 1, b, lb) + 1;
	best = n < best ? n : best;
	n = slow_distance(a, la, b, lb - 1) + 1;
	return n < best ? n : best;
}

static void match_once(char *p, char *q)
{
	const char *pattern = random_text(p, 8, "ab.**");
	const char *text = random_text(q, 12, "ab.");
	const char *a, *b;

	CHECK(glob_match(pattern, text) == !fnmatch(pattern, text, 0), "%s %s",
	      pattern, text);
	a = random_text(p, 4, "abc");
	b = random_text(q, 4, "abc");
	CHECK(edit_distance(a, b) == slow_distance(a, strlen(a), b, strlen(b)),
	      "%s %s", a, b);
	a = random_text(p, 80, "abc");
	b = random_text(q, 80, "abc");
	CHECK(edit_distance(a, b) <= 64, "%s %s", a, b);
}

static void strings(void)
{
	char *p = guarded_page(), *q = guarded_page();

	for (host_round = 0; host_round < ROUNDS; host_round++) {
		compare_once(p, q);
		match_once(p, q);
	}
	printf("ok strings: %u\n", ROUNDS);
}

/* ---- formats ----------------------------------------------------------- */

#define ARGS 8

/* The kernel's format, the host's equivalent, and the arguments. */
struct formats {
	char kernel[256], host[256];
	uint64_t args[ARGS];
	unsigned n;
	char *texts[ARGS]; /* a page for each %s, which ends with it */
};

static void add(struct formats *f, const char *piece)
{
	strcat(f->kernel, piece);
	strcat(f->host, piece);
}

static uint64_t random_number(void)
{
	static const uint64_t edges[] = { 0,          1,         9,
					  10,         INT32_MAX, 1u << 31,
					  UINT32_MAX, INT64_MAX, 1ull << 63,
					  UINT64_MAX };

	if (below(2))
		return edges[below(sizeof(edges) / sizeof(edges[0]))];
	return rng_next(&host_rng) >> below(64);
}

/* %s, perhaps with a precision, perhaps without a final 0 in reach. */
static void add_text(struct formats *f)
{
	int precision = (int)below(12) - 2;
	char *page = f->texts[f->n], *text = random_text(page, 10, "abc%");
	size_t n = (size_t)precision;

	if (below(3)) {
		add(f, "s");
		f->args[f->n++] = below(20) ? (uintptr_t)text : 0;
		return;
	}
	add(f, ".*s");
	if (precision >= 0 && strlen(text) >= n)
		text = memmove(page + PAGE - n, text, n);
	f->args[f->n++] = (uint32_t)precision;
	f->args[f->n++] = (uintptr_t)text;
}

/* The kernel's # puts 0x before 0 too, ISO's does not: avoid 0. */
static void add_conversion(struct formats *f)
{
	static const char *const lengths[] = { "", "l", "ll", "z" };
	char kind = "diuxXpsc"[below(8)], piece[16];
	bool number = strchr("diuxX", kind), zero = number && !below(3);
	bool alt = strchr("xX", kind) && below(2);

	add(f, "%");
	if (!below(4))
		add(f, "-");
	if (zero)
		add(f, "0");
	if (alt)
		add(f, "#");
	if (below(2)) {
		snprintf(piece, sizeof(piece), "%u", 1 + (unsigned)below(30));
		add(f, piece);
	}
	if (kind == 's') {
		add_text(f);
		return;
	}
	if (number)
		add(f, lengths[below(4)]);
	snprintf(piece, sizeof(piece), "%c", kind);
	strcat(f->kernel, piece);
	strcat(f->host, kind == 'p' ? "lx" : piece);
	f->args[f->n++] = kind == 'c' ? 1 + below(255) : random_number() | alt;
}

static void random_formats(struct formats *f)
{
	char letter[2] = "";

	f->kernel[0] = f->host[0] = 0;
	f->n = 0;
	for (uint64_t pieces = below(6); pieces && f->n < ARGS - 1; pieces--) {
		letter[0] = (char)(1 + below(127));
		if (letter[0] == '%')
			add(f, "%%");
		else
			add(f, letter);
		if (below(4))
			add_conversion(f);
	}
}

static void format_once(struct formats *f)
{
	const uint64_t *a = f->args;
	char want[512], *got;
	size_t size, end;
	int len, n;

	random_formats(f);
	len = snprintf(want, sizeof(want), f->host, a[0], a[1], a[2], a[3],
		       a[4], a[5], a[6], a[7]);
	CHECK(len >= 0, "the host cannot print `%s`", f->host);
	size = below(3) ? (size_t)len + 1 : below((uint64_t)len + 2);
	got = malloc(size); /* exactly: one byte too far is seen */
	n = snprintk(got, size, f->kernel, a[0], a[1], a[2], a[3], a[4], a[5],
		     a[6], a[7]);
	end = size && size <= (size_t)len ? size - 1 : (size_t)len;
	CHECK(n == len, "`%s` is %d long, to the host %d: %s", f->kernel, n,
	      len, want);
	CHECK(!size || (!memcmp(got, want, end) && !got[end]),
	      "`%s`: `%.*s`, to the host `%.*s`", f->kernel, (int)end, got,
	      (int)end, want);
	free(got);
}

/* Text that is no conversion is printed as it is. */
static void unknown_conversions(void)
{
	char format[3] = "%", got[8];

	for (int c = 1; c < 256; c++) {
		if (strchr("diuxXpsc%-0#123456789.lz", c))
			continue;
		format[1] = (char)c;
		CHECK(snprintk(got, sizeof(got), format) == 2 &&
			      !strcmp(got, format),
		      "`%s`: `%s`", format, got);
	}
	format[1] = 0;
	CHECK(snprintk(got, sizeof(got), format) == 1 && !strcmp(got, "%"),
	      "a lone %%: `%s`", got);
}

static size_t sunk;

static void sink(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		CHECK(text[i] == 'x', "byte %zu of %zu", i, len);
	sunk = len;
}

/* printk() hands over 511 bytes at most. */
static void long_lines(void)
{
	char text[1025];

	printk_set_sink(sink);
	printk_break_lock();
	for (size_t n = 0; n < sizeof(text); n++) {
		memset(text, 'x', n);
		text[n] = 0;
		printk("%s", text);
		CHECK(sunk == (n < 511 ? n : 511), "%zu of %zu", sunk, n);
	}
}

static void formats(void)
{
	static struct formats f;

	for (unsigned i = 0; i < ARGS; i++)
		f.texts[i] = guarded_page();
	for (host_round = 0; host_round < ROUNDS; host_round++)
		format_once(&f);
	unknown_conversions();
	long_lines();
	printf("ok formats: %u\n", ROUNDS);
}

int main(int argc, char **argv)
{
	host_begin(argc, argv);
	moves();
	strings();
	formats();
	return 0;
}
