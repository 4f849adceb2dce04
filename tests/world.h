/* SPDX-License-Identifier: MIT */
/*
 * world.h - address spaces and CPUs for scenarios
 *
 * rd() and wr() are real loads and stores, made by the calling thread while it
 * is bound to the address space: page faults and all.
 */
#pragma once

#include "kernel/thread.h"
#include "mm/mm.h"
#include "mm/object.h"
#include "mm/page.h"
#include "mm/pin.h"
#include "mm/rmap.h"
#include "tests/test.h"

#define VA   UINT64_C(0x10000000)
#define RW   (PROT_R | PROT_W)
#define P(n) (VA + (n)*PAGE_SIZE)

/* What a load reads, or BAD if it faults for good. */
#define BAD UINT64_C(0xbadbadbadbadbad)
uint64_t rd(struct mm *mm, va_t va);

/* 0 or -EFAULT. */
int wr(struct mm *mm, va_t va, uint64_t v);

/* A new mm with n private read-write pages at VA; fails the test without. */
struct mm *world(unsigned n);

/* n shared pages of object at VA. */
struct mm *world_shared(struct object *object, unsigned n);

/* mm_fork() that ends the test on failure. */
struct mm *fork_of(struct mm *mm);

/* The page mapped at va, with a reference for the caller; NULL if none. */
struct page *page_at(struct mm *mm, va_t va);

/* The entry at va, 0 if there is no table. */
uint64_t entry_at(struct mm *mm, va_t va);

/* Mappings of page that a reverse-map walk visits / finds. */
unsigned visits(struct page *page);
unsigned mappings(struct page *page);

/* Run fn(arg) on CPU n and wait. */
void on_cpu(unsigned n, void (*fn)(void *arg), void *arg);

/*
 * From now to the end of the test probes are recorded, in the release build too,
 * which has them switched off.  Returns the time: see below.
 */
uint64_t probes_begin(void);

/* "a b c": did the probes with first argument `a` since `since` contain these
 * names in this order? */
bool probes_in_order(uint64_t since, const void *a, const char *names);
