/* SPDX-License-Identifier: MIT */
/*
 * dma.c - the list of engines, and what is the same for all of them
 */
#include "drivers/dma.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/san/san.h"
#include "kernel/string.h"

#define ENGINES_MAX 4

static struct dma_engine *engines[ENGINES_MAX]; /* (I) after boot */
static unsigned n_engines;

void dma_register(struct dma_engine *e)
{
	assert(n_engines < ENGINES_MAX);
	assert(e->own.len >= 2 * DMA_STAGE);
	assert(dma_reaches(e, e->own.pa, e->own.len));
	e->own.bus = e->own.pa;
	spin_init(&e->spin, RANK_DEVICE, e->name);
	rw_init(&e->sem, RANK_TRANSFER, e->name);
	engines[n_engines++] = e;
}

struct dma_engine *dma_engine_at(unsigned i)
{
	return i < n_engines ? engines[i] : NULL;
}

struct dma_engine *dma_engine_named(const char *name)
{
	for (unsigned i = 0; i < n_engines; i++)
		if (!strcmp(engines[i]->name, name))
			return engines[i];
	return NULL;
}

void dma_lock(struct dma_engine *e)
{
	if (e->sleeps)
		rw_write_lock(&e->sem);
	else
		spin_lock(&e->spin);
}

void dma_unlock(struct dma_engine *e)
{
	if (e->sleeps)
		rw_write_unlock(&e->sem);
	else
		spin_unlock(&e->spin);
}

bool dma_reaches(const struct dma_engine *e, iova_t start, uint64_t bytes)
{
	iova_t last = start + bytes - 1;

	if (!bytes)
		return true;
	return last >= start &&
	       (e->address_bits == 64 || !(last >> e->address_bits));
}

void dma_set_own(struct dma_engine *e, iova_t bus)
{
	assert(dma_reaches(e, bus, e->own.len));
	dma_lock(e);
	e->own.bus = bus;
	dma_unlock(e);
}

void dma_swap_own(struct dma_engine *e, struct dma_own *own)
{
	struct dma_own old;

	assert(own->len >= 2 * DMA_STAGE && dma_reaches(e, own->bus, own->len));
	dma_lock(e);
	old = e->own;
	e->own = *own;
	dma_unlock(e);
	*own = old;
}

/* Context: the engine's lock held. */
static int copy(struct dma_engine *e, iova_t dst, iova_t src, uint64_t bytes)
{
	int error;

	PROBE(dma_start, dst, src);
	san_unseen();
	error = e->ops->copy(e, dst, src, bytes);
	PROBE(dma_done, dst, (uint64_t)(int64_t)error);
	return error;
}

int dma_copy(struct dma_engine *e, iova_t dst, iova_t src, uint64_t bytes)
{
	int error;

	if (!dma_reaches(e, dst, bytes) || !dma_reaches(e, src, bytes))
		return err(EINVAL);
	if (!bytes)
		return 0;
	dma_lock(e);
	error = copy(e, dst, src, bytes);
	dma_unlock(e);
	return error;
}

/* At most DMA_STAGE bytes by way of the staging buffer. */
static int staged(struct dma_engine *e, iova_t at, void *in, const void *out,
		  uint64_t bytes)
{
	char *stage;
	iova_t bus;
	int error;

	dma_lock(e);
	stage = e->own.va + DMA_STAGE;
	bus = e->own.bus + DMA_STAGE;
	if (out)
		memcpy(stage, out, bytes);
	error = out ? copy(e, at, bus, bytes) : copy(e, bus, at, bytes);
	if (in && !error)
		memcpy(in, stage, bytes);
	dma_unlock(e);
	return error;
}

static int transfer(struct dma_engine *e, iova_t at, char *in, const char *out,
		    uint64_t bytes)
{
	int error = 0;

	if (!dma_reaches(e, at, bytes))
		return err(EINVAL);
	for (uint64_t done = 0, n; done < bytes && !error; done += n) {
		n = bytes - done < DMA_STAGE ? bytes - done : DMA_STAGE;
		error = staged(e, at + done, in ? in + done : NULL,
			       out ? out + done : NULL, n);
	}
	return error;
}

int dma_read(struct dma_engine *e, iova_t src, void *buf, uint64_t bytes)
{
	return transfer(e, src, buf, NULL, bytes);
}

int dma_write(struct dma_engine *e, iova_t dst, const void *buf, uint64_t bytes)
{
	return transfer(e, dst, NULL, buf, bytes);
}
