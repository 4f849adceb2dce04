/* SPDX-License-Identifier: MIT */
/*
 * mm_priv.h - what the files that change address spaces all need
 */
#pragma once

#include "mm/anon_vma.h"
#include "mm/mm.h"
#include "mm/object.h"
#include "mm/pmm.h"
#include "mm/pool.h"
#include "mm/pt_x86.h"
#include "mm/region.h"
#include "mm/rmap.h"
#include "mm/zap.h"
