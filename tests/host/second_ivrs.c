/* SPDX-License-Identifier: MIT */
#include "tests/host/second_ivrs.h"
#include <string.h>

struct piece {
	const uint8_t *at;
	unsigned left;
};

static unsigned number(const uint8_t *at, unsigned bytes)
{
	unsigned v = 0;

	while (bytes--)
		v = v << 8 | at[bytes];
	return v;
}

static uint64_t long_number(const uint8_t *at)
{
	return number(at, 4) | (uint64_t)number(at + 4, 4) << 32;
}

/*
 * Return the size of the next block; 0: there is none; more than is left: it is
 * cut off.
 */
static unsigned block_size(struct piece rest)
{
	if (rest.left < 4)
		return 0;
	return number(rest.at + 2, 2) < 4 ? rest.left + 1
					  : number(rest.at + 2, 2);
}

static struct piece blocks_of(const uint8_t *table, unsigned length)
{
	unsigned skip = length < 48 ? length : 48;

	return (struct piece){ table + skip, length - skip };
}

static unsigned header_of(const uint8_t *block)
{
	switch (block[0]) {
	case 0x10:
		return 24;
	case 0x11:
	case 0x40:
		return 40;
	default:
		return 0; /* not of an IOMMU */
	}
}

static unsigned entry_size(struct piece rest)
{
	static const unsigned sizes[] = { 4, 8, 16, 32 };

	if (rest.at[0] != 0xf0)
		return sizes[rest.at[0] / 64];
	return rest.left < 22 ? 255 : 22u + rest.at[21];
}

/* ---- whole or torn ----------------------------------------------------- */

static bool entries_are_whole(struct piece rest)
{
	int begun = -1;

	while (rest.left) {
		unsigned size = entry_size(rest);
		unsigned id = rest.left < 3 ? 0 : number(rest.at + 1, 2);

		if (size > rest.left)
			return false;
		switch (rest.at[0]) {
		case 0x03:
		case 0x43:
		case 0x47:
			if (begun >= 0)
				return false;
			begun = (int)id;
			break;
		case 0x04:
			if (begun < 0 || (int)id < begun)
				return false;
			begun = -1;
			break;
		}
		rest.at += size;
		rest.left -= size;
	}
	return begun < 0;
}

static struct second_unit *unit_at(struct second_ivrs *s, const uint8_t *block)
{
	unsigned segment = number(block + 16, 2), devid = number(block + 4, 2);
	unsigned i = 0;

	while (i < s->n &&
	       (s->units[i].segment != segment || s->units[i].devid != devid))
		i++;
	if (i == s->n) {
		s->units[s->n++] =
			(struct second_unit){ segment, devid, 0, 0, false };
	}
	return &s->units[i];
}

static bool cannot_be(uint64_t mmio)
{
	return mmio == 0 || mmio & 0x3fff ||
	       mmio > (UINT64_C(1) << 46) - 0x4000;
}

bool second_ivrs(const uint8_t *table, unsigned length, struct second_ivrs *out)
{
	struct piece rest = blocks_of(table, length);
	unsigned size;

	memset(out, 0, sizeof(*out));
	while ((size = block_size(rest))) {
		unsigned header = size > rest.left ? 0 : header_of(rest.at);
		struct second_unit *u;

		if (size > rest.left || (header && size < header))
			return false;
		if (header) {
			struct piece e = { rest.at + header, size - header };

			if (!entries_are_whole(e))
				return false;
			u = unit_at(out, rest.at);
			if (rest.at[0] > u->type) {
				u->type = rest.at[0];
				u->mmio = long_number(rest.at + 8);
				u->bad = cannot_be(u->mmio);
			} else if (rest.at[0] == u->type &&
				   long_number(rest.at + 8) != u->mmio) {
				u->bad = true;
				u->mmio = long_number(rest.at + 8);
			}
		}
		rest.at += size;
		rest.left -= size;
	}
	for (unsigned i = 0; i < out->n; i++)
		out->usable |= !out->units[i].segment && !out->units[i].bad;
	return true;
}

