/* SPDX-License-Identifier: MIT */
/*
 * e1000.c - copy memory by frames that the card sends to itself
 *
 *   sends:     [ filler, 256 bytes       ][ up to 1,024 bytes of the source ]
 *   receives:  [ 256: filler ][ 256: target ][ 256 ][ 256 ][ 256, or less   ]
 *
 * A receive buffer is 256 bytes, so the filler ends where the target begins, and
 * the frame is never shorter than Ethernet wants: no byte is added after the
 * target's last.  Checksums are off, every address is accepted.
 *
 * What is left of a frame whose end was never sent (its descriptors were out of
 * reach) would come before the next one: after an error one frame is sent that
 * nothing receives.
 */
#include "drivers/e1000.h"
#include "arch/bits.h"
#include "arch/clock.h"
#include "arch/io.h"
#include "arch/layout.h"
#include "drivers/pci.h"
#include "kernel/err.h"
#include "kernel/printk.h"
#include "kernel/thread.h"

enum e1000_reg {
	REG_CTRL = 0x0000,
	REG_MDIC = 0x0020, /* the PHY's registers                         */
	REG_IMC = 0x00d8,  /* interrupts off                              */
	REG_RCTL = 0x0100,
	REG_TCTL = 0x0400,
	REG_RDBAL = 0x2800, /* ring: base, high half, bytes, head, tail    */
	REG_RDBAH = 0x2804,
	REG_RDLEN = 0x2808,
	REG_RDH = 0x2810,
	REG_RDT = 0x2818,
	REG_TDBAL = 0x3800,
	REG_TDBAH = 0x3804,
	REG_TDLEN = 0x3808,
	REG_TDH = 0x3810,
	REG_TDT = 0x3818,
};

#define REGS_BYTES    0x20000
#define CTRL_LINK_UP  BIT(6)
#define MDIC_LOOPBACK 0x04204000u /* write PHY register 0: bit 14           */
/* On; frames of any address; buffers of 256 bytes; no checksum after them. */
#define RCTL_SET (BIT(1) | BIT(3) | BIT(4) | BIT(15) | 3u << 16 | BIT(26))
#define TCTL_EN  BIT(1)
/* In the third word of a descriptor to send. */
#define TX_END    BIT(24) /* of the frame                                */
#define TX_REPORT BIT(27) /* say when it is sent                         */
#define DONE      BIT(0)  /* in a descriptor's status byte               */

#define RING        8u
#define RX_BYTES    256u
#define PAYLOAD     1024u
#define SMALL_FRAME 64u
/* QEMU's card takes no frame for a second after RCTL was written. */
#define DEAF_NS UINT64_C(1100000000)

struct tx {
	uint64_t address;
	uint32_t word, status;
};

struct rx {
	uint64_t address;
	uint16_t length, checksum;
	uint8_t status, errors;
	uint16_t special;
};
_Static_assert(sizeof(struct tx) == 16 && sizeof(struct rx) == 16,
	       "82540EM: descriptors are 16 bytes");

/* In its own page, the first DMA_STAGE of own. */
struct rings {
	struct tx tx[RING];
	struct rx rx[RING];
	uint8_t filler[RX_BYTES], sink[RX_BYTES];
};

static struct {
	struct dma_engine engine;
	char *regs;
	uint64_t hears_at; /* ns                                          */
	bool spoiled;      /* half a frame may be in it                   */
} card;

static char own[2 * DMA_STAGE] DMA_MEMORY;

static uint32_t reg_read(enum e1000_reg reg)
{
	return mmio_read32(card.regs + reg);
}

static void reg_write(enum e1000_reg reg, uint64_t value)
{
	mmio_write32(card.regs + reg, (uint32_t)value);
}

static struct rings *rings(void)
{
	return (struct rings *)card.engine.own.va;
}

/* Where the card finds something of its own page. */
static iova_t bus_of(const void *p)
{
	const struct dma_own *o = &card.engine.own;

	return o->bus + (uint64_t)((const char *)p - o->va);
}

