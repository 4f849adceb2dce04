/* SPDX-License-Identifier: MIT */
/*
 * tests.h - the suite as boot/main.c sees it
 */
#pragma once

/* The boot has ended: tests_run(), and what it needs before. */
int tests_main(const char *cmdline);

/*
 * Run what the command line asks for, print KTAP, and return the machine's exit
 * value (drivers/exitport.h).  Words: test=GLOB,-GLOB... list bench shell seed=N
 * repeat=N shuffle explain timeout=SECONDS lie=... fail=alloc:nth=N ops=...
 * stress=N (stress.h)
 * Context: a thread, all CPUs up; once at a time.
 */
int tests_run(const char *cmdline);

/* The word `shell`: commands from the serial line (kernel/shell.h) until one
 * ends it.  Returns the machine's exit value. */
int tests_shell(void);
