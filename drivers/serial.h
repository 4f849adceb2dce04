/* SPDX-License-Identifier: MIT */
/*
 * serial.h - the first serial port (16550 at 3f8h)
 *
 * Sending is polled, so that a panic can print.  Receiving sleeps until the line
 * interrupts.  When the ring of received bytes is full, further bytes stay in the
 * chip and the other end waits: none is dropped here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include "arch/compiler.h"

/* 115200 8n1, no interrupts. */
void serial_init(void);

/* Send len bytes; \n goes out as it is.  Waits for the line, bounded. */
void serial_write(const char *text, size_t len);

/*
 * True if a break was received since the last call: a request by the other end, or
 * by QEMU's `chardev-send-break`.  Context: any, NMI included.
 */
bool serial_break(void);

/*
 * Start to receive.  Returns false if the line cannot interrupt: then
 * serial_read() polls it.  Called once.  Context: a thread.
 */
bool serial_listen(void);

/* The next byte received; sleeps until there is one.  After serial_listen(). */
char serial_read(void);

/*
 * Is byte c among those that wait for serial_read()?  Then drop it and all before it,
 * as a terminal's interrupt key does.  What is still in the chip, since the ring is full,
 * is not seen.  Context: the thread that reads; after serial_listen().
 */
must_check bool serial_skip_to(char c);
