# SPDX-License-Identifier: MIT
"""The list of cases of make test: one or several at a time, all, some, or those that have not
passed yet on this tree.  Their lines are printed in the order of the list.

A call of a function with @case_of_its_own puts it on the list; inside a case it runs at
once, as a part of that case.
"""
import fnmatch
import functools
import hashlib
import os
import re
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

FOLDER = "build/test"  # logs and JUnit of the cases, and the list of those that passed
PASSED = f"{FOLDER}/passed"
SILENCE = 10  # seconds
plan = [(False, [])]  # parts: may its cases run at the same time, its cases
# .name of the running case, .passed and .failed: any of its parts, .lines: its output
inside = threading.local()
lock = threading.Lock()
total = {"passed": 0, "failed": 0, "skipped": 0}
running = {}  # name: since when
failed = []  # each part that failed, with its first failed test or last line
spoken = [time.monotonic()]


def case_of_its_own(function):
    @functools.wraps(function)
    def call(*args, **env):
        if getattr(inside, "name", None):
            return function(*args, **env)
        name = args[0] if function.__name__ in ("case", "boot") else " ".join(
            [function.__name__.replace("_", " "),
             *(str(a) for a in args if type(a) in (str, int))])
        return plan[-1][1].append((name, function, args, env))
    return call


def together():
    """The cases after this call are independent of each other, and of how busy the host is."""
    plan.append((True, []))


def one_by_one():
    """The cases after this call get all CPUs of the host."""
    plan.append((False, []))


def path(name, end):
    os.makedirs(FOLDER, exist_ok=True)
    return f"{FOLDER}/{re.sub('[^A-Za-z0-9]+', '-', name).strip('-')}.{end}"


def say(line):
    """Print a line at once."""
    with lock:
        spoken[0] = time.monotonic()
        print(line, flush=True)


def first_cause(detail):
    """One line of a failure's detail for the list at the end."""
    lines = [line.strip() for line in detail.splitlines() if line.strip()]
    for i, line in enumerate(lines):
        if line.startswith("not ok "):
            return " ".join(lines[i:i + 2])
    return lines[-1] if lines else "no output"


def report(name, ok, start, detail="", out=None):
    """Print one line a case, and the detail of a failure.  out: the whole output, for the log."""
    with lock:
        total["passed" if ok else "failed"] += 1
        if not ok:
            failed.append(f"{name}: {first_cause(detail)}")
    inside.passed |= ok
    inside.failed |= not ok
    if out is not None:
        with open(path(name, "log"), "w", encoding="utf-8") as f:
            f.write(out)
    lines = [f"{'ok    ' if ok else 'FAILED'} {time.monotonic() - start:6.1f} s  {name}"]
    inside.lines += lines + ["    " + line for line in detail.splitlines() if not ok]


def skip(name, why):
    """Report a case that cannot run here: skipped, not failed."""
    with lock:
        total["skipped"] += 1
    inside.lines.append(f"skipped          {name}: {why.strip().splitlines()[-1]}")


def tree():
    """A hash of the tree, with its untracked files: a case that passed on another tree has to run
    again."""
    out = b"".join(subprocess.run(c, shell=True, capture_output=True, check=False).stdout for c in (
        "git rev-parse HEAD", "git diff --binary --no-ext-diff --no-textconv HEAD",
        "git ls-files -zo --exclude-standard | xargs -0r sha256sum --"))
    return hashlib.sha256(out).hexdigest()


def key(entry):
    """The line of PASSED: a case of this name with other arguments, or on another QEMU, is another."""
    name, function, args, env = entry
    words = [getattr(a, "__name__", a) for a in args]
    what = repr((function.__name__, words, sorted(env.items()), os.environ.get("QEMU")))
    return f"{hashlib.sha256(what.encode()).hexdigest()[:16]} {name}"


def one(entry):
    """Run a case.  Returns its lines."""
    name, function, args, env = entry
    inside.name, inside.passed, inside.failed, inside.lines = name, False, False, []
    running[name] = start = time.monotonic()
    try:
        function(*args, **env)
    except (Exception, SystemExit) as e:  # pylint: disable=broad-except # it fails this case, not all
        report(name, False, start, repr(e))
    finally:
        del running[name]
        inside.name = None
    if not inside.lines:
        report(name, False, start, "the case reported nothing")
    if inside.passed and not inside.failed:
        with lock, open(PASSED, "a", encoding="utf-8") as f:
            f.write(key(entry) + "\n")
    return inside.lines


def still_there():
    """Print a line at least every ten seconds."""
    while True:
        time.sleep(1)
        if time.monotonic() - spoken[0] > SILENCE and running:
            say("\n".join(f"  ...  {time.monotonic() - since:6.1f} s  {name}"
                          for name, since in list(running.items())))


def run(glob, jobs, resume):
    """Run the list.  Returns true if all ran to the end and nothing failed."""
    chosen = [(parallel, [e for e in entries if fnmatch.fnmatchcase(e[0], glob or "*")])
              for parallel, entries in plan]
    if not any(entries for _, entries in chosen):
        print(f"test: no case matches CASES={glob}")
        return False
    os.makedirs(FOLDER, exist_ok=True)
    now, passed = tree(), []
    if resume and os.path.exists(PASSED):
        with open(PASSED, encoding="utf-8") as f:
            passed = f.read().splitlines()
    if passed[:1] != [now]:
        passed = [now]
    with open(PASSED, "w", encoding="utf-8") as f:
        f.write("".join(line + "\n" for line in passed))
    threading.Thread(target=still_there, daemon=True).start()
    before, interrupted = 0, False
    for parallel, entries in chosen:
        left = [e for e in entries if key(e) not in passed]
        before += len(entries) - len(left)
        with ThreadPoolExecutor(jobs if parallel else 1) as pool:
            try:
                for lines in pool.map(one, left):
                    say("\n".join(lines))
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                print("\ntest: interrupted; make test RESUME=1 continues from here")
                interrupted = True
                break
    if before:
        print(f"{before} cases have passed before on this tree and were not run")
    for line in failed:  # again, for a log that is cut to its end
        print(f"FAILED  {line}")
    print(", ".join(f"{n} {word}" for word, n in total.items()), flush=True)
    return not interrupted and not total["failed"] and total["passed"] + before > 0
