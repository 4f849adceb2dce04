/* SPDX-License-Identifier: MIT */
/*
 * kmap_priv.h - private to kmap.c, kstack.c, mm/san/shadow.c and mm/check/wx.c
 */
#pragma once

#include "kernel/lock.h"
#include "mm/pt/pt_x86.h"

#define MMIO_SIZE (UINT64_C(1) << 30) /* of the window for device registers */

extern struct pt kernel_pt;       /* under kmap_lock after kmap_init() */
extern struct spinlock kmap_lock; /* RANK_KMAP; frames are taken inside */

/*
 * SAN=kasan: map memory for the shadow of all RAM and stacks in kernel_pt, then
 * turn the checks on (mm/san/shadow.c).  Called before kernel_pt is loaded,
 * because compiled code writes to the shadow.  Panics without memory.
 */
#if CONFIG_KASAN
void kmap_shadow(void);
#else
static inline void kmap_shadow(void)
{
}
#endif
