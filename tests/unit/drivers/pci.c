/* SPDX-License-Identifier: MIT */
/*
 * pci.c - tests pci.c and pci_config.c
 *
 * The real bus, and fake functions with contradictory registers.
 */
#include "kernel/panic.h"
#include "kernel/string.h"
#include "mm/frame/pmm.h"
#include "tests/base/test.h"
#include "tests/fixture/iommu/fake_pci.h"

/* -------------------------------------------------------------- the bus */

static const struct pci_config *const ways[] = { &pci_ports, &pci_ecam };

TEST(pci, both_ways_show_the_same,
     "ports and memory-mapped config space show the same registers of every "
     "function")
{
	if (!pci_has_ecam())
		SKIP("no memory-mapped config space");
	for (unsigned devid = 0; devid < 256; devid++)
		for (unsigned reg = 0; reg < 256; reg += 4)
			EXPECT_EQ(pci_ecam.read((uint16_t)devid, reg, 4),
				  pci_ports.read((uint16_t)devid, reg, 4));
}

/* Return a register of which every bit can be set: the upper half of a BAR. */
static struct pci_dev *wide_register(unsigned *reg)
{
	struct pci_dev *dev;

	for (unsigned i = 0; (dev = pci_at(i)); i++) {
		for (unsigned bar = 0; bar < PCI_BARS; bar++) {
			uint64_t size = dev->bars[bar].size;

			*reg = PCI_BAR0 + 4 * bar;
			if (size && size <= BIT(16) && !dev->bars[bar].io)
				return dev;
		}
	}
	return NULL;
}

TEST(pci, write_one_way_reads_the_other,
     "a write through one mechanism is read through the other, and changes "
     "nothing else")
{
	unsigned reg = 0;
	struct pci_dev *dev = wide_register(&reg);
	uint32_t was, command;

	if (!pci_has_ecam())
		SKIP("no memory-mapped config space");
	REQUIRE(dev);
	was = pci_read(dev, reg, 4);
	command = pci_read(dev, PCI_COMMAND, 2);
	pci_write(dev, PCI_COMMAND, 2,
		  0); /* disabled meanwhile: it decodes no address */
	for (unsigned w = 0; w < 2; w++) {
		const struct pci_config *to = ways[w], *from = ways[!w];

		to->write(dev->devid, reg + 2, 1, 0x5a);
		EXPECT_EQ(from->read(dev->devid, reg, 4),
			  (was & 0xff00ffff) | 0x5a0000);
		to->write(dev->devid, reg + 2, 2, 0xa5c3);
		EXPECT_EQ(from->read(dev->devid, reg, 4),
			  (was & 0xffff) | 0xa5c30000);
		to->write(dev->devid, reg, 4, was);
		EXPECT_EQ(from->read(dev->devid, reg, 4), was);
	}
	pci_write(dev, PCI_COMMAND, 2, command);
}

TEST(pci, narrow_reads_are_parts_of_wide_ones,
     "byte and word reads return the parts of the dword")
{
	struct pci_dev *dev = pci_at(0);

	REQUIRE(dev);
	for (unsigned w = 0; w < 1u + pci_has_ecam(); w++) {
		for (unsigned reg = 0; reg < 64; reg++) {
			uint32_t dword =
				ways[w]->read(dev->devid, reg & ~3u, 4);

			dword >>= reg % 4 * 8;
			EXPECT_EQ(ways[w]->read(dev->devid, reg, 1),
				  dword & 0xff);
			if (reg % 2 == 0)
				EXPECT_EQ(ways[w]->read(dev->devid, reg, 2),
					  dword & 0xffff);
		}
	}
}

TEST(pci, functions_are_found_once,
     "functions are found once, in order of their numbers, and each responds")
{
	struct pci_dev *dev;
	int last = -1;

	for (unsigned i = 0; (dev = pci_at(i)); i++) {
		EXPECT(dev->devid > last);
		last = dev->devid;
		EXPECT_EQ(pci_read(dev, PCI_VENDOR, 2), dev->vendor);
		for (unsigned bar = 0; bar < PCI_BARS; bar++)
			EXPECT_STR_NULL(dev->bars[bar].size ? dev->bars[bar].bad
							    : NULL);
	}
	EXPECT(last >= 0);
	EXPECT(!pci_find(0xffff, 0xffff, 0));
}

TEST(pci, undriven_functions_master_no_bus,
     "a function without a driver does not master the bus")
{
	struct pci_dev *dev;

	for (unsigned i = 0; (dev = pci_at(i)); i++)
		EXPECT(dev->driver || !pci_is_master(dev));
}

