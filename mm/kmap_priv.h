/* SPDX-License-Identifier: MIT */
/*
 * kmap_priv.h - what kmap.c, kstack.c and wx.c share; not for others
 */
#pragma once

#include "kernel/lock.h"
#include "mm/pt_x86.h"

#define MMIO_SIZE (UINT64_C(1) << 30) /* of the window for device registers */

extern struct pt kernel_pt;       /* kmap_lock once kmap_init() is done */
extern struct spinlock kmap_lock; /* RANK_KMAP; frames are taken inside */

/* Physical address of a byte of the kernel image. */
static inline pa_t image_pa(const char *symbol)
{
	return (va_t)symbol - KERNEL_BASE;
}
