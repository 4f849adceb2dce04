/* SPDX-License-Identifier: MIT */
/*
 * dma.h - move these bytes at these addresses
 *
 * All that the kernel wants from a bus master, whatever it was built for.  An
 * address is what the device puts on the bus.  An IOMMU may translate it; this
 * code and the drivers cannot tell.  A device does not learn of bytes that did not
 * arrive.
 */
#pragma once

#include "arch/compiler.h"
#include "arch/types.h"
#include "kernel/lock.h"

struct dma_engine;

struct dma_ops {
	/*
	 * Move bytes > 0 from src to dst; both ranges fit the engine.  The
	 * engine's lock is held.
	 */
	int (*copy)(struct dma_engine *e, iova_t dst, iova_t src,
		    uint64_t bytes);
};

/*
 * Memory that the engine itself must reach: its programs, its staging buffer.
 * Code that attaches the device to a domain maps this memory and sets bus to its
 * address there.
 */
struct dma_own {
	char *va;
	pa_t pa;
	uint64_t len;
	iova_t bus; /* the device's address of it; pa, until dma_set_own() */
};

/* Key: (I) immutable after dma_register()  (L) the engine's lock */
struct dma_engine {
	const char *name;          /* (I) "lsi0"                            */
	uint16_t devid;            /* (I) PCI_DEVID()                       */
	unsigned address_bits;     /* (I) width of the addresses it can emit */
	bool sleeps;               /* (I) a transfer takes time: may sleep  */
	const struct dma_ops *ops; /* (I)                                   */
	struct dma_own own;        /* (L)                                   */
	struct spinlock spin;      /* RANK_DEVICE, if it does not sleep     */
	struct rwsem sem;          /* RANK_TRANSFER, if it does             */
};

/*
 * Copy between two ranges of addresses, which must not overlap.  Returns 0 when
 * the device reports that it is done; -EINVAL if the engine cannot emit such an
 * address or the range wraps, -EIO if it reports an error, -ETIMEDOUT if it
 * does not answer (it was reset then, if it can be).
 *
 * Context: a thread, or also under spin locks if the engine does not sleep; not
 * in interrupts.
 */
must_check int dma_copy(struct dma_engine *e, iova_t dst, iova_t src,
			uint64_t bytes);

/* The same, between addresses of the device and a buffer of the kernel. */
must_check int dma_read(struct dma_engine *e, iova_t src, void *buf,
			uint64_t bytes);
must_check int dma_write(struct dma_engine *e, iova_t dst, const void *buf,
			 uint64_t bytes);

/* True if the engine can emit all addresses of [start, start + bytes). */
bool dma_reaches(const struct dma_engine *e, iova_t start, uint64_t bytes);

/* Take and release the engine's lock: around everything that uses the device. */
void dma_lock(struct dma_engine *e);
void dma_unlock(struct dma_engine *e);

/* Have the device find its own memory at bus from now on. */
void dma_set_own(struct dma_engine *e, iova_t bus);

/* Have it use other memory for itself, 2 * DMA_STAGE or more, which it
 * finds at own->bus.  Returns in *own what it used before. */
void dma_swap_own(struct dma_engine *e, struct dma_own *own);

/*
 * Add an engine, for ever.  own has 2 * DMA_STAGE bytes or more; the second
 * DMA_STAGE is the staging buffer.  Boot, before others can run.
 */
#define DMA_STAGE PAGE_SIZE
void dma_register(struct dma_engine *e);

/* All of them, in order of registration; NULL past the last. */
struct dma_engine *dma_engine_at(unsigned i);
struct dma_engine *dma_engine_named(const char *name);
