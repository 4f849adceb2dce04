/* SPDX-License-Identifier: MIT */
/*
 * stress_one.h - the actors of stress_one.c: who does what to the one mm
 */
#pragma once

#include "tests/cells.h"
#include "tests/stress.h"
#include "tests/world.h"

/* What a child held when it was first looked at: it must never change. */
struct kid {
	struct mm *mm; /* NULL: there is none                              */
	bool known[CELL_PAGES];
	enum prot prot[CELL_PAGES];
	uint64_t word[CELL_PAGES][CELL_WRITERS];
};

struct one_actor {
	unsigned id, number; /* of the operation                           */
	unsigned writer;     /* users: which word is theirs                */
	struct kid kid;
};

/* One round: all of it is made afresh for the next. */
struct one {
	struct mm *mm;
	struct object *object;
	struct stress run;
};

extern struct one one;

#define ONE_WRONG(a, ...) STRESS_WRONG(&one.run, (a)->id, __VA_ARGS__)

typedef void one_op(struct one_actor *a, const struct op *op);

/* Layout, by the one owner of these pages (stress_layout.c). */
one_op one_map, one_unmap, one_protect, one_discard, one_remap;

/* Map the whole window, private and writable: how a round begins. */
must_check int one_map_all(void);

/* Families (stress_kid.c): any actor, each with one child of its own. */
one_op one_fork, one_kid;

/* The child ends, after a last look. */
void one_kid_end(struct one_actor *a);
