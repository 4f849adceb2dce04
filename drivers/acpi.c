/* SPDX-License-Identifier: MIT */
/*
 * acpi.c - RSDP, RSDT or XSDT, and the MCFG
 */
#include "drivers/acpi.h"
#include "kernel/string.h"

#define RSDP_WORD      UINT32_C(0x20445352) /* "RSD ", looked for first */
#define RSDP_OLD       20 /* ACPI 1.0 part, which the first checksum covers */
#define RSDP_LEN       36
#define RSDP_REVISION  15
#define RSDP_RSDT      16
#define RSDP_XSDT      24
#define HEADER_LEN     36
#define EBDA_SEGMENT   UINT64_C(0x40e) /* where the BIOS says that it is   */
#define EBDA_SEARCHED  UINT64_C(1024)
#define BIOS_START     UINT64_C(0xe0000)
#define BIOS_END       UINT64_C(0x100000)
#define MCFG_ENTRIES   44 /* PCI Firmware 3.2, section 4.1.2             */
#define MCFG_ENTRY_LEN 16
#define BUS_WINDOW     UINT64_C(0x100000)

static bool sums_to_zero(const uint8_t *p, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *p++);
	return sum == 0;
}

/* Copy a table out, once, and believe it if its checksum holds. */
static const char *table_read(acpi_reader *read, pa_t pa, const char *corrupt,
			      struct acpi_table *t)
{
	const uint8_t *header = read(pa, HEADER_LEN), *whole;

	if (!header)
		return "an ACPI table lies outside memory";
	t->length = acpi_get32(header + 4);
	if (t->length < HEADER_LEN || t->length > ACPI_MAX_TABLE)
		return "an ACPI table has an impossible length";
	whole = read(pa, t->length);
	if (!whole)
		return "an ACPI table runs out of memory";
	memcpy(t->bytes, whole, t->length);
	if (corrupt && !memcmp(t->bytes, corrupt, 4))
		t->bytes[t->length - 1] ^= 0x55;
	if (!sums_to_zero(t->bytes, t->length))
		return "an ACPI table has a bad checksum";
	return NULL;
}

static uint64_t get64(const uint8_t *p)
{
	return acpi_get32(p) | (uint64_t)acpi_get32(p + 4) << 32;
}

/*
 * The RSDP is a good one?  Then copy what of it counts: without the XSDT, if it
 * is of ACPI 1.0 or the second checksum does not hold.
 */
static bool rsdp_read(acpi_reader *read, pa_t pa, const char *corrupt,
		      uint8_t rsdp[RSDP_LEN])
{
	const uint8_t *p = read(pa, RSDP_OLD), *whole;

	memset(rsdp, 0, RSDP_LEN);
	memcpy(rsdp, p, RSDP_OLD);
	if (corrupt && !memcmp(corrupt, "RSDP", 4))
		rsdp[8] ^= 0x55;
	if (!sums_to_zero(rsdp, RSDP_OLD))
		return false;
	whole = rsdp[RSDP_REVISION] >= 2 ? read(pa, RSDP_LEN) : NULL;
	if (whole && sums_to_zero(whole, RSDP_LEN))
		memcpy(rsdp, whole, RSDP_LEN);
	return true;
}

/* The first good one in [start, end); *seen: there was one, good or not. */
static bool rsdp_in(acpi_reader *read, pa_t start, pa_t end,
		    const char *corrupt, uint8_t rsdp[RSDP_LEN], bool *seen)
{
	const uint8_t *p = read(start, end - start);
	pa_t pa = start;

	for (; p && pa + RSDP_OLD <= end; pa += 16, p += 16) {
		if (acpi_get32(p) != RSDP_WORD || memcmp(p, "RSD PTR ", 8))
			continue;
		*seen = true;
		if (rsdp_read(read, pa, corrupt, rsdp))
			return true;
	}
	return false;
}

static pa_t rsdp_told; /* by the loader; 0: nothing was                    */

void acpi_set_rsdp(pa_t pa)
{
	rsdp_told = pa;
}

/* ACPI 6.5, 5.2.5.1: in the first KiB of the EBDA, or in the BIOS. */
static const char *rsdp_find(acpi_reader *read, const char *corrupt,
			     uint8_t rsdp[RSDP_LEN])
{
	const uint8_t *p = read(EBDA_SEGMENT, 2);
	pa_t ebda = p ? (pa_t)(p[0] | (unsigned)p[1] << 8) << 4 : 0;
	bool seen = false;

	if ((rsdp_told && rsdp_in(read, rsdp_told, rsdp_told + RSDP_OLD,
				  corrupt, rsdp, &seen)) ||
	    (ebda &&
	     rsdp_in(read, ebda, ebda + EBDA_SEARCHED, corrupt, rsdp, &seen)) ||
	    rsdp_in(read, BIOS_START, BIOS_END, corrupt, rsdp, &seen))
		return NULL;
	return seen ? "the ACPI RSDP has a bad checksum"
		    : "there is no ACPI RSDP";
}

/* A root table, whose entries are of `wide` bytes: which lists this one? */
static const char *root_find(acpi_reader *read, pa_t pa, unsigned wide,
			     const char *signature, const char *corrupt,
			     struct acpi_table *table)
{
	static char none[] = "the ACPI root table lists no table `....`";
	static struct acpi_table root; /* boot CPU only: too big for a stack */
	const char *why = table_read(read, pa, corrupt, &root);

	if (why)
		return why;
	for (uint32_t at = HEADER_LEN; at + wide <= root.length; at += wide) {
		const uint8_t *e = root.bytes + at, *p;

		pa = wide == 8 ? get64(e) : acpi_get32(e);
		p = read(pa, HEADER_LEN);
		if (p && !memcmp(p, signature, 4))
			return table_read(read, pa, corrupt, table);
	}
	memcpy(none + sizeof(none) - 6, signature, 4);
	return none;
}

const char *acpi_find(acpi_reader *read, const char *signature,
		      const char *corrupt, struct acpi_table *table)
{
	uint8_t rsdp[RSDP_LEN];
	const char *why = rsdp_find(read, corrupt, rsdp);
	pa_t rsdt, xsdt;

	if (why)
		return why;
	rsdt = acpi_get32(rsdp + RSDP_RSDT);
	xsdt = get64(rsdp + RSDP_XSDT);
	/* As in Linux: the XSDT, if there is one that can be read. */
	why = xsdt ? root_find(read, xsdt, 8, signature, corrupt, table)
		   : "there is no ACPI root table";
	if (why && rsdt)
		why = root_find(read, rsdt, 4, signature, corrupt, table);
	return why;
}

const char *acpi_parse_mcfg(const struct acpi_table *table,
			    struct acpi_mcfg *mcfg)
{
	const uint8_t *p = table->bytes;
	uint32_t at = MCFG_ENTRIES;

	*mcfg = (struct acpi_mcfg){ 0 };
	for (; at + MCFG_ENTRY_LEN <= table->length; at += MCFG_ENTRY_LEN) {
		pa_t base = get64(p + at);
		uint32_t segment_and_buses = acpi_get32(p + at + 8);

		/* Segment in 15:0, first bus in 23:16. */
		if (segment_and_buses & 0xffffff)
			continue;
		if (!base || base % BUS_WINDOW || base + BUS_WINDOW < base)
			return "the ACPI MCFG has an impossible address";
		mcfg->bus0 = base;
		return NULL;
	}
	return "the ACPI MCFG does not tell of bus 0";
}
