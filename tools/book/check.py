#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make book-test: the pages of a book in a headless Chromium, driven by chromedriver.

    tools/book/check.py FOLDER      check the book in FOLDER; the last line is `ok book`

Each race plays to its end in both orders, by the button and by keys, and then shows the state and the
verdict of the run's timelines.json.  No page that has a script, and none of the documents, prints an
error on the console or is wider than a window of 360 pixels.  No link is dead; colours of text have the
contrast of WCAG AA, in light and dark; pictures have a text.  Without JavaScript the text is there.
"""
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from html.parser import HTMLParser

NARROW, AA = 360, 4.5
PAIRS = [("text", "ground"), ("text", "raised"), ("muted", "ground"), ("muted", "raised"),
         ("link", "ground"), ("link", "raised"), ("device", "ground"), ("text", "now"),
         ("text", "changed"), ("device", "changed"), ("muted", "now"), ("link", "now")]
# Play an order from its beginning; the answer comes when the page has stopped by itself.
PLAY = """const [order, done] = arguments, until = Date.now() + 20000;
document.querySelector(`[data-order=${order}]`).click();
document.getElementById("speed").value = "60";
document.getElementById("play").click();
(function look() {
	if (document.getElementById("play").textContent === "Play" || Date.now() > until)
		return done(0);
	setTimeout(look, 20);
})();"""
TABLE = """return [...document.getElementById(arguments[0]).rows].slice(1).map(
	row => [...row.cells].map(cell => cell.textContent));"""
problems = []


class Browser:
    """A session of chromedriver (W3C WebDriver, JSON over HTTP)."""

    def __init__(self):
        for program, package in (("chromedriver", "chromium-driver"), ("chromium", "chromium")):
            if not shutil.which(program):
                sys.exit(f"book: {program} is missing: sh tools/setup, or apt-get install {package}")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.driver = subprocess.Popen(["chromedriver", f"--port={self.port}"],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        options = {"args": ["--headless=new", "--no-sandbox", "--disable-gpu",
                            "--disable-dev-shm-usage"]}
        wanted = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options,
                                  "goog:loggingPrefs": {"browser": "ALL"}}}
        self.session = ""
        self.session = self.begin(wanted)
        self.call("POST", "/timeouts", {"script": 30000})

    def begin(self, wanted):
        until = time.monotonic() + 60
        while True:  # chromedriver listens soon
            try:
                return "/session/" + self.call("POST", "/session", {"capabilities": wanted})["sessionId"]
            except ConnectionError:
                if time.monotonic() > until or self.driver.poll() is not None:
                    sys.exit("book: chromedriver does not answer")
                time.sleep(0.1)

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(method, self.session + path, None if body is None else json.dumps(body),
                           {"Content-Type": "application/json"})
        value = json.loads(connection.getresponse().read())["value"]
        connection.close()
        if isinstance(value, dict) and "error" in value:
            sys.exit(f"book: the browser: {value['error']}: {value['message'].splitlines()[0]}")
        return value

    def open(self, address):
        self.call("POST", "/url", {"url": address})

    def run(self, script, *args, wait=False):
        return self.call("POST", "/execute/async" if wait else "/execute/sync",
                         {"script": script, "args": list(args)})

    def size(self, width, height=800):
        """The size of the page's window, which a window manager's frame does not change."""
        self.call("POST", "/goog/cdp/execute", {
            "cmd": "Emulation.setDeviceMetricsOverride",
            "params": {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}})

    def scripts(self, on):
        self.call("POST", "/goog/cdp/execute", {"cmd": "Emulation.setScriptExecutionDisabled",
                                                "params": {"value": not on}})

    def press(self, key):
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "k", "actions": [
            {"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]}]})

    def errors(self):
        return [e["message"] for e in self.call("POST", "/se/log", {"type": "browser"})
                if e["level"] in ("SEVERE", "WARNING")]

    def end(self):
        self.call("DELETE", "")
        self.driver.terminate()
        self.driver.wait()


def wrong(name, message):
    problems.append(f"{name}: {message}")
    print(f"book: {name}: {message}")


# ---- races ---------------------------------------------------------------

def wanted_frames(state):
    return [[f["frame"], f["use"], str(f["refs"]), str(f["holds"])] for f in state["frames"]]


def wanted_cells(state):
    """{(holder, page): frames and rights} that the table must show, and nothing else."""
    found = {}
    for t in state["translations"]:
        found.setdefault((t["in"], t["of"], t["page"]), []).append(f"{t['frame']} {t['rights']}")
    return sorted(", ".join(v) for v in found.values())


def shown_cells(rows):
    return sorted(re.sub(r" stale$", "", cell) for row in rows for cell in row[1:] if cell != "–")


def check_end(browser, name, timeline, order):
    """What the page shows after the last step is what the run's data has, and the verdict."""
    at = browser.run("return document.getElementById('player').dataset")
    if (at["order"], int(at["step"])) != (order, len(timeline["steps"])):
        wrong(name, f"the {order} order ends at {at['order']} {at['step']}, "
                    f"not at step {len(timeline['steps'])}")
        return
    end = timeline["end"]
    frames, cells = (browser.run(TABLE, i) for i in ("frames", "translations"))
    if frames != wanted_frames(end["state"]):
        wrong(name, f"frames at the end of {order}: {frames}, wanted {wanted_frames(end['state'])}")
    if shown_cells(cells) != wanted_cells(end["state"]):
        wrong(name, f"translations at the end of {order}: {cells}")
    verdict, words = browser.run("const v = document.getElementById('verdict');"
                                 "return [v.dataset.verdict, v.textContent];")
    if verdict != end["verdict"] or timeline["claim"] not in words or verdict != "ok":
        wrong(name, f"verdict {verdict!r} of {order}, the suite's is {end['verdict']!r}")


