/* SPDX-License-Identifier: MIT */
/*
 * anon_vma.c - join and leave anon_vmas; mm/rmap/anon_vma.h has the picture
 *
 * A region joins in two steps: chains are allocated and added to its list, which
 * may fail; then they are put into the interval trees under the root's lock,
 * which cannot fail.
 */
#include "mm/rmap/anon_vma.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "mm/core/mm.h"
#include "mm/frame/pmm.h"
#include "mm/frame/pool.h"
#include "mm/rmap/rmap.h"

static struct pool anon_vma_pool, chain_pool;

/* Destructor of a private page. */
static void anon_page_gone(struct page *page)
{
	anon_vma_put(page->mapping.anon_vma);
}

void anon_vma_init(void)
{
	pool_init(&anon_vma_pool, "anon_vma", sizeof(struct anon_vma));
	pool_init(&chain_pool, "anon_vma_chain", sizeof(struct anon_vma_chain));
	page_set_destructor(PAGE_ANON, anon_page_gone);
	page_set_destructor(PAGE_DEVICE, anon_page_gone);
}

void anon_vma_put(struct anon_vma *av)
{
	require(locks_below(RANK_POOL));
	/* A freed child drops its parent: a loop, since forks can be deep. */
	while (av && atomic_fetch_sub(&av->refs, 1) == 1) {
		struct anon_vma *parent = av->parent;

		assert(itree_empty(&av->chains));
		assert(av->regions == 0);
		pool_free(&anon_vma_pool, av);
		av = parent;
	}
}

void anon_vma_put_all(struct anon_vma *av, uint32_t n)
{
	if (n > 1)
		anon_vma_put_many(av, n - 1);
	if (n)
		anon_vma_put(av);
}

/* Allocate an anon_vma below parent, or a root if that is NULL. */
static struct anon_vma *anon_vma_alloc(struct anon_vma *parent)
{
	struct anon_vma *av = pool_alloc(&anon_vma_pool);

	if (!av)
		return NULL;
	av->parent = parent;
	av->root = parent ? parent->root : av;
	/*
	 * A root counts itself, so that it always looks branched and no fork
	 * takes it over: its lock must outlive all anon_vmas of the tree.
	 */
	av->children = parent ? 0 : 1;
	atomic_init(&av->refs, 1);
	itree_init(&av->chains);
	rw_init(&av->lock, RANK_RMAP, "anon_vma");
	if (parent)
		anon_vma_get(parent);
	return av;
}

/* Add a chain from region to av: to the region's list, to no tree yet.
 * Returns NULL without memory. */
static struct anon_vma_chain *chain_add(struct region *region,
					struct anon_vma *av)
{
	struct anon_vma_chain *chain = pool_alloc(&chain_pool);

	if (!chain)
		return NULL;
	anon_vma_get(av);
	chain->anon_vma = av;
	chain->region = region;
	LIST_INSERT_HEAD(&region->chains, chain, same_region);
	return chain;
}

/* Free all chains of a region that is in no tree. */
static void chains_free(struct region *region)
{
	struct anon_vma_chain *chain, *next;

	LIST_FOREACH_SAFE (chain, &region->chains, same_region, next) {
		struct anon_vma *av = chain->anon_vma;

		LIST_REMOVE(chain, same_region);
		pool_free(&chain_pool, chain);
		anon_vma_put(av);
	}
	region->anon_vma = NULL;
}

void anon_vma_unclone(struct region *region)
{
	require(rw_held_write(&region->mm->lock));
	rmap_lock_write(region);
	region->anon_vma->regions--;
	rmap_unlock_write(region);
	chains_free(region);
}

/* Add chains from dst to all anon_vmas of src.  Returns -ENOMEM with none. */
static int chains_copy(struct region *dst, struct region *src)
{
	struct anon_vma_chain *chain;

	LIST_FOREACH (chain, &src->chains, same_region) {
		if (chain_add(dst, chain->anon_vma))
			continue;
		chains_free(dst);
		return err(ENOMEM);
	}
	return 0;
}

