/* SPDX-License-Identifier: MIT */
/*
 * pager.h - who answers a device's faults in tests: a window of pages
 *
 *	static struct pager p;
 *
 *	pager_open(&p, s, 0);
 *	pager_send(&p, TAG, IO(1), true);
 *	pager_await(&p, 1);
 *	EXPECT_EQ(pri_tally(p.devid, TAG).answered[PPR_SUCCESS], 1);
 *
 * Page i of the window is at IO(i); its words are p->word + i.  What lies outside,
 * or is asked for with rights that the pager does not give, is INVALID.
 */
#pragma once

#include "tests/endpoint.h"
#include "tests/gate.h"

#define PAGER_PAGES 40u

struct pager {
	struct stand *s;
	unsigned dev;
	uint16_t devid;
	uint64_t word;
	struct domain *d;
	struct ppr_binding *binding;
	struct page *page[PAGER_PAGES];
	enum prot prot;           /* that it gives                            */
	enum ppr_status status;   /* if not SUCCESS, what it says to all      */
	enum ppr_status outside;  /* what it says to what it has not        */
	_Atomic unsigned calls;   /* of its fault function                  */
	_Atomic unsigned in_vain; /* the next so many do nothing            */
	_Atomic unsigned inside, most; /* at once, now and at most         */
	_Atomic bool hold; /* who comes in stays until pager_release()      */
	struct endpoint_job seen[PAGER_PAGES]; /* va, write: first calls    */
};

/*
 * Device dev in a domain of its own, its requests without PASID bound to p.
 * p is static: stand_release() takes it all away.
 */
void pager_open(struct pager *p, struct stand *s, unsigned dev);

/* Unbind; bind the same again, with this PASID or PPR_NO_PASID. */
void pager_unbind(struct pager *p);
void pager_bind(struct pager *p, uint32_t pasid);

/* A request to read one page, by no endpoint. */
void pager_send(struct pager *p, uint16_t tag, iova_t va, bool last);

void pager_release(struct pager *p);

/* Until the device has been given n answers in all. */
void pager_await(struct pager *p, unsigned n);
/* Until nobody is owed an answer. */
void pager_await_all(void);
/* Until n are inside the fault function, or have left it. */
void pager_await_calls(struct pager *p, unsigned n);
/* Until the log's reader has seen what was sent. */
void pager_settle(struct pager *p);

/* Once around a loop that waits for others. */
void pager_pause(void);

/* Answers of this kind, for all tags; of any kind. */
unsigned pager_answers(struct pager *p, enum ppr_status status);
unsigned pager_answered(struct pager *p);
