/* SPDX-License-Identifier: MIT */
/*
 * driver.h - the driver alone on a strict model, for tests of its parts
 *
 *	struct driver *v = driver_open(&(struct model_config){ ... });
 *	... domains, devices, transfers by model_dma() ...
 *	driver_close(v);
 *
 * Like a stand (tests/stand.h), but the test says how the model behaves, may
 * stop it, looks into both, and takes itself down.  One at a time.  What runs
 * between two steps of the hardware can be given: see `between`.
 */
#pragma once

#include "iommu/domain.h"
#include "tests/model.h"
#include "tests/test.h"

#define DRIVER_PAGES 64u

struct driver {
	struct model *m;
	struct iommu_port port; /* the model's own, not tapped              */
	struct iommu iommu;
	struct page *pages[DRIVER_PAGES];
	unsigned n_pages;
	/* Called at each access to a register, before it; NULL: nothing. */
	void (*between)(struct driver *v);
	unsigned answers[512][16]; /* COMPLETE_PPR_REQUEST, by tag, status */
	bool complaints_expected;
};

/* A model (config may be NULL: immediate) and the driver on it. */
struct driver *driver_open(const struct model_config *config);
/* The same, without iommu_start(). */
struct driver *driver_open_off(const struct model_config *config);
int driver_start(struct driver *v);
int driver_start_as(struct driver *v, const struct iommu_config *config);

/* Stop, and look for complaints. */
void driver_close(struct driver *v);
/* When the driver does not run: the rest of driver_close(). */
void driver_close_off(struct driver *v);

/* A page that devices may reach, all its words `word`; freed at the end. */
struct page *driver_page(struct driver *v, uint64_t word);

/* One word by DMA, 0 if it is refused; driver_write(): did it arrive? */
uint64_t driver_read(struct driver *v, uint16_t devid, iova_t iova);
bool driver_write(struct driver *v, uint16_t devid, iova_t iova, uint64_t w);

/* What is printed between the two goes to driver_printed, not to the log. */
extern char driver_printed[4096];
void driver_hush(void);
void driver_speak(void);

/*
 * The same around what is to fail because the hardware does not answer: it is
 * waited for HUNG_NS only.  How long it is otherwise, queue.lost_* measures.
 */
#define HUNG_NS UINT64_C(20000000)
void driver_hush_hung(struct driver *v);
