/* SPDX-License-Identifier: MIT */
/*
 * pt_map.c - map a range to segments of frames
 *
 *    frames     | segment | segment |  segment         | segment |
 *    addresses  |......... leaf table ......|... 2 MiB ...|... leaf table ...|
 *
 * The range is cut where leaf tables end.  Such a part has a leaf of 2 MiB if it is whole
 * and the frames behind it are one aligned block, of however many segments; else
 * leaves of 4 KiB.  The first pass makes the tables and looks for live entries, and the
 * second cannot fail: an MMU that walks the tree meanwhile never sees a mapping that
 * is taken back.
 */
#include "kernel/err.h"
#include "mm/pt/pt.h"

/* Where the frames begin that are not mapped yet: off bytes into the segment. */
struct frames {
	const struct segment *sg;
	uint64_t off;
};

static inline pa_t frames_pa(const struct frames *f)
{
	return f->sg->pa + f->off;
}

static void frames_skip(struct frames *f, uint64_t bytes)
{
	f->off += bytes;
	while (f->off && f->off >= f->sg->len) {
		f->off -= f->sg->len;
		f->sg++;
	}
}

/* Do the next bytes, which the segments have, follow one another? */
static bool frames_are_one(const struct frames *f, uint64_t bytes)
{
	const struct segment *sg = f->sg;
	uint64_t have = sg->len - f->off;

	for (; have < bytes; sg++, have += sg->len)
		if (sg[1].pa != sg->pa + sg->len)
			return false;
	return true;
}

/* What lies in one leaf table, or in the one leaf that takes its place. */
struct part {
	va_t va;
	uint64_t bytes;
	unsigned level, count; /* that many entries at this level          */
};

/* Return the part at va of a range of len bytes whose first frames are f. */
static struct part part_at(struct pt *pt, va_t va, uint64_t len,
			   const struct frames *f, bool huge)
{
	uint64_t bytes = (PT_ENTRIES - pt_index(va, 0)) * PAGE_SIZE;
	unsigned level = 0;

	if (bytes > len)
		bytes = len;
	if (huge && bytes == pt_span(1) && IS_ALIGNED(frames_pa(f), bytes) &&
	    frames_are_one(f, bytes))
		pt_lookup(pt, va, 0, &level); /* 0: a leaf table is there */
	if (level)
		return (struct part){ va, bytes, 1, 1 };
	return (struct part){ va, bytes, 0, (unsigned)(bytes / PAGE_SIZE) };
}

/* Make the tables for [va, va + len) and check that every entry is zero.
 * Returns 0, -EEXIST or -ENOMEM. */
static int map_prepare(struct pt *pt, va_t va, struct frames f, uint64_t len,
		       bool huge)
{
	while (len) {
		struct part p = part_at(pt, va, len, &f, huge);
		uint64_t *slot = pt_slot(pt, va, p.level, true);
		unsigned at;

		if (!slot)
			return *pt_lookup(pt, va, 0, &at) ? err(EEXIST)
							  : err(ENOMEM);
		if (pt_next_live(slot, 0, p.count) < p.count)
			return err(EEXIST);
		frames_skip(&f, p.bytes);
		va += p.bytes;
		len -= p.bytes;
	}
	return 0;
}

/* Fill the holes of a part.  An entry has the address in PT_ADDRESS in all formats. */
static void fill(struct pt *pt, struct part p, struct frames *f, enum prot prot)
{
	uint64_t *slot = pt_slot(pt, p.va, p.level, false);
	uint64_t bits = pt->format->leaf(0, prot, p.level);

	pt_count(pt, slot, p.count);
	if (p.level) {
		pte_write(slot, bits | frames_pa(f));
		frames_skip(f, p.bytes);
		return;
	}
	for (unsigned i = 0; i < p.count; i++) {
		pte_write(&slot[i], bits | frames_pa(f));
		f->off += PAGE_SIZE;
		if (f->off < f->sg->len)
			continue;
		f->off = 0;
		f->sg++;
	}
}

int pt_map_sg(struct pt *pt, va_t va, const struct segment *sg, uint64_t len,
	      enum prot prot, bool huge)
{
	struct frames f = { .sg = sg };
	int error = map_prepare(pt, va, f, len, huge);

	while (!error && len) {
		struct part p = part_at(pt, va, len, &f, huge);

		fill(pt, p, &f, prot);
		va += p.bytes;
		len -= p.bytes;
	}
	return error;
}
