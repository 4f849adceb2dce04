/* SPDX-License-Identifier: MIT */
/*
 * one.h - the actors of tests/stress/one.c and their operations on the one mm
 *
 *   0, 1   owners     2, 3, 4   users, writers 0 to 2     5   rover
 *   6, 7   devices, writers 3 and 4 (tests/stress/device.c), or vCPUs of a guest
 *          (tests/scenario/guest/guest_stress.c)
 */
#pragma once

#include "mm/rmap/block.h"
#include "tests/fixture/mm/mm_fixture.h"
#include "tests/stress/page_model.h"
#include "tests/stress/stress.h"

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

#define ONE_OWNERS  2u
#define ONE_ROVER   5u
#define ONE_DEVICES 2u

#define ONE_HALF (CELL_PAGES / ONE_OWNERS) /* pages of one owner */

/* The address of a page of the model.  An owner's pages begin 2 MiB of its own, of which
 * the rest is in no model: so that its region can have a huge entry. */
static inline va_t one_va(unsigned page)
{
	return VA + page / ONE_HALF * BLOCK_SIZE + page % ONE_HALF * PAGE_SIZE;
}

/* What a run adds to the threads: where the mm comes from, and other users of
 * it.  Called by the test's own thread between rounds. */
struct one_others {
	struct mm *(*begin)(unsigned round); /* NULL: something is wrong    */
	void (*quiet)(void);                 /* all actors have ended       */
	void (*end)(unsigned round);         /* drops the mm                */
};

struct role;

/* One round: all of it is made afresh for the next. */
struct one {
	struct mm *mm;
	struct object *object;
	struct stress run;
	unsigned writers;   /* of CELL_WRITERS                              */
	unsigned actors;    /* that run                                     */
	unsigned round_ops; /* numbers of an actor in a round               */
	const struct one_others *others; /* NULL: none                      */
	const struct role *device;       /* what actors after the rover do  */
};

extern struct one one;

#define ONE_WRONG(a, ...) STRESS_WRONG(&one.run, (a)->id, __VA_ARGS__)

typedef void one_op(struct one_actor *a, const struct op *op);

struct role {
	struct op_kind kinds[10];
	one_op *run[9]; /* in their order                                  */
	unsigned ops;   /* of a round: so many that all end about together */
};

/* Rounds of all actors: as many as said, times stress=N. */
void one_run(unsigned rounds, const struct one *how);

/* Check an access between two looks: the value loaded from word k, or the result
 * of the access (0 or an error). */
void one_value(struct one_actor *a, const struct look *before, unsigned page,
	       unsigned k, uint64_t low, uint64_t got);
void one_may(struct one_actor *a, enum may may, int ret);

/* A page from op's on that allows it now, mostly: refusals of a device move no data. */
unsigned one_page_for(const struct op *op, enum prot right);

/* Layout, by the one owner of these pages (tests/stress/layout.c). */
one_op one_map, one_map_huge, one_unmap, one_protect, one_discard, one_remap;

/* Collapse the 2 MiB of op's page. */
one_op one_collapse;

/* Map and fill all pages, private and writable, at the begin of a round: the half of owner
 * `huge`, if there is one of this number, as a huge page, if there is a block. */
must_check int one_map_all(unsigned huge);

/* Forks (tests/stress/kid.c): by any actor, each with one child of its own. */
one_op one_fork, one_kid;

/* The child ends, after a last look. */
void one_kid_end(struct one_actor *a);