int anon_vma_prepare(struct region *region)
{
	struct anon_vma *av;

	require(rw_held_write(&region->mm->lock));
	assert(LIST_EMPTY(&region->chains));
	av = anon_vma_alloc(NULL);
	if (!av)
		return err(ENOMEM);
	if (!chain_add(region, av)) {
		anon_vma_put(av);
		return err(ENOMEM);
	}
	region->anon_vma = av;
	rmap_lock_write(region);
	av->regions++;
	rmap_insert(region);
	rmap_unlock_write(region);
	anon_vma_put(av); /* the chain's reference remains */
	return 0;
}

int anon_vma_clone(struct region *dst, struct region *src)
{
	int ret;

	require(rw_held_write(&src->mm->lock));
	ret = chains_copy(dst, src);
	if (ret)
		return ret;
	dst->anon_vma = src->anon_vma;
	rmap_lock_write(src);
	dst->anon_vma->regions++;
	rmap_unlock_write(src);
	return 0;
}

/*
 * Find an anon_vma of the region that has lost its own regions and has one branch
 * at most.  Its pages can only be in that branch, so new pages that join it make
 * no walk longer.  Returns NULL if there is none.
 * Context: the root's lock held to write.
 */
static struct anon_vma *anon_vma_reusable(struct region *region)
{
	struct anon_vma_chain *chain;

	require(rw_held_write(
		&LIST_FIRST(&region->chains)->anon_vma->root->lock));
	LIST_FOREACH (chain, &region->chains, same_region)
		if (chain->anon_vma->children < 2 &&
		    chain->anon_vma->regions == 0)
			return chain->anon_vma;
	return NULL;
}

/*
 * Make an anon_vma for the child's own pages, below the parent's.  Returns NULL
 * without memory.  Context: parent->anon_vma->root->lock held to write.
 */
static struct anon_vma *anon_vma_branch(struct region *child,
					struct region *parent)
{
	struct anon_vma *av;

	require(rw_held_write(&parent->anon_vma->root->lock));
	av = anon_vma_alloc(parent->anon_vma);
	if (!av)
		return NULL;
	if (!chain_add(child, av)) {
		anon_vma_put(av);
		return NULL;
	}
	parent->anon_vma->children++;
	anon_vma_put(av); /* the chain's reference remains */
	return av;
}

int anon_vma_fork(struct region *child, struct region *parent)
{
	struct anon_vma *av;

	require(rw_held_write(&parent->mm->lock));
	if (chains_copy(child, parent))
		return err(ENOMEM);

	rmap_lock_write(parent);
	av = anon_vma_reusable(child);
	if (!av)
		av = anon_vma_branch(child, parent);
	if (av) {
		av->regions++;
		child->anon_vma = av;
		rmap_insert(child);
	}
	rmap_unlock_write(parent);

	if (!av) {
		chains_free(child);
		return err(ENOMEM);
	}
	return 0;
}

void anon_vma_unlink(struct region *region)
{
	struct anon_vma *root = region->anon_vma->root;
	struct anon_vma_chain *chain;

	require(rw_held_write(&region->mm->lock));
	anon_vma_get(root); /* its lock is used until the last chain is freed */
	rw_write_lock(&root->lock);
	rmap_remove(region);
	region->anon_vma->regions--;
	LIST_FOREACH (chain, &region->chains, same_region) {
		struct anon_vma *av = chain->anon_vma;

		if (itree_empty(&av->chains) && av->parent)
			av->parent->children--;
	}
	rw_write_unlock(&root->lock);
	chains_free(region);
	anon_vma_put(root);
}

/* Return true if region has a chain to av. */
static bool chain_exists(const struct anon_vma *av, const struct region *region)
{
	struct anon_vma_chain *chain;

	LIST_FOREACH (chain, &region->chains, same_region)
		if (chain->anon_vma == av)
			return true;
	return false;
}

bool anon_vma_has(const struct anon_vma *av, const struct region *region)
{
	require(rw_held(&region->anon_vma->root->lock));
	return chain_exists(av, region);
}

bool anon_vma_same(const struct region *a, const struct region *b)
{
	struct anon_vma_chain *chain;
	int balance = 0;

	if (a->anon_vma != b->anon_vma)
		return false;
	LIST_FOREACH (chain, &a->chains, same_region) {
		if (!chain_exists(chain->anon_vma, b))
			return false;
		balance++;
	}
	LIST_FOREACH (chain, &b->chains, same_region)
		balance--;
	return balance == 0;
}
