/* SPDX-License-Identifier: MIT */
/*
 * oracle_device.h - the oracles behind every test with devices
 *
 *   O1  oracle_canary.h   frames that a device could reach are watched on
 *   O3  oracle_cache.h    a frame is freed when no cache may lead to it
 *   O4  oracle_order.h    steps come in an order that is allowed
 *
 * tests/stand.h opens them when a test begins and closes them when it ends; the
 * first thing that they find wrong fails the test.  In the release build nobody
 * can watch frames being freed, and they are off.
 */
#pragma once

#include "arch/compiler.h"
#include "iommu/iommu.h"
#include "tests/model.h"
#include "tests/oracle_canary.h"

/* model: NULL, or the one behind the IOMMU, which then is asked too. */
void oracles_open(struct iommu *iommu, struct model *model);

/* At a quiet point of the test, no flush outstanding: is all coherent?  Devices
 * are where they were. */
void oracles_look(void);

/* The end: nothing that was freed since may have been touched. */
void oracles_close(void);

/* A transfer of the model's: see struct model_config. */
void oracles_transfer(void *ctx, uint16_t devid, iova_t iova, size_t len);

/* The rest of the test is wrong on purpose: nothing is complained of. */
void oracles_forgive(void);

/* Something is wrong.  Any context. */
void oracle_complain(const char *fmt, ...) printf_like(1, 2);

/*
 * The first complaint since the last call, or NULL: for tests of the oracles.
 * What nobody takes fails the test.
 */
const char *oracle_take_complaint(void);
