/* SPDX-License-Identifier: MIT */
/*
 * serial.h - the first serial port (16550 at 3f8h), polled
 */
#pragma once

#include <stddef.h>

/* 115200 8n1, no interrupts. */
void serial_init(void);

/* Send len bytes; \n goes out as it is.  Waits for the line, bounded. */
void serial_write(const char *text, size_t len);
