/* SPDX-License-Identifier: MIT */
/*
 * dma.c - what the CPU spends on having a device move bytes
 *
 * The device's own work costs no instructions: QEMU does it inside the register
 * write.
 */
#include "drivers/lsi.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "tests/bench/bench.h"
#include "tests/fixture/iommu/engines.h"

#define ROUNDS 1000

static struct lsi *chip(void)
{
	if (!lsi_at(0)) {
		printk("# no lsi0: nothing is measured\n");
		return NULL;
	}
	need_engine("lsi0");
	return lsi_at(0);
}

BENCH(dma_copy_page, "dma_copy() of one page by the LSI")
{
	iova_t src = buffer_bus(engine_buffer(0));
	iova_t dst = buffer_bus(engine_buffer(1));
	struct lsi *lsi = chip();
	uint64_t t = bench_start();

	if (!lsi)
		return;
	for (unsigned i = 0; i < ROUNDS; i++) {
		int error = dma_copy(&lsi->engine, dst, src, PAGE_SIZE);

		assert(!error);
	}
	bench_report("dma_copy_page", bench_stop(t), ROUNDS, "instructions");
}

BENCH(dma_run_program, "the shortest program: assembled, started, ended")
{
	const struct lsi_insn program[] = { lsi_interrupt(1) };
	struct lsi *lsi = chip();
	uint64_t t = bench_start();
	uint32_t tag;

	if (!lsi)
		return;
	for (unsigned i = 0; i < ROUNDS; i++) {
		int error = lsi_run(lsi, LSI_IN_MEMORY, program, 1, &tag);

		assert(!error);
	}
	bench_report("dma_run_program", bench_stop(t), ROUNDS, "instructions");
}
