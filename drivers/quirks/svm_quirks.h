/* SPDX-License-Identifier: MIT */
/*
 * svm_quirks.h - what this machine's SVM really does, measured
 *
 * QEMU's AMD-V departs from the manual (APM vol. 2, chapter 15).  Each row below is a
 * claim that a guest of a few instructions tries on the CPU (svm_trial.h).
 * docs/limits.md is made of the answers; a test that needs one says
 * NEED_SVM_QUIRK(row).  Nothing is measured until the first answer is wanted.
 */
#pragma once

#include <stdbool.h>
#include "arch/compiler.h"

struct svm_trial;

struct svm_quirk {
	const char *name, *what; /* the row, and its claim as a sentence    */
	bool specified;          /* the manual requires it; else it is free */
	const char *needs;       /* a row that must hold first, or NULL     */
	bool (*holds)(struct svm_trial *t);
};

enum svm_answer {
	SVM_UNKNOWN,
	SVM_NO,
	SVM_YES
};

#define SVM_QUIRKS_MAX 64u

/* Return the i-th row, or NULL after the last. */
const struct svm_quirk *svm_quirk_at(unsigned i);

/*
 * Measure all rows with a trial: answers[i] is that of row i, SVM_UNKNOWN if the row
 * that it needs does not hold.
 * Context: the trial is open; one thread has it.
 */
void svm_quirks_measure(struct svm_trial *t,
			enum svm_answer answers[SVM_QUIRKS_MAX]);

/*
 * Return the answers of this machine, measured at the first call; NULL with *why a
 * message if they cannot be: no SVM, or no memory now.
 * Context: may sleep; one thread at a time.
 */
const enum svm_answer *svm_quirks(const char **why);

/*
 * Return NULL if the claim of a row holds on this machine; else a message, valid until
 * the next call.  Context: as svm_quirks().
 */
const char *svm_quirk_lacking(const char *name);

/* Print a line for each row, or why there is none.  Context: as svm_quirks(). */
void svm_quirks_print(void);
