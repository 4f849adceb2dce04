/* SPDX-License-Identifier: MIT */
/*
 * lsi_script.c - give labels their places, jumps their distances
 */
#include "drivers/lsi_script.h"
#include "kernel/err.h"

#define NOWHERE (-1)

/* Word offset of every label; returns false if the program makes no sense. */
static bool place_labels(const struct lsi_insn *program, unsigned n,
			 int places[LSI_LABELS])
{
	int at = 0;

	for (unsigned i = 0; i < LSI_LABELS; i++)
		places[i] = NOWHERE;
	for (unsigned i = 0; i < n; i++) {
		const struct lsi_insn *insn = &program[i];

		if (insn->bad || insn->label >= LSI_LABELS)
			return false;
		if (!insn->words) {
			if (insn->label < 0 || places[insn->label] != NOWHERE)
				return false;
			places[insn->label] = at;
		}
		at += insn->words;
	}
	return true;
}

int lsi_assemble(const struct lsi_insn *program, unsigned n, uint32_t *out,
		 unsigned max)
{
	int places[LSI_LABELS];
	unsigned at = 0;

	if (!place_labels(program, n, places))
		return err(EINVAL);
	for (unsigned i = 0; i < n; i++) {
		const struct lsi_insn *insn = &program[i];

		if (at + insn->words > max)
			return err(EINVAL);
		for (unsigned w = 0; w < insn->words; w++)
			out[at + w] = insn->w[w];
		at += insn->words;
		if (!insn->words || insn->label < 0)
			continue;
		if (places[insn->label] == NOWHERE)
			return err(EINVAL);
		/* From the next instruction, signed 24 bits of bytes. */
		out[at - 1] = (uint32_t)(places[insn->label] - (int)at) * 4 &
			      GENMASK(23, 0);
	}
	return (int)at;
}
