# SPDX-License-Identifier: MIT
"""Grade a lab, and check all of them (tools/lab).

The score has three parts: the lab's tests (40), the tests of its hidden mutants on the unbroken
tree (20), and the mutants (40).  A mutant shows that the tests see the step which the solution
relies on: it breaks that step, and a test must fail.  One whose text the solution has replaced is
not counted.
"""
import fnmatch
import os
import re
from contextlib import contextmanager

from labs import Lab, Wrong, read
from mutant_records import read_records
from mutant_tree import Tree, failures, selected

WEIGHTS = {"tests": 40, "hidden tests": 20, "hidden mutants": 40}
LIMITS = ("SILENCE=20", "LIMIT=120")


def records():
    return {r["name"]: r for r in read_records()}


def hidden_of(lab):
    """[(record, globs, SMP, more settings)] of a lab's mutants."""
    known, out = records(), []
    for h in lab.hidden:
        if h.name not in known:
            raise Wrong(f"lab {lab.number} no longer applies: there is no mutant {h.name} in "
                        "tests/mutants")
        globs, *words = (h.tests or known[h.name]["tests"]).split()
        out.append((known[h.name], globs, h.smp or known[h.name]["smp"], words))
    return out


class Run:
    """One boot: its status, report, and the tests that were chosen and failed."""

    def __init__(self, tree, tests, globs, smp, *words):
        self.globs, self.smp = globs, smp
        self.chosen = selected(tests, globs)
        done = tree.boot(globs, smp, *LIMITS, "LOG=none", *words)
        self.status, self.report = done.returncode, done.stdout
        self.failed = failures(done.stdout, self.chosen)

    def says(self):
        why = self.report.strip().splitlines()
        return why[-1] if why else "no output"


def claims(tree, globs):
    out = tree.boot(globs, 1, "LOG=none", "APPEND=list").stdout
    return dict(re.findall(r"^(\w+\.[\w.]+)\t(.+)$", out, re.M))


def timeline(report, test):
    """The table of one test, from a run with `explain` or of a test that failed."""
    found = re.search(rf"^ *# timeline of {re.escape(test)}\n(.*?)^ *# end of timeline$", report,
                      re.M | re.S)
    return re.sub(r"^ *# ?", "    ", found[1], flags=re.M).rstrip() if found else None


def first_words(report, test):
    """What the first comparison of a failed test that did not hold says."""
    suite, name = test.split(".", 1)
    before = report.partition(f"# Subtest: {suite}\n")[2]
    stopped = re.search(rf"^  not ok \d+ {re.escape(name)} # ERROR (.*)$", before, re.M)
    if stopped:
        return f"the kernel panicked: {stopped[1]}"
    before = re.split(rf"^  not ok \d+ {re.escape(name)}\b", before, maxsplit=1, flags=re.M)[0]
    part = re.split(r"^  (?:not )?ok \d+ .*\n", before, flags=re.M)[-1]
    said = re.findall(r"^ *# (\S+\.[ch]:\d+: .*)$", part, re.M)
    return said[0] if said else None


def explain(tree, test, report, smp):
    """Print a failed test: its claim, the comparison, the timeline."""
    print(f"\nnot held: {claims(tree, test).get(test, test)}\n    {test}")
    said = first_words(report, test)
    if said:
        print(f"    {said}")
    table = timeline(report, test)
    if not table:
        done = tree.boot(test, smp, *LIMITS, "LOG=none", "APPEND=explain")
        table = timeline(done.stdout, test)
    if table and "◄" in table:
        table += "\n    (◄ the first step after which the comparison does not hold)"
    print(table or "    (the test stopped the kernel before its timeline; "
          f"make run T={test} SMP={smp} shows why)")


def run_tests(tree, tests, pairs):
    """(passed, total, runs) of [(globs, SMP, words)]."""
    passed = total = 0
    runs = []
    for globs, smp, words in pairs:
        run = Run(tree, tests, globs, smp, *words)
        if not run.chosen:
            raise Wrong(f"no test matches `{globs}`")
        bad = len(run.failed) or (len(run.chosen) if run.status else 0)
        passed, total = passed + len(run.chosen) - bad, total + len(run.chosen)
        runs.append(run)
    return passed, total, runs


