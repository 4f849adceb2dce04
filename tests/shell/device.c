/* SPDX-License-Identifier: MIT */
/*
 * device.c - bus masters to play with: bind one to an mm, let it read and write
 *
 * An LSI chip fetches its programs by the same translation as its data, so a bound
 * mm gets two pages of an object for them (OWN).  No QEMU's device asks for a page
 * that it is denied: `dma` looks at the table that the device walks, and calls the
 * binding's fault function first if that denies the access.
 *
 * Only the shell's thread uses what is here.
 */
#include "drivers/lsi.h"
#include "iommu/core/domain.h"
#include "kernel/err.h"
#include "kernel/printk.h"
#include "kernel/probe.h"
#include "kernel/shell.h"
#include "kernel/string.h"
#include "tests/checker/cache_checker.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/shell/shell.h"
#include "tests/timeline/explain.h"

#define DEVICES  2u  /* lsi0, lsi1                                         */
#define ATTEMPTS 64u /* pages among which two adjacent ones are looked for */

static struct bound {
	struct dma_engine *engine; /* NULL: not bound                      */
	unsigned mm;               /* its id                               */
	bool mirrored;             /* mirror is used, else sva             */
	struct sva sva;
	struct mirror mirror;
	struct object *programs;
	struct dma_own own; /* the chip's memory before               */
} bound[DEVICES];

struct iommu *shell_iommu(void)
{
	struct iommu *iommu = iommu_machine();

	if (!iommu)
		printk("this machine has no IOMMU: start it without "
		       "DEVICES=none or -iommu\n");
	return iommu;
}

struct dma_engine *shell_find_device(const char *text)
{
	struct dma_engine *e = dma_engine_named(text);

	if (!e)
		printk("there is no device %s: `device` lists them\n", text);
	return e;
}

static struct bound *of(const struct dma_engine *e)
{
	for (unsigned i = 0; i < DEVICES; i++)
		if (bound[i].engine == e)
			return &bound[i];
	return NULL;
}

bool shell_devices_bound(void)
{
	for (unsigned i = 0; i < DEVICES; i++)
		if (bound[i].engine)
			return true;
	return false;
}

static struct binding *binding_of(struct bound *b)
{
	return b->mirrored ? &b->mirror.binding : &b->sva.binding;
}

static int fault(struct bound *b, va_t va, enum prot access)
{
	return b->mirrored ? mirror_fault(&b->mirror, va, access)
			   : sva_fault(&b->sva, va, access);
}

/* ---- the list ----------------------------------------------------------- */

static void show(const struct dma_engine *e)
{
	struct bound *b = of(e);
	struct mm *mm;

	printk("%-8s %02x.%x  %u-bit addresses, ", e->name,
	       e->devid >> 3 & 0x1f, e->devid & 7, e->address_bits);
	if (!b) {
		printk("denied\n");
		return;
	}
	mm = mm_find(b->mm);
	printk("domain %u: %s mm %u%s\n", binding_of(b)->domain->id,
	       b->mirrored ? "a mirror of" : "the table of", b->mm,
	       mm ? "" : ", which has exited: denied");
	if (mm)
		mm_put(mm);
}

static int list(unsigned argc, char **argv)
{
	(void)argv;
	if (argc > 1)
		return -EINVAL;
	if (!shell_iommu())
		return -ENOENT;
	for (unsigned i = 0; dma_engine_at(i); i++)
		show(dma_engine_at(i));
	if (!dma_engine_at(0))
		printk("this machine has no device that does DMA\n");
	return 0;
}
SHELL_COMMAND(device, "", "devices that do DMA, and what each is bound to",
	      "new; bind lsi0 1 sva; device", list);

/* ---- binding ------------------------------------------------------------ */

/* Find two pages of the object that are adjacent in memory: *first, and the page
 * numbers in the object of both. */
static bool find_pair(struct object *object, struct page **first,
		      uint64_t index[2])
{
	struct page *page[ATTEMPTS];

	for (unsigned i = 0; i < ATTEMPTS; i++) {
		if (object_page(object, i, &page[i]))
			return false;
		page_put(page[i]); /* the object keeps it */
		for (unsigned j = 0; j < i; j++) {
			bool up = page[i] == page[j] + 1;

			if (!up && page[j] != page[i] + 1)
				continue;
			index[0] = up ? j : i;
			index[1] = up ? i : j;
			*first = up ? page[j] : page[i];
			return true;
		}
	}
	return false;
}