/* ---- numbers ----------------------------------------------------------- */

static void paint(uint64_t *set, unsigned first, unsigned last, bool on)
{
	while (first <= last) {
		if (first % 64 == 0 && last - first >= 63) {
			set[first / 64] = on ? UINT64_MAX : 0;
			first += 64;
			continue;
		}
		set[first / 64] &= ~(UINT64_C(1) << first % 64);
		set[first / 64] |= (uint64_t)on << first % 64;
		first++;
	}
}

static void bear(struct second_ids *s, unsigned first, unsigned last, int alias)
{
	for (unsigned i = 0; i < s->n; i++)
		if (first <= s->last[i] && s->first[i] <= last &&
		    s->alias[i] != alias)
			s->two_aliases = true;
	s->first[s->n] = first;
	s->last[s->n] = last;
	s->alias[s->n++] = alias;
}

static void entry(const uint8_t *e, const uint8_t **begun, struct second_ids *s)
{
	unsigned id = number(e + 1, 2);
	const uint8_t *b = *begun;

	switch (e[0]) {
	case 0x01:
		paint(s->covers, 0, DEVIDS - 1, true);
		break;
	case 0x02:
		paint(s->covers, id, id, true);
		break;
	case 0x42:
		paint(s->covers, id, id, true);
		bear(s, id, id, (int)number(e + 5, 2));
		break;
	case 0x46:
		paint(s->covers, id, id, true);
		if (number(e + 4, 4) >> 31)
			paint(s->no_tlb, id, id, true);
		break;
	case 0x03:
	case 0x43:
	case 0x47:
		*begun = e;
		break;
	case 0x04:
		paint(s->covers, number(b + 1, 2), id, true);
		if (b[0] == 0x43)
			bear(s, number(b + 1, 2), id, (int)number(b + 5, 2));
		if (b[0] == 0x47 && number(b + 4, 4) >> 31)
			paint(s->no_tlb, number(b + 1, 2), id, true);
		break;
	}
}

/*
 * Visit each entry of the unit's blocks of its highest type; hids: only those.
 */
static unsigned each(const uint8_t *table, unsigned length,
		     const struct second_unit *u, bool hids,
		     struct second_ids *s)
{
	struct piece rest = blocks_of(table, length);
	const uint8_t *begun = NULL;
	unsigned flags = 0, size;

	for (; (size = block_size(rest)); rest.at += size, rest.left -= size) {
		struct piece e = { rest.at + header_of(rest.at),
				   size - header_of(rest.at) };

		if (rest.at[0] != u->type ||
		    number(rest.at + 16, 2) != u->segment ||
		    number(rest.at + 4, 2) != u->devid)
			continue;
		flags = rest.at[1];
		while (e.left) {
			unsigned bytes = entry_size(e);

			if (!hids)
				entry(e.at, &begun, s);
			else if (e.at[0] == 0xf0)
				paint(s->covers, number(e.at + 1, 2),
				      number(e.at + 1, 2), false);
			e.at += bytes;
			e.left -= bytes;
		}
	}
	return flags;
}

void second_ids(const uint8_t *table, unsigned length, unsigned unit,
		struct second_ids *out)
{
	static struct second_ivrs ivrs;
	unsigned flags;

	memset(out, 0, sizeof(*out));
	second_ivrs(table, length, &ivrs);
	each(table, length, &ivrs.units[unit], false, out);
	flags = each(table, length, &ivrs.units[unit], true, out);
	if (!(flags & 0x10))
		memset(out->no_tlb, 0xff, sizeof(out->no_tlb));
}

int second_alias(const struct second_ids *s, unsigned devid)
{
	for (unsigned i = 0; i < s->n; i++)
		if (devid >= s->first[i] && devid <= s->last[i])
			return s->alias[i];
	return -1;
}
