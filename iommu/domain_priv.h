/* SPDX-License-Identifier: MIT */
/* domain_priv.h - between domain.c and member.c */
#pragma once

#include "iommu/domain.h"

void member_init(void);
