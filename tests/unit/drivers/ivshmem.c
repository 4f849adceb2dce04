/* SPDX-License-Identifier: MIT */
/*
 * ivshmem.c - tests ivshmem.h: a disk that an engine copies from and to
 */
#include "drivers/ivshmem.h"
#include "kernel/err.h"
#include "kernel/string.h"
#include "tests/base/test.h"
#include "tests/fixture/iommu/engines.h"

static const struct ivshmem *disk(void)
{
	if (!ivshmem())
		SKIP("no ivshmem on this machine's bus 0");
	return ivshmem();
}

TEST(ivshmem, pages_go_out_and_come_back,
     "an engine writes a page to the disk and reads the same page back")
{
	struct dma_engine *e = need_engine("lsi0");
	const struct ivshmem *d = disk();
	uint8_t *out = engine_buffer(0), *in = engine_buffer(1);

	for (unsigned slot = 0; slot < 4; slot++) {
		iova_t at;

		EXPECT_EQ(ivshmem_range((4 - slot) * PAGE_SIZE, PAGE_SIZE, &at),
			  0);
		EXPECT_EQ(dma_copy(e, at, buffer_bus(out) + slot * PAGE_SIZE,
				   PAGE_SIZE),
			  0);
	}
	for (unsigned slot = 0; slot < 4; slot++)
		EXPECT_EQ(dma_copy(e, buffer_bus(in) + slot * PAGE_SIZE,
				   d->bus + (4 - slot) * PAGE_SIZE, PAGE_SIZE),
			  0);
	EXPECT_EQ(memcmp(in, out, BUFFER_SIZE), 0);
}

TEST(ivshmem, cpu_and_engine_see_one_memory,
     "the engine reads what the CPU stores on the disk, and the CPU what the "
     "engine writes")
{
	struct dma_engine *e = need_engine("lsi0");
	const struct ivshmem *d = disk();
	char *at = d->memory + 3 * PAGE_SIZE + 40, text[32] = "";

	memcpy(at, "stored by the CPU", 18);
	EXPECT_EQ(dma_read(e, d->bus + 3 * PAGE_SIZE + 40, text, 18), 0);
	EXPECT(!strcmp(text, "stored by the CPU"));
	/* tools/test looks for this one in the host's file. */
	EXPECT_EQ(dma_write(e, d->bus + 100, "visavis wrote this by DMA", 26),
		  0);
	memcpy(text, d->memory + 100, 26);
	EXPECT(!strcmp(text, "visavis wrote this by DMA"));
}

TEST(ivshmem, disk_has_an_end, "bytes beyond the disk's end have no address")
{
	const struct ivshmem *d = disk();
	iova_t bus = 0;

	EXPECT(d->size && d->size % PAGE_SIZE == 0);
	EXPECT_EQ(ivshmem_range(d->size - 1, 1, &bus), 0);
	EXPECT_EQ(bus, d->bus + d->size - 1);
	EXPECT_EQ(ivshmem_range(d->size - 1, 2, &bus), -EINVAL);
	EXPECT_EQ(ivshmem_range(d->size + 1, 0, &bus), -EINVAL);
	EXPECT_EQ(ivshmem_range(1, UINT64_MAX, &bus), -EINVAL);
	EXPECT_EQ(bus, d->bus + d->size - 1);
}
