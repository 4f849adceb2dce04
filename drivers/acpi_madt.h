/* SPDX-License-Identifier: MIT */
/*
 * acpi_madt.h - the ACPI MADT: processors, and where interrupts arrive
 *
 * ACPI 6.5, section 5.2.12.  Firmware lists processors twice, lists ids that no
 * processor can have, and lists more than there are: the parser keeps each id
 * once, in the order of the table, and counts what it does not keep.
 */
#pragma once

#include "drivers/acpi.h"

#define ACPI_MAX_CPUS 64 /* ids that are kept                               */
#define ACPI_ISA      16
#define ACPI_IOAPICS  8

/* Where one of the sixteen ISA interrupts arrives, its polarity and trigger. */
struct acpi_isa {
	uint32_t gsi;
	bool low, level;
};

struct acpi_ioapic {
	pa_t pa;
	uint32_t gsi; /* number of its first input                      */
	uint8_t id;   /* as the IVRS names it                           */
};

/* Addresses are 0 where the table has none. */
struct acpi_madt {
	pa_t lapic;
	pa_t ioapic; /* the one whose inputs start at GSI 0               */
	uint8_t ioapic_id;  /* and its id                                  */
	unsigned n_ioapics; /* all of them, as many as there is room for  */
	struct acpi_ioapic ioapics[ACPI_IOAPICS];
	struct acpi_isa isa[ACPI_ISA];
	bool mailbox; /* CPUs are woken through memory, not by INIT         */
	unsigned cpus;
	uint32_t ids
		[ACPI_MAX_CPUS]; /* of local APICs, or of x2APICs             */
	unsigned beyond;    /* entries for which ids[] has no room            */
	unsigned broadcast; /* enabled entries with an id that means "all"    */
};

/*
 * Read processors and interrupts; of a table that is torn what stands before the
 * tear.  *madt is good to use in every case.  Returns NULL, or what is wrong.
 */
const char *acpi_parse_madt(const struct acpi_table *table,
			    struct acpi_madt *madt);
