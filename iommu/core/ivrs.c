/* SPDX-License-Identifier: MIT */
/*
 * ivrs.c - I/O Virtualization Reporting Structure: its blocks
 *
 *   table header, IVinfo | block | block | ...
 *   IVHD: type flags length devid cap-offset base segment ... | entry | entry
 *   IVMD: type flags length devid aux segment ... start length
 *
 * Several IVHD blocks may describe one IOMMU, of type 10h and of the longer types
 * 11h and 40h: firmware writes the old type for old readers, and does not always
 * update it.  Other types are skipped.
 */
#include "iommu/core/ivrs_priv.h"
#include "iommu/hw/port.h"

#define MMIO_ALIGN  0x4000
#define IVMD_LENGTH 32
#define AT_AUX      6
#define AT_IVMD_SEG 8
#define AT_START    16
#define AT_SIZE     24
#define UNITY_MAX   UINT64_C(0x40000000) /* 512 tables; real ones: 129 MiB */
#define IVMD_ALL    0x20 /* devid means nothing                          */
#define IVMD_ONE    0x21
#define IVMD_RANGE  0x22 /* devid .. aux                                 */
#define IVMD_UNITY  BIT(0)
#define IVMD_READ   BIT(1)
#define IVMD_WRITE  BIT(2)
#define IVMD_EXCL   BIT(3) /* not translated; a unity map serves it too    */

/* ---- blocks ------------------------------------------------------------ */

const uint8_t *ivrs_next(const struct acpi_table *table, uint32_t *at)
{
	const uint8_t *p = table->bytes + *at;

	if (*at + 4 > table->length)
		return NULL;
	*at += get16(p + AT_LENGTH);
	return p;
}

/* Check that all blocks and their entries are whole. */
static const char *check_blocks(const struct acpi_table *table)
{
	uint32_t at = IVRS_FIRST_BLOCK;

	while (at + 4 <= table->length) {
		const uint8_t *p = table->bytes + at;
		unsigned len = get16(p + AT_LENGTH);
		const char *why = NULL;

		if (len < 4 || len > table->length - at)
			return "an ACPI IVRS block runs out of the table";
		if (is_ivhd(p) && len < ivhd_header(p))
			return "an ACPI IVRS block is shorter than its header";
		if (is_ivhd(p))
			why = ivhd_each(p, NULL, NULL);
		if (why)
			return why;
		at += len;
	}
	return NULL;
}

/* ---- units ------------------------------------------------------------- */

static struct ivrs_unit *unit_find(struct ivrs *ivrs, const uint8_t *block)
{
	for (unsigned i = 0; i < ivrs->n_units; i++)
		if (ivrs->units[i].segment == get16(block + AT_SEGMENT) &&
		    ivrs->units[i].devid == get16(block + AT_DEVID))
			return &ivrs->units[i];
	return NULL;
}

/* Find or add the unit of a block; NULL: there is no room for one more. */
static struct ivrs_unit *unit_make(struct ivrs *ivrs, const uint8_t *block)
{
	struct ivrs_unit *u = unit_find(ivrs, block);

	if (u)
		return u;
	if (ivrs->n_units == IVRS_UNITS) {
		ivrs->more_blocks++;
		return NULL;
	}
	u = &ivrs->units[ivrs->n_units++];
	u->segment = get16(block + AT_SEGMENT);
	u->devid = get16(block + AT_DEVID);
	return u;
}

static const char *judge_mmio(pa_t mmio)
{
	if (!mmio || mmio % MMIO_ALIGN || mmio + IOMMU_MMIO_SIZE < mmio ||
	    mmio + IOMMU_MMIO_SIZE > PA_MAX)
		return "the ACPI IVRS has an impossible register address";
	return NULL;
}

/* Take a block into its unit, if it is of the highest type so far. */
static void unit_add(struct ivrs_unit *u, const uint8_t *block)
{
	pa_t mmio = get64(block + AT_MMIO);
	bool more = u->type == block[0];

	if (block[0] < u->type)
		return;
	u->bad = more ? u->bad : judge_mmio(mmio);
	if (more && u->mmio != mmio)
		u->bad = "the ACPI IVRS contradicts itself on the registers";
	u->type = block[0];
	u->flags = block[AT_FLAGS];
	u->mmio = mmio;
	u->capability = get16(block + AT_CAPABILITY);
}

/* Add an entry to a sum that does not depend on the order.  ACPI devices are left
 * out, for only type 40h names them. */
static const char *add_up(const struct saying *s, void *arg)
{
	uint64_t v = (uint64_t)s->first | (uint64_t)s->last << 16 |
		     (uint64_t)s->alias << 32 | (uint64_t)s->kind << 48 |
		     (uint64_t)s->no_tlb << 51 | (uint64_t)s->handle << 52;

	v *= UINT64_C(0x9e3779b97f4a7c15);
	if (s->kind != SAYS_HID)
		*(uint64_t *)arg += v ^ v >> 29;
	return NULL;
}

/* Sum up what a unit's blocks of one type say about devices. */
static uint64_t sum_of(const struct ivrs *ivrs, const struct ivrs_unit *u,
		       uint8_t type)
{
	uint32_t at = IVRS_FIRST_BLOCK;
	const uint8_t *p;
	uint64_t sum = 0;

	while ((p = ivrs_next(ivrs->table, &at)))
		if (p[0] == type && get16(p + AT_SEGMENT) == u->segment &&
		    get16(p + AT_DEVID) == u->devid)
			ivhd_each(p, add_up, &sum);
	return sum;
}

