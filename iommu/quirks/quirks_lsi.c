/* SPDX-License-Identifier: MIT */
/*
 * quirks_lsi.c - the LSIs do the probe's transfers
 *
 * QEMU runs a short program within the register write that starts it, so a
 * transfer is over then.  A chip that is denied cannot read its program; it is
 * reset without a wait.
 */
#include "drivers/lsi.h"
#include "iommu/quirks/quirks.h"
#include "kernel/err.h"
#include "kernel/panic.h"

#define POLLS 8

static void lsi_move_bytes(struct dma_engine *e, iova_t dst, iova_t src,
			   unsigned bytes)
{
	struct lsi_insn program[] = {
		lsi_move((uint32_t)dst, (uint32_t)src, bytes), lsi_interrupt(0)
	};
	struct lsi *lsi = container_of(e, struct lsi, engine);
	int error = lsi_start(lsi, LSI_IN_MEMORY, program, ARRAY_SIZE(program));
	uint32_t tag;

	assert(!error);
	for (unsigned i = 0; i < POLLS; i++)
		if (lsi_poll(lsi, &tag) != -EAGAIN)
			return;
	lsi_stop(lsi);
}

const struct quirk_devices *quirks_lsis(void)
{
	static struct quirk_devices lsis = { .messages = true,
					     .move = lsi_move_bytes };

	for (; lsis.n < QUIRK_DEVICES && lsi_at(lsis.n); lsis.n++)
		lsis.at[lsis.n] = &lsi_at(lsis.n)->engine;
	return &lsis;
}
