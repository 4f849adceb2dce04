/* SPDX-License-Identifier: MIT */
/*
 * shell.h - what the files of the shell's commands share
 */
#pragma once

#include "mm/mm.h"

/* "rwx" with - for what is missing, in buf. */
const char *shell_rights(enum prot prot, char buf[4]);

/* The address space that text names, with a user for the caller; or a line
 * that says why not, and NULL. */
struct mm *shell_find_mm(const char *text);

/* The user's page in frame number text, with a reference for the caller; or a
 * line that says why not, and NULL. */
struct page *shell_user_page(const char *text);

/* Drop every address space that commands have made. */
void shell_world_end(void);
