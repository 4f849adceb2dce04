/* SPDX-License-Identifier: MIT */
/*
 * ivrs_ids.c - what the entries of an IVHD block say about device numbers
 *
 *   select    one number             alias     requests bear another number
 *   range     start ... end          special   an I/O APIC, an HPET
 *   all       every number           HID       an ACPI device
 *
 * Any entry but another start may stand between the start and end of a range.
 */
#include "iommu/core/ivrs_priv.h"

/* Device entries: two high bits of the type say how long one is. */
#define ENTRY_ALL          1
#define ENTRY_SELECT       2
#define ENTRY_RANGE_START  3
#define ENTRY_RANGE_END    4
#define ENTRY_ALIAS_SELECT 0x42
#define ENTRY_ALIAS_RANGE  0x43
#define ENTRY_EXT_SELECT   0x46
#define ENTRY_EXT_RANGE    0x47
#define ENTRY_SPECIAL      0x48
#define ENTRY_ACPI_HID     0xf0
#define ALIAS_AT           5 /* the other number                       */
#define HANDLE_AT          4 /* of an alias entry: reserved            */
#define VARIETY_AT         7 /* the same                               */
#define EXTENDED_TOP       7 /* of an extended entry: bits 31:24       */
#define NO_ATS             BIT(7)
#define HID_LENGTH_AT      21u
#define HID_HEADER         22u

/* ---- entries ----------------------------------------------------------- */

/* Return the bytes of the entry at p; 0 if it is longer than `left`. */
static unsigned entry_length(const uint8_t *p, unsigned left)
{
	unsigned len = 4u << (p[0] >> 6);

	if (p[0] == ENTRY_ACPI_HID)
		len = left < HID_HEADER ? left + 1
					: HID_HEADER + p[HID_LENGTH_AT];
	return len > left ? 0 : len;
}

/* A range whose start was read and whose end was not. */
struct open_range {
	bool open;
	struct saying says;
};

/* True if the entry is complete by itself; *s is what it says. */
static bool says_alone(const uint8_t *p, struct saying *s)
{
	s->first = s->last = get16(p + 1);
	switch (p[0]) {
	case ENTRY_ALL:
		s->first = 0;
		s->last = 0xffff;
		return true;
	case ENTRY_SELECT:
		return true;
	case ENTRY_EXT_SELECT:
		s->no_tlb = p[EXTENDED_TOP] & NO_ATS;
		return true;
	case ENTRY_ALIAS_SELECT:
		s->kind = SAYS_ALIAS;
		s->alias = get16(p + ALIAS_AT);
		return true;
	case ENTRY_SPECIAL:
		s->kind = SAYS_SPECIAL;
		s->alias = get16(p + ALIAS_AT);
		s->handle = p[HANDLE_AT];
		s->variety = p[VARIETY_AT];
		return true;
	case ENTRY_ACPI_HID:
		s->kind = SAYS_HID;
		return true;
	}
	return false;
}

static const char *range_begin(const uint8_t *p, struct open_range *range)
{
	if (range->open)
		return "an ACPI IVRS range begins inside another";
	*range = (struct open_range){ .open = true };
	range->says.first = get16(p + 1);
	if (p[0] == ENTRY_ALIAS_RANGE) {
		range->says.kind = SAYS_ALIAS;
		range->says.alias = get16(p + ALIAS_AT);
	}
	range->says.no_tlb =
		p[0] == ENTRY_EXT_RANGE && p[EXTENDED_TOP] & NO_ATS;
	return NULL;
}

static const char *range_end(const uint8_t *p, struct open_range *range)
{
	range->says.last = get16(p + 1);
	if (!range->open || range->says.last < range->says.first)
		return "an ACPI IVRS range ends before it began";
	range->open = false;
	return NULL;
}

static const char *entry(const uint8_t *p, struct open_range *range,
			 saying_fn *fn, void *arg)
{
	struct saying s = { 0 };
	const char *why = NULL;
	bool says = false;

	switch (p[0]) {
	case ENTRY_RANGE_START:
	case ENTRY_ALIAS_RANGE:
	case ENTRY_EXT_RANGE:
		return range_begin(p, range);
	case ENTRY_RANGE_END:
		why = range_end(p, range);
		s = range->says;
		says = true;
		break;
	default: /* or padding, and unknown types */
		says = says_alone(p, &s);
	}
	return !why && says && fn ? fn(&s, arg) : why;
}

const char *ivhd_each(const uint8_t *block, saying_fn *fn, void *arg)
{
	unsigned left = get16(block + AT_LENGTH) - ivhd_header(block);
	const uint8_t *p = block + ivhd_header(block);
	struct open_range range = { .open = false };

	while (left) {
		unsigned len = entry_length(p, left);
		const char *why;

		if (!len)
			return "an ACPI IVRS entry runs out of its block";
		why = entry(p, &range, fn, arg);
		if (why)
			return why;
		p += len;
		left -= len;
	}
	return range.open ? "an ACPI IVRS range does not end" : NULL;
}

