/* SPDX-License-Identifier: MIT */
/*
 * acpi.h - the firmware's tables, believed only as far as they can be checked
 *
 * ACPI 6.5, section 5.2.  Every table is bounded, copied out once and
 * checksummed before anything in it is used.  Errors are sentences.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "arch/types.h"

/*
 * Memory as this code sees it: a pointer to len bytes at pa, or NULL if they
 * are not all readable.  The kernel gives its direct map, a host test a buffer.
 */
typedef const void *acpi_reader(pa_t pa, size_t len);

#define ACPI_MAX_TABLE 16384 /* longest table that we read: 1,000 CPUs   */

/* Where bus 0 of PCI segment 0 has its configuration window. */
struct acpi_mcfg {
	pa_t bus0;
};

/* Tables are not aligned. */
static inline uint32_t acpi_get32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	       (uint32_t)p[3] << 24;
}

/* A copy of one table, header included. */
struct acpi_table {
	uint32_t length;
	uint8_t bytes[ACPI_MAX_TABLE];
};

/* Where the loader has a copy of the RSDP, which then is tried first; 0: none. */
void acpi_set_rsdp(pa_t pa);

/*
 * Find the table with this signature ("APIC"): the RSDP is the loader's, or in
 * the EBDA, or in the BIOS; the XSDT is asked, or the RSDT if it does not answer.
 * corrupt: spoil one byte of every copy of that table, or of the RSDP for
 * "RSDP" (a test hook, the word lie=...); NULL for none.
 * Returns NULL, or why there is no such table: until the next call.
 */
const char *acpi_find(acpi_reader *read, const char *signature,
		      const char *corrupt, struct acpi_table *table);

/* Read the window's address.  Returns NULL, or what is wrong. */
const char *acpi_parse_mcfg(const struct acpi_table *table,
			    struct acpi_mcfg *mcfg);
