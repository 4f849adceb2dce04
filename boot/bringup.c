/* SPDX-License-Identifier: MIT */
/*
 * bringup.c - from what firmware and loader claim to a machine that we know
 */
#include "arch/cpu.h"
#include "arch/layout.h"
#include "boot/boot.h"
#include "boot/hostile.h"
#include "drivers/acpi.h"
#include "drivers/devices.h"
#include "drivers/dma.h"
#include "drivers/ivshmem.h"
#include "drivers/pci.h"
#include "drivers/quirks/svm_quirks.h"
#include "drivers/testdev.h"
#include "iommu/core/domain.h"
#include "iommu/core/ivrs.h"
#include "iommu/quirks/quirks.h"
#include "iommu/sva/ppr.h"
#include "kernel/ksym.h"
#include "kernel/printk.h"
#include "kernel/string.h"
#include "mm/frame/pmm.h"
#include "mm/kernel/kmap.h"

#define BOOT_MAPPED (UINT64_C(1) << 32) /* the boot tables' direct map     */

static struct acpi_mcfg mcfg;
static struct ivrs ivrs;
static const char *no_iommu; /* why there is none                        */

noreturn void boot_refuse(const char *why)
{
	printk("visavis: %s\n", why);
	exit_machine(EXIT_PLATFORM);
}

void boot_panicked(void)
{
	exit_machine(EXIT_PANIC);
}

static const void *read_physical(pa_t pa, uint64_t len)
{
	if (pa >= BOOT_MAPPED || len > BOOT_MAPPED - pa)
		return NULL;
	return phys_to_virt(pa);
}

/* Is this one of the words of the command line? */
static bool said(const struct boot_info *info, const char *word)
{
	const char *at = info->cmdline;
	size_t len = strlen(word);

	while (strncmp(at, word, len) || (at[len] && at[len] != ' ')) {
		at = strchr(at, ' ');
		if (!at)
			return false;
		at++;
	}
	return true;
}

static const char *lie(const struct boot_info *info)
{
	if (glob_match("*lie=rsdp*", info->cmdline))
		return "RSDP";
	if (glob_match("*lie=mcfg*", info->cmdline))
		return "MCFG";
	if (glob_match("*lie=ivrs*", info->cmdline))
		return "IVRS";
	return glob_match("*lie=madt*", info->cmdline) ? "APIC" : NULL;
}

/* The words lie=ivhd and lie=mmio spoil a table whose checksum is right. */
static const char *find_iommu(const struct boot_info *info,
			      struct acpi_table *table)
{
	const char *why;

	if (glob_match("*lie=ivhd*", info->cmdline))
		table->bytes[IVRS_FIRST_BLOCK + 3] = 0x7f;
	why = ivrs_parse(table, &ivrs);
	if (!why && glob_match("*lie=mmio*", info->cmdline))
		ivrs.units[0].mmio = image_pa(text_start);
	ivrs_refuse_unity(&ivrs, info->usable, info->n_usable, cpu_pa_end());
	return why;
}

/* While all of low memory can still be read: the final map shows RAM only. */
static void read_acpi(const struct boot_info *info)
{
	static struct acpi_table table;
	const char *why;

	acpi_set_rsdp(info->rsdp);
	why = acpi_find(read_physical, "MCFG", lie(info), &table);
	if (!why)
		why = acpi_parse_mcfg(&table, &mcfg);
	if (glob_match("*lie=window*", info->cmdline))
		mcfg.bus0 += ECAM_BUS; /* where bus 1 is */
	if (why)
		printk("# %s: PCI by ports\n", why);
	interrupts_read_acpi(read_physical, lie(info), &table);
	/* Last: what it says is looked up in the table as long as we boot. */
	no_iommu = acpi_find(read_physical, "IVRS", lie(info), &table);
	if (!no_iommu)
		no_iommu = find_iommu(info, &table);
}

void boot_console(void)
{
	serial_init();
	printk_set_sink(console_write);
	printk("# visavis %s\n", ksym_version());
	if (console_init(phys_to_virt(CONSOLE_PA)))
		printk("# all of this is on COM1 too, 115200 8n1\n");
}

/* The screen stays where it is while tables change. */
static void map_kernel(void)
{
	bool screen = console_init(NULL);

	kmap_init();
	if (screen)
		console_init(kmap_device(CONSOLE_PA, CONSOLE_SIZE));
}

void boot_memory(uint32_t magic, pa_t info_pa, struct boot_info *info)
{
	const char *(*parse)(pa_t, boot_reader *, pa_t, pa_t,
			     struct boot_info *) =
		magic == MULTIBOOT2_LOADED ? multiboot2_parse : multiboot_parse;
	const char *why = parse(info_pa, read_physical, image_pa(text_start),
				image_pa(image_end), info);

	if (why)
		boot_refuse(why);
	if (info->cut) {
		printk("visavis: the command line is longer than %u "
		       "characters\n",
		       BOOT_CMDLINE - 1);
		exit_machine(EXIT_USAGE);
	}
	if (info->lost)
		printk("# %u usable ranges of the loader's memory map are left "
		       "out: there is room for %u\n",
		       info->lost, BOOT_RANGES);
	if (said(info, "lie=master"))
		hostile_firmware();
	pci_silence(); /* before any memory is used */
	read_acpi(info);
	pmm_init(info->usable, info->n_usable, info->reserved,
		 info->n_reserved);
	map_kernel();
	thread_set_stack_size(KSTACK_SIZE);
	if (said(info, "idle=poll"))
		thread_idle_polls();
}

/*
 * The word lie=passes gives the IOMMU another table, in which no entry is valid:
 * as a QEMU does that translates nothing.
 */
static void pass_everything(void)
{
	struct iommu *iommu = iommu_machine();
	struct page *table = iommu ? pages_alloc(9) : NULL;

	if (!table)
		return;
	memset(page_va(table), 0, PAGE_SIZE << 9);
	reg_write(&iommu->port, REG_DEV_TABLE_BASE,
		  page_pa(table) | DEV_TABLE_SIZE);
}

/* Print what was found: tools/run compares it with what it gave. */
static void say_machine(void)
{
	char names[64] = "";
	struct dma_engine *e;
	int n = 0;

	for (unsigned i = 0; (e = dma_engine_at(i)); i++)
		n += snprintk(names + n, sizeof(names) - (size_t)n, " %s",
			      e->name);
	printk("# machine: %u CPUs, %s IOMMU, devices%s%s%s%s\n", cpu_count(),
	       iommu_machine() ? "an" : "no", names,
	       ivshmem() ? " ivshmem" : "", ivshmem_at(1) ? " vram" : "",
	       testdev() ? " testdev" : "");
}

void boot_devices(const struct boot_info *info)
{
	const char *why;

	pci_init(mcfg.bus0);
	hostile_phase("PCI");
	domain_init();
	ppr_init();
	if (!no_iommu)
		no_iommu = iommu_boot(&ivrs, interrupts_madt());
	if (no_iommu)
		printk("# no IOMMU: %s\n", no_iommu);
	hostile_phase("IOMMU");
	devices_init();
	hostile_phase("devices");
	if (said(info, "lie=passes"))
		pass_everything();
	why = quirks_boot(said(info, "quirks"));
	if (why)
		boot_refuse(why);
	if (said(info, "quirks"))
		svm_quirks_print();
	hostile_phase("probe");
	hostile_verdict();
	say_machine();
}
