#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The timelines of a run with APPEND=explain=json, checked against tests/timeline/README.md.

    tools/timelines.py LOG      print the JSON lines of this log, and nothing else

Status 1, with the line and the cause, if one does not fit the schema, or if there is none.
"""
import json
import re
import sys

LINE = re.compile(r"^ *# (\{.*\})$")
SCHEMA = 1
BEGIN = {"timeline": str, "schema": int, "claim": str, "file": str, "cpus": int, "steps": int,
         "left_out": int, "caches": str, "lanes": list, "pages": list}
STEP = {"timeline": str, "step": int, "lane": str, "words": str, "probe": str, "file": str,
        "line": int, "thread": int, "cpu": int, "broken": bool, "state": (dict, type(None))}
END = {"timeline": str, "verdict": str, "state": dict}
STATE = {"translations": list, "frames": list, "left_out": int}
TRANSLATION = {"in": str, "of": str, "page": str, "frame": str, "rights": str}
FRAME = {"frame": str, "use": str, "refs": int, "holds": (int, str)}
HOLDERS = {"cpu", "nested", "device", "iotlb", "device tlb"}


class Wrong(Exception):
    """A line that does not fit the schema."""


def shape(what, members, name):
    """Check that an object has these members, of these types, and no others."""
    if not isinstance(what, dict) or set(what) != set(members):
        raise Wrong(f"{name}: has {sorted(what)}, wanted {sorted(members)}")
    for key, kind in members.items():
        if not isinstance(what[key], kind) or (kind is int and isinstance(what[key], bool)):
            raise Wrong(f"{name}: {key} is {what[key]!r}")


def one_of(value, words, name):
    if value not in words:
        raise Wrong(f"{name} is {value!r}, not one of {', '.join(sorted(map(str, words)))}")


def check_state(state, pages):
    shape(state, STATE, "state")
    for t in state["translations"]:
        shape(t, TRANSLATION, "translation")
        one_of(t["in"], HOLDERS, "in")
        one_of(t["rights"], {"r", "rw", "w"}, "rights")
        one_of(t["page"], pages, "page")
    for f in state["frames"]:
        shape(f, FRAME, "frame")
    known = {f["frame"] for f in state["frames"]}
    for t in state["translations"]:
        if not state["left_out"]:
            one_of(t["frame"], known, "frame of a translation")


def check_step(step, line):
    shape(line, STEP, "step")
    if line["step"] != len(step["steps"]) + 1:
        raise Wrong(f"step {line['step']} follows {len(step['steps'])}")
    one_of(line["lane"], {lane["title"] for lane in step["lanes"]}, "lane")
    if line["state"] is not None:
        check_state(line["state"], step["names"])


def add(found, line):
    """Put one object where it belongs: a timeline is its first object, with the others."""
    name = line.get("timeline")
    if "schema" in line:
        shape(line, BEGIN, "beginning")
        one_of(line["schema"], {SCHEMA}, "schema")
        one_of(line["caches"], {"exact", "may", "none"}, "caches")
        found[name] = dict(line, steps=[], planned=line["steps"], end=None,
                           names={p["page"] for p in line["pages"]})
        return
    if name not in found or found[name]["end"]:
        raise Wrong(f"{name}: a line outside of its timeline")
    if "step" in line:
        check_step(found[name], line)
        found[name]["steps"].append(line)
        return
    shape(line, END, "verdict")
    one_of(line["verdict"], {"ok", "not ok", "skip"}, "verdict")
    check_state(line["state"], found[name]["names"])
    if len(found[name]["steps"]) != found[name]["planned"]:
        raise Wrong(f"{name}: {len(found[name]['steps'])} steps of {found[name]['planned']}")
    found[name]["end"] = line


def read(text):
    """{suite.test: its first object, with the objects of its `steps` and its `end`}."""
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = LINE.match(line)
        if not match:
            continue
        try:
            add(found, json.loads(match[1]))
        except (ValueError, Wrong) as e:
            raise Wrong(f"line {number}: {e}") from e
    for name, timeline in found.items():
        if not timeline["end"]:
            raise Wrong(f"{name}: no verdict")
    if not found:
        raise Wrong("no timeline: run with APPEND=explain=json")
    return found


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__.strip())
        sys.exit(0 if sys.argv[1:] in (["--help"], ["-h"]) else 2)
    try:
        with open(sys.argv[1], encoding="utf-8", errors="replace") as f:
            text = f.read()
        read(text)
    except (OSError, Wrong) as e:
        sys.exit(f"timelines: {sys.argv[1]}: {e}")
    for line in text.splitlines():
        match = LINE.match(line)
        if match:
            print(match[1])


if __name__ == "__main__":
    main()
