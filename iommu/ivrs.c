/* SPDX-License-Identifier: MIT */
/*
 * ivrs.c - I/O Virtualization Reporting Structure
 *
 *   table header, IVinfo | block | block | ...
 *   block (IVHD): type flags length devid cap-offset base ... | entry | entry
 *
 * An IOMMU may be told of by several blocks, of type 10h and of the longer 11h
 * and 40h: they must agree.  Other types (IVMD: memory that firmware wants
 * reachable) are stepped over; QEMU has none.
 */
#include "iommu/ivrs.h"
#include "iommu/port.h"
#include "kernel/string.h"

#define FIRST_BLOCK 48
#define IVHD_HEADER 24
#define IVHD_LONG   40 /* of types 11h and 40h                            */
#define MMIO_ALIGN  0x4000

/* Device entries: two high bits of the type say how long one is. */
#define ENTRY_ALL          1
#define ENTRY_SELECT       2
#define ENTRY_RANGE_START  3
#define ENTRY_RANGE_END    4
#define ENTRY_ALIAS_SELECT 0x42 /* whose requests bear another's number */
#define ENTRY_ALIAS_RANGE  0x43
#define ENTRY_EXT_SELECT   0x46 /* with settings that we do not need     */
#define ENTRY_EXT_RANGE    0x47
#define ALIAS_AT           5 /* that number, in the entry             */
#define ENTRY_ACPI_HID     0xf0
#define HID_LENGTH_AT      21u
#define HID_HEADER         22u

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | (unsigned)p[1] << 8);
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static bool is_ivhd(uint8_t type)
{
	return type == 0x10 || type == 0x11 || type == 0x40;
}

static const char *range_add(struct ivrs *ivrs, unsigned first, unsigned last)
{
	struct ivrs_range *top =
		ivrs->n_ranges ? &ivrs->ranges[ivrs->n_ranges - 1] : NULL;

	for (unsigned i = 0; i < ivrs->n_ranges; i++)
		if (first >= ivrs->ranges[i].first &&
		    last <= ivrs->ranges[i].last)
			return NULL; /* told twice, by a block of another type */
	if (top && top->last + 1u == first) {
		top->last = (uint16_t)last;
		return NULL;
	}
	if (ivrs->n_ranges == IVRS_RANGES)
		return "the ACPI IVRS names too many ranges of devices";
	ivrs->ranges[ivrs->n_ranges++] =
		(struct ivrs_range){ (uint16_t)first, (uint16_t)last };
	return NULL;
}

/* Bytes of the entry at p, of which left are there; 0: it runs out. */
static unsigned entry_length(const uint8_t *p, unsigned left)
{
	unsigned len = 4u << (p[0] >> 6);

	if (p[0] == ENTRY_ACPI_HID)
		len = left < HID_HEADER ? left + 1
					: HID_HEADER + p[HID_LENGTH_AT];
	return len > left ? 0 : len;
}

static const char *alias_add(struct ivrs *ivrs, unsigned first, unsigned last,
			     uint16_t alias)
{
	for (unsigned i = 0; i < ivrs->n_aliases; i++) {
		const struct iommu_alias *a = &ivrs->aliases[i];

		if (first > a->last || last < a->first)
			continue;
		if (alias != a->alias)
			return "the ACPI IVRS gives a device two aliases";
		if (first >= a->first && last <= a->last)
			return NULL; /* told twice */
	}
	if (ivrs->n_aliases == IVRS_ALIASES)
		return "the ACPI IVRS names too many aliases";
	ivrs->aliases[ivrs->n_aliases++] =
		(struct iommu_alias){ (uint16_t)first, (uint16_t)last, alias };
	return NULL;
}

/* A range that has begun and not ended; nothing begins meanwhile. */
struct open_range {
	bool open, aliased;
	unsigned first;
	uint16_t alias;
};

static const char *range_end(struct ivrs *ivrs, struct open_range *range,
			     unsigned last)
{
	const char *why = NULL;

	if (!range->open || last < range->first)
		return "an ACPI IVRS range ends before it began";
	range->open = false;
	if (range->aliased)
		why = alias_add(ivrs, range->first, last, range->alias);
	return why ? why : range_add(ivrs, range->first, last);
}