/* Both rings from their start; n buffers to receive into. */
static void rings_set(unsigned n)
{
	iova_t tx = bus_of(rings()->tx), rx = bus_of(rings()->rx);

	reg_write(REG_TCTL, 0); /* or it sends while the pointers change */
	reg_write(REG_RDBAL, rx);
	reg_write(REG_RDBAH, rx >> 32);
	reg_write(REG_RDLEN, sizeof(rings()->rx));
	reg_write(REG_RDH, 0);
	reg_write(REG_RDT, n);
	reg_write(REG_TDBAL, tx);
	reg_write(REG_TDBAH, tx >> 32);
	reg_write(REG_TDLEN, sizeof(rings()->tx));
	reg_write(REG_TDH, 0);
	reg_write(REG_TDT, 0);
	reg_write(REG_TCTL, TCTL_EN);
}

/* Send the first n descriptors; QEMU has done it when this returns. */
static void send(unsigned n)
{
	barrier(); /* what the card will read is written before this */
	reg_write(REG_TDT, n);
	barrier();
}

static void send_leftover(void)
{
	struct rings *r = rings();

	r->tx[0] = (struct tx){ bus_of(r->filler), SMALL_FRAME | TX_END, 0 };
	rings_set(0);
	send(1);
	card.spoiled = false;
}

/* One frame: at most PAYLOAD bytes. */
static int frame(iova_t dst, iova_t src, uint32_t bytes)
{
	struct rings *r = rings();
	unsigned n = 1 + (bytes + RX_BYTES - 1) / RX_BYTES;

	if (card.spoiled)
		send_leftover();
	r->tx[0] = (struct tx){ bus_of(r->filler), RX_BYTES, 0 };
	r->tx[1] = (struct tx){ src, bytes | TX_END | TX_REPORT, 0 };
	r->rx[0] = (struct rx){ .address = bus_of(r->sink) };
	for (unsigned i = 1; i < n; i++)
		r->rx[i] = (struct rx){ .address = dst + (i - 1) * RX_BYTES };
	rings_set(n + 1);
	send(2);
	if (READ_ONCE(r->tx[1].status) & DONE &&
	    READ_ONCE(r->rx[n - 1].status) & DONE)
		return 0;
	card.spoiled = true;
	return err(EIO);
}

static int e1000_copy(struct dma_engine *e, iova_t dst, iova_t src,
		      uint64_t bytes)
{
	int error = 0;

	(void)e;
	while (clock_ns() < card.hears_at)
		sleep_ns(card.hears_at - clock_ns());
	for (uint64_t done = 0; done < bytes && !error; done += PAYLOAD) {
		uint64_t left = bytes - done;

		error = frame(dst + done, src + done,
			      (uint32_t)(left < PAYLOAD ? left : PAYLOAD));
	}
	return error;
}

static const struct dma_ops e1000_ops = { .copy = e1000_copy };

static const char *device_init(struct pci_dev *dev)
{
	const char *why = pci_claim(dev, "e1000");
	void *regs;

	if (!why)
		why = pci_map(dev, 0, REGS_BYTES, &regs);
	if (why)
		return why;
	card.regs = regs;
	reg_write(REG_IMC, UINT32_MAX);
	reg_write(REG_CTRL, reg_read(REG_CTRL) | CTRL_LINK_UP);
	reg_write(REG_MDIC, MDIC_LOOPBACK);
	reg_write(REG_TCTL, TCTL_EN);
	reg_write(REG_RCTL, RCTL_SET);
	card.hears_at = clock_ns() + DEAF_NS;
	card.engine = (struct dma_engine){
		.name = "e1000",
		.devid = dev->devid,
		.address_bits = 64,
		.sleeps = true,
		.ops = &e1000_ops,
		.own = { .va = own,
			 .pa = (pa_t)own - KERNEL_BASE,
			 .len = sizeof(own) },
	};
	dma_register(&card.engine);
	pci_set_master(dev, true);
	return NULL;
}

void e1000_init(void)
{
	struct pci_dev *dev = pci_find(E1000_ID & 0xffff, E1000_ID >> 16, 0);
	const char *why = dev ? device_init(dev) : NULL;

	if (why)
		printk("# e1000: %s\n", why);
}
