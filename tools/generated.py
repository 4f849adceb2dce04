# SPDX-License-Identifier: MIT
"""Mutants made by rule: a sample of all places in mm/ and iommu/ (`make mutants M=--generated`).

    make mutants M='--generated [GLOB,...]' N=100 SEED=1 JOBS=2

A GLOB chooses by file, function, operator or id.  Operators (tools/mutate.py): delete (a statement),
negate and force (a condition), compare, not, logic, arith, off-by-one, return (also break, continue
and goto), order (of memory), probe.  The N mutants with the lowest hash of seed and place are
taken, in the order of the hash: a change elsewhere keeps the sample, and the first n of a run are the
sample of N=n.

A mutant whose object file holds the same code is equivalent.  Another is booted with the suites that
the records of tests/mutants name for its file or folder, and, if it passes them, with all but the
slow suites, on one CPU.  What passes both is booted with all suites on 4 CPUs after all mutants had
their first boots, since that takes ten times as long.  The first failed test ends a boot.  A boot
that hangs is tried once more before it counts: the host may have been slow.  JOBS mutants are tried
at a time, each in a copy of the tree of its own.  Results are kept in build/generated.jsonl, and a
second run goes on: a killed mutant stays killed while its file is unchanged, a survivor is tried
again when anything has changed.

A survivor is printed as a record.  If it is equivalent, the record goes to
tests/mutants/equivalent/*.txt with the reason, and the mutant is skipped from then on:

    == file | function
    why: the reason
    - the old lines
    + the new lines
"""
import collections
import fnmatch
import glob
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import mutate
from mutant_tree import KERNEL, Tree, tracked

TREES = "build/mutants-generated"
OUT = os.path.dirname(KERNEL)
RESULTS, PLACES = "build/generated.jsonl", "build/generated-places.json"
EQUIVALENT = "tests/mutants/equivalent/*.txt"
SOURCES = ("mm/*/*.c", "iommu/*/*.c")
NOT_HERE = "mm/san/"  # built with SAN=kasan alone
QUICK = ("-stress.*,-explore.*,-engines.*,-hostile.*,-dma.*,-edu.*,-guest*", 1)
LONG = ("", 4)
LIMITS = ("LOG=none", "SILENCE=30", "LIMIT=600", "APPEND=timeout=30")
HUNG = " (hung)"
LATE = "# (silent for|not done after|closed its output)"  # after the report: tools/patience.py
LEFT = "passed"  # the quick boots; the long one comes last
VERDICTS = ("killed", "survived", LEFT, "equivalent", "did not build")


def sha(*parts):
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


# ---- mutants --------------------------------------------------------------------

def lines_of(text, mutant):
    """(old, new): the whole lines that the mutant changes, as a list of each."""
    begin = text.rfind("\n", 0, mutant.at) + 1
    end = text.find("\n", mutant.end)
    new = text[begin:mutant.at] + mutant.new + text[mutant.end:end]
    kept = [line for line in new.split("\n") if line.strip(" \t;") or line.strip(" \t") == ";"]
    return text[begin:end].split("\n"), kept


def list_all(tree):
    """Every mutant with its old and new lines, its id; the places of unchanged files are kept."""
    with open(os.path.join(tree.path, OUT, "flags"), encoding="utf-8") as f:
        flags = [w for w in f.read().split()[1:] if not w.startswith("-ffile-prefix-map")]
    known = json.load(open(PLACES, encoding="utf-8")) if os.path.exists(PLACES) else {}
    now, out = {}, []
    files = [f for g in SOURCES for f in sorted(glob.glob(g)) if not f.startswith(NOT_HERE)]
    rules = sha(mutate.read("tools/mutate.py"), *flags)
    for number, file in enumerate(files, 1):
        text = mutate.read(file)
        key = sha(rules, text)
        if key not in known and sys.stderr.isatty():
            print(f"\r\033[Kparse {number}/{len(files)} {file}", end="", file=sys.stderr)
        now[key] = known.get(key) or mutate.mutants(file, flags)
        seen = collections.Counter()
        for m in (mutate.Mutant(*m) for m in now[key]):
            old, new = lines_of(text, m)
            name = (file, m.function, m.operator, *old, "->", *new)
            seen[name] += 1
            out.append({"id": sha(*name, seen[name])[:8], "mutant": m, "old": old, "new": new,
                        "text": sha(text)})
    with open(PLACES, "w", encoding="utf-8") as f:
        json.dump(now, f)
    return out


def sample(mutants, pattern, n, seed):
    chosen = [m for m in mutants if any(
        fnmatch.fnmatchcase(word, g) for g in pattern.split(",")
        for word in (m["id"], m["mutant"].file, m["mutant"].function, m["mutant"].operator))]
    chosen.sort(key=lambda m: sha(seed, m["id"]))
    return chosen[:n]


# ---- records of equivalent ones ----------------------------------------------------