/* ------------------------------------------------------------- the liar */

/* A function with one BAR: its value, and the bits that cannot be set. */
static struct pci_dev liar(unsigned bar, uint32_t value, uint32_t fixed)
{
	struct pci_dev dev;

	fake_functions[0] = (struct fake_pci){ 0 };
	fake_put(0, PCI_VENDOR, 0x56781234);
	fake_put(0, PCI_COMMAND,
		 0x0010ffff); /* all enabled, with a capability list */
	for (unsigned i = 0; i < PCI_BARS; i++)
		fake_stick(0, PCI_BAR0 + 4 * i, i == bar ? fixed : UINT32_MAX);
	fake_put(0, PCI_BAR0 + 4 * bar, value);
	REQUIRE(pci_probe(&fake_pci, 0, &dev));
	return dev;
}

TEST(pci, probing_disables_bus_mastering,
     "a function that was probed does not master the bus")
{
	struct pci_dev dev = liar(0, 0xfe000000, 0xfff);

	EXPECT(!pci_is_master(&dev));
	EXPECT_EQ(fake_pci_read(0, PCI_COMMAND, 2),
		  0xffff & ~PCI_COMMAND_MASTER);
	pci_set_master(&dev, true);
	EXPECT(pci_is_master(&dev));
}

TEST(pci, sizing_leaves_no_trace,
     "a BAR is sized while no access can hit it, and keeps its address")
{
	struct pci_dev dev = liar(2, 0xfe00000c, 0xffff);

	fake_stick(0, PCI_BAR0 + 12, 0); /* the upper half */
	fake_put(0, PCI_BAR0 + 12, 0x3f);
	pci_probe(&fake_pci, 0, &dev);
	EXPECT_EQ(fake_pci_read(0, PCI_BAR0 + 8, 4), 0xfe00000c);
	EXPECT_EQ(fake_pci_read(0, PCI_BAR0 + 12, 4), 0x3f);
	EXPECT_EQ(fake_functions[0].sized_while_awake, 0);
}

TEST(pci, bars_have_their_size,
     "size and address of a BAR follow from the bits that cannot be set")
{
	struct pci_dev dev = liar(1, 0xfebf1000, 0xfff);

	EXPECT(!dev.bars[0].size && !dev.bars[2].size);
	EXPECT_STR_NULL(dev.bars[1].bad);
	EXPECT_EQ(dev.bars[1].size, 0x1000);
	EXPECT_EQ(dev.bars[1].pa, 0xfebf1000);

	dev = liar(0, 0xc001, 0xffff00ff); /* 256 ports, 16-bit decoder */
	EXPECT_STR_NULL(dev.bars[0].bad);
	EXPECT(dev.bars[0].io);
	EXPECT_EQ(dev.bars[0].size, 0x100);
	EXPECT_EQ(dev.bars[0].pa, 0xc000);

	liar(0, 0x0000000c, 0x00ffffff); /* 64-bit, 16 MiB above 4 GiB */
	fake_stick(0, PCI_BAR0 + 4, 0);
	fake_put(0, PCI_BAR0 + 4, 0x20);
	pci_probe(&fake_pci, 0, &dev);
	EXPECT_STR_NULL(dev.bars[0].bad);
	EXPECT_EQ(dev.bars[0].size, UINT64_C(1) << 24);
	EXPECT_EQ(dev.bars[0].pa, UINT64_C(0x20) << 32);
	EXPECT(!dev.bars[1].size);
}

/* Return whether mapping len bytes of the BAR is refused with this message. */
static bool refused(struct pci_dev dev, unsigned bar, uint64_t len,
		    const char *words)
{
	void *regs = NULL;
	const char *why = pci_map(&dev, bar, len, &regs);

	if (why && !regs && glob_match(words, why))
		return true;
	test_note("`%s`, not `%s`", why ? why : "mapped", words);
	return false;
}

