#!/usr/bin/env python3
"""What failed, and what it said, from the logs of test runners, short enough for the end of a log.

usage: tests/failures.py LOG…
  NAME.tap   of Node's test runner: each failed test with those that it is part of
  NAME.json  of meson: each failed C test with its last lines
"""

import json
import os
import re
import sys

LINES, WIDTH = 14, 200
NODE = re.compile(r"( *)(# Subtest: |not ok \d+ - )(.*)")


def tell(name, message):
    print(f"  {name}")
    lines = [line.rstrip()[:WIDTH] for line in message.strip().splitlines() if line.strip()]
    for line in lines[:LINES]:
        print(f"      {line}")
    if len(lines) > LINES:
        print(f"      … {len(lines) - LINES} lines more")


def details(lines, indent):
    """The kind and the message of a failure, from the block behind its line."""
    pad = " " * (indent + 2)
    kind, message, inside = "", [], False
    for line in lines:
        if line.startswith(pad + "..."):
            break
        if inside and (line.startswith(pad + "  ") or not line.strip()):
            message.append(line[indent + 4:])
            continue
        inside = False
        key, _, value = line.strip().partition(": ")
        value = value.strip("'")
        if key == "failureType":
            kind = value
        elif key == "error":
            inside = value.startswith("|")
            if not inside:
                message.append(value)
        elif key in ("exitCode", "signal") and value not in ("~", "1"):
            message.append(f"it ended with {value}")
    return kind, "\n".join(message)


def node(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = file.read().splitlines()
    within = {}
    for at, line in enumerate(lines):
        found = NODE.fullmatch(line)
        if not found:
            continue
        indent, name = len(found[1]), found[3]
        within = {depth: each for depth, each in within.items() if depth < indent}
        if found[2].startswith("#"):
            within[indent] = name
            continue
        if " # SKIP" in name:
            continue
        kind, message = details(lines[at + 1:], indent)
        if kind == "subtestsFailed":
            continue  # its parts are told
        label = os.path.join(*path.split(os.sep)[-2:])[:-len(".tap")]
        if name.endswith(".test.mjs"):  # the file itself; why, it said before
            said = [each[2:] for each in lines[:at] if each.startswith("# ") and not each.startswith("# Subtest")]
            tell(f"{label}, the file itself", "\n".join([message, *said[1 - LINES:]]))
            continue
        tell(" > ".join([label, *within.values(), name]), message)


def meson(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            test = json.loads(line)
            if test["result"] in ("OK", "SKIP", "EXPECTEDFAIL"):
                continue
            said = ((test.get("stdout") or "") + (test.get("stderr") or "")).splitlines()
            errors = [each for each in said if re.search(r"ERROR|runtime error|FAILED", each)]
            tell(f"{test['name']}: {test['result']}", "\n".join((errors or said)[-LINES:]))


def main():
    for path in sys.argv[1:]:
        (node if path.endswith(".tap") else meson)(path)


main()
