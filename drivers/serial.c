/* SPDX-License-Identifier: MIT */
/*
 * serial.c - 16550 registers; National Semiconductor PC16550D data sheet
 */
#include "drivers/serial.h"
#include "arch/io.h"

#define PORT       0x3f8
#define DATA       (PORT + 0)
#define IER        (PORT + 1)
#define FCR        (PORT + 2)
#define LCR        (PORT + 3)
#define MCR        (PORT + 4)
#define LSR        (PORT + 5)
#define LCR_8N1    0x03
#define LCR_DLAB   0x80
#define LSR_EMPTY  0x20
#define POLL_LIMIT 100000

void serial_init(void)
{
	outb(IER, 0);
	outb(LCR, LCR_DLAB);
	outb(DATA, 1); /* divisor 1: 115200 */
	outb(IER, 0);
	outb(LCR, LCR_8N1);
	outb(FCR, 0x07); /* FIFO on and empty */
	outb(MCR, 0x03);
}

void serial_write(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		/* A dead line loses text, not the kernel. */
		for (int n = 0; !(inb(LSR) & LSR_EMPTY) && n < POLL_LIMIT; n++)
			;
		outb(DATA, (uint8_t)text[i]);
	}
}