def check_race(browser, root, name, found):
    browser.open(f"file://{root}/{name}")
    tests = browser.run("const d = JSON.parse(document.getElementById('data').textContent).orders;"
                        "return Object.fromEntries(Object.keys(d).map(o => [o, d[o].test]));")
    for order, test in tests.items():
        browser.run(PLAY, order, wait=True)
        check_end(browser, name, found[test], order)
        check_keys(browser, name, order, len(found[test]["steps"]))
    check_link(browser, f"{root}/{name}", name, next(iter(tests)))


def check_keys(browser, name, order, steps):
    """Home, right and left, and the order's letter."""
    got = []
    for key in ("\ue011", "\ue014", "\ue014", "\ue012", order[0], "\ue010"):
        browser.press(key)
        got.append(int(browser.run("return document.getElementById('player').dataset.step")))
    wanted = [1, min(2, steps), min(3, steps), max(min(3, steps) - 1, 1), 1, steps]
    if got != wanted:
        wrong(name, f"keys lead to the steps {got}, wanted {wanted}")


def check_link(browser, path, name, order):
    """A link to a step opens the page at that step."""
    browser.open("about:blank")
    browser.open(f"file://{path}#{order}-2")
    at = browser.run("return document.getElementById('player').dataset")
    if (at["order"], at["step"]) != (order, "2"):
        wrong(name, f"the link #{order}-2 shows {at['order']} {at['step']}")


def check_without_scripts(browser, root, name, timeline):
    browser.scripts(False)
    browser.open(f"file://{root}/{name}")
    browser.scripts(True)
    text, buttons = browser.run("return [document.querySelector('.texts').innerText, "
                                "[...document.querySelectorAll('.controls')].some(e => !e.hidden)];")
    for step in timeline["steps"]:
        if step["words"] not in text:
            wrong(name, f"without JavaScript there is no text of step {step['step']}")
    if buttons:
        wrong(name, "without JavaScript there are buttons that do nothing")


# ---- every page ----------------------------------------------------------

