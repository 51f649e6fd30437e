#!/usr/bin/env python3
"""The command line of leash: what makes no sense gives one line and exit status 2, and nothing is done.

1. Each command has --help, "leash help COMMAND" is the same, and both exit 0.
2. Unknown commands and options name the nearest known one.
3. Every option of every command refuses a value that it cannot take.
4. Writing to a full device is noticed.
"""
import os
import re
import subprocess
import sys

LEASH = os.path.join(os.environ.get("LEASH_BUILDDIR", os.getcwd()), "leash")
COMMANDS = ["status", "produce", "consume", "log cat", "log verify", "log info", "switchover", "pause", "resume", "drain",
            "undrain", "recover"]
failures = 0


def run(*args, **kw):
    env = {k: v for k, v in os.environ.items() if not k.startswith("LEASH_")}
    return subprocess.run([LEASH, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env=env, **kw)


def check(cond, what):
    global failures
    if not cond:
        failures += 1
        print("FAILED:", what)


def refused(args, *wanted):
    r = run(*args)
    what = f"leash {' '.join(args)}: status {r.returncode}, {r.stderr!r}"
    check(r.returncode == 2, what)
    check(r.stdout == "", what + f", printed {r.stdout!r}")
    check(r.stderr.startswith("leash") and r.stderr.count("\n") == 1, what)
    for w in wanted:
        check(w in r.stderr, f"{what}: no {w!r}")


def options_of(help_text):
    """(option, takes a value) of each line of --help."""
    return [(m[1], bool(m[2])) for m in re.finditer(r"^  (--[a-z-]+)( \S+)? +\S", help_text, re.M)]


def main():
    listing = run("help")
    check(listing.returncode == 0, "leash help")
    check(run("--help").stdout == listing.stdout, "leash --help")
    v = run("--version")
    check(v.returncode == 0 and re.fullmatch(r"leash \S+\n", v.stdout), f"--version: {v.stdout!r}")

    for c in COMMANDS:
        words = c.split()
        check(f"  {c} " in listing.stdout, f"leash help does not list {c}")
        h = run(*words, "--help")
        check(h.returncode == 0 and h.stdout.startswith(f"Usage: leash {c}"), f"{c} --help")
        check("Exit status:\n  0  " in h.stdout and "\n  2  " in h.stdout, f"{c} --help: exit statuses")
        check(run("help", *words).stdout == h.stdout, f"help {c}")
        check(all(len(line) <= 140 for line in h.stdout.splitlines()), f"{c} --help: long lines")
        refused([*words, "--no-such-option"], "unknown option --no-such-option")
        refused([*words, "-Q"], "unknown option -Q")
        options = options_of(h.stdout)
        check(options, f"{c} --help names no options")
        for option, has_value in options:
            if has_value:
                refused([*words, option], "a value is missing")
            else:
                refused([*words, option + "=x"], "takes no value")

    refused([], "a command is missing")
    refused(["stauts"], 'did you mean "status"')
    refused(["log"], "cat, verify, info")
    refused(["log", "vrify"], 'did you mean "log verify"')
    refused(["help", "nothing"], 'unknown command "nothing"')
    refused(["help", "status", "more"], 'unexpected argument "more"')
    refused(["--json", "status"], "options follow the command")
    refused(["status", "--jsno"], "did you mean --json?")
    refused(["status", "--etcd-end", "x"], "options are not shortened: say --etcd-endpoints")
    refused(["status", "extra"], 'unexpected argument "extra"')
    refused(["status", "--engine", "a/b"], "--engine")
    refused(["status", "--node", "nowhere"], "--node")
    refused(["status", "--etcd-endpoints", "ftp://x:1"], "endpoints")
    refused(["status", "--etcd-key", "/nothing"], "certificate")
    refused(["produce", "--gateway", "host:0"], "--gateway")
    refused(["produce", "--window", "0"], "--window")
    refused(["produce", "--window", "65537"], "--window")
    refused(["produce", "--rate", "fast"], "--rate")
    refused(["produce", "--timeout", "1y"], "--timeout")
    refused(["produce", "--producer", "x" * 64], "--producer")
    refused(["consume", "--format", "xml"], "--format", "text", "json", "raw")
    refused(["consume", "--from", "-1"], "--from")
    refused(["consume", "--node", "127.0.0.1:1"], "--verify")
    refused(["log", "cat"], "an argument is missing: NODE|DIR")
    refused(["log", "cat", "a", "b"], 'unexpected argument "b"')
    refused(["log", "cat", "--from", "9", "--to", "8", "P1"], "--from")
    refused(["switchover", "--to", ".x"], "--to")
    refused(["drain"], "an argument is missing: NODE")
    refused(["drain", "a b"], "no name of a node")
    r = run("produce", "/no/such/file")
    check(r.returncode == 1 and "No such file" in r.stderr, f"a file that is missing: {r.stderr!r}")

    if os.path.exists("/dev/full"):
        with open("/dev/full", "w") as full:
            r = subprocess.run([LEASH, "help"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
        check(r.returncode == 1 and "cannot write" in r.stderr, f"a full device: {r.returncode} {r.stderr!r}")

    print("failed" if failures else "passed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
