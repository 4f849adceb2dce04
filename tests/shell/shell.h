/* SPDX-License-Identifier: MIT */
/*
 * shell.h - what the files of the shell's commands share
 */
#pragma once

#include "drivers/dma.h"
#include "iommu/core/iommu.h"
#include "mm/core/mm.h"

/* "rwx" with - for what is missing, in buf. */
const char *shell_rights(enum prot prot, char buf[4]);

/* The address space that text names, with a user for the caller; or a line
 * that says why not, and NULL. */
struct mm *shell_find_mm(const char *text);

/* The user's page in frame number text, with a reference for the caller; or a
 * line that says why not, and NULL. */
struct page *shell_user_page(const char *text);

/* What there is to say of an error; returns it. */
int shell_say(int error);

/* A command NAME MM START END: fn on the range, and what there is to say of it.
 * Returns what the command does. */
int shell_on_range(unsigned argc, char **argv,
		   int (*fn)(struct mm *mm, va_t start, va_t end));

/* Drop every address space that commands have made. */
void shell_spaces_end(void);

/* Is there a guest that computes? */
bool shell_guest_runs(void);

/* End the guest, if there is one: before the address spaces. */
void shell_guest_end(void);

/* The machine's IOMMU; or NULL, and a line that says that there is none. */
struct iommu *shell_iommu(void);

/* The device of this name; or NULL, and a line that says that there is none. */
struct dma_engine *shell_find_device(const char *text);

/* Is any device bound to an address space? */
bool shell_devices_bound(void);

/* Unbind every device: before the address spaces end. */
void shell_devices_end(void);
