# SPDX-License-Identifier: MIT
"""Plots of docs/figures.md, whose numbers tools/figures compares with `make bench`: what an operation
costs against the number of pages or mappings, and each figure beside Linux's."""
import math
import re
from html import escape

ROW = re.compile(r"^\| ([^|]+) \| `(\w+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|", re.M)
SIZED = re.compile(r"^(\w+?)_(\d+)(k?)$")
WIDE, HIGH, LEFT, BASE = 560, 250, 70, 40


def number(text):
    found = re.search(r"\d[\d,]*(?:\.\d+)?", text)
    if not found or "MiB" in text or "–" in text:
        return None
    return float(found[0].replace(",", "")) * (1e6 if text.strip().endswith(" M") else 1)


def rows(text):
    """[(what, name, Linux, goal, here)]; None where there is no number."""
    return [(what.strip(), name, number(linux), number(goal), number(here))
            for what, name, linux, goal, here in ROW.findall(text) if number(here) is not None]


def series(figures):
    """{base name: [(size, here, Linux, what)]} of figures that differ by a size only."""
    found = {}
    for what, name, linux, _, here in figures:
        sized = SIZED.match(name)
        if sized:
            size = int(sized[2]) * (1000 if sized[3] else 1)
            found.setdefault(sized[1], []).append((size, here, linux, what))
    return {base: sorted(points, key=lambda p: p[0]) for base, points in found.items()
            if len(points) > 2}


def text(x, y, words, anchor="start"):
    return f'<text class="text" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def begin(ident, width, height, title, said):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" role="img" aria-labelledby="{ident}"><title id="{ident}">'
            f"{escape(title)}</title><desc>{escape(said)}</desc>")


def round_up(cost):
    """The next number of one digit and zeros, with an even digit."""
    unit = 2 * 10 ** math.floor(math.log10(cost) - 0.3)
    return math.ceil(cost * 1.05 / unit) * unit


def curve(base, points):
    """Cost against size: ours and Linux's, from 0 up, sizes by their logarithm."""
    sizes = [math.log10(p[0]) for p in points]
    top = round_up(max(max(p[1], p[2] or 0) for p in points))

    def x(size):
        return LEFT + (size - sizes[0]) / (sizes[-1] - sizes[0]) * (WIDE - LEFT - 90)

    def y(cost):
        return HIGH - BASE - cost / top * (HIGH - BASE - 20)

    said = "; ".join(f"{p[0]:,}: here {p[1]:g}, Linux {p[2] or 'not measured'}" for p in points)
    parts = [begin(f"plot-{base}", WIDE, HIGH, f"{base}: instructions against size", said),
             f'<path class="axis" fill="none" d="M{LEFT} 10V{HIGH - BASE}H{WIDE - 80}"/>']
    for tick in (0, top / 2, top):
        parts.append(text(LEFT - 6, y(tick) + 4, f"{tick:,.0f}", "end"))
    for log, point in zip(sizes, points):
        parts.append(text(x(log), HIGH - BASE + 18, f"{point[0]:,}", "middle"))
    for name, column in (("here", 1), ("linux", 2)):
        line = [(x(log), y(p[column])) for log, p in zip(sizes, points) if p[column] is not None]
        if not line:
            continue
        way = "L".join(f"{a:.1f} {b:.1f}" for a, b in line)
        parts.append(f'<path class="{name}-line" d="M{way}"/>')
        parts.append(text(line[-1][0] + 8, line[-1][1] + 4, "Linux" if name == "linux" else "here"))
    return "\n".join(parts) + "</svg>"


def bars(figures):
    """Each figure as a part of Linux's; a mark for the goal."""
    shown = [f for f in figures if f[2] and f[4] / f[2] <= 2]
    width, room, row = 760, 330, 24
    said = "; ".join(f"{what}: {100 * here / linux:.0f} % of Linux" for what, _, linux, _, here in shown)
    parts = [begin("plot-all", width, row * len(shown) + 30, "Each figure as a part of Linux's", said)]
    scale = (width - room - 60) / max(1.0, *(f[4] / f[2] for f in shown))
    for i, (what, name, linux, goal, here) in enumerate(shown):
        y = 20 + i * row
        parts.append(text(room - 8, y + 12, what if len(what) < 45 else name, "end"))
        parts.append(f'<rect class="here-bar" x="{room}" y="{y}" width="{here / linux * scale:.1f}" '
                     'height="15"/>')
        if goal and goal < linux:
            parts.append(f'<path class="goal-mark" d="M{room + goal / linux * scale:.1f} {y - 2}v19"/>')
        parts.append(text(room + here / linux * scale + 6, y + 12, f"{100 * here / linux:.1f} %"))
    parts.append(f'<path class="linux-line" d="M{room + scale:.1f} 8V{row * len(shown) + 22}"/>')
    parts.append(text(room + scale, 8, "Linux", "middle"))
    return "\n".join(parts) + "</svg>"


def body(figures_text):
    figures = rows(figures_text)
    parts = ["<h1>Figures as plots</h1>", "<p>Executed instructions of the release build; Linux is 6.1 "
             "with the same work in the same QEMU. The numbers, goals and conditions are in "
             '<a href="docs/figures.html">the tables</a>, which <code>tools/figures</code> compares '
             "with <code>make bench</code>.</p>", "<h2>Cost against size</h2>"]
    for base, points in series(figures).items():
        parts.append(f'<figure><figcaption>{escape(points[-1][3])} (<code>{base}</code>)</figcaption>'
                     f'<div class="wide" tabindex="0">{curve(base, points)}</div></figure>')
    parts.append('<h2>Beside Linux</h2><figure><figcaption>Shorter is cheaper; the dashed line is '
                 'Linux, the short mark the goal.</figcaption><div class="wide" tabindex="0">'
                 f"{bars(figures)}</div></figure>")
    return "\n".join(parts)
