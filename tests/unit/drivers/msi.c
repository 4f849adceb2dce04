/* SPDX-License-Identifier: MIT */
/*
 * msi.c - tests msi.c: the message that a device is given, and the interrupt it
 * causes
 */
#include "arch/clock.h"
#include "arch/io.h"
#include "drivers/edu.h"
#include "drivers/msi.h"
#include "kernel/string.h"
#include "kernel/thread.h"
#include "tests/base/test.h"
#include "tests/fixture/iommu/fake_pci.h"

_Static_assert(FAKE_PCIS > MSI_VECTORS, "enough to run out of vectors");

static void count(void *arg)
{
	atomic_fetch_add((_Atomic unsigned *)arg, 1);
}

/* A function with an MSI capability at `at`, its control bits as given. */
static struct pci_dev msi_fake_at(unsigned n, unsigned at, unsigned control)
{
	struct pci_dev dev = { .config = &fake_pci, .devid = (uint16_t)n };

	fake_functions[n] = (struct fake_pci){ 0 };
	fake_put(n, PCI_COMMAND, 0x00100000);
	fake_functions[n].regs[PCI_CAPS] = (uint8_t)at;
	fake_put(n, at, control << 16 | PCI_CAP_MSI);
	return dev;
}

static struct pci_dev msi_fake(unsigned n, unsigned control)
{
	return msi_fake_at(n, 0x40, control);
}

TEST(msi, message_names_cpu_and_vector,
     "the message names one vector and one CPU, in both layouts of the "
     "capability")
{
	for (unsigned wide = 0; wide < 2; wide++) {
		struct pci_dev dev = msi_fake(0, wide ? 0x00fe : 0x007e);
		unsigned data = wide ? 0x4c : 0x48;

		fake_put(0, 0x48, 0xdeadbeef);
		EXPECT_STR_NULL(msi_enable(&dev, 0, count, &fake_functions));
		EXPECT(dev.vector >= 0x30);
		EXPECT_EQ(fake_pci_read(0, 0x44, 4),
			  0xfee00000u | cpus[0].lapic_id << 12);
		EXPECT_EQ(fake_pci_read(0, data, 2), dev.vector);
		if (wide)
			EXPECT_EQ(fake_pci_read(0, 0x48, 4), 0);
		EXPECT_EQ(fake_pci_read(0, 0x42, 2), wide ? 0x8f : 0x0f);
		EXPECT(glob_match("*already*",
				  msi_enable(&dev, 0, count, &fake_functions)
					  ?: ""));
		msi_disable(&dev);
		EXPECT_EQ(fake_pci_read(0, 0x42, 2) & 1, 0);
		EXPECT_EQ(dev.vector, 0);
	}
}

TEST(msi, vectors_run_out,
     "each device has its own vector, and a device too many is refused")
{
	static struct pci_dev devs[FAKE_PCIS];
	const char *why = NULL;
	unsigned n = 0;

	for (; n < FAKE_PCIS; n++) {
		devs[n] = msi_fake(n, 0x80);
		why = msi_enable(&devs[n], 0, count, &fake_functions);
		if (why)
			break;
		for (unsigned i = 0; i < n; i++)
			EXPECT(devs[i].vector != devs[n].vector);
	}
	EXPECT(why && glob_match("*no vector*", why));
	EXPECT_EQ(fake_pci_read((uint16_t)n, 0x42, 2), 0x80);
	EXPECT(n > 0 && n <= MSI_VECTORS);
	while (n--)
		msi_disable(&devs[n]);
}

TEST(msi, missing_capability_is_refused,
     "a device without MSI is refused with a message")
{
	struct pci_dev dev = msi_fake(0, 0);
	const char *why;

	fake_functions[0].regs[PCI_CAPS] = 0;
	why = msi_enable(&dev, 0, count, &fake_functions);
	EXPECT(why && glob_match("*does not have*", why));
	EXPECT_EQ(dev.vector, 0);
}

/* Without the mask and pending registers, which do not matter here. */
TEST(msi, torn_capability_is_refused,
     "a capability that extends beyond config space is refused with a "
     "message, and one that ends with config space is used")
{
	static const struct {
		unsigned at, control;
		bool fits;
	} cases[] = {
		{ 0xf0, 0x80, true },  { 0xf4, 0x80, false },
		{ 0xf4, 0x00, true },  { 0xf8, 0x80, false },
		{ 0xf8, 0x00, false }, { 0xfc, 0x00, false },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pci_dev dev =
			msi_fake_at(0, cases[i].at, cases[i].control);
		const char *why = msi_enable(&dev, 0, count, &fake_functions);

		EXPECT_EQ(!why, cases[i].fits);
		if (why)
			EXPECT(glob_match("*beyond config space*", why));
		else
			msi_disable(&dev);
	}
}

/* Writing bits to RAISE sets them in the cause and sends the message. */
#define EDU_RAISE 0x60
#define EDU_ACK   0x64

/* The edu device with no vector, and its registers; SKIPs without one. */
static struct pci_dev *borrow_edu(char **regs)
{
	struct pci_dev *dev = pci_find(0x1234, 0x11e8, 0);
	void *va = NULL;

	if (!dev)
		SKIP("no edu on this machine's bus 0");
	EXPECT_STR_NULL(pci_map(dev, 0, PAGE_SIZE, &va));
	REQUIRE(va);
	*regs = va;
	if (dev->vector)
		msi_disable(dev);
	return dev;
}

static void give_back(void)
{
	EXPECT_STR_NULL(edu_set_cpu(0));
}

static bool counts(const unsigned *seen, unsigned want)
{
	uint64_t end = clock_ns() + UINT64_C(5000000000);

	while (READ_ONCE(*seen) < want && clock_ns() < end)
		yield();
	return READ_ONCE(*seen) == want;
}

TEST(msi, each_message_runs_the_handler_once,
     "each message interrupts once, and a device without bus mastering sends "
     "none")
{
	char *regs;
	struct pci_dev *dev = borrow_edu(&regs);
	static unsigned seen;

	seen = 0;
	EXPECT_STR_NULL(msi_enable(dev, 0, count, &seen));
	for (unsigned i = 1; i <= 3; i++) {
		mmio_write32(regs + EDU_RAISE, 1);
		EXPECT(counts(&seen, i));
		mmio_write32(regs + EDU_ACK, 1);
	}
	pci_set_master(dev, false);
	mmio_write32(regs + EDU_RAISE, 1);
	mmio_write32(regs + EDU_ACK, 1);
	pci_set_master(dev, true);
	msi_disable(dev);
	mmio_write32(regs + EDU_RAISE, 1);
	mmio_write32(regs + EDU_ACK, 1);
	sleep_ns(1000000); /* more interrupts would arrive now */
	EXPECT_EQ(seen, 3);
	give_back();
}

static unsigned seen_on[MAX_CPUS];

static void count_here(void *arg)
{
	(void)arg;
	WRITE_ONCE(seen_on[cpu_id()], seen_on[cpu_id()] + 1);
}

TEST_SMP(msi, message_reaches_the_cpu_asked,
	 "the handler runs on the CPU that the message names", 2)
{
	char *regs;
	struct pci_dev *dev = borrow_edu(&regs);

	memset(seen_on, 0, sizeof(seen_on));
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		EXPECT_STR_NULL(msi_enable(dev, cpu, count_here, NULL));
		mmio_write32(regs + EDU_RAISE, 1);
		EXPECT(counts(&seen_on[cpu], 1));
		mmio_write32(regs + EDU_ACK, 1);
		msi_disable(dev);
	}
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++)
		EXPECT_EQ(seen_on[cpu], 1);
	give_back();
}
