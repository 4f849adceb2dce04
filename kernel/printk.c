/* SPDX-License-Identifier: MIT */
/*
 * printk.c - format into a buffer, then hand it to the sink in one piece
 */
#include "kernel/printk.h"
#include <stdbool.h>
#include <stdint.h>
#include "kernel/lock.h"
#include "kernel/string.h"

struct out {
	char *buf;
	size_t size, len;
};

struct spec {
	bool left, zero, wide, upper, alt;
	int width, precision;
};

static struct spinlock console_lock = SPINLOCK_INIT(RANK_CONSOLE, "console");
static void (*console_sink)(const char *text, size_t len);
static bool lock_broken;

static void out_char(struct out *o, char c)
{
	if (o->len + 1 < o->size)
		o->buf[o->len] = c;
	o->len++;
}

static void out_text(struct out *o, const struct spec *s, const char *text,
		     int len)
{
	for (int i = len; !s->left && i < s->width; i++)
		out_char(o, s->zero ? '0' : ' ');
	for (int i = 0; i < len; i++)
		out_char(o, text[i]);
	for (int i = len; s->left && i < s->width; i++)
		out_char(o, ' ');
}

static void out_number(struct out *o, struct spec *s, uint64_t v, unsigned base,
		       bool minus)
{
	const char *digits = s->upper ? "0123456789ABCDEF" : "0123456789abcdef";
	const char *prefix = minus ? "-" : "";
	char text[24];
	int at = sizeof(text), n;

	if (s->alt && base == 16)
		prefix = s->upper ? "0X" : "0x";
	do {
		text[--at] = digits[v % base];
		v /= base;
	} while (v);
	n = (int)strlen(prefix);
	if (s->zero && !s->left) {
		/* The zeros come between the prefix and the digits. */
		for (s->width -= n; *prefix; prefix++)
			out_char(o, *prefix);
	} else {
		at -= n;
		memcpy(text + at, prefix, (size_t)n);
	}
	out_text(o, s, text + at, (int)sizeof(text) - at);
}

/* Parses flags, width, precision and length.  Returns the format at the conversion. */
static const char *parse_spec(struct spec *s, const char *f, va_list *args)
{
	for (;; f++) {
		if (*f == '-')
			s->left = true;
		else if (*f == '0')
			s->zero = true;
		else if (*f == '#')
			s->alt = true;
		else
			break;
	}
	for (; *f >= '0' && *f <= '9'; f++)
		s->width = s->width * 10 + *f - '0';
	if (*f == '.' && *++f == '*') {
		s->precision = va_arg(*args, int);
		f++;
	} else if (f[-1] == '.') {
		for (s->precision = 0; *f >= '0' && *f <= '9'; f++)
			s->precision = s->precision * 10 + *f - '0';
	}
	for (; *f == 'l' || *f == 'z'; f++)
		s->wide = true;
	return f;
}

/* Prints one conversion.  Returns the format after it. */
static const char *out_spec(struct out *o, const char *f, va_list *args)
{
	struct spec s = { .precision = -1 };
	const char *text;
	int64_t v;
	char c;

	f = parse_spec(&s, f, args);
	switch (c = *f) {
	case 'd':
	case 'i':
		v = s.wide ? va_arg(*args, int64_t) : va_arg(*args, int);
		out_number(o, &s, v < 0 ? -(uint64_t)v : (uint64_t)v, 10,
			   v < 0);
		break;
	case 'p':
		s.wide = true; /* fall through */
	case 'u':
	case 'x':
	case 'X':
		s.upper = c == 'X';
		out_number(o, &s,
			   s.wide ? va_arg(*args, uint64_t)
				  : va_arg(*args, unsigned),
			   c == 'u' ? 10 : 16, false);
		break;
	case 's':
		text = va_arg(*args, const char *);
		text = text ? text : "(null)";
		v = 0;
		while ((s.precision < 0 || v < s.precision) && text[v])
			v++;
		out_text(o, &s, text, (int)v);
		break;
	case 'c':
		c = (char)va_arg(*args, int);
		out_text(o, &s, &c, 1);
		break;
	default:
		out_char(o, '%');
		return f;
	case '%':
		out_char(o, '%');
	}
	return f + 1;
}

int vsnprintk(char *buf, size_t size, const char *fmt, va_list args)
{
	struct out o = { buf, size, 0 };
	va_list copy;

	va_copy(copy, args);
	while (*fmt) {
		if (*fmt == '%')
			fmt = out_spec(&o, fmt + 1, &copy);
		else
			out_char(&o, *fmt++);
	}
	va_end(copy);
	if (size)
		buf[o.len < size ? o.len : size - 1] = 0;
	return (int)o.len;
}

int snprintk(char *buf, size_t size, const char *fmt, ...)
{
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintk(buf, size, fmt, args);
	va_end(args);
	return len;
}

void printk_set_sink(void (*sink)(const char *text, size_t len))
{
	console_sink = sink;
}

void printk_break_lock(void)
{
	lock_broken = true;
}

void printk(const char *fmt, ...)
{
	char buf[512];
	va_list args;
	uint64_t flags;
	int len;

	va_start(args, fmt);
	len = vsnprintk(buf, sizeof(buf), fmt, args);
	va_end(args);
	if (!console_sink)
		return;
	if (len >= (int)sizeof(buf))
		len = sizeof(buf) - 1;
	if (lock_broken) {
		console_sink(buf, (size_t)len);
		return;
	}
	flags = spin_lock_irq(&console_lock);
	console_sink(buf, (size_t)len);
	spin_unlock_irq(&console_lock, flags);
}
