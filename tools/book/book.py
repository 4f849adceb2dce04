#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make book: the documents, the sources and the races as static pages.

    tools/book/book.py [--kernel=FILE] [--of=LOG] FOLDER    write the book to FOLDER

The races are those of a run of this kernel (4 CPUs, icount); --of: of this log of a run with
APPEND='explain explain=json' (the tests of the tools).  Needs pandoc.  The pages need no network.
"""
import glob
import importlib.machinery
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from html import escape

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..")]
import lanes
import page
import plot
import race
import source
import timelines

SHOWN = (".c", ".h", ".asm", ".py", ".txt", ".ld", ".cfg", ".css", ".js", ".sh")
FIGURE = "race.new_b_before_new_a.model"  # runs the figure of mmu_notifier.rst unchanged
INDEX = """# visavis: the book

A device's MMU, or a guest's, translates the same memory as the CPU's. This book shows what breaks when one of them is notified of a change
too early or too late: in runs of a real kernel, step by step.

- **Ten minutes**: play [race 4](race/4.html#wrong-1), in the wrong order and in the right one. Watch the IOTLB of device 0 in the
  table in the middle: *stale* after the clear is harmless; in the wrong order it is still there when the new entry is set.
- **Fifteen minutes**: [the tour](docs/tour.html), from the boot to a device that reads an old page.
- **An evening**: [the labs](labs/README.html), twelve holes in the kernel to mend; `tools/quiz -s 1` asks what a device reads.
- **A weekend**: [the chapters](docs/reading.html), with a path for a first reading.

All races: [eighteen of devices and seven of guests](races.html). The figure of Linux's mmu_notifier.rst,
[drawn from a run](figure.html). What is true at every moment: [the invariants](docs/invariants.html). What it costs:
[figures](plots.html), and [their tables](docs/figures.html). The [glossary](docs/glossary.html), the
[source](src/index.html), and the [README](README.html).
"""


def tracked():
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], capture_output=True,
                         text=True, check=True).stdout
    return [f for f in out.split("\n") if f and os.path.isfile(f)]


def is_source(path):
    if path.endswith(SHOWN) or path == "Makefile":
        return True
    with open(path, "rb") as f:
        return path.startswith("tools/") and f.read(2) == b"#!"


def rows_of(html):
    """{B12: (its sentence, what shows it)} of the invariants' page, as HTML."""
    found = {}
    for row in re.findall(r"<tr[^>]*>(.*?)</tr>", html, re.S):
        cells = re.findall(r"<td[^>]*>(.*?)</td>", row, re.S)
        name = re.match(r'\s*<a id="[bch]\d+"></a>(?:<a [^>]*>)?([BCH]\d+)', cells[0]) if cells else None
        if name and len(cells) > 2:
            found[name[1]] = cells[1:]
    return found


class Writer:
    def __init__(self, out):
        self.out, self.pages = out, []

    def put(self, name, text):
        path = os.path.join(self.out, name)
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)

    def page(self, name, title, body, scripts="", wide=False):
        self.put(name, page.whole(name, title, body, scripts, wide))


def write_sources(book, w):
    for path in book.tree.text:
        name = page.file_of(path)
        body = book.tree.page(path, lambda place, name=name: book.link(place, name))
        w.page(name, path, f"<h1>{escape(path)}</h1>\n{body}", wide=True)
    folders = {}
    for path in sorted(book.tree.text):
        folders.setdefault(os.path.dirname(path) or ".", []).append(path)
    items = "".join(f"<h2>{escape(folder)}</h2><p>" + " ".join(
        f'<a href="{escape(os.path.relpath(page.file_of(p), "src"))}">{escape(os.path.basename(p))}</a>'
        for p in files) + "</p>" for folder, files in folders.items())
    w.page("src/index.html", "Source", f"<h1>Source</h1>{items}")


def write_documents(book, w, documents):
    with ThreadPoolExecutor() as pool:
        bodies = dict(zip(documents, pool.map(lambda p: book.chapter(p, documents[p]), documents)))
    order = [os.path.normpath(os.path.join("docs", link)) for link in
             re.findall(r"\]\(([^)#]+\.md)", documents["docs/reading.md"])]
    order = [p for p in dict.fromkeys(order) if p in documents]
    for path, body in bodies.items():
        if path in order:
            body += neighbours(order, path, bodies)
        w.page(page.file_of(path), page.title_of(bodies[path]), body)
    return bodies


def neighbours(order, path, bodies):
    """Links to the chapters before and after one."""
    at, links = order.index(path), []
    for word, other in (("Before: ", at - 1), ("Next: ", at + 1)):
        if 0 <= other < len(order):
            there = page.relative(page.file_of(order[other]), page.file_of(path))
            links.append(f'<a href="{there}">{word}{escape(page.title_of(bodies[order[other]]))}</a>')
    return f'<p class="neighbours">{" · ".join(links)}</p>'


def write_invariants(book, w, html):
    rows = rows_of(html)
    missing = book.numbers - set(rows)
    if missing:
        sys.exit(f"book: docs/invariants.md: no row is found for {', '.join(sorted(missing))}")
    for name, (says, shown) in rows.items():
        def moved(cell):  # from docs/ to invariants/: the same depth
            return re.sub(r'href="(?!\.\./|\w+:|#)([^"]*)"', r'href="../docs/\1"', cell).replace(
                'href="#', 'href="../docs/invariants.html#')
        w.page(f"invariants/{name}.html", name,
               f'<h1>{name}</h1><p>{moved(says)}</p><h2>Shown by</h2><p>{moved(shown)}</p>'
               f'<p><a href="../docs/invariants.html#{name.lower()}">All rows</a></p>')


