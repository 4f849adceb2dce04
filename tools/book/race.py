# SPDX-License-Identifier: MIT
"""The page of a race: both orders as lanes, played step by step beside the state of the tables,
caches and frames and the source line; below them the same as text, for readers without JavaScript.
"""
import json
import re
from html import escape

import lanes
import page

CONTROLS = """<div class="controls" hidden>
<span class="orders" role="group" aria-label="Order">{buttons}</span>
<span role="group" aria-label="Steps">
<button id="first" title="First step (Home)">|◀<span class="sr">first step</span></button>
<button id="back" title="One step back (←)">◀<span class="sr">step back</span></button>
<button id="play" title="Play or pause (space)">Play</button>
<button id="next" title="One step (→)">▶<span class="sr">step</span></button>
<button id="last" title="Last step (End)">▶|<span class="sr">last step</span></button>
</span>
<label>Speed <select id="speed"><option value="2000">slow</option><option value="1100" selected>
normal</option><option value="450">fast</option><option value="60">very fast</option></select></label>
<span id="position" role="status"></span>
<a id="permalink" href="#">Link to this step</a>
</div>"""
PLAYER = """<div class="player" id="player" tabindex="0" aria-label="Player of the race">
<section class="lanes" aria-label="Lanes" tabindex="0">{pictures}</section>
<section class="state" aria-label="State after the step" aria-live="off" hidden><h2>After this step</h2>
<div class="wide" tabindex="0"><table id="translations"></table></div>
<div class="wide" tabindex="0"><table id="frames"></table></div><p id="verdict" role="status"></p></section>
<section class="at" aria-label="Source of the step" hidden><h2>Where it is</h2>
<p id="words"></p><p id="place"></p><pre id="code" tabindex="0"></pre></section>
</div>
<p class="keys" hidden>Keys: <kbd>space</kbd> plays, <kbd>←</kbd> <kbd>→</kbd> step, <kbd>Home</kbd>
<kbd>End</kbd> jump, <kbd>w</kbd> and <kbd>r</kbd> choose the wrong and the right order.</p>"""
CACHES = {"exact": "The caches are those of the strict model of the IOMMU.",
          "may": "QEMU does not show its caches: what they may hold follows from the transfers and the "
                 "completed commands (<code>cache_checker.h</code>).",
          "none": "There is no IOMMU in this race. The guest's cached translations cannot be read: "
                  "what the guest reads shows them."}


def summary(timeline):
    """What the page's script needs of a timeline."""
    return {"test": timeline["timeline"], "claim": timeline["claim"],
            "verdict": timeline["end"]["verdict"], "end": timeline["end"]["state"],
            "steps": [{key: step[key] for key in ("lane", "words", "file", "line", "thread", "cpu",
                                                  "state")} for step in timeline["steps"]]}


def sources(book, orders, name):
    """{"file:line": its address and the lines around it} of all steps."""
    found = {}
    for timeline in orders.values():
        for step in timeline["steps"]:
            place = (step["file"], step["line"])
            found["%s:%d" % place] = {"href": book.link(place, name),
                                      "lines": book.tree.excerpt(*place)}
    return found


def as_text(order, timeline):
    """The text timeline: each line has the anchor that a link to a step names."""
    rows = "\n".join(
        f'<span id="{order}-{s["step"]}">{s["step"]:>3}  {escape(s["lane"]):<10}  {escape(s["words"])}'
        f'{"  ◄" if s["broken"] else ""}</span>' for s in timeline["steps"])
    return (f'<section><h3>{order.capitalize()} order: <code>{timeline["timeline"]}</code></h3>'
            f'<p>{escape(timeline["claim"])}: {timeline["end"]["verdict"]}.</p>'
            f'<pre class="text" tabindex="0">{rows}</pre></section>')


def words_of(number_of, words):
    """The text of an order, without what tools/races puts in for numbers of steps."""
    return number_of(words) if words else ""


def body(book, race, orders, name, said):
    """said: {order: HTML of what happens}.  orders: {order: timeline}."""
    pictures = "".join(
        f'<figure id="{order}-figure"><figcaption>{order.capitalize()} order</figcaption>'
        + lanes.svg(t, f"Race {race[0]}, {order} order", order) + "</figure>"
        for order, t in orders.items())
    buttons = "".join(f'<button data-order="{o}" aria-pressed="false">{o.capitalize()} order</button>'
                      for o in orders)
    caches = CACHES[next(iter(orders.values()))["caches"]]
    data = json.dumps({"orders": {o: summary(t) for o, t in orders.items()},
                       "sources": sources(book, orders, name)}).replace("<", "\\u003c")
    what = book.mark(page.pandoc(re.sub(r"\s+", " ", race[2])), name)
    what = page.SPAN.sub(lambda f: book.code(name, "", f), what)
    return "\n".join([
        f"<h1>{race[0]}. {escape(race[1])}</h1>", book.targets(what, "docs/races.md", name),
        *(f"<p><b>{o.capitalize()} order.</b> {words}</p>" for o, words in said.items() if words),
        CONTROLS.format(buttons=buttons), PLAYER.format(pictures=pictures),
        f'<p class="note">Every row, state and line comes from probes of one run. {caches}</p>',
        '<h2>Both orders as text</h2><div class="texts">',
        *(as_text(o, t) for o, t in orders.items()), "</div>",
        f'<script type="application/json" id="data">{data}</script>'])