def read_equivalent():
    """{(file, function, old lines, new lines): reason}."""
    records = []
    for path in sorted(glob.glob(EQUIVALENT)):
        with open(path, encoding="latin-1") as f:
            for line in f.read().splitlines():
                if line.startswith("== "):
                    records.append([*(w.strip() for w in line[3:].split("|")), "", "", ""])
                elif line.startswith("why: "):
                    records[-1][4] = line[5:]
                elif line[:1] in ("-", "+"):
                    records[-1][2 if line[0] == "-" else 3] += line[2:] + "\n"
    return {tuple(key): why for *key, why in records}


def record_key(m):
    return (m["mutant"].file, m["mutant"].function, "".join(f"{l}\n" for l in m["old"]),
            "".join(f"{l}\n" for l in m["new"]))


def record_text(m):
    """As mutate.read() reads bytes, so they are printed."""
    lines = [f"== {m['mutant'].file} | {m['mutant'].function}",
             *(f"- {l}" for l in m["old"]), *(f"+ {l}" for l in m["new"])]
    return "\n".join(lines).encode("latin-1").decode("utf-8", "replace")


# ---- one mutant -------------------------------------------------------------------

def room(file, records):
    """The suites to begin with: those of the file's records, else of its folder's."""
    for matches in (lambda r: r["file"] == file,
                    lambda r: os.path.dirname(r["file"]) == os.path.dirname(file)):
        suites = sorted({g.partition(".")[0] for r in records if matches(r)
                         for g in r["tests"].split()[0].split(",")
                         if re.match(r"[a-z]", g)} - {"stress", "explore"})
        if suites:
            break
    globs = ",".join(f"{s}.*" for s in suites)
    return globs[:200].rpartition(",")[0] if len(globs) > 200 else globs


NO_TEST = 39  # EXIT_USAGE of drivers/exitport.h, as QEMU returns it


