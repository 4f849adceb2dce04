/* SPDX-License-Identifier: MIT */
/*
 * acpi_clock.h - where firmware has clocks of known rate, beside the PIT
 */
#pragma once

#include "drivers/acpi.h"

/* 0: there is none. */
struct acpi_clocks {
	uint16_t pm_timer; /* its port                                    */
	pa_t hpet;         /* its registers                               */
};

/* Of the tables FACP and HPET; what they say absurdly is left 0. */
void acpi_parse_fadt(const struct acpi_table *table,
		     struct acpi_clocks *clocks);
void acpi_parse_hpet(const struct acpi_table *table,
		     struct acpi_clocks *clocks);
