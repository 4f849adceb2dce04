/* SPDX-License-Identifier: MIT */
/*
 * svm_quirks.c - measure the rows, keep and print the answers
 */
#include "drivers/quirks/svm_quirks.h"
#include "drivers/quirks/svm_trial.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "kernel/string.h"

static const struct svm_quirk *const groups[] = {
	svm_quirks_fault, svm_quirks_walk, svm_quirks_cache, svm_quirks_event,
	svm_quirks_exit
};

const struct svm_quirk *svm_quirk_at(unsigned i)
{
	for (unsigned g = 0; g < ARRAY_SIZE(groups); g++)
		for (const struct svm_quirk *row = groups[g]; row->name; row++)
			if (!i--)
				return row;
	return NULL;
}

/* Return the number of a row. */
static unsigned numbered(const char *name)
{
	const struct svm_quirk *row;

	for (unsigned i = 0; (row = svm_quirk_at(i)); i++)
		if (!strcmp(row->name, name))
			return i;
	panic("svm_quirks: no row %s", name);
}

void svm_quirks_measure(struct svm_trial *t,
			enum svm_answer answers[SVM_QUIRKS_MAX])
{
	const struct svm_quirk *row;

	for (unsigned i = 0; (row = svm_quirk_at(i)); i++) {
		assert(i < SVM_QUIRKS_MAX);
		answers[i] = SVM_UNKNOWN;
		if (row->needs && answers[numbered(row->needs)] != SVM_YES)
			continue;
		svm_trial_reset(t);
		answers[i] = row->holds(t) ? SVM_YES : SVM_NO;
	}
}

const enum svm_answer *svm_quirks(const char **why)
{
	static enum svm_answer found[SVM_QUIRKS_MAX];
	static struct svm_trial t;
	static bool measured;

	*why = NULL;
	if (measured)
		return found;
	if (!svm_present()) {
		*why = "no SVM with nested paging on this CPU";
		return NULL;
	}
	if (svm_trial_open(&t)) {
		*why = "no memory for a trial of SVM";
		return NULL;
	}
	svm_quirks_measure(&t, found);
	svm_trial_close(&t);
	measured = true;
	return found;
}

const char *svm_quirk_lacking(const char *name)
{
	static char message[160];
	unsigned i = numbered(name);
	const char *why;
	const enum svm_answer *found = svm_quirks(&why);

	if (!found)
		return why;
	if (found[i] == SVM_YES)
		return NULL;
	snprintk(message, sizeof(message), "this SVM has no %s: %s", name,
		 svm_quirk_at(i)->what);
	return message;
}

void svm_quirks_print(void)
{
	static const char *const words[] = { "unknown", "no", "yes" };
	const struct svm_quirk *row;
	const char *why;
	const enum svm_answer *found = svm_quirks(&why);

	if (!found) {
		printk("# svm: not probed: %s\n", why);
		return;
	}
	for (unsigned i = 0; (row = svm_quirk_at(i)); i++)
		printk("# svm %s: %s (%s): %s\n", row->name, words[found[i]],
		       row->specified ? "specified" : "free", row->what);
}