/* ---- one unit's numbers ------------------------------------------------ */

struct sorted {
	struct iommu_ids *ids;
	struct iommu_alias *aliases;
	unsigned n;
	bool again; /* second pass: only entries that take numbers away   */
};

static void set(uint64_t *set, unsigned first, unsigned last, bool on)
{
	for (unsigned w = first / 64; w <= last / 64; w++) {
		unsigned from = w == first / 64 ? first % 64 : 0;
		unsigned to = w == last / 64 ? last % 64 : 63;

		if (on)
			set[w] |= GENMASK(to, from);
		else
			set[w] &= ~GENMASK(to, from);
	}
}

/* Add an alias; *room says whether it was stored.  Returns NULL or a message. */
static const char *alias_add(struct sorted *t, const struct saying *s,
			     bool *room)
{
	struct iommu_alias *top = t->n ? &t->aliases[t->n - 1] : NULL;

	*room = true;
	for (unsigned i = 0; i < t->n; i++) {
		const struct iommu_alias *a = &t->aliases[i];

		if (s->first > a->last || s->last < a->first)
			continue;
		if (s->alias != a->alias)
			return "the ACPI IVRS gives a device two aliases";
		if (s->first >= a->first && s->last <= a->last)
			return NULL; /* said twice */
	}
	if (top && top->alias == s->alias && top->last + 1u == s->first) {
		top->last = s->last;
		return NULL;
	}
	*room = t->n < IOMMU_ALIASES;
	if (*room)
		t->aliases[t->n++] =
			(struct iommu_alias){ s->first, s->last, s->alias };
	return NULL;
}

static const char *sort_in(const struct saying *s, void *arg)
{
	struct sorted *t = arg;
	const char *why = NULL;
	bool room = true;

	if (s->kind == SAYS_ALIAS)
		why = alias_add(t, s, &room);
	if (s->kind == SAYS_SPECIAL)
		return NULL;
	if (s->kind == SAYS_HID || !room)
		set(t->ids->covers, s->first, s->last, false);
	else if (!t->again)
		set(t->ids->covers, s->first, s->last, true);
	if (s->no_tlb)
		set(t->ids->no_tlb, s->first, s->last, true);
	return why;
}

static const char *each_of(const struct ivrs *ivrs, const struct ivrs_unit *u,
			   saying_fn *fn, void *arg)
{
	uint32_t at = IVRS_FIRST_BLOCK;
	const char *why = NULL;
	const uint8_t *p;

	while (!why && (p = ivrs_next(ivrs->table, &at)))
		if (p[0] == u->type && get16(p + AT_SEGMENT) == u->segment &&
		    get16(p + AT_DEVID) == u->devid)
			why = ivhd_each(p, fn, arg);
	return why;
}

const char *ivrs_ids(const struct ivrs *ivrs, unsigned unit,
		     struct iommu_ids *ids, struct iommu_alias *aliases,
		     unsigned *n)
{
	const struct ivrs_unit *u = &ivrs->units[unit];
	struct sorted t = { .ids = ids, .aliases = aliases };
	const char *why;

	memset(ids, 0, sizeof(*ids));
	why = each_of(ivrs, u, sort_in, &t);
	t.again = true; /* take away what a later range has covered again */
	if (!why)
		why = each_of(ivrs, u, sort_in, &t);
	if (!(u->flags & IVRS_DEVICE_TLBS))
		memset(ids->no_tlb, 0xff, sizeof(ids->no_tlb));
	*n = t.n;
	return why;
}

/* ---- I/O APICs --------------------------------------------------------- */

struct wanted {
	uint8_t handle;
	uint16_t devid;
	unsigned n, others;
};

static const char *find_ioapic(const struct saying *s, void *arg)
{
	struct wanted *w = arg;

	if (s->kind != SAYS_SPECIAL || s->variety != VARIETY_IOAPIC)
		return NULL;
	w->others += s->handle != w->handle;
	if (s->handle != w->handle)
		return NULL;
	if (w->n && s->alias != w->devid)
		return "the ACPI IVRS gives an IOAPIC two numbers";
	w->devid = s->alias;
	w->n++;
	return NULL;
}

const char *ivrs_ioapic(const struct ivrs *ivrs, uint8_t id, uint16_t *devid)
{
	struct wanted w = { .handle = id };

	for (unsigned i = 0; i < ivrs->n_units; i++) {
		const char *why = NULL;

		if (!ivrs->units[i].segment)
			why = each_of(ivrs, &ivrs->units[i], find_ioapic, &w);
		if (why)
			return why;
	}
	if (w.n) {
		*devid = w.devid;
		return NULL;
	}
	return w.others ? "the ACPI IVRS names no IOAPIC with the MADT's id"
			: "the ACPI IVRS names no IOAPIC";
}
