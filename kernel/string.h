/* SPDX-License-Identifier: MIT */
/*
 * string.h - the functions that the compiler calls, and a few more
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* ISO C */
void *memcpy(void *to, const void *from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);

/* Returns whether text matches the pattern, in which * is any run of characters. */
bool glob_match(const char *pattern, const char *text);

/* Returns how many single-character edits make a into b: for "did you mean". */
unsigned edit_distance(const char *a, const char *b);