def show_failures(tree, runs, most=3):
    """Explain the first tests that failed, in the order in which they ran; name the others."""
    seen = {}
    for run in runs:
        if run.status and not run.failed:
            print(f"\nthe kernel stopped: T='{run.globs}' SMP={run.smp}: {run.says()}")
        for test in run.chosen:
            if test in run.failed and test not in seen:
                seen[test] = run
    for test, run in list(seen.items())[:most]:
        explain(tree, test, run.report, run.smp)
    if len(seen) > most:
        print(f"\nand {len(seen) - most} more: {' '.join(list(seen)[most:])}")


def try_mutant(tree, tests, record, globs, smp, words):
    """'killed', 'survived', or why it is not counted."""
    old, new = "\n".join(record["old"]), "\n".join(record["new"])
    with open(os.path.join(tree.path, record["file"]), encoding="utf-8") as f:
        if f.read().count(old) != 1:
            return "not counted: your text has another form there"
    latin = [text.encode().decode("latin-1") for text in (old, new)]
    with tree.broken(record["file"], lambda text: text.replace(*latin)):
        done = tree.build()
        if done.returncode:
            return "not counted: it does not build with your text"
        run = Run(tree, tests, globs, smp, *words)
    return "killed" if run.status else "survived"


def grade_mutants(tree, tests, hidden):
    """(killed, counted); prints each that survives, with its claim and timeline."""
    killed = counted = 0
    for number, (record, globs, smp, words) in enumerate(hidden, 1):
        verdict = try_mutant(tree, tests, record, globs, smp, words)
        print(f"hidden mutant {number} of {len(hidden)}: {verdict}", flush=True)
        counted += not verdict.startswith("not counted")
        killed += verdict == "killed"
        if verdict == "survived":
            test = selected(tests, globs)[0]
            print(f"\nnot held: {record['claim']}\n    a break of that in {record['file']} is not "
                  f"seen by {test}")
            done = tree.boot(test, smp, *LIMITS, "LOG=none", "APPEND=explain")
            print(timeline(done.stdout, test) or "    (that test has no timeline)")
    return killed, counted


def grade(lab, hints):
    """Print the score.  Returns whether it is full."""
    tree = Tree("build/lab")
    print("building, then the tests of the story ...", flush=True)
    tree.copy()
    tests = tree.list_tests()
    parts = {}
    hidden = hidden_of(lab)
    own = [(globs, smp, ()) for globs, smp in lab.tests]
    passed, total, runs = run_tests(tree, tests, own)
    parts["tests"] = (passed, total)
    show_failures(tree, runs)
    seen = {(globs, smp) for globs, smp, _ in own}
    rest = [(g, smp, tuple(w)) for _, g, smp, w in hidden if (g, smp) not in seen]
    if passed == total:
        *parts["hidden tests"], runs = run_tests(tree, tests, sorted(set(rest)))
        show_failures(tree, runs)
        if parts["hidden tests"][0] == parts["hidden tests"][1]:
            parts["hidden mutants"] = grade_mutants(tree, tests, hidden)
    return print_score(lab, parts, hints)


def print_score(lab, parts, hints):
    score, words = 0, []
    for name, weight in WEIGHTS.items():
        if name not in parts:
            words.append(f"{name} not tried")
            continue
        good, of = parts[name]
        score += weight * good // of if of else weight
        words.append(f"{name} {good} of {of}")
    print(f"\nlab {lab.number}, {lab.title}: {'; '.join(words)}; {hints} hints")
    print(f"score {score} of 100")
    return score == 100


# ---- the check of all labs ------------------------------------------------------

@contextmanager
def written(tree, files):
    """The files with these texts, inside the block; those that were not there go again."""
    before = {}
    for name, text in files.items():
        path = os.path.join(tree.path, name)
        before[path] = read(path) if os.path.exists(path) else None
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
    try:
        yield
    finally:
        for path, text in before.items():
            if text is None:
                os.remove(path)
            else:
                with open(path, "w", encoding="utf-8") as f:
                    f.write(text)