/* Compare the lower types.  Bits 7:6 of the flags exist in type 10h only. */
static void compare(struct ivrs *ivrs)
{
	uint32_t at = IVRS_FIRST_BLOCK;
	const uint8_t *p;

	while ((p = ivrs_next(ivrs->table, &at))) {
		struct ivrs_unit *u = is_ivhd(p) ? unit_find(ivrs, p) : NULL;

		if (!u || p[0] == u->type)
			continue;
		u->disagrees |=
			get64(p + AT_MMIO) != u->mmio ||
			get16(p + AT_CAPABILITY) != u->capability ||
			(p[AT_FLAGS] ^ u->flags) & 0x3f ||
			sum_of(ivrs, u, p[0]) != sum_of(ivrs, u, u->type);
	}
}

/* ---- memory ------------------------------------------------------------ */

static const char *judge_unity(pa_t start, uint64_t size)
{
	if (!start)
		return "it begins at 0";
	if (!size || start + size < start)
		return "it is empty or wraps";
	if (start + size > PA_MAX)
		return "it is beyond physical addresses";
	if (size > UNITY_MAX)
		return "it is more than 1 GiB";
	return NULL;
}

static void unity_add(struct ivrs *ivrs, const uint8_t *p)
{
	pa_t start = get64(p + AT_START), size = get64(p + AT_SIZE);
	bool whole = p[AT_FLAGS] & IVMD_EXCL;
	struct iommu_unity u = {
		.first = p[0] == IVMD_ALL ? 0 : get16(p + AT_DEVID),
		.last = p[0] == IVMD_ALL   ? 0xffff
			: p[0] == IVMD_ONE ? get16(p + AT_DEVID)
					   : get16(p + AT_AUX),
		.start = ALIGN_DOWN(start, PAGE_SIZE),
		.end = ALIGN_UP(start + size, PAGE_SIZE),
		.read = whole || p[AT_FLAGS] & IVMD_READ,
		.write = whole || p[AT_FLAGS] & IVMD_WRITE,
		.bad = judge_unity(start, size),
	};

	if (get16(p + AT_IVMD_SEG) || !(p[AT_FLAGS] & (IVMD_UNITY | IVMD_EXCL)))
		return;
	if (u.last < u.first)
		u.bad = "its devices end before they begin";
	if (ivrs->n_unity == IVRS_UNITY)
		ivrs->more_unity++;
	else
		ivrs->unity[ivrs->n_unity++] = u;
}

static bool overlaps(const struct iommu_unity *u, pa_t start, pa_t end)
{
	return start < u->end && u->start < end;
}

/* Name what lies there that no device may reach; NULL: nothing. */
static const char *judge_place(const struct ivrs *ivrs,
			       const struct iommu_unity *u)
{
	if (overlaps(u, CONTROLLERS, CONTROLLERS_END))
		return "it is the interrupt controllers'";
	for (unsigned i = 0; i < ivrs->n_units; i++)
		if (overlaps(u, ivrs->units[i].mmio,
			     ivrs->units[i].mmio + IOMMU_MMIO_SIZE))
			return "it is the registers of an IOMMU";
	return NULL;
}

/* True if a device of both ranges could not be attached: a page is mapped once. */
static bool contradicts(const struct iommu_unity *u,
			const struct iommu_unity *before)
{
	bool includes = before->start <= u->start && before->end >= u->end &&
			before->read >= u->read && before->write >= u->write;

	return !before->bad && !includes && u->first <= before->last &&
	       before->first <= u->last &&
	       overlaps(u, before->start, before->end);
}

void ivrs_refuse_unity(struct ivrs *ivrs, const struct mem_range *ram,
		       unsigned n, pa_t top)
{
	for (unsigned i = 0; i < ivrs->n_unity; i++) {
		struct iommu_unity *u = &ivrs->unity[i];

		if (!u->bad && u->end > top)
			u->bad = "it is beyond the CPU's physical addresses";
		if (!u->bad)
			u->bad = judge_place(ivrs, u);
		for (unsigned k = 0; k < n && !u->bad; k++)
			if (overlaps(u, ram[k].start, ram[k].end))
				u->bad = "it is memory of the kernel";
		for (unsigned k = 0; k < i && !u->bad; k++)
			if (contradicts(u, &ivrs->unity[k]))
				u->bad = "it overlaps an earlier one of its "
					 "devices";
	}
}

/* ---- the table --------------------------------------------------------- */

/* Return NULL if a unit of segment 0 can be used; else why the first cannot. */
static const char *judge(const struct ivrs *ivrs)
{
	const char *why = "the ACPI IVRS describes no IOMMU of segment 0";
	bool any = false;

	for (unsigned i = 0; i < ivrs->n_units; i++) {
		const struct ivrs_unit *u = &ivrs->units[i];

		if (u->segment)
			continue;
		if (!u->bad)
			return NULL;
		why = any ? why : u->bad;
		any = true;
	}
	return why;
}

const char *ivrs_parse(const struct acpi_table *table, struct ivrs *ivrs)
{
	const char *why = check_blocks(table);
	uint32_t at = IVRS_FIRST_BLOCK;
	const uint8_t *p;

	*ivrs = (struct ivrs){ .table = table };
	if (why)
		return why;
	while ((p = ivrs_next(table, &at))) {
		struct ivrs_unit *u = is_ivhd(p) ? unit_make(ivrs, p) : NULL;

		if (u)
			unit_add(u, p);
		if (p[0] >= IVMD_ALL && p[0] <= IVMD_RANGE &&
		    get16(p + AT_LENGTH) >= IVMD_LENGTH)
			unity_add(ivrs, p);
	}
	compare(ivrs);
	return judge(ivrs);
}