/* Map the chip's pages.  Returns 0, or an error with a line that says why. */
static int move_in(struct bound *b, unsigned i, struct mm *mm)
{
	struct page *first;
	uint64_t index[2];
	int error = 0;

	b->programs = object_create(ATTEMPTS);
	if (!b->programs || !find_pair(b->programs, &first, index))
		return shell_say(-ENOMEM);
	for (unsigned k = 0; k < 2 && !error; k++)
		error = mm_map(mm, OWN(i) + k * DMA_STAGE, DMA_STAGE, RW,
			       MAP_LOCKED, b->programs, index[k], NULL);
	if (error == -EEXIST)
		printk("mm %u has pages at %#lx, where %s has its programs\n",
		       mm->id, OWN(i), lsi_at(i)->engine.name);
	else if (error)
		shell_say(error);
	b->own = (struct dma_own){ .va = page_va(first),
				   .pa = page_pa(first),
				   .len = 2 * DMA_STAGE,
				   .bus = OWN(i) };
	return error;
}

static void move_out(struct bound *b, unsigned i)
{
	struct mm *mm = mm_find(b->mm);

	if (mm) {
		/* An error is a hole that the user has made. */
		int ignored = mm_unmap(mm, OWN(i), OWN(i) + 2 * DMA_STAGE);

		(void)ignored;
		mm_put(mm);
	}
	if (b->programs)
		object_put(b->programs);
	*b = (struct bound){ 0 };
}

/* Begin, and end, the record of what the IOMMU may have cached. */
static void completed(uint64_t seq, uint64_t queue, void *name)
{
	cache_checker_complete((const struct command_queue *)queue, seq);
}

static void record(struct iommu *iommu, bool on)
{
	if (!CONFIG_CHECK || !probe_on || shell_devices_bound())
		return;
	if (on)
		cache_checker_open(iommu);
	probe_watch("iommu_complete", on ? completed : NULL);
	if (!on)
		cache_checker_close();
}

static int attach(struct bound *b, unsigned i, struct iommu *iommu,
		  struct mm *mm)
{
	uint16_t devid = lsi_at(i)->engine.devid;
	int error;

	record(iommu, true);
	error = b->mirrored ? mirror_bind(&b->mirror, iommu, NULL, devid, 0, mm)
			    : sva_bind(&b->sva, iommu, NULL, devid, 0, mm);
	if (error) {
		record(iommu, false);
		printk("%s cannot be bound (error %d)\n",
		       lsi_at(i)->engine.name, -error);
		return error;
	}
	b->engine = &lsi_at(i)->engine;
	for (unsigned k = 0; k < 2 && !error; k++)
		error = fault(b, OWN(i) + k * DMA_STAGE, PROT_W);
	dma_swap_own(b->engine, &b->own);
	explain_name(EXPLAIN_DEVICE, devid, b->engine->name);
	return error ? shell_say(error) : 0;
}

static void detach(unsigned i)
{
	struct bound *b = &bound[i];

	if (!b->engine)
		return;
	if (b->mirrored)
		mirror_unbind(&b->mirror);
	else
		sva_unbind(&b->sva);
	dma_swap_own(b->engine, &b->own);
	b->engine = NULL;
	record(iommu_machine(), false);
	move_out(b, i);
}

void shell_devices_end(void)
{
	for (unsigned i = 0; i < DEVICES; i++)
		detach(i);
}

/* The number of a chip that can be bound, or DEVICES after a line that says why not. */
static unsigned bindable(const struct dma_engine *e)
{
	for (unsigned i = 0; i < DEVICES && lsi_at(i); i++) {
		if (&lsi_at(i)->engine != e)
			continue;
		if (!bound[i].engine)
			return i;
		printk("%s is bound to mm %u: unbind %s\n", e->name,
		       bound[i].mm, e->name);
		return DEVICES;
	}
	printk("%s has no programs in an address space: lsi0 and lsi1 do\n",
	       e->name);
	return DEVICES;
}

static int bind(unsigned argc, char **argv)
{
	struct iommu *iommu;
	struct dma_engine *e;
	struct mm *mm;
	unsigned i;
	int error;

	if (argc != 4 || (strcmp(argv[3], "sva") && strcmp(argv[3], "mirror")))
		return -EINVAL;
	iommu = shell_iommu();
	e = iommu ? shell_find_device(argv[1]) : NULL;
	i = e ? bindable(e) : DEVICES;
	mm = i < DEVICES ? shell_find_mm(argv[2]) : NULL;
	if (!mm)
		return -ENOENT;
	bound[i] =
		(struct bound){ .mm = mm->id, .mirrored = argv[3][0] == 'm' };
	error = move_in(&bound[i], i, mm);
	if (!error)
		error = attach(&bound[i], i, iommu, mm);
	if (error && !bound[i].engine)
		move_out(&bound[i], i);
	mm_put(mm);
	return error;
}
SHELL_COMMAND(bind, "DEV MM sva|mirror",
	      "let a device work in an mm, by its table or a mirror of it",
	      "new; bind lsi0 1 sva; bind lsi1 1 mirror", bind);

