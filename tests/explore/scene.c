/* SPDX-License-Identifier: MIT */
/*
 * scene.c - set up, use and take down a process with devices
 */
#include "tests/explore/scene.h"
#include "kernel/string.h"
#include "mm/frame/pmm.h"
#include "tests/checker/canary.h"

struct scene scene;
static unsigned joined;

void scene_explore(struct iommu_fixture *s, struct exploration *x,
		   const struct mmu_notifier_ops *ops, bool found)
{
	FIXTURE_NEEDS(s, caches);
	scene.s = s;
	x->arg = ops;
	if (found)
		EXPECT_FOUND(x);
	else
		EXPECT_EXPLORED(x);
}

void scene_begin(const struct exploration *x, unsigned n, unsigned n_clients)
{
	scene = (struct scene){ .s = scene.s };
	if (scene.s->model) /* no chance: an execution can be repeated */
		model_set_mode(scene.s->model, MODEL_DELAYED, 2);
	scene.mm = process(n, "P");
	scene.page = name_page(scene.mm, A, "page 1");
	for (joined = 0; joined < n_clients; joined++)
		client_join(&scene.client[joined], scene.s, joined, scene.mm,
			    x->arg);
}

void scene_serve(const struct exploration *x, unsigned n)
{
	scene_begin(x, n, 0);
	client_serve(&scene.client[0], scene.s, 0, scene.mm, x->arg, NULL);
	joined = 1;
}

void scene_end(const struct exploration *x)
{
	while (joined)
		client_leave(&scene.client[--joined]);
	for (unsigned i = 0; i < TAKEN_MAX; i++)
		if (scene.taken[i])
			page_put(scene.taken[i]);
	if (scene.child)
		mm_put(scene.child);
	if (scene.mm)
		mm_put(scene.mm);
}

void take_frame(const struct exploration *x)
{
	canary_release(); /* frames that were freed are free at once */
	for (unsigned i = 0; i < TAKEN_MAX && !scene.owned; i++) {
		scene.taken[i] = page_alloc();
		scene.owned = scene.taken[i] == scene.page;
	}
	if (scene.owned)
		fixture_fill(scene.page, 77);
}

const char *owner_reads_its_own(const struct exploration *x)
{
	if (scene.owned && fixture_word(scene.page) != 77)
		return "a device writes to a frame of another owner";
	return NULL;
}

void device_uses_a(const struct exploration *x)
{
	device_reads(&scene.client[0], A);
	device_writes(&scene.client[0], A, 66);
}
