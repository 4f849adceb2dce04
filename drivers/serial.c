/* SPDX-License-Identifier: MIT */
/*
 * serial.c - 16550 registers; National Semiconductor PC16550D data sheet
 *
 *	line --> FIFO of the chip --interrupt--> ring --serial_read()--> reader
 *
 * A full ring switches the interrupt off, a reader that makes room on again:
 * both under the ring's lock, or a reader's "on" could be lost to an "off".
 */
#include "drivers/serial.h"
#include "arch/io.h"
#include "arch/ioapic.h"
#include "arch/lapic.h"
#include "arch/trap.h"
#include "drivers/irq_grant.h"
#include "kernel/panic.h"
#include "kernel/waitq.h"

#define PORT       0x3f8
#define ISA_IRQ    4
#define DATA       (PORT + 0)
#define IER        (PORT + 1)
#define FCR        (PORT + 2)
#define LCR        (PORT + 3)
#define MCR        (PORT + 4)
#define LSR        (PORT + 5)
#define IER_DATA   0x01
#define LCR_8N1    0x03
#define LCR_DLAB   0x80
#define MCR_ON     0x03
#define MCR_OUT2   0x08 /* on a PC: the interrupt reaches the controller  */
#define LSR_DATA   0x01
#define LSR_BREAK  0x10 /* reading clears it                              */
#define LSR_EMPTY  0x20
#define FIFO       16 /* bytes that an empty one takes                  */
#define POLL_LIMIT 100000
#define POLL_NS    4000000

#define RING 64u

/* Key: (L) lock */
static struct {
	struct spinlock lock; /* RANK_SERIAL                               */
	struct waitq reader;
	char bytes[RING];     /* (L)                                       */
	uint32_t in, out;     /* (L) bytes ever                            */
	bool listens, polled; /* written before the first read             */
} ring = { .lock = SPINLOCK_INIT(RANK_SERIAL, "serial") };

static _Atomic bool broken; /* a break was received */

void serial_init(void)
{
	outb(IER, 0);
	outb(LCR, LCR_DLAB);
	outb(DATA, 1); /* divisor 1: 115200 */
	outb(IER, 0);
	outb(LCR, LCR_8N1);
	outb(FCR, 0x07); /* FIFO on and empty */
	outb(MCR, MCR_ON);
}

/* Read the line status; a read clears the break, so keep it for serial_break(). */
static uint8_t line_status(void)
{
	uint8_t status = inb(LSR);

	if (status & LSR_BREAK)
		atomic_store(&broken, true);
	return status;
}

bool serial_break(void)
{
	line_status();
	return atomic_exchange(&broken, false);
}

void serial_write(const char *text, size_t len)
{
	while (len) {
		size_t room = len < FIFO ? len : FIFO;

		/* A dead line loses text, not the kernel. */
		for (int n = 0; !(line_status() & LSR_EMPTY) && n < POLL_LIMIT;
		     n++)
			;
		len -= room;
		while (room--)
			outb(DATA, (uint8_t)*text++);
	}
}

/* Move what the chip has into the ring; context: the ring's lock held. */
static void pull(void)
{
	while (line_status() & LSR_DATA) {
		if (ring.in - ring.out == RING) {
			outb(IER, 0);
			return;
		}
		ring.bytes[ring.in++ % RING] = (char)inb(DATA);
	}
}

static void received(struct trap_frame *frame)
{
	uint64_t flags = spin_lock_irq(&ring.lock);

	(void)frame;
	pull();
	spin_unlock_irq(&ring.lock, flags);
	lapic_eoi();
	wake_one(&ring.reader);
}

/* NULL; or why not, and then nothing is granted. */
static const char *interrupt_init(void)
{
	const char *why = irq_grant(IRQ_OF_IOAPIC, IRQ_SERIAL, 0);

	if (why || ioapic_enable_isa(ISA_IRQ, IRQ_SERIAL, 0))
		return why;
	irq_revoke(IRQ_OF_IOAPIC, IRQ_SERIAL);
	return "no pin of an I/O APIC";
}

bool serial_listen(void)
{
	assert(!ring.listens);
	waitq_init(&ring.reader);
	ring.listens = true;
	trap_set_handler(IRQ_SERIAL, received);
	ring.polled = interrupt_init() != NULL;
	outb(MCR, MCR_ON | MCR_OUT2);
	/* The pin goes up, and an edge is seen, even if data wait already. */
	outb(IER, ring.polled ? 0 : IER_DATA);
	return !ring.polled;
}

/* Drop the bytes before number `to`.  A full ring has switched the interrupt off.
 * Context: the ring's lock held. */
static void advance(uint32_t to)
{
	bool full = ring.in - ring.out == RING;

	require(spin_held(&ring.lock));
	ring.out = to;
	if (full && !ring.polled)
		outb(IER, IER_DATA);
}

/* Context: the ring's lock held. */
static void poll(void)
{
	require(spin_held(&ring.lock));
	if (ring.polled)
		pull();
}

static bool take(char *c)
{
	uint64_t flags = spin_lock_irq(&ring.lock);
	bool any;

	poll();
	any = ring.in != ring.out;
	if (any) {
		*c = ring.bytes[ring.out % RING];
		advance(ring.out + 1);
	}
	spin_unlock_irq(&ring.lock, flags);
	return any;
}

bool serial_skip_to(char c)
{
	uint64_t flags = spin_lock_irq(&ring.lock);
	uint32_t at = ring.out;
	bool found;

	assert(ring.listens);
	poll();
	while (at != ring.in && ring.bytes[at % RING] != c)
		at++;
	found = at != ring.in;
	if (found)
		advance(at + 1); //: serial-skip
	spin_unlock_irq(&ring.lock, flags);
	return found;
}

char serial_read(void)
{
	char c = 0;

	assert(ring.listens);
	if (!ring.polled)
		wait_event(&ring.reader, take(&c));
	else
		while (!take(&c))
			sleep_ns(POLL_NS);
	return c;
}