static int unbind(unsigned argc, char **argv)
{
	struct dma_engine *e;
	struct bound *b;

	if (argc != 2)
		return -EINVAL;
	e = shell_find_device(argv[1]);
	b = e ? of(e) : NULL;
	if (e && !b)
		printk("%s is not bound: bind %s MM sva\n", e->name, e->name);
	if (!b)
		return -ENOENT;
	detach((unsigned)(b - bound));
	return 0;
}
SHELL_COMMAND(unbind, "DEV", "end that: the device reaches nothing",
	      "new; bind lsi0 1 sva; unbind lsi0", unbind);

/* ---- transfers ---------------------------------------------------------- */

/* Does the table that the device walks allow the access?  After the exit of its mm a
 * device is denied, whatever the table says. */
static bool allows(struct bound *b, va_t va, enum prot access)
{
	struct mm *mm = mm_find(b->mm);
	enum prot prot = PROT_NONE;
	uint64_t e;
	pa_t pa;

	if (!mm)
		return false;
	if (b->mirrored) {
		domain_lookup(b->mirror.binding.domain, va, &pa, &prot);
	} else {
		e = entry_at(mm, va);
		if (e & PTE_P)
			prot = PROT_R | (e & PTE_W ? PROT_W : 0);
	}
	mm_put(mm);
	return (prot & access) == access;
}

/* Have the page made reachable, as the answer to a page request would. */
static int request(struct bound *b, va_t va, enum prot access)
{
	int error;

	if (allows(b, va, access))
		return 0;
	error = fault(b, va, access);
	printk("%s asks for %#lx to %s: %s\n", b->engine->name, va & PAGE_MASK,
	       access == PROT_W ? "write" : "read",
	       error ? "refused" : "mapped");
	return error;
}

static int transfer(struct bound *b, va_t va, uint64_t *v, bool write)
{
	uint16_t devid = b->engine->devid;
	uint64_t at = (uint64_t)devid << 48 | va;
	int error;

	cache_checker_use(devid, OWN(b - bound), 2 * DMA_STAGE);
	cache_checker_use(devid, va, sizeof(*v));
	error = write ? dma_write(b->engine, va, v, sizeof(*v))
		      : dma_read(b->engine, va, v, sizeof(*v));
	if (write)
		PROBE(device_write, at, *v);
	else
		PROBE(device_read, at, *v);
	if (error)
		printk("%s reports an error: its programs, at %#lx, are gone\n",
		       b->engine->name, OWN(b - bound));
	return error;
}

/* dma DEV read VA, dma DEV write VA VALUE */
static int dma(unsigned argc, char **argv)
{
	bool write = argc == 5 && !strcmp(argv[2], "write");
	struct dma_engine *e;
	struct bound *b;
	uint64_t v = 0;
	va_t va;
	int error;

	if ((!write && (argc != 4 || strcmp(argv[2], "read"))) ||
	    !shell_number(argv[3], &va) ||
	    (write && !shell_number(argv[4], &v)))
		return -EINVAL;
	e = shell_find_device(argv[1]);
	b = e ? of(e) : NULL;
	if (e && !b)
		printk("%s is denied, it is not bound: bind %s MM sva\n",
		       e->name, e->name);
	if (!b)
		return -ENOENT;
	if (va % sizeof(v) || !dma_reaches(e, va, sizeof(v))) {
		printk("VA is a multiple of 8, of at most %u bits\n",
		       e->address_bits);
		return -ENOENT;
	}
	error = request(b, va, write ? PROT_W : PROT_R);
	if (!error)
		error = transfer(b, va, &v, write);
	if (!error && !write)
		printk("%#lx\n", v);
	return error;
}
SHELL_COMMAND(dma, "DEV read VA | DEV write VA VALUE",
	      "8 bytes by a device's DMA, through the IOMMU",
	      "new; bind lsi0 1 sva; dma lsi0 write 0x10000000 7; "
	      "read 1 0x10000000; dma lsi0 read 0x10000000",
	      dma);
