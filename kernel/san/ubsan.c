/* SPDX-License-Identifier: MIT */
/*
 * ubsan.c - what -fsanitize=undefined calls
 *
 * The interface is the compilers' own: gcc's libsanitizer and clang's
 * compiler-rt call the same functions with the same descriptions.  Each
 * description begins with the place in the source; values of at most 64 bits
 * come as themselves.
 */
#include "kernel/printk.h"
#include "kernel/san/san.h"

struct place {
	const char *file;
	uint32_t line, column;
};

struct type {
	uint16_t kind; /* 0: an integer                                     */
	uint16_t info; /* of an integer: bit 0 signed, rest log2 of bits    */
	char name[];   /* in quotes                                         */
};

struct typed {
	struct place at;
	const struct type *type, *other;
};

struct mismatch {
	struct place at;
	const struct type *type;
	uint8_t log_align, kind;
};

#define HANDLER(name, ...)                       \
	void __ubsan_handle_##name(__VA_ARGS__); \
	void __ubsan_handle_##name(__VA_ARGS__)

#define REPORT(d, fmt, ...)                                                 \
	san_report((uint64_t)__builtin_return_address(0), NULL, NULL,       \
		   "ubsan: %s:%u: " fmt, ((const struct place *)(d))->file, \
		   ((const struct place *)(d))->line, ##__VA_ARGS__)

void san_start(uint64_t seed)
{
}

void san_ignore(bool begin)
{
}

HANDLER(type_mismatch_v1, const struct mismatch *d, uint64_t p)
{
	uint64_t align = UINT64_C(1) << d->log_align;

	if (!p)
		REPORT(d, "null pointer to %s", d->type->name);
	else if (p & (align - 1))
		REPORT(d, "%#lx is not aligned to %lu for %s", p, align,
		       d->type->name);
	else
		REPORT(d, "no room for %s at %#lx", d->type->name, p);
}

HANDLER(out_of_bounds, const struct typed *d, uint64_t index)
{
	REPORT(d, "index %ld is outside of %s", (long)index, d->type->name);
}

HANDLER(shift_out_of_bounds, const struct typed *d, uint64_t v, uint64_t by)
{
	REPORT(d, "shift of %ld by %ld, of type %s", (long)v, (long)by,
	       d->type->name);
}

HANDLER(add_overflow, const struct typed *d, uint64_t a, uint64_t b)
{
	REPORT(d, "%ld + %ld overflows %s", (long)a, (long)b, d->type->name);
}

HANDLER(sub_overflow, const struct typed *d, uint64_t a, uint64_t b)
{
	REPORT(d, "%ld - %ld overflows %s", (long)a, (long)b, d->type->name);
}

HANDLER(mul_overflow, const struct typed *d, uint64_t a, uint64_t b)
{
	REPORT(d, "%ld * %ld overflows %s", (long)a, (long)b, d->type->name);
}

HANDLER(divrem_overflow, const struct typed *d, uint64_t a, uint64_t b)
{
	REPORT(d, "%ld / %ld has no value in %s", (long)a, (long)b,
	       d->type->name);
}

HANDLER(negate_overflow, const struct typed *d, uint64_t v)
{
	REPORT(d, "-(%ld) overflows %s", (long)v, d->type->name);
}

HANDLER(pointer_overflow, const struct place *d, uint64_t base, uint64_t to)
{
	REPORT(d, "pointer %#lx wraps to %#lx", base, to);
}

HANDLER(load_invalid_value, const struct typed *d, uint64_t v)
{
	REPORT(d, "%lu is no value of %s", v, d->type->name);
}

HANDLER(vla_bound_not_positive, const struct typed *d, uint64_t bound)
{
	REPORT(d, "an array of %ld elements", (long)bound);
}

HANDLER(nonnull_arg, const struct place *d)
{
	REPORT(d, "null argument where none may be");
}

HANDLER(nonnull_return_v1, const void *attribute, const struct place *d)
{
	REPORT(d, "null returned where none may be");
}

HANDLER(invalid_builtin, const struct place *d)
{
	REPORT(d, "a count of zeros in 0");
}

HANDLER(builtin_unreachable, const struct place *d)
{
	REPORT(d, "reached what cannot be reached");
}
