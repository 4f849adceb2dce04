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

#define ACPI_MAX_TABLE 4096 /* longest table that we read                  */
#define ACPI_MAX_CPUS  64
#define ACPI_ISA       16

/* Where one of the sixteen ISA interrupts arrives, and how it is told. */
struct acpi_isa {
	uint32_t gsi;
	bool low, level;
};

/*
 * Processors of a MADT: enabled local APICs in table order, each once.  ioapic
 * is the one whose inputs start at GSI 0; 0: there is none.
 */
struct acpi_madt {
	pa_t lapic, ioapic;
	struct acpi_isa isa[ACPI_ISA];
	unsigned cpus;
	uint32_t ids[ACPI_MAX_CPUS];
};

/* Where bus 0 of PCI segment 0 has its configuration window. */
struct acpi_mcfg {
	pa_t bus0;
};

/* A copy of one table, header included. */
struct acpi_table {
	uint32_t length;
	uint8_t bytes[ACPI_MAX_TABLE];
};

/*
 * Find the table with this signature ("APIC") through RSDP and RSDT or XSDT.
 * corrupt: spoil one byte of every copy of that table, or of the RSDP for
 * "RSDP" (a test hook, the word lie=...); NULL for none.
 * Returns NULL, or why there is no such table.
 */
const char *acpi_find(acpi_reader *read, const char *signature,
		      const char *corrupt, struct acpi_table *table);

/* Read processors and interrupts.  Returns NULL, or what is wrong. */
const char *acpi_parse_madt(const struct acpi_table *table,
			    struct acpi_madt *madt);

/* Read the window's address.  Returns NULL, or what is wrong. */
const char *acpi_parse_mcfg(const struct acpi_table *table,
			    struct acpi_mcfg *mcfg);
