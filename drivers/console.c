/* SPDX-License-Identifier: MIT */
/*
 * console.c - VGA text mode: 80 columns, of memory's 204 rows 25 are shown
 *
 * A new line costs one row's words: the first row that is shown moves on in
 * memory (CRT controller, start address).  Only at the end of memory are the
 * rows that are still shown copied to its beginning.
 * IBM VGA Technical Reference, "CRT Controller Registers".
 */
#include "drivers/console.h"
#include "arch/bits.h"
#include "arch/io.h"
#include "drivers/serial.h"

#define CRTC      0x3d4
#define START     0x0c /* and 0x0d: word of memory that is shown first     */
#define CURSOR    0x0e
#define COLUMNS   80u
#define SHOWN     25u
#define ROWS      ((unsigned)(CONSOLE_SIZE / 2 / COLUMNS))
#define GREY      0x0700u
#define TAB       8u
#define NOT_ASCII 0x80u

static volatile uint16_t *screen; /* NULL: there is none                   */
static unsigned row, column;      /* where the next character goes         */

static void crtc(uint8_t reg, unsigned word)
{
	outb(CRTC, reg);
	outb(CRTC + 1, (uint8_t)(word >> 8));
	outb(CRTC, reg + 1);
	outb(CRTC + 1, (uint8_t)word);
}

static void clear(unsigned from, unsigned rows)
{
	for (unsigned i = 0; i < rows * COLUMNS; i++)
		screen[from * COLUMNS + i] = GREY | ' ';
}

static void new_line(void)
{
	column = 0;
	if (++row == ROWS) {
		unsigned kept = (SHOWN - 1) * COLUMNS;

		for (unsigned i = 0; i < kept; i++)
			screen[i] = screen[ROWS * COLUMNS - kept + i];
		row = SHOWN - 1;
	}
	clear(row, 1);
	crtc(START, row < SHOWN ? 0 : (row - SHOWN + 1) * COLUMNS);
}

static void put(char c)
{
	if (c == '\n') {
		new_line();
	} else if (c == '\r') {
		column = 0;
	} else if (c == '\b') {
		column -= column > 0;
	} else if (c == '\t') {
		column = (column / TAB + 1) * TAB;
	} else if (((uint8_t)c & 0xc0) != NOT_ASCII && (uint8_t)c >= ' ') {
		/* Of a character of several bytes the first stands for all. */
		if (column >= COLUMNS)
			new_line();
		screen[row * COLUMNS + column++] =
			GREY | ((uint8_t)c < NOT_ASCII ? (uint8_t)c : '?');
	}
}

bool console_init(void *va)
{
	static bool found;

	screen = va;
	if (!screen || found)
		return found;
	/* Without a screen its memory may be RAM, but there is no controller. */
	crtc(CURSOR, 0x5aa5);
	outb(CRTC, CURSOR);
	if (inb(CRTC + 1) != 0x5a) {
		screen = NULL;
		return false;
	}
	found = true;
	clear(0, SHOWN);
	crtc(START, 0);
	return true;
}

void console_write(const char *text, size_t len)
{
	serial_write(text, len);
	if (!screen)
		return;
	for (size_t i = 0; i < len; i++)
		put(text[i]);
	crtc(CURSOR, row * COLUMNS + column);
}
