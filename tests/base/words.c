/* SPDX-License-Identifier: MIT */
/*
 * words.c - the parameters of the command line: select.c parses them, the shell
 * and docs/settings.md (tools/settings.py reads this file) list them
 */
#include "tests/base/select.h"

const struct word select_words[] = {
	{ "test=", "GLOB,...", "run these tests; -GLOB leaves out" },
	{ "seed=", "N", "what random choices start from" },
	{ "repeat=", "N", "run each suite N times" },
	{ "timeout=", "N", "seconds that a test may take" },
	{ "shuffle", "", "the tests of each suite in an order by the seed" },
	{ "quick", "", "all but the stress" },
	{ "check=each", "",
	  "sweep frames, device table and kernel mappings after each test, not "
	  "each suite" },
	{ "explain", "", "print what each test did as a table" },
	{ "explain=json", "",
	  "the same as JSON lines, with the state after each step" },
	{ "list", "", "list tests and claims instead of running them" },
	{ "low=", "FRAMES",
	  "with high=: below so many free frames pages are swapped out" },
	{ "high=", "FRAMES",
	  "... in the background, until so many are free; tests that count "
	  "pages "
	  "fail then" },
	{ "shell", "", "a prompt on the serial line" },
	{ "bench", "", "measure instead of testing" },
	{ "bench=", "GLOB", "measure these groups or figures" },
	{ "stress=", "N", "N times the operations of suite stress" },
	{ "ops=", "A:N-N,...", "these operations of a stress run alone" },
	{ "explore=", "N",
	  "orders with up to N preemptions, of suite explore" },
	{ "sched=", "C:A,...", "this order of a test of suite explore alone" },
	{ "hugepages=", "N", "reserve N blocks of 2 MiB for MAP_HUGETLB" },
	{ "quirks", "",
	  "print what the IOMMU and SVM do, as measured at boot" },
	{ "fail=alloc:nth=", "N", "fail the Nth allocation of each test" },
	{ "lie=hang", "", "let each test spin for ever" },
	{ "lie=deaf", "", "let each test spin for ever, interrupts off" },
	/* Parsed by boot/bringup.c before the selection is read. */
	{ "idle=poll", "", "an idle CPU spins: icount runs repeat exactly" },
	{ "lie=map", "", "pretend that the memory map wraps around" },
	{ "lie=madt", "", "pretend that the MADT has a bad checksum" },
	{ "lie=rsdp", "", "pretend that the RSDP has a bad checksum" },
	{ "lie=mcfg", "", "pretend that the MCFG has a bad checksum" },
	{ "lie=window", "", "pretend that the MCFG points elsewhere" },
	{ "lie=ivrs", "", "pretend that the IVRS has a bad checksum" },
	{ "lie=ivhd", "", "pretend that an IVRS block is too long" },
	{ "lie=mmio", "", "pretend that IOMMU registers lie in RAM" },
	{ "lie=passes", "", "pretend that the IOMMU translates nothing" },
	{ "lie=master", "", "pretend that firmware left devices running" },
};
const unsigned select_n_words = ARRAY_SIZE(select_words);