def write_races(book, w, races, found):
    index = []
    for r in races.RACES + races.GUESTS:
        orders = {o: races.shown(name, kinds, found) for o, name, kinds in races.orders(r)}
        orders = {o: t for o, t in orders.items() if t}
        if not orders:
            continue
        name = f"race/{r[0]}.html"
        said = {o: said_of(races, r, o, t) for o, t in orders.items()}
        w.page(name, f"{r[0]}. {r[1]}", race.body(book, r, orders, name, said),
               '<script src="../race.js"></script>\n', wide=True)
        index.append(f'<li value="0"><a href="{name}">{r[0]}. {escape(r[1])}</a>: '
                     f'{escape(next(iter(orders.values()))["claim"])}</li>')
    w.page("races.html", "Races", "<h1>Races</h1><p>Each is run in two orders, with the same steps: the "
           'wrong one ends with wrong data. <a href="docs/races.html">All timelines on one page</a>.</p>'
           f'<ul class="races">{"".join(index).replace(chr(32) + "value=" + chr(34) + "0" + chr(34), "")}</ul>')


def said_of(races, r, order, timeline):
    """What races.md says of an order, with the numbers of this timeline's steps."""
    words = r[4] if order == "wrong" else r[6]
    table = "\n".join(["", *(f"{s['step']} {s['words']}" for s in timeline["steps"])])
    html = page.pandoc(races.numbered(words, table))
    return re.sub(r"</?p>", "", html).strip()


def write_figure(w, found):
    timeline = found.get(FIGURE)
    if not timeline:
        sys.exit(f"book: the run has no timeline of {FIGURE}")
    picture = lanes.svg(timeline, "The figure of mmu_notifier.rst, from a run")
    w.put("figure.svg", picture)
    rows = "\n".join(f"{s['step']:>3}  {s['lane']:<10}  {s['words']}" for s in timeline["steps"])
    w.page("figure.html", "The figure of mmu_notifier.rst", f"""<h1>The figure of mmu_notifier.rst</h1>
<p>Linux's <code>Documentation/mm/mmu_notifier.rst</code> shows by hand what happens "if page table update
is not ordered with the notifier": four CPU threads and two device threads, in columns of text. This is
the same figure from a run, test <code>{FIGURE}</code>: every row is a probe that was hit. Device 1 reads
the new B, and after that device 0 reads the old A, which was written first.
<a href="race/4.html">Race 4</a> plays it, and the right order.</p>
<div class="wide" tabindex="0"><img src="figure.svg" alt="Timeline of {len(timeline['steps'])} steps: {
escape('; '.join(f"{s['lane']}: {s['words']}" for s in timeline['steps']))}"></div>
<h2>As text</h2><pre tabindex="0">{escape(rows)}</pre>""")


def write(out, log):
    """The whole book, of the documents and sources of the tree and a run's log."""
    loader = importlib.machinery.SourceFileLoader("races", os.path.join(HERE, "../races"))
    races = loader.load_module()
    found = timelines.read(log)
    files = tracked()
    documents = {}
    for path in (f for f in files if f.endswith(".md")):
        with open(path, encoding="utf-8") as f:
            documents[path] = f.read()
    numbers = set(re.findall(r'<a id="[bch]\d+"></a>([BCH]\d+)', documents["docs/invariants.md"]))
    book = page.Book(source.Tree(filter(is_source, files)), page.terms(documents["docs/glossary.md"]),
                     numbers)
    shutil.rmtree(out, ignore_errors=True)
    w = Writer(out)
    w.put("timelines.json", json.dumps({n: {k: v for k, v in t.items() if k != "names"}
                                        for n, t in found.items()}))
    write_races(book, w, races, found)
    write_figure(w, found)
    bodies = write_documents(book, w, documents)
    write_invariants(book, w, bodies["docs/invariants.md"])
    write_sources(book, w)
    w.page("plots.html", "Figures", plot.body(documents["docs/figures.md"]))
    w.page("index.html", "The book", page.finish(page.pandoc(INDEX)))
    for name in ("style.css", "race.js"):
        shutil.copy(os.path.join(HERE, name), out)
    for picture in glob.glob("docs/*.svg"):
        shutil.copy(picture, os.path.join(out, "docs"))
    shutil.copytree("docs/races", os.path.join(out, "docs/races"), dirs_exist_ok=True)


def main():
    words, out, kernel, log = sys.argv[1:], None, "build/check/visavis.elf", None
    for word in words:
        if word in ("--help", "-h"):
            print(__doc__.strip())
            return
        if word.startswith("--kernel="):
            kernel = word[9:]
        elif word.startswith("--of="):
            log = word[5:]
        elif word.startswith("-") or out:
            sys.exit(f"book: {word}: not an option; tools/book/book.py --help")
        else:
            out = word
    if not out:
        sys.exit("book: name the folder to write to; tools/book/book.py --help")
    if os.path.exists(out) and os.listdir(out) and not os.path.exists(f"{out}/timelines.json"):
        sys.exit(f"book: {out} is a folder with other files in it: name a new one")
    if not shutil.which("pandoc"):
        sys.exit("book: pandoc is missing: sh tools/setup, or apt-get install pandoc")
    if log:
        with open(log, encoding="utf-8", errors="replace") as f:
            text = f.read()
    else:
        os.environ["KERNEL"] = kernel
        loader = importlib.machinery.SourceFileLoader("races", os.path.join(HERE, "../races"))
        text = loader.load_module().run()
    try:
        write(out, text)
    except timelines.Wrong as e:
        sys.exit(f"book: the run's timelines: {e}")
    print(f"book: {os.path.join(out, 'index.html')}")


if __name__ == "__main__":
    os.chdir(os.path.join(HERE, "../.."))
    main()
