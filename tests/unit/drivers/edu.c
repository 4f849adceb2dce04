/* SPDX-License-Identifier: MIT */
/*
 * edu.c - tests edu.h: the device whose transfers take time
 */
#include "arch/clock.h"
#include "arch/io.h"
#include "drivers/edu.h"
#include "kernel/err.h"
#include "kernel/string.h"
#include "kernel/thread.h"
#include "tests/base/test.h"
#include "tests/fixture/iommu/engines.h"
#include "tests/fixture/mm/sync_point.h"

/* A test that needs a transfer under way begins one again if it has ended before the
 * test came to its point: the CPU may have been stopped for longer. */
#define TRIES     5u
#define RAISE     0x60 /* registers                                        */
#define COMMAND   0x98
#define RUNS      BIT(0)
#define CAUSE     1u
#define CAUSE_DMA 0x100u

static char *registers(void)
{
	void *regs;

	EXPECT_STR_NULL(
		pci_map(pci_find(0x1234, 0x11e8, 0), 0, PAGE_SIZE, &regs));
	return regs;
}

static int run(enum edu_way way, const void *at, unsigned offset,
	       unsigned bytes)
{
	int error = edu_start(way, buffer_bus(at), offset, bytes);

	return error ? error : edu_wait();
}

TEST(edu, device_memory_keeps_its_bytes,
     "the device's memory returns what was written, at every offset")
{
	uint8_t *src = engine_buffer(0), *dst = engine_buffer(1);

	need_engine("edu");
	EXPECT_EQ(run(EDU_TAKE, src, 0, 2048), 0);
	EXPECT_EQ(run(EDU_TAKE, src + 3000, 2048, EDU_BYTES - 2048), 0);
	memset(src, 0, BUFFER_SIZE);
	EXPECT_EQ(run(EDU_GIVE, dst + 1, 100, 2000), 0);
	EXPECT_EQ(run(EDU_GIVE, dst + 2001, EDU_BYTES - 10, 10), 0);
	EXPECT_EQ(dst[0], buffer_pattern(1, 0));
	for (unsigned at = 0; at < 1948; at++)
		EXPECT_EQ(dst[1 + at], buffer_pattern(0, 100 + at));
	for (unsigned at = 1948; at < 2000; at++)
		EXPECT_EQ(dst[1 + at], buffer_pattern(0, 3000 + at - 1948));
	for (unsigned at = 0; at < 10; at++)
		EXPECT_EQ(dst[2001 + at],
			  buffer_pattern(0, 3000 + EDU_BYTES - 2058 + at));
	EXPECT_EQ(dst[2011], buffer_pattern(1, 2011));
}

TEST(edu, bytes_move_at_the_end,
     "a transfer takes time, and moves the bytes that are there when it ends")
{
	uint8_t *src = engine_buffer(0), *dst = engine_buffer(1);
	unsigned n = 0;
	char *regs;
	bool shown;

	need_engine("edu");
	regs = registers();
	do {
		uint64_t start = clock_ns();

		src[5] = 0xff;
		EXPECT_EQ(edu_start(EDU_TAKE, buffer_bus(src), 0, 64), 0);
		src[5] =
			0x10; /* after the start: a copy at once would miss it */
		shown = mmio_read64(regs + COMMAND) & RUNS && edu_busy();
		EXPECT_EQ(edu_wait(), 0);
		EXPECT(!edu_busy());
		shown = shown && clock_ns() - start < UINT64_C(1800000000);
	} while (!shown && ++n < TRIES);
	EXPECT(shown);
	EXPECT_EQ(run(EDU_GIVE, dst, 0, 64), 0);
	EXPECT_EQ(dst[5], 0x10);
	EXPECT_EQ(dst[6], buffer_pattern(0, 6));
}

TEST(edu, one_transfer_at_a_time,
     "a second transfer is refused while the first is under way, and does no "
     "harm")
{
	uint8_t *src = engine_buffer(0), *dst = engine_buffer(1);
	unsigned n = 0;
	int second;

	need_engine("edu");
	do {
		dst = engine_buffer(1);
		EXPECT_EQ(edu_start(EDU_TAKE, buffer_bus(src), 0, 64), 0);
		second = edu_start(EDU_GIVE, buffer_bus(dst), 0, 64);
		EXPECT_EQ(edu_wait(), 0);
		EXPECT_EQ(edu_wait(), 0);
	} while (!second && ++n < TRIES);
	EXPECT_EQ(second, -EBUSY);
	EXPECT_EQ(dst[0], buffer_pattern(1, 0));
	EXPECT_EQ(run(EDU_GIVE, dst, 0, 64), 0);
	EXPECT_EQ(dst[63], buffer_pattern(0, 63));
}