static const char *parse_entry(struct ivrs *ivrs, const uint8_t *p,
			       struct open_range *range)
{
	unsigned devid = get16(p + 1);
	const char *why;

	switch (p[0]) {
	case ENTRY_ALL:
		return range_add(ivrs, 0, 0xffff);
	case ENTRY_ALIAS_SELECT:
		why = alias_add(ivrs, devid, devid, get16(p + ALIAS_AT));
		return why ? why : range_add(ivrs, devid, devid);
	case ENTRY_SELECT:
	case ENTRY_EXT_SELECT:
		return range_add(ivrs, devid, devid);
	case ENTRY_RANGE_START:
	case ENTRY_ALIAS_RANGE:
	case ENTRY_EXT_RANGE:
		if (range->open)
			return "an ACPI IVRS range begins inside another";
		*range = (struct open_range){ .open = true, .first = devid };
		range->aliased = p[0] == ENTRY_ALIAS_RANGE;
		if (range->aliased)
			range->alias = get16(p + ALIAS_AT);
		return NULL;
	case ENTRY_RANGE_END:
		return range_end(ivrs, range, devid);
	}
	return NULL; /* interrupt controllers, ACPI devices, padding */
}

static const char *parse_entries(struct ivrs *ivrs, const uint8_t *p,
				 unsigned left)
{
	struct open_range range = { .open = false };

	while (left) {
		unsigned len = entry_length(p, left);
		const char *why;

		if (!len)
			return "an ACPI IVRS entry runs out of its block";
		why = parse_entry(ivrs, p, &range);
		if (why)
			return why;
		p += len;
		left -= len;
	}
	return range.open ? "an ACPI IVRS range does not end" : NULL;
}

static const char *parse_block(struct ivrs *ivrs, const uint8_t *p,
			       unsigned len)
{
	unsigned header = p[0] == 0x10 ? IVHD_HEADER : IVHD_LONG;
	uint16_t devid = get16(p + 4);
	pa_t mmio = get64(p + 8);

	if (len < header)
		return "an ACPI IVRS block is shorter than its header";
	if (get16(p + 16) != 0)
		return NULL; /* another segment */
	if (!mmio || mmio % MMIO_ALIGN || mmio + IOMMU_MMIO_SIZE < mmio ||
	    mmio + IOMMU_MMIO_SIZE > PA_MAX)
		return "the ACPI IVRS has an impossible register address";
	if (ivrs->mmio && ivrs->devid != devid)
		return "the ACPI IVRS tells of two IOMMUs: one is supported";
	if (ivrs->mmio && ivrs->mmio != mmio)
		return "the ACPI IVRS contradicts itself on the registers";
	ivrs->mmio = mmio;
	ivrs->devid = devid;
	ivrs->capability = get16(p + 6);
	return parse_entries(ivrs, p + header, len - header);
}

const char *ivrs_parse(const struct acpi_table *table, struct ivrs *ivrs)
{
	const uint8_t *p = table->bytes;
	uint32_t at = IVRS_FIRST_BLOCK;

	*ivrs = (struct ivrs){ 0 };
	while (at + 4 <= table->length) {
		unsigned len = get16(p + at + 2);
		const char *why = NULL;

		if (len < 4 || len > table->length - at)
			return "an ACPI IVRS block runs out of the table";
		if (is_ivhd(p[at])) {
			if (len < IVHD_HEADER)
				return "an ACPI IVRS block is shorter than its "
				       "header";
			why = parse_block(ivrs, p + at, len);
		}
		if (why)
			return why;
		at += len;
	}
	return ivrs->mmio ? NULL : "the ACPI IVRS tells of no IOMMU";
}

const char *ivrs_check_mmio(const struct ivrs *ivrs,
			    const struct mem_range *ram, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (ram[i].start < ivrs->mmio + IOMMU_MMIO_SIZE &&
		    ram[i].end > ivrs->mmio)
			return "the ACPI IVRS puts the IOMMU's registers in "
			       "RAM";
	return NULL;
}

bool ivrs_covers(const struct ivrs *ivrs, uint16_t devid)
{
	for (unsigned i = 0; i < ivrs->n_ranges; i++)
		if (devid >= ivrs->ranges[i].first &&
		    devid <= ivrs->ranges[i].last)
			return true;
	return false;
}
