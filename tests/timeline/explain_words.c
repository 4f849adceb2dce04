/* SPDX-License-Identifier: MIT */
/*
 * explain_words.c - the text of a probe's argument
 */
#include "iommu/hw/command.h"
#include "kernel/printk.h"
#include "tests/timeline/explain_priv.h"
#include "tests/timeline/timeline.h"

#define WORDS TIMELINE_WORDS

static const char *number(uint64_t value, char *buf)
{
	snprintk(buf, WORDS, value < 1000000 ? "%lu" : "%#lx", value);
	return buf;
}

/* Return the name of the page at an address, or else the address. */
static const char *address(uint64_t value, char *buf)
{
	/* The upper bits of a device's argument are its devid. */
	const char *name = explain_name_of(EXPLAIN_ADDRESS,
					   value & PAGE_MASK & GENMASK(47, 0));

	if (name)
		return name;
	snprintk(buf, WORDS, "%#lx", value & GENMASK(47, 0));
	return buf;
}

const char *explain_device(uint64_t devid, char *buf)
{
	const char *name = explain_name_of(EXPLAIN_DEVICE, devid);

	if (name)
		return name;
	snprintk(buf, WORDS, "device %lx", devid);
	return buf;
}

/* Write the pages that a command names. */
static int pages(uint64_t w, char *out, size_t len)
{
	uint64_t at = w & CMD1_ADDRESS, size;
	char buf[WORDS];

	if (!(w & CMD1_S))
		return snprintk(out, len, "%s", address(at, buf));
	if (at == (RANGE_ALL.w & CMD1_ADDRESS))
		return snprintk(out, len, "all");
	/* The position of the lowest zero bit is the size (command.h). */
	size = BIT(__builtin_ctzll(~(at >> PAGE_SHIFT)) + 1);
	return snprintk(out, len, "%s+%lu",
			address(at & ~(size * PAGE_SIZE - 1), buf), size);
}

static const char *flush_text(uint64_t w0, uint64_t w1, char *buf)
{
	uint64_t id = FIELD_GET(CMD0_DOMAIN, w0);
	const char *domain = explain_name_of(EXPLAIN_DOMAIN, id);
	int n;

	if (!domain && explain_named(EXPLAIN_DOMAIN))
		return NULL;
	n = domain ? snprintk(buf, WORDS, "INVALIDATE_IOMMU_PAGES %s ", domain)
		   : snprintk(buf, WORDS, "INVALIDATE_IOMMU_PAGES %lu ", id);
	n += pages(w1, buf + n, (size_t)(WORDS - n));
	snprintk(buf + n, (size_t)(WORDS - n), w1 & CMD1_PDE ? " PDE" : "");
	return buf;
}

static const char *ppr_status(uint64_t status)
{
	return status == PPR_SUCCESS   ? "SUCCESS"
	       : status == PPR_INVALID ? "INVALID"
				       : "FAILURE";
}

static const char *command(uint64_t w0, uint64_t w1, char *buf)
{
	char name[WORDS];
	int n;

	switch (FIELD_GET(CMD0_OP, w0)) {
	case COMPLETION_WAIT:
		return "COMPLETION_WAIT";
	case INVALIDATE_IOMMU_PAGES:
		return flush_text(w0, w1, buf);
	case INVALIDATE_IOMMU_ALL:
		return "INVALIDATE_IOMMU_ALL";
	case INVALIDATE_IOTLB_PAGES:
		n = snprintk(buf, WORDS, "INVALIDATE_IOTLB_PAGES %s ",
			     explain_device(FIELD_GET(CMD0_DEVID, w0), name));
		pages(w1, buf + n, (size_t)(WORDS - n));
		return buf;
	case INVALIDATE_DEVTAB_ENTRY:
		snprintk(buf, WORDS, "INVALIDATE_DEVTAB_ENTRY %s",
			 explain_device(FIELD_GET(CMD0_DEVID, w0), name));
		return buf;
	case INVALIDATE_INTERRUPT_TABLE:
		snprintk(buf, WORDS, "INVALIDATE_INTERRUPT_TABLE %s",
			 explain_device(FIELD_GET(CMD0_DEVID, w0), name));
		return buf;
	case COMPLETE_PPR_REQUEST:
		snprintk(buf, WORDS, "COMPLETE_PPR_REQUEST %s",
			 ppr_status(FIELD_GET(CMD1_STATUS, w1)));
		return buf;
	default:
		return "another command";
	}
}

static const char *how_many(uint64_t set, char *buf)
{
	unsigned n = 0;

	for (; set; set &= set - 1)
		n++;
	snprintk(buf, WORDS, "%u CPU%s", n, n == 1 ? "" : "s");
	return n ? buf : "no CPU";
}

const char *explain_argument(enum explain_arg kind, uint64_t value,
			     uint64_t other, char *buf)
{
	const char *name;

	switch (kind) {
	case NONE:
		break;
	case TEXT:
		return (const char *)value;
	case NUMBER:
		return number(value, buf);
	case MM:
		name = explain_name_of(EXPLAIN_MM, value);
		if (!name)
			return explain_named(EXPLAIN_MM) ? NULL : "";
		snprintk(buf, WORDS, "%s: ", name);
		return explain_named(EXPLAIN_MM) > 1 ? buf : "";
	case ADDRESS:
		return address(value, buf);
	case FRAME:
		return explain_name_of(EXPLAIN_FRAME, value & PAGE_MASK);
	case DEVICE:
		return explain_device(value, buf);
	case DATA:
		snprintk(buf, WORDS, value ? " = %lu" : ": blocked", value);
		return buf;
	case WORD:
		snprintk(buf, WORDS,
			 value != EXPLAIN_FAULT ? " = %lu" : ": fault", value);
		return buf;
	case CPUS:
		return how_many(value, buf);
	case COMMAND:
		if (FIELD_GET(CMD0_OP, value) == COMPLETION_WAIT)
			return NULL;
		return command(value, other, buf);
	case DONE:
		return command(value, other, buf);
	}
	return "";
}