TEST(edu, each_transfer_interrupts_once, "each transfer interrupts once")
{
	unsigned before = edu_interrupts();
	uint8_t *src = engine_buffer(0);

	need_engine("edu");
	for (unsigned i = 0; i < 3; i++)
		EXPECT_EQ(run(EDU_TAKE, src, 0, 16), 0);
	EXPECT_EQ(edu_interrupts(), before + 3);
}

static _Atomic uint32_t causes;

static void note_cause(uint64_t cause, uint64_t unused, void *arg)
{
	atomic_fetch_or(&causes, (uint32_t)cause);
}

TEST(edu, other_causes_end_nothing,
     "an interrupt for another cause does not end the transfer")
{
	uint8_t *src = engine_buffer(0), *dst = engine_buffer(1);
	bool busy, ended;
	unsigned n = 0;
	char *regs;

	need_engine("edu");
	regs = registers();
	EXPECT_EQ(run(EDU_TAKE, src, 0, 16), 0);
	hook("edu_interrupt", note_cause, NULL);
	do {
		atomic_store(&causes, 0);
		EXPECT_EQ(edu_start(EDU_GIVE, buffer_bus(dst), 0, 16), 0);
		mmio_write32(regs + RAISE, CAUSE);
		while (!(atomic_load(&causes) & CAUSE))
			yield();
		busy = edu_busy();
		ended = atomic_load(&causes) & CAUSE_DMA;
		EXPECT_EQ(edu_wait(), 0);
	} while (ended && ++n < TRIES);
	unhook("edu_interrupt");
	EXPECT(busy && !ended);
	EXPECT_EQ(dst[15], buffer_pattern(0, 15));
}

TEST(edu, device_memory_has_an_end,
     "bytes beyond the device's memory are refused before a transfer starts")
{
	iova_t bus = buffer_bus(engine_buffer(0));

	need_engine("edu");
	EXPECT_EQ(edu_start(EDU_TAKE, bus, 0, EDU_BYTES + 1), -EINVAL);
	EXPECT_EQ(edu_start(EDU_TAKE, bus, EDU_BYTES, 1), -EINVAL);
	EXPECT_EQ(edu_start(EDU_GIVE, bus, UINT32_MAX, 2), -EINVAL);
	EXPECT_EQ(edu_start(EDU_GIVE, bus, 0, 0), -EINVAL);
	EXPECT(!edu_busy());
}

static void wait_too(void *arg)
{
	*(int *)arg = edu_wait();
}

TEST(edu, any_thread_may_wait,
     "a thread that did not start the transfer can wait for its end")
{
	uint8_t *src = engine_buffer(0);
	struct thread *t;
	int theirs = 1;

	need_engine("edu");
	EXPECT_EQ(edu_start(EDU_TAKE, buffer_bus(src), 0, 16), 0);
	t = thread_create("waiter", wait_too, &theirs);
	REQUIRE(t);
	EXPECT_EQ(edu_wait(), 0);
	thread_join(t);
	EXPECT_EQ(theirs, 0);
}

TEST(edu, transfer_without_bus_mastering_fails,
     "a device without bus mastering moves nothing and raises no interrupt")
{
	uint8_t *src = engine_buffer(0), *dst = engine_buffer(1);
	struct pci_dev *dev = pci_find(0x1234, 0x11e8, 0);

	need_engine("edu");
	EXPECT_EQ(run(EDU_TAKE, src, 0, 64), 0);
	pci_set_master(dev, false);
	EXPECT_EQ(run(EDU_GIVE, dst, 0, 64), -EIO);
	pci_set_master(dev, true);
	for (unsigned at = 0; at < 64; at++)
		EXPECT_EQ(dst[at], buffer_pattern(1, at));
	EXPECT_EQ(run(EDU_GIVE, dst, 0, 64), 0);
	EXPECT_EQ(dst[63], buffer_pattern(0, 63));
}

TEST_SMP(edu, any_cpu_serves_it,
	 "the end of a transfer is handled on "
	 "whichever CPU takes the interrupt",
	 2)
{
	uint8_t *src = engine_buffer(0);

	need_engine("edu");
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		EXPECT_STR_NULL(edu_set_cpu(cpu));
		EXPECT_EQ(run(EDU_TAKE, src, 0, 16), 0);
	}
	EXPECT_STR_NULL(edu_set_cpu(0));
}