TEST(pci, absurd_bars_are_refused,
     "each kind of invalid BAR is refused by name and not mapped")
{
	struct pci_dev high = liar(0, 4, 0xfff);

	fake_stick(0, PCI_BAR0 + 4, 0);
	fake_put(0, PCI_BAR0 + 4, 0x10000);
	pci_probe(&fake_pci, 0, &high);
	EXPECT(refused(high, 0, 16, "*beyond*"));
	EXPECT(refused(liar(0, BIT(30), 0x3fffffff), 0, 16, "*absurd size*"));
	EXPECT(refused(liar(0, 0xfe000000, 0x10fff), 0, 16, "*power of two*"));
	EXPECT(refused(liar(0, 0, 0xfff), 0, 16, "*no address*"));
	EXPECT(refused(liar(0, 0xfe000002, 0xfff), 0, 16, "*reserved kind*"));
	EXPECT(refused(liar(5, 0xfe000004, 0xfff), 5, 16, "*upper half*"));
	EXPECT(refused(liar(0, 0xc001, 0xffff00ff), 0, 16, "*port space*"));
	EXPECT(refused(liar(0, 0xfe000000, 0xfff), 1, 16, "*not have*"));
	EXPECT(refused(liar(0, 0xfe000000, 0xfff), 0, 0x1001, "*smaller*"));
	EXPECT(refused(liar(0, 2 << 20, 0xfff), 0, 16, "*in RAM*"));
}

/* The first memory BAR below 4 GiB whose device has a driver; NULL: none. */
static const struct pci_bar *driven_bar(void)
{
	const struct pci_dev *dev;

	for (unsigned i = 0; (dev = pci_at(i)); i++)
		for (unsigned b = 0; dev->driver && b < PCI_BARS; b++)
			if (dev->bars[b].size && !dev->bars[b].io &&
			    dev->bars[b].pa <= UINT32_MAX)
				return &dev->bars[b];
	return NULL;
}

TEST(pci, bars_are_not_shared,
     "a device whose BAR has exactly the address of a driven device's is "
     "refused with a message")
{
	const struct pci_bar *bar = driven_bar();
	struct pci_dev dev;

	if (!bar)
		SKIP("no device of this machine has a driver and a BAR");
	dev = liar(0, (uint32_t)bar->pa, (uint32_t)bar->size - 1);
	REQUIRE(dev.bars[0].pa == bar->pa && dev.bars[0].size == bar->size);
	EXPECT(refused(dev, 0, 16, "*would be those of a BAR*"));
}

/* --------------------------------------------------------- capabilities */

static unsigned capability(unsigned first, unsigned id, const char **why)
{
	struct pci_dev dev = { .config = &fake_pci };

	fake_put(0, PCI_COMMAND, 0x00100000);
	fake_functions[0].regs[PCI_CAPS] = (uint8_t)first;
	return pci_capability(&dev, id, why);
}

TEST(pci, capability_lists_end,
     "a capability list that loops or leaves its "
     "area is refused with a message")
{
	const char *why;

	fake_functions[0] = (struct fake_pci){ 0 };
	fake_put(0, 0x40, 0x00005001); /* id 1, then 50h */
	fake_put(0, 0x50, 0x00006011); /* id 11h, then 60h */
	fake_put(0, 0x60, 0x00000005); /* MSI, the last */
	EXPECT_EQ(capability(0x40, PCI_CAP_MSI, &why), 0x60);
	EXPECT_EQ(capability(0x40, 0x99, &why), 0);
	EXPECT(glob_match("*does not have*", why));
	EXPECT_EQ(capability(0, PCI_CAP_MSI, &why), 0);
	EXPECT(glob_match("*does not have*", why));

	fake_put(0, 0x60, 0x00004005); /* back to the first */
	EXPECT_EQ(capability(0x40, PCI_CAP_MSI, &why), 0x60);
	EXPECT_EQ(capability(0x40, 0x99, &why), 0);
	EXPECT(glob_match("*loop*", why));
	fake_put(0, 0x60, 0x00006005); /* its own successor */
	EXPECT_EQ(capability(0x40, 0x99, &why), 0);
	EXPECT(glob_match("*loop*", why));
	fake_put(0, 0x60, 0x00001005); /* into the BARs */
	EXPECT_EQ(capability(0x40, 0x99, &why), 0);
	EXPECT(glob_match("*header*", why));
}

TEST(pci, last_bus_is_the_subordinate_one,
     "the buses below a bridge reach to its subordinate number; a device that "
     "is no bridge has none")
{
	struct pci_dev dev = { .config = &fake_pci, .devid = 3 };

	memset(fake_functions, 0, sizeof(fake_functions));
	fake_put(3, PCI_BUSES, 0x00050201);
	EXPECT_EQ(pci_last_below(&dev), 0);
	dev.header = 1;
	EXPECT_EQ(pci_last_below(&dev), 5);
}

static void note_bus(uint16_t devid, void *arg)
{
	*(unsigned *)arg = devid >> 8; /* in order of devid */
}

TEST(pci, last_bus_is_of_any_root,
     "no function of any root bus is on a bus after the last one")
{
	unsigned last = 0;

	pci_walk(0, note_bus, &last);
	EXPECT(pci_last_bus() >= last);
}
