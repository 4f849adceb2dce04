/* SPDX-License-Identifier: MIT */
/*
 * serial.h - the first serial port (16550 at 3f8h)
 *
 * Sending is polled, so that a panic can speak.  Receiving sleeps until the
 * line interrupts.  What nobody has read yet stays in the chip once our ring
 * is full, and the other end waits: nothing is dropped here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* 115200 8n1, no interrupts. */
void serial_init(void);

/* Send len bytes; \n goes out as it is.  Waits for the line, bounded. */
void serial_write(const char *text, size_t len);

/*
 * Receive from now on.  Returns false if the line cannot interrupt: then
 * serial_read() looks at it from time to time.  Once.  Context: a thread.
 */
bool serial_listen(void);

/* The next byte received; sleeps until there is one.  After serial_listen(). */
char serial_read(void);
