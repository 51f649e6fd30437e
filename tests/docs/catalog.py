#!/usr/bin/env python3
"""The catalog of messages: exactly one entry for each MESSAGE_ID in the sources, whole, and journalctl takes it.

1. Every MESSAGE_ID is used, has one entry, and no entry is of another id.
2. An entry has a subject, who it is by, a man page that is there, and a text that says what to do; it names fields that are sent.
3. `journalctl --update-catalog` compiles it (where there is a journalctl), and has each entry as it was written.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

from man_pages import PAGES, TOP, code

HEADERS = ["Subject", "Defined-By", "Documentation"]
SOURCES = [("src/node/diag_node.h", "src/node/diag_node.c"), ("src/gateway/diag_gateway.h", "src/gateway/diag_gateway.c")]
CATALOG = os.path.join(TOP, "data", "leash.catalog")
failures = 0


def check(cond, what):
    global failures
    if not cond:
        failures += 1
        print("FAILED:", what)


def ids():
    """{MESSAGE_ID: (its name, fields that its program sends)}"""
    found = {}
    for header, source in SOURCES:
        text = code(*source.split("/"))
        fields = set(re.findall(r'"(LEASH_[A-Z_]+)"', text)) | {"LEASH_ENGINE", "LEASH_NODE"}
        for name, value in re.findall(r'#define (DIAG_\w+)\s+"([^"]*)"', code(*header.split("/"))):
            check(re.fullmatch(r"[0-9a-f]{32}", value), "%s is no MESSAGE_ID: %s" % (name, value))
            check(value not in found, "%s has the MESSAGE_ID of %s" % (name, found.get(value, "")[:1]))
            check(re.search(r"\b%s\b" % name, text), "%s is not used" % name)
            found[value] = (name, fields)
    for folder, _, files in os.walk(os.path.join(TOP, "src")):
        for f in files:
            path = os.path.join(folder, f)
            if f.endswith((".c", ".h")) and os.path.relpath(path, TOP) not in [h for h, _ in SOURCES]:
                with open(path) as text:
                    check(not re.search(r'"[0-9a-f]{32}"', text.read()), "%s: a MESSAGE_ID outside of the headers of diag" % path)
    return found


def entries():
    """[(id, {header: value}, text)]"""
    with open(CATALOG) as f:
        parts = re.split(r"^-- (.*)$", f.read(), flags=re.M)
    check(all(line.startswith("#") or not line for line in parts[0].splitlines()), "something stands before the first entry")
    found = []
    for i in range(1, len(parts), 2):
        head, _, text = parts[i + 1].strip("\n").partition("\n\n")
        found.append((parts[i], dict(line.split(": ", 1) for line in head.splitlines() if ": " in line), text))
        check(list(found[-1][1]) == HEADERS and len(head.splitlines()) == len(HEADERS), "%s: headers are %r" % (parts[i], head))
    return found


def check_entry(message_id, headers, text, name, fields):
    what = "%s (%s)" % (name, message_id)
    page = re.fullmatch(r"man:([a-z.-]+)\((\d)\)", headers.get("Documentation", ""))
    check(page and "%s.%s" % (page[1], page[2]) in PAGES, "%s: no man page %r" % (what, headers.get("Documentation")))
    check(headers.get("Defined-By") == "leash", what + ": Defined-By")
    check(headers.get("Subject", "x")[-1] not in ".,", what + ": the subject ends with a stop")
    check(len(text.split("\n\n")) >= 2, what + ": it must say what happened, and what to do")
    check(all(len(line) <= 80 for line in text.splitlines()), what + ": lines are too long")
    for field in re.findall(r"@([A-Z_]+)@", headers.get("Subject", "") + text):
        check(field in fields, "%s: @%s@ is not sent" % (what, field))


def compiled(found):
    journalctl = shutil.which("journalctl")
    if not journalctl:
        print("no journalctl here: the catalog is not compiled")
        return
    with tempfile.TemporaryDirectory() as root:
        to = os.path.join(root, "usr", "lib", "systemd", "catalog")
        os.makedirs(to)
        shutil.copy(CATALOG, to)

        def ask(*args):
            return subprocess.run([journalctl, "--root=" + root, "--no-pager", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True, timeout=60, env=dict(os.environ, LC_ALL="C.UTF-8"))

        r = ask("--update-catalog")
        check(r.returncode == 0 and r.stderr == "", "journalctl --update-catalog: " + r.stderr)
        check(len(ask("--list-catalog").stdout.splitlines()) == len(found), "journalctl --list-catalog lists another number")
        for message_id, headers, text in found:
            dump = ask("--dump-catalog", message_id).stdout
            want = "-- %s\n%s\n%s\n" % (message_id, "".join("%s: %s\n" % h for h in headers.items()), text)
            check(dump.strip() == want.strip(), "journalctl has the entry %s as:\n%s" % (message_id, dump))


def main():
    known, found = ids(), entries()
    seen = [e[0] for e in found]
    check(len(seen) == len(set(seen)), "entries that are there twice: %s" % sorted(i for i in seen if seen.count(i) > 1))
    check(set(seen) == set(known), "without an entry: %s; entries of nothing: %s" % (
        [known[i][0] for i in set(known) - set(seen)], sorted(set(seen) - set(known))))
    for message_id, headers, text in found:
        if message_id in known:
            check_entry(message_id, headers, text, *known[message_id])
    compiled(found)
    print("catalog: %d entries, failures: %d" % (len(found), failures))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