def boot(tree, globs, smp):
    """(the first failed test or why the machine ended, else None)."""
    suite, late = None, ""
    with subprocess.Popen(tree.command(globs, smp, *LIMITS), cwd=tree.path, text=True,
                          errors="replace", stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:
        for line in process.stdout:
            if line.startswith("  # Subtest: "):
                suite = line[13:].strip()
            found = re.match(r"(  )?not ok \d+ (\S+)(.*)", line)
            if found:
                process.send_signal(signal.SIGTERM)
                process.stdout.read()
                process.wait()
                name = f"{suite}.{found[2]}" if found[1] else found[2]
                return name + (HUNG if "TIMEOUT" in found[3] else "")
            if re.match(LATE, line):
                late = HUNG
        status = process.wait()
    if status == NO_TEST:
        return None  # a selection without tests kills nothing
    return f"status {status}{late}" if status else None


def killer(tree, *boots):
    """The first of these boots that fails says by what; one that a time limit ended is repeated."""
    for globs, smp in boots:
        by = boot(tree, globs, smp)
        by = boot(tree, globs, smp) if by and by.endswith(HUNG) else by
        if by:
            return by
    return None


def code(tree, file):
    """The bytes of an object file's sections."""
    out = f"{tree.path}/build/code"
    shutil.copyfile(f"{tree.path}/{OUT}/{file}.o", out)
    subprocess.run(["strip", "--strip-debug", out], check=True)
    with open(out, "rb") as f:
        return f.read()


def build(tree, file, original):
    """None, or the verdict if there is nothing to boot."""
    if tree.build(f"{OUT}/{file}.o").returncode:
        return "did not build"
    if code(tree, file) == original:
        return "equivalent"
    return "did not build" if tree.build().returncode else None


def try_one(tree, m, boots):
    """(verdict, by what)."""
    file, mutant = m["mutant"].file, m["mutant"]
    tree.build(f"{OUT}/{file}.o")
    original = code(tree, file)
    with tree.broken(file, lambda text: text[:mutant.at] + mutant.new + text[mutant.end:]):
        verdict = build(tree, file, original)
        if verdict:
            return verdict, "the same code" if verdict == "equivalent" else ""
        by = killer(tree, *boots)
    return ("killed", by) if by else ("survived", "")


# ---- the run ----------------------------------------------------------------------

class Results:
    """build/generated.jsonl: one line a verdict, the last counts."""

    def __init__(self):
        data = [mutate.read(f) for f in tracked() if re.search(r"\.(c|h|asm|ld)$|^Makefile$", f)]
        self.tree, self.of = sha(*data), {}
        if os.path.exists(RESULTS):
            with open(RESULTS, encoding="utf-8") as f:
                for line in filter(lambda l: l.endswith("}\n"), f):  # the last may be cut
                    self.of[json.loads(line)["id"]] = json.loads(line)

    def known(self, name, text):
        r = self.of.get(name, {})
        good = r.get("tree") == self.tree or r.get("text") == text and r["verdict"] == "killed"
        return (r["verdict"], r["by"]) if good else None

    def keep(self, name, text, verdict, by):
        self.of[name] = {"id": name, "text": text, "tree": self.tree, "verdict": verdict, "by": by}
        with open(RESULTS, "a", encoding="utf-8") as f:
            f.write("\n" + json.dumps(self.of[name]) + "\n")  # after a line that was cut, too


class Run:
    """One sample and the trees in which it is tried."""

    def __init__(self, trees, chosen, records):
        self.trees, self.chosen, self.records = trees, chosen, records
        self.results, self.verdicts, self.lock = Results(), {}, threading.Lock()
        reasons = read_equivalent()
        for m in chosen:
            known = ("equivalent", reasons[record_key(m)]) if record_key(m) in reasons else \
                self.results.known(m["id"], m["text"])
            if known:
                self.verdicts[m["id"]] = known

    def check_unbroken(self):
        """A suite that fails by itself would kill every mutant."""
        if self.results.known("unbroken", ""):
            return
        for globs, smp in (QUICK, LONG):
            print(f"unbroken: T='{globs}' SMP={smp}", flush=True)
            if by := boot(self.trees[0], globs, smp):
                sys.exit(f"mutants: the unbroken kernel fails: {by}")
        self.results.keep("unbroken", "", "survived", "")

    def quick(self, m):
        first = room(m["mutant"].file, self.records)
        return ((first, 1), QUICK) if first else (QUICK,)

    def each(self, mutants, boots, survived):
        """Try the mutants, in each tree one at a time.  survived: the verdict of what passes."""
        queue, of = iter(enumerate(mutants, 1)), len(mutants)

        def work(tree):
            while True:
                with self.lock:
                    number, m = next(queue, (0, None))
                if not m:
                    return
                verdict, by = try_one(tree, m, boots(m))
                with self.lock:
                    verdict = survived if verdict == "survived" else verdict
                    self.verdicts[m["id"]] = verdict, by
                    self.results.keep(m["id"], m["text"], verdict, by)
                    print_one(number, of, m, verdict, by)

        workers = [threading.Thread(target=work, args=[t], daemon=True) for t in self.trees]
        for w in workers:
            w.start()
        for w in workers:
            w.join()

    def all(self):
        self.each([m for m in self.chosen if m["id"] not in self.verdicts], self.quick, LEFT)
        self.each([m for m in self.chosen if self.verdicts[m["id"]][0] == LEFT],
                  lambda _: (LONG,), "survived")


def print_one(number, of, m, verdict, by):
    mutant = m["mutant"]
    print(f"{number:3}/{of} {verdict:10} {mutant.file}:{mutant.line} {mutant.operator} {m['id']}" +
          (f": {by}" if by else ""), flush=True)
    if verdict in (LEFT, "survived"):
        print(record_text(m), flush=True)


def summary(chosen, verdicts):
    """Print the survivors again, and the counts.  Returns the status: 0 if none survived, and if not
    all that could have been tried did not build."""
    survivors = [m for m in chosen if verdicts[m["id"]][0] == "survived"]
    if survivors:
        print("\nsurvivors:")
    for m in survivors:
        print(f"{m['mutant'].file}:{m['mutant'].line} {m['mutant'].operator} {m['id']}\n{record_text(m)}")
    counts = collections.Counter(v for v, _ in verdicts.values())
    hung = sum(HUNG in by for _, by in verdicts.values())
    tried = counts["killed"] + counts["survived"]
    print(", ".join(f"{counts[v]} {v}" for v in VERDICTS) + f"; {hung} of the killed hung; "
          f"{100 * counts['killed'] / max(tried, 1):.1f} % of {tried} killed")
    nothing = not tried and counts["did not build"]
    if nothing:
        print("mutants: none was tried")
    return 1 if survivors or nothing else 0


def main(pattern, given, records):
    n, seed, jobs = (int(given.get(k, v)) for k, v in (("N", 100), ("SEED", 1), ("JOBS", 1)))
    if not shutil.which("clang"):
        sys.exit("mutants: --generated reads clang's syntax tree: apt-get install clang")
    trees = [Tree(f"{TREES}-{i}" if i else TREES, quiet=True) for i in range(jobs)]
    trees[0].copy()
    everything = list_all(trees[0])
    chosen = sample(everything, pattern, n, seed)
    if not chosen:
        sys.exit(f"mutants: no file, function, operator or id of a generated mutant matches `{pattern}`")
    for tree in trees[1:]:
        tree.copy()
    run = Run(trees, chosen, records)
    print(f"{len(chosen)} of {len(everything)} mutants, SEED={seed}", flush=True)
    run.check_unbroken()
    start = time.monotonic()
    run.all()
    print(f"{time.monotonic() - start:.0f} s")
    sys.exit(summary(chosen, run.verdicts))
