/* SPDX-License-Identifier: MIT */
/*
 * bringup.c - from what firmware and loader claim to a machine that we know
 */
#include "arch/clock.h"
#include "arch/ioapic.h"
#include "arch/lapic.h"
#include "arch/smp.h"
#include "arch/trap.h"
#include "boot/boot.h"
#include "boot/hostile.h"
#include "drivers/acpi.h"
#include "drivers/devices.h"
#include "drivers/pci.h"
#include "iommu/domain.h"
#include "iommu/ivrs.h"
#include "iommu/ppr.h"
#include "iommu/quirks.h"
#include "kernel/printk.h"
#include "kernel/string.h"
#include "mm/kmap.h"
#include "mm/pmm.h"

#define BOOT_MAPPED (UINT64_C(1) << 32) /* the boot tables' direct map     */
#define LAPIC_PA    UINT64_C(0xfee00000)

static struct acpi_madt madt;
static struct acpi_mcfg mcfg;
static struct ivrs ivrs;
static const char *no_iommu; /* why there is none                        */

/* One sentence, and the status that says "not this machine". */
noreturn static void refuse(const char *why)
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

static pa_t image_pa(const char *symbol)
{
	return (pa_t)symbol - KERNEL_BASE;
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
		ivrs.mmio = image_pa(text_start);
	return why ? why : ivrs_check_mmio(&ivrs, info->usable, info->n_usable);
}

/* While all of low memory can still be read: the final map shows RAM only. */
static void read_acpi(const struct boot_info *info)
{
	static struct acpi_table table;
	const char *why = acpi_find(read_physical, "MCFG", lie(info), &table);

	if (!why)
		why = acpi_parse_mcfg(&table, &mcfg);
	if (glob_match("*lie=window*", info->cmdline))
		mcfg.bus0 += ECAM_BUS; /* where bus 1 is */
	if (why)
		printk("# %s: PCI by ports\n", why);
	no_iommu = acpi_find(read_physical, "IVRS", lie(info), &table);
	if (!no_iommu)
		no_iommu = find_iommu(info, &table);
	why = acpi_find(read_physical, "APIC", lie(info), &table);
	if (!why)
		why = acpi_parse_madt(&table, &madt);
	if (why) {
		printk("# %s: only this CPU is used\n", why);
		madt = (struct acpi_madt){ .lapic = LAPIC_PA };
	}
}

void boot_memory(pa_t info_pa, struct boot_info *info)
{
	const char *why =
		multiboot_parse(info_pa, read_physical, image_pa(text_start),
				image_pa(image_end), info);

	if (why)
		refuse(why);
	if (said(info, "lie=master"))
		hostile_firmware();
	pci_silence(); /* before any memory is used */
	read_acpi(info);
	pmm_init(info->usable, info->n_usable, info->reserved,
		 info->n_reserved);
	kmap_init();
	thread_set_stack_size(KSTACK_SIZE);
}

/* Without it the serial line is polled: no reason to refuse. */
static void setup_ioapic(void)
{
	void *regs = madt.ioapic ? kmap_device(madt.ioapic, PAGE_SIZE) : NULL;

	if (!regs)
		return;
	ioapic_setup(regs);
	for (unsigned i = 0; i < ACPI_ISA; i++)
		ioapic_set_isa(i, madt.isa[i].gsi, madt.isa[i].low,
			       madt.isa[i].level);
}

void boot_interrupts(struct boot_info *info)
{
	void *regs = kmap_device(madt.lapic, PAGE_SIZE);

	if (!regs)
		refuse("no memory to map the local APIC");
	lapic_setup(regs);
	lapic_init();
	cpus[0].lapic_id = lapic_id();
	setup_ioapic();
	smp_init();
	if (!clock_calibrate())
		refuse("the PIT does not count: no clock to measure by");
}

static void *stack_top(void)
{
	char *stack = kstack_alloc();

	return stack ? stack + KSTACK_SIZE : NULL;
}

static void *ap_stack(unsigned id)
{
	for (unsigned n = 0; n < TRAP_ISTS; n++) {
		void *top = stack_top();

		if (!top)
			return NULL;
		cpu_set_ist(id, n, top);
	}
	return stack_top();
}

void boot_other_cpus(struct boot_info *info)
{
	unsigned failed = smp_start(madt.ids, madt.cpus, ap_stack, kmap_root(),
				    thread_idle_forever);

	if (failed)
		printk("# %u CPUs did not come up\n", failed);
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

void boot_devices(const struct boot_info *info)
{
	const char *why;

	pci_init(mcfg.bus0);
	hostile_phase("PCI");
	domain_init();
	ppr_init();
	if (!no_iommu)
		no_iommu = iommu_boot(&ivrs); /* and nobody may be one */
	if (no_iommu)
		printk("# no IOMMU: %s\n", no_iommu);
	hostile_phase("IOMMU");
	devices_init();
	hostile_phase("devices");
	if (said(info, "lie=passes"))
		pass_everything();
	why = quirks_boot(said(info, "quirks"));
	if (why)
		refuse(why);
	hostile_phase("probe");
	hostile_verdict();
}