def build(tree, what):
    done = tree.build()
    if done.returncode:
        raise Wrong(f"{what} does not build: {done.stderr.splitlines()[0]}")


def hole_fails(lab, tree, tests):
    """Raise Wrong unless the hole builds and each command of the story fails."""
    with written(tree, lab.cut(tree.path)):
        build(tree, "the hole")
        if lab.solve():
            tests = tree.list_tests()
        for globs, smp in lab.tests:
            run = Run(tree, tests, globs, smp)
            if not run.chosen:
                raise Wrong(f"T='{globs}' matches no test")
            if not run.status:
                raise Wrong(f"T='{globs}' SMP={smp} passes in spite of the hole")
    print(f"{name_of(lab)}: the hole fails", flush=True)


def words_of(labs):
    """[(globs, SMP)]: every test of these labs, in words of at most 200 characters."""
    out = []
    for smp, globs in sorted({(smp, globs) for lab in labs for globs, smp in lab.tests}):
        if out and out[-1][1] == smp and len(out[-1][0]) + len(globs) < 200:
            out[-1] = (f"{out[-1][0]},{globs}", smp)
        else:
            out.append((globs, smp))
    return out


def solution_passes(labs, tree, mutants):
    """Raise Wrong unless the solution of these labs passes their tests, and with mutants kills each.
    The solution of most labs is the tree itself: they are tried together."""
    new = {name: text for lab in labs for name, text in lab.solve().items()}
    with written(tree, new):
        build(tree, "the solution")
        tests = tree.list_tests()
        pairs = [(globs, smp, ()) for globs, smp in words_of(labs)]
        passed, total, runs = run_tests(tree, tests, pairs)
        if passed != total:
            bad = sorted(t for run in runs for t in run.failed) or [r.says() for r in runs if r.status]
            raise Wrong(f"the solution passes {passed} of {total} tests: {' '.join(bad)}")
        for record, globs, smp, words in sum(map(hidden_of, labs), []) if mutants else ():
            verdict = try_mutant(tree, tests, record, globs, smp, words)
            print(f"    {record['name']}: {verdict}", flush=True)
            if verdict != "killed":
                raise Wrong(f"hidden mutant {record['name']}: {verdict}")


def attempt(fn, labs, *arguments):
    """Call fn; print why a lab is no good.  Returns whether it is good."""
    try:
        fn(labs, *arguments)
        return True
    except Wrong as e:
        print(f"{name_of(labs)}: {e}", flush=True)
        return False


def name_of(labs):
    return os.path.basename(labs.folder) if isinstance(labs, Lab) else \
        " ".join(str(lab.number) for lab in labs)


def applies(lab, tree):
    """Raise Wrong unless hole and mutants are still about this tree."""
    lab.cut(tree.path)
    hidden_of(lab)


def check(all_labs, words):
    """Check labs; prints a line for each.  Returns whether all are good."""
    mutants = "--mutants" in words
    globs = [w for w in words if w != "--mutants"] or ["*"]
    chosen = [lab for lab in all_labs if any(
        fnmatch.fnmatch(os.path.basename(lab.folder), g) for g in globs)]
    if not chosen:
        raise Wrong(f"no lab matches `{' '.join(globs)}`")
    tree = Tree("build/labs")
    tree.copy()
    good = [lab for lab in chosen if attempt(applies, lab, tree)]
    ours = [lab for lab in good if not lab.solve()]
    passed = all([attempt(solution_passes, each, tree, mutants)
                  for each in [ours] * bool(ours) + [[lab] for lab in good if lab.solve()]])
    tree.build()
    tests = tree.list_tests()
    fails = [lab for lab in good if attempt(hole_fails, lab, tree, tests)]
    print(f"{len(fails)} of {len(chosen)} holes fail their lab's tests; their solutions "
          f"{'pass' if passed else 'do not all pass'}" + (" and kill every mutant" if mutants else ""))
    return passed and len(fails) == len(chosen)
