/* SPDX-License-Identifier: MIT */
/* domain_priv.h - between domain.c and attach.c */
#pragma once

#include "iommu/core/domain.h"

/* Make the pool of attachments.  Context: boot, once. */
void attach_init(void);
