/* SPDX-License-Identifier: MIT */
/*
 * recorder.c - the recorder
 *
 * It may be called on several CPUs at once, under pt_lock too: the text has a
 * spin lock, which is not held while a hook of the test runs.
 */
#include "tests/fake/recorder.h"
#include "arch/cpu.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "kernel/string.h"

/* A callback begins: after release() none may. */
static struct recorder *recorder_of(struct mmu_notifier *mn)
{
	struct recorder *r = container_of(mn, struct recorder, mn);

	if (r->releases)
		r->wrong++;
	return r;
}

/* Pages from VA; the ends of the address space by name. */
static const char *page_word(va_t va, char *buf, size_t len)
{
	if (va == USER_END)
		return "top";
	snprintk(buf, len, "%ld", ((int64_t)(va - VA)) >> PAGE_SHIFT);
	return buf;
}

static void note(struct recorder *r, const char *what, va_t start, va_t end)
{
	char from[24], to[24];

	snprintk(r->text + r->len, SCRIPT - r->len, "%s %s-%s; ", what,
		 page_word(start, from, sizeof(from)),
		 page_word(end, to, sizeof(to)));
	r->len += strlen(r->text + r->len);
	assert(r->len < SCRIPT - 64);
}

static int recorder_start(struct mmu_notifier *mn,
			  const struct mmu_notifier_range *range)
{
	static const char *const word[] = {
		"start unmap", "start clear", "start vma",     "start page",
		"start soft",  "start gone",  "start migrate", "start exclusive"
	};
	struct recorder *r = recorder_of(mn);

	if (!range->blockable && r->refuses)
		return -EAGAIN;
	if (r->in_start)
		r->in_start(r, range);
	spin_lock(&r->lock);
	note(r, word[range->event], range->start, range->end);
	r->starts++;
	r->open++;
	spin_unlock(&r->lock);
	return 0;
}

static void recorder_end(struct mmu_notifier *mn,
			 const struct mmu_notifier_range *range)
{
	struct recorder *r = recorder_of(mn);

	spin_lock(&r->lock);
	note(r, "end", range->start, range->end);
	r->ends++;
	if (--r->open < 0)
		r->wrong++;
	spin_unlock(&r->lock);
}

static void recorder_range(struct mmu_notifier *mn, struct mm *mm, va_t start,
			   va_t end)
{
	struct recorder *r = recorder_of(mn);
	const char *word = cpu_preempt_count() ? "range" : "late";

	spin_lock(&r->lock);
	note(r, word, start, end);
	r->ranges++;
	spin_unlock(&r->lock);
}

static void recorder_change(struct mmu_notifier *mn, struct mm *mm, va_t va,
			    uint64_t entry)
{
	struct recorder *r = recorder_of(mn);

	spin_lock(&r->lock);
	note(r, "change", va, va + PAGE_SIZE);
	if (!r->open)
		r->wrong++;
	spin_unlock(&r->lock);
}

static bool recorder_young(struct mmu_notifier *mn, const char *word,
			   va_t start, va_t end)
{
	struct recorder *r = recorder_of(mn);

	spin_lock(&r->lock);
	note(r, word, start, end);
	spin_unlock(&r->lock);
	return r->young;
}

static bool recorder_flush_young(struct mmu_notifier *mn, struct mm *mm,
				 va_t start, va_t end)
{
	return recorder_young(mn, "flush_young", start, end);
}

static bool recorder_clear_young(struct mmu_notifier *mn, struct mm *mm,
				 va_t start, va_t end)
{
	return recorder_young(mn, "clear_young", start, end);
}

static bool recorder_test_young(struct mmu_notifier *mn, struct mm *mm, va_t va)
{
	return recorder_young(mn, "test_young", va, va + PAGE_SIZE);
}

static void recorder_release(struct mmu_notifier *mn, struct mm *mm)
{
	struct recorder *r = recorder_of(mn);

	if (r->in_release)
		r->in_release(r);
	spin_lock(&r->lock);
	snprintk(r->text + r->len, SCRIPT - r->len, "release; ");
	r->len += strlen(r->text + r->len);
	r->releases++;
	spin_unlock(&r->lock);
}

#define RECORDS                                                           \
	.release = recorder_release,                                      \
	.clear_flush_young = recorder_flush_young,                        \
	.clear_young = recorder_clear_young,                              \
	.test_young = recorder_test_young, .change_pte = recorder_change, \
	.invalidate_range_start = recorder_start,                         \
	.invalidate_range = recorder_range

const struct mmu_notifier_ops recorder_ops = {
	RECORDS,
	.invalidate_range_end = recorder_end,
};

const struct mmu_notifier_ops recorder_no_end_ops = { RECORDS };

void recorder_init(struct recorder *r, const struct mmu_notifier_ops *ops)
{
	*r = (struct recorder){ .mn.ops = ops };
	spin_init(&r->lock, RANK_DEVICE, "recorder");
}

void record(struct recorder *r, struct mm *mm)
{
	recorder_init(r, &recorder_ops);
	REQUIRE(mmu_notifier_register(&r->mn, mm) == 0);
}

void record_end(struct recorder *r)
{
	mmu_notifier_unregister(&r->mn);
	EXPECT_EQ(r->open, 0);
	EXPECT_EQ(r->wrong, 0);
	EXPECT_EQ(r->releases, 1);
}

const char *recorded(struct recorder *r)
{
	static char text[SCRIPT];

	spin_lock(&r->lock);
	memcpy(text, r->text, r->len);
	text[r->len] = '\0';
	r->len = 0;
	r->text[0] = '\0';
	spin_unlock(&r->lock);
	if (text[0]) /* the last "; " */
		text[strlen(text) - 2] = '\0';
	return text;
}
