/* SPDX-License-Identifier: MIT */
/*
 * guest.c - a virtual machine to play with: its memory is an mm of the shell's
 *
 * The machine of tests/fixture/guest/vm.h runs in a thread of its own, so that the
 * other commands can fork, merge and evict its memory while it computes.  ^C ends
 * `guest wait`, and the guest goes on.
 */
#include "drivers/serial.h"
#include "kernel/err.h"
#include "kernel/printk.h"
#include "kernel/shell.h"
#include "kernel/string.h"
#include "tests/fixture/guest/vm.h"
#include "tests/fixture/mm/mm_fixture.h"
#include "tests/shell/shell.h"

#define PASSES  UINT64_C(10000)
#define LOOK_NS UINT64_C(4000000) /* between two looks for ^C              */

enum state {
	NONE,
	LOADED,
	STARTED,
	ENDED, /* waited for */
};

static struct vm vm;
static enum state state;
static uint64_t passes; /* of vm                                           */

static const char *const reasons[] = {
	[VCPU_CALL] = "called by VMMCALL",
	[VCPU_HLT] = "ended",
	[VCPU_IO] = "used a port",
	[VCPU_FAULT] = "accessed memory that it does not have",
	[VCPU_SHUTDOWN] = "had a triple fault",
	[VCPU_INVALID] = "has an invalid state",
	[VCPU_STOPPED] = "was stopped",
};

static const char *doing(void)
{
	if (state == LOADED)
		return "loaded";
	return atomic_load(&vm.over) ? reasons[vm.why] : "runs";
}

bool shell_guest_runs(void)
{
	return state == STARTED && !atomic_load(&vm.over);
}

/* Print why the guest's state does not allow a command.  Returns what that returns. */
static int refuse(void)
{
	static const char *const says[] = {
		[NONE] = "there is no guest: guest new MM PAGES",
		[LOADED] = "the guest does not run yet: guest run",
		[STARTED] = "the guest was started: guest wait, or guest end",
		[ENDED] = "the guest has ended: guest end, and a new one",
	};

	printk("%s\n", says[state]);
	return state == NONE ? -ENOENT : -EBUSY;
}

/* The words of a guest that has swapped its block out, too: a load brings it back. */
static int show(void)
{
	uint64_t done, ticks;

	if (state == NONE)
		return refuse();
	done = vm_word(&vm, VM_DONE);
	ticks = vm_word(&vm, VM_TICKS);
	printk("guest of mm %u: %s, ", vm.mm->id, doing());
	if (done == BAD || ticks == BAD)
		printk("its first page is gone\n");
	else
		printk("pass %lu of %lu, %lu interrupts\n", done, passes,
		       ticks);
	printk("exits %lu, nested faults %lu, retried %lu, kicks %lu\n",
	       atomic_load(&vm.vcpu.exits), READ_ONCE(vm.guest.shadow.faults),
	       READ_ONCE(vm.guest.shadow.retries),
	       atomic_load(&vm.guest.kicks));
	return 0;
}

/* Parse PAGES [PASSES], or print what is wrong with them. */
static bool size(unsigned argc, char **argv, unsigned *pages)
{
	uint64_t n;

	passes = PASSES;
	if (!shell_number(argv[3], &n) || n < 2 || n > VM_PAGES_MAX ||
	    n & (n - 1)) {
		printk("PAGES is a power of two, 2 to %u\n", VM_PAGES_MAX);
		return false;
	}
	*pages = (unsigned)n;
	if (argc == 5 && (!shell_number(argv[4], &passes) || !passes)) {
		printk("PASSES is a number from 1 on\n");
		return false;
	}
	return true;
}

static int load(struct mm *mm, unsigned pages)
{
	int error = vm_load(&vm, mm, VA, pages, passes);

	if (error == -ENOENT)
		printk("a guest of %u pages needs %lu private writable pages "
		       "from %#lx on\n",
		       pages, VM_BYTES(pages) / PAGE_SIZE, VA);
	else if (error == -EFAULT)
		printk("the memory cannot be written\n");
	else
		shell_say(error);
	return error;
}

static int make(unsigned argc, char **argv)
{
	unsigned pages;
	struct mm *mm;
	int error;

	if (argc < 4 || argc > 5)
		return -EINVAL;
	if (state != NONE) {
		printk("there is a guest: guest end\n");
		return -EBUSY;
	}
	if (!size(argc, argv, &pages))
		return -EINVAL;
	mm = shell_find_mm(argv[2]);
	if (!mm)
		return -ENOENT;
	error = load(mm, pages);
	if (error)
		mm_put(mm);
	else
		state = LOADED;
	return error;
}

static int start(void)
{
	if (state != LOADED)
		return refuse();
	if (!vm_start(&vm, UINT64_MAX))
		return shell_say(-ENOMEM);
	state = STARTED;
	return 0;
}

/* Wait for the guest's end; returns false if ^C was typed before. */
static bool outwait(void)
{
	while (!atomic_load(&vm.over)) {
		if (serial_skip_to(SHELL_CANCEL))
			return false;
		sleep_ns(LOOK_NS);
	}
	return true;
}

/* What the guest has printed, and how it ended if that is not as it should. */
static int wait(void)
{
	if (state != STARTED)
		return refuse();
	if (!outwait()) {
		printk("the guest goes on: guest wait, or guest end\n");
		return 0;
	}
	vm_wait(&vm);
	state = ENDED;
	printk("%s", vm.text);
	if (vm.why != VCPU_HLT)
		printk("the guest %s\n", doing());
	return 0;
}

void shell_guest_end(void)
{
	struct mm *mm = vm.mm;

	if (state == NONE)
		return;
	if (state == STARTED)
		vm_kill(&vm);
	vm_destroy(&vm);
	mm_put(mm);
	state = NONE;
}

static int guest(unsigned argc, char **argv)
{
	if (!svm_present()) {
		printk("this machine has no SVM with nested paging\n");
		return -ENOENT;
	}
	if (argc == 1)
		return show();
	if (!strcmp(argv[1], "new"))
		return make(argc, argv);
	if (argc == 2 && !strcmp(argv[1], "run"))
		return start();
	if (argc == 2 && !strcmp(argv[1], "wait"))
		return wait();
	if (argc != 2 || strcmp(argv[1], "end"))
		return -EINVAL;
	shell_guest_end();
	return 0;
}
SHELL_COMMAND(guest, "[new MM PAGES [PASSES] | run | wait | end]",
	      "a virtual machine in the memory of an mm",
	      "new 24; guest new 1 8 9; guest run; guest wait; guest end",
	      guest);
