# SPDX-License-Identifier: MIT
"""A timeline of tools/timelines.py as SVG: a column for each lane, a row for each step.

svg(timeline, title, ...) is one picture: with its own colours for docs/races/*.svg, which any Git
hosting page shows, or without for a page of the book, which has them in its style sheet.
"""
from html import escape

TOP, ROW, LEFT, CHAR = 30, 22, 46, 7.25  # CHAR: width of a monospaced character of 12 px
STYLE = """<style>
.ground{fill:#fff}.rail{stroke:#767676;stroke-width:1}.text,.title{fill:#1b1b1b}
.number{fill:#595959}.title{font-weight:bold}.text,.title,.number{font:12px ui-monospace,
SFMono-Regular,Menlo,Consolas,monospace}.cpu{fill:#0b57a4}.device{fill:#a3320b}.iommu{fill:#5b3c99}
.broken .text{font-weight:bold;fill:#a3320b}
@media(prefers-color-scheme:dark){.ground{fill:#0d1117}.rail{stroke:#8b949e}
.text,.title{fill:#e6edf3}.number{fill:#9aa4af}.cpu{fill:#79b8ff}.device,.broken .text{fill:#ff9b70}
.broken .text,.device{fill:#ff9b70}.iommu{fill:#c9a6ff}}
</style>"""


def kind(lane):
    return ("iommu" if lane == "IOMMU" else
            "device" if lane.startswith(("device", "guest")) else "cpu")


def mark(lane, x, y):
    """Each kind of lane has a shape of its own, so that colour is not needed to tell them."""
    if kind(lane) == "device":
        return f'<rect class="device" x="{x - 5}" y="{y - 5}" width="10" height="10"/>'
    if kind(lane) == "iommu":
        return f'<path class="iommu" d="M{x} {y - 6}l6 6-6 6-6-6z"/>'
    return f'<circle class="cpu" cx="{x}" cy="{y}" r="5"/>'


def text(x, y, words, name="text"):
    return f'<text class="{name}" x="{x:g}" y="{y:g}">{escape(words)}</text>'


def step_of(step, x, y, prefix):
    """One row: its number, the mark on its lane, its words over the rails to the right."""
    words = step["words"] + ("  ◄ the invariant is broken" if step["broken"] else "")
    broken = " broken" if step["broken"] else ""
    name = f' id="{prefix}-{step["step"]}-row" data-step="{step["step"]}"' if prefix else ""
    return (f'<g class="step{broken}"{name}>' + text(8, y + 4, f"{step['step']:>2}", "number") +
            f'<rect class="ground" x="{x}" y="{y - 9}" width="{len(words) * CHAR + 14:g}" '
            'height="18"/>' + mark(step["lane"], x, y) + text(x + 11, y + 4, words) + "</g>")


def svg(timeline, title, prefix=""):
    """prefix: of the ids of the steps, in a page; empty: a file with its own colours."""
    lanes = [lane["title"] for lane in timeline["lanes"]]
    pitch = max(64, *(len(lane) * CHAR + 22 for lane in lanes))
    at = {lane: round(LEFT + i * pitch + 8) for i, lane in enumerate(lanes)}
    steps = timeline["steps"]
    height = TOP + ROW * len(steps) + 12
    width = max(at[s["lane"]] + 26 + len(s["words"]) * CHAR + 190 * s["broken"] for s in steps)
    width = round(max(width, at[lanes[-1]] + len(lanes[-1]) * CHAR + 12))
    said = "; ".join(f"{s['step']} {s['lane']}: {s['words']}" for s in steps)
    label = f"{prefix or 'svg'}-title"
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
             f'width="{width}" height="{height}" role="img" aria-labelledby="{label}">'
             f'<title id="{label}">{escape(title)}</title><desc>{escape(said)}</desc>']
    if not prefix:
        parts.append(STYLE)
    parts.append(f'<rect class="ground" width="{width}" height="{height}"/>')
    for lane, x in at.items():
        parts.append(text(x - 6, 16, lane, "title"))
        parts.append(f'<path class="rail" d="M{x} {TOP - 8}V{height - 8}"/>')
    for i, step in enumerate(steps):
        parts.append(step_of(step, at[step["lane"]], TOP + ROW * i + 9, prefix))
    return "\n".join(parts) + "\n</svg>\n"