class Links(HTMLParser):
    """What a page links to, its anchors, and its pictures without a text."""

    def __init__(self):
        super().__init__()
        self.targets, self.anchors, self.mute = [], set(), []

    def handle_starttag(self, tag, attrs):
        has = dict(attrs)
        self.anchors.update(has[key] for key in ("id", "name") if has.get(key))
        if tag in ("a", "link") and has.get("href"):
            self.targets.append(has["href"])
        if tag in ("img", "script") and has.get("src"):
            self.targets.append(has["src"])
        if (tag == "img" and not has.get("alt")) or (
                tag == "svg" and not (has.get("role") == "img" and has.get("aria-labelledby"))):
            self.mute.append(tag)


def pages(root):
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            if name.endswith(".html"):
                path = os.path.join(folder, name)
                links = Links()
                with open(path, encoding="utf-8") as f:
                    links.feed(f.read())
                found[os.path.relpath(path, root)] = links
    return found


def check_links(root, found):
    for name, links in found.items():
        for tag in links.mute:
            wrong(name, f"a <{tag}> has no text for those who do not see it")
        for target in links.targets:
            path, _, anchor = target.partition("#")
            if re.match(r"(https?|mailto|data):", target):
                continue
            there = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
            if not os.path.isfile(os.path.join(root, there)):
                wrong(name, f"dead link {target}")
            elif anchor and there in found and anchor not in found[there].anchors and not (
                    there.startswith("race/") and re.fullmatch(r"(wrong|right)-\d+", anchor)):
                wrong(name, f"dead link {target}: no such anchor")


def check_widths(browser, root, names):
    """A page does not scroll sideways in a narrow window."""
    browser.size(NARROW)
    for name in names:
        browser.open(f"file://{root}/{name}")
        wide = browser.run("return document.documentElement.scrollWidth")
        if wide > NARROW:
            wrong(name, f"is {wide} pixels wide in a window of {NARROW}")
    browser.size(1280)


def luminance(colour):
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def check_contrast(css):
    for scheme, block in zip(("light", "dark"), re.findall(r":root \{(.*?)\}", css, re.S)):
        colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
        for front, back in PAIRS:
            ratio = contrast(colours[front], colours[back])
            if ratio < AA:
                wrong("style.css", f"{scheme}: {front} on {back} has contrast {ratio:.2f}, AA is {AA}")


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__.strip())
        sys.exit(0 if sys.argv[1:] in (["--help"], ["-h"]) else 2)
    root = os.path.abspath(sys.argv[1])
    if not os.path.exists(f"{root}/timelines.json"):
        sys.exit(f"book: {root} is no book: make book")
    with open(f"{root}/timelines.json", encoding="utf-8") as f:
        timelines = json.load(f)
    with open(f"{root}/style.css", encoding="utf-8") as f:
        check_contrast(f.read())
    found = pages(root)
    check_links(root, found)
    races = sorted(name for name in found if name.startswith("race/"))
    browser = Browser()
    try:
        browser.size(1280)
        for name in races:
            check_race(browser, root, name, timelines)
        check_without_scripts(browser, root, races[0], played(root, races[0], timelines))
        rest = [n for n in sorted(found) if not n.startswith(("src/", "invariants/"))]
        check_widths(browser, root, rest + ["src/mm/space/fault.c.html", "src/index.html",
                                            "invariants/B12.html"])
        for message in browser.errors():
            wrong("console", message)
    finally:
        browser.end()
    if not problems:
        print(f"{len(races)} races, {len(found)} pages\nok book")
    sys.exit(bool(problems))


def played(root, name, timelines):
    """The timeline of the first order of a race's page."""
    with open(f"{root}/{name}", encoding="utf-8") as f:
        data = re.search(r'id="data">(.*?)</script>', f.read(), re.S)[1]
    return timelines[next(iter(json.loads(data)["orders"].values()))["test"]]


if __name__ == "__main__":
    main()
