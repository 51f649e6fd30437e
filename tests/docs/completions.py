#!/usr/bin/env python3
"""The completions for bash and zsh against --help: every command and every option is completed, and none that is not there.

1. bash, for real: commands, options of each command and of the daemons, words that options take, values with "=".
2. zsh: the file names every command and option in its place; with a zsh here, it has no syntax error.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

from man_pages import COMMANDS, TOP, options_of, run

BASH_FILE = os.path.join(TOP, "data", "completions", "bash", "leash")
ZSH_FILE = os.path.join(TOP, "data", "completions", "zsh", "_leash")
ALL = [c for cs in COMMANDS.values() for c in cs]
DAEMONS = {"leash-noded": "_leash_noded", "leash-gatewayd": "_leash_gatewayd"}
failures = 0


def same(have, want, what):
    global failures
    if set(have) != set(want):
        failures += 1
        print("FAILED: %s: missing %s; not there %s" % (what, sorted(set(want) - set(have)), sorted(set(have) - set(want))))


def completed(line):
    """What bash offers at the end of this line; a blank there begins a new word."""
    words = re.findall(r"=|[^ =]+", line)
    if line.endswith(" "):
        words.append("")
    script = ". %s\nCOMP_WORDS=(%s)\nCOMP_CWORD=%d\nf=$(complete -p %s | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n$f\nprintf '%%s\\n' \"${COMPREPLY[@]}\"\n" % (
        BASH_FILE, " ".join("'%s'" % w for w in words), len(words) - 1, words[0])
    with tempfile.TemporaryDirectory() as tmp:
        r = subprocess.run(["bash", "--norc", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60,
                           cwd=tmp)
    if r.stderr:
        same([r.stderr], [], "bash, %r" % line)
    return [w for w in r.stdout.split("\n") if w]


def daemon_options(program):
    return ["--" + o for o in re.findall(r"^  (?:-\w, )?--([a-z-]+)", run(program, "--help").stdout, re.M)]


def command_options(command):
    return ["--" + o for o in options_of(command)] + ["--help"]


def bash():
    first = {c.split()[0] for c in ALL}
    same(completed("leash "), first | {"help", "--help", "--version"}, "bash: leash")
    same(completed("leash help "), first, "bash: leash help")
    same(completed("leash sw"), ["switchover"], "bash: leash sw")
    same(completed("leash log "), [c.split()[1] for c in ALL if c.startswith("log ")], "bash: leash log")
    for c in ALL:
        same(completed("leash %s -" % c), command_options(c), "bash: leash %s" % c)
    same(completed("leash status --json --et"), [o for o in command_options("status") if o.startswith("--et")], "bash: behind a flag")
    same(completed("leash consume --format "), ["text", "json", "raw", "none"], "bash: --format")
    same(completed("leash consume --format=j"), ["json"], "bash: --format=")
    same(completed("leash consume --from "), [], "bash: --from")
    for program in DAEMONS:
        same(completed(program + " -"), daemon_options(program), "bash: " + program)
    same(completed("leash-noded P1 --topology="), ["star", "chain"], "bash: --topology=")
    same(completed("leash-gatewayd --log-level w"), ["warning"], "bash: --log-level")


def zsh():
    with open(ZSH_FILE) as f:
        text = f.read()
    same(re.match(r"#compdef (.*)\n", text)[1].split(), ["leash"] + list(DAEMONS), "zsh: #compdef")
    if shutil.which("zsh"):
        r = subprocess.run(["zsh", "-n", ZSH_FILE], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        same([r.stdout] if r.stdout or r.returncode else [], [], "zsh -n")
    names = lambda part: re.findall(r"'--([a-z-]+)[=[]", part) + (["help"] if "{-h,--help}" in part else []) + (
        ["version"] if "{-V,--version}" in part else [])
    lists = {n: re.search(r"^\t%s=\(\n(.*?)^\t\)" % n, text, re.M | re.S)[1] for n in ("commands", "logs", "etcd")}
    same(re.findall(r"^\t\t'([a-z-]+):", lists["commands"], re.M), {c.split()[0] for c in ALL} | {"help"}, "zsh: commands")
    same(re.findall(r"^\t\t'([a-z-]+):", lists["logs"], re.M), [c[4:] for c in ALL if c.startswith("log ")], "zsh: log commands")
    etcd = names(lists["etcd"])
    body = re.search(r"^_leash_command\(\) \{\n(.*?)^\}", text, re.M | re.S)[1]
    blocks = {c.strip("' "): part for heads, part in re.findall(r"^\t([^\n()]+)\)((?: |\n\t\t)_arguments.*?);;$", body, re.M | re.S)
              for c in heads.split("|")}
    same(blocks, ALL, "zsh: commands with options")
    for c in ALL:
        part = blocks.get(c, "")
        same(["--" + o for o in names(part) + (etcd if "$etcd" in part else [])], command_options(c), "zsh: leash %s" % c)
    for program, function in DAEMONS.items():
        part = re.search(r"^%s\(\) \{\n(.*?)^\}" % function, text, re.M | re.S)[1]
        same(["--" + o for o in names(part)], daemon_options(program), "zsh: " + program)


def main():
    bash()
    zsh()
    print("completions, failures: %d" % failures)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
