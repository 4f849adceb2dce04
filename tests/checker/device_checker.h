/* SPDX-License-Identifier: MIT */
/*
 * device_checker.h - the checkers of every test with devices
 *
 *   O1  tests/checker/canary.h         frames that a device could reach
 *   O3  tests/checker/cache_checker.h  a freed frame is in no cache
 *   O4  tests/checker/order_checker.h  steps come in an allowed order
 *
 * tests/fixture/iommu/iommu_fixture.h opens them when a test starts and closes
 * them when it ends.  The first error that they find fails the test.  In the
 * release build freed frames cannot be watched, and they are off.
 */
#pragma once

#include "arch/compiler.h"
#include "iommu/core/iommu.h"
#include "tests/checker/canary.h"
#include "tests/model/model.h"

/*
 * Open them.  model: the one below the driver, which is then asked too; or
 * NULL.
 */
void device_checkers_open(struct iommu *iommu, struct model *model);

/*
 * Check at a quiet point of the test, with no flush outstanding, that
 * everything is coherent.  Devices stay attached.
 */
void device_checkers_look(void);

/*
 * Close them at the end: nothing that was freed since may have been accessed.
 */
void device_checkers_close(void);

/* For struct model_config: a transfer of the model begins. */
void device_checkers_transfer(void *ctx, uint16_t devid, iova_t iova,
			      size_t len);

/* The rest of the test is wrong on purpose: ignore complaints. */
void device_checkers_allow_errors(void);

/* Complain.  Any context. */
void checker_complain(const char *fmt, ...) printf_like(1, 2);

/*
 * Take the first complaint since the last call, or NULL: for tests of the
 * checkers.  A complaint that is not taken fails the test.
 */
const char *checker_take_complaint(void);
