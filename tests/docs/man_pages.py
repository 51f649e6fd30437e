#!/usr/bin/env python3
"""The manual pages against the programs' own tables, so that they cannot drift apart.

1. mandoc finds nothing to warn of in any page, each page refers only to pages that are there or are Debian's, and each
   command has a page under its name.
2. leash-noded.conf(5), leash-gatewayd.conf(5): exactly the keys of --help, each with its kind, range, default and when a new
   value takes effect, and with an example that --check takes.
3. leash-*(1): exactly the options of `leash help COMMAND`, each with its default and range; leash(1) names every command.
4. EXIT STATUS of each page: exactly what the program may end with.
5. leash-noded(8), leash-gatewayd(8): exactly the journal fields that are sent; leash-protocol(7): exactly the commands.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
MAN = os.path.join(TOP, "man")
BUILD = os.environ.get("LEASH_BUILDDIR", os.getcwd())
failures = 0

PAGES = sorted(f for f in os.listdir(MAN) if re.fullmatch(r".*\.[1578]", f))
ALIASES = {}  # page -> what it stands for
for _page in list(PAGES):
    with open(os.path.join(MAN, _page)) as _f:
        _m = re.fullmatch(r"\.so man\d/(\S+)\n", _f.read())
    if _m:
        ALIASES[_page] = _m[1]
        PAGES.remove(_page)
COMMANDS = {  # page -> commands
    "leash-status.1": ["status"], "leash-produce.1": ["produce"], "leash-consume.1": ["consume"],
    "leash-log.1": ["log cat", "log verify", "log info", "log set-aside"],
    "leash-switchover.1": ["switchover", "pause", "resume", "drain", "undrain"], "leash-recover.1": ["recover"],
    "leash-rolling-restart.1": ["rolling-restart"], "leash-control.1": ["control"], "leash-bench.1": ["bench"],
}
OTHERS = {"etcd.1", "nc.1", "redis-benchmark.1", "redis-cli.1", "sh.1", "systemd.1"}


def check(cond, what):
    global failures
    if not cond:
        failures += 1
        print("FAILED:", what)


def same(have, want, what):
    check(set(have) == set(want), "%s: not documented: %s; documented and not there: %s" % (
        what, sorted(set(want) - set(have)) or "-", sorted(set(have) - set(want)) or "-"))


def source(page):
    with open(os.path.join(MAN, page)) as f:
        return f.read()


def code(*path):
    with open(os.path.join(TOP, *path)) as f:
        return f.read()


def run(*argv):
    env = {k: v for k, v in os.environ.items() if not k.startswith("LEASH_")}
    return subprocess.run([os.path.join(BUILD, argv[0]), *argv[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=120, env=env)


def section(text, name):
    m = re.search(r"^\.S[hs] %s\n(.*?)(?=^\.Sh |^\.Ss |\Z)" % re.escape(name), text, re.M | re.S)
    return m[1] if m else ""


def whole_section(text, name):
    m = re.search(r"^\.Sh %s\n(.*?)(?=^\.Sh |\Z)" % re.escape(name), text, re.M | re.S)
    return m[1] if m else ""


def items(text, begin):
    """[(rest of the .It line, what follows)] of the items that begin with this macro."""
    return re.findall(r"^\.It %s ([^\n]*)\n(.*?)(?=^\.It |^\.El|\Z)" % begin, text, re.M | re.S)


# ------------------------------------------------------------------------------------------------------------------ 1


def lint():
    mandoc = shutil.which("mandoc")
    if not mandoc:
        print("no mandoc here: pages are not checked by it")
    for page in PAGES:
        if mandoc:
            r = subprocess.run([mandoc, "-T", "lint", "-W", "warning", os.path.join(MAN, page)], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
            check(r.returncode == 0 and r.stdout == "", "mandoc: " + r.stdout)
        text = source(page)
        check(max(map(len, text.splitlines())) <= 160, "%s has very long lines" % page)
        check("@" not in re.sub(r"\S+@(NAME|P1)\S*|leash-noded@\S*", "", text), "%s: something was left to be filled in" % page)
        for name, sec in re.findall(r"^\.Xr (\S+) (\d)", text, re.M):
            ref = "%s.%s" % (name, sec)
            check(ref in PAGES or ref in OTHERS, "%s refers to %s, which is not there" % (page, ref))
            check(ref != page, "%s refers to itself" % page)


# ------------------------------------------------------------------------------------------------------------------ 2

KINDS = [  # words of --help, as a pattern, and of the page
    (r"a text", "Text"), (r"a path", "Path"), (r"yes or no", "Yes or no"),
    (r"items separated by commas, (from \d+ to \d+) of them", r"List, \1 items"),
    (r"a number of bytes, or one with K, M, G or T(.*)", r"Size\1"),
    (r"a number of (seconds|milliseconds|minutes|hours), or one with ms, s, m or h(.*)", r"Duration in \1\2"),
    (r"a number( of [a-z]+)?(, from .*)?", lambda m: "Number" + (m[1] or "") + (m[2] or "")),
    (r"HOST:PORT, :PORT or \[IPV6\]:PORT(.*)", r"Address\1"),
    (r"one of (.*)", r"One of \1"),
]


def keys_of(program):
    """{key: (the facts as the page has them, the words of --help)}"""
    text = run(program, "--help").stdout
    found = {}
    for name, rest, note in re.findall(r"^  --([a-z-]+)((?: [^\n]*)?\n(?:(?!  --)[^\n]*\n)*?) +\(([^\n]*)\)$", text, re.M):
        parts = note.split("; ")
        words = " ".join(rest.split())
        kind = None
        for pattern, to in KINDS:
            if re.fullmatch(pattern, parts[0]):
                kind = re.sub("^" + pattern + "$", to, parts[0])
                break
        check(kind, "%s --help: %s: a kind this test does not know: %r" % (program, name, parts[0]))
        default = [p[len("default: "):] for p in parts if p.startswith("default: ")]
        if "fixed when the cluster is founded" in words:
            when = "Fixed when the cluster is founded."
        else:
            when = "A reload changes it." if "reload" in parts else "A restart changes it."
        found[name.replace("-", "_")] = (kind, default[0] if default else None, when, words)
    return found


def facts(text):
    """The words before the first .Pp."""
    return " ".join(text.split(".Pp")[0].split())


def check_key(page, key, text, want):
    kind, default, when, words = want
    have = facts(text)
    m = re.fullmatch(re.escape(kind) + r"\. Default: (\S.*?)\. " + re.escape(when), have)
    check(m, "%s: %s: %r; the code says: %s. Default: %s. %s" % (page, key, have, kind, default or "none", when))
    if not m:
        return
    if default is not None:
        check(m[1] == default, "%s: %s: default is %r, not %r" % (page, key, default, m[1]))
    elif m[1] != "none":
        check(m[1] in words, "%s: %s: there is no default %r in --help" % (page, key, m[1]))


def examples_of(text):
    """The lines of .Dl and of .Bd blocks behind "Example:"."""
    part = text.split("Example:\n", 1)
    if len(part) < 2:
        return ""
    block = re.match(r"\.Bd [^\n]*\n(.*?)^\.Ed", part[1], re.M | re.S)
    return block[1] if block else "".join(m + "\n" for m in re.findall(r"^\.Dl ([^\n]*)", part[1], re.M))


def conf_pages():
    for program, page, args in (("leash-noded", "leash-noded.conf.5", ["P1"]), ("leash-gatewayd", "leash-gatewayd.conf.5", [])):
        text = source(page)
        want = keys_of(program)
        check(len(want) > 10, "%s --help could not be read" % program)
        entries = dict(items(whole_section(text, "KEYS"), "Cm"))
        same(entries, want, page)
        with tempfile.TemporaryDirectory() as tmp:
            path = os.path.join(tmp, "conf")

            def accepted(lines, what):
                with open(path, "w") as f:
                    f.write(lines)
                r = run(program, *args, "--config", path, "--check")
                check(r.returncode == 0, "%s: %s: %s" % (page, what, r.stdout))

            for key, entry in entries.items():
                if key not in want:
                    continue
                check_key(page, key, entry, want[key])
                lines = examples_of(entry)
                check(re.search(r"^%s = " % key, lines, re.M), "%s: %s has no example" % (page, key))
                accepted(lines, key)
            for block in re.findall(r"^\.Bd -literal[^\n]*\n(# /etc/leash.*?)^\.Ed", text, re.M | re.S):
                accepted(block, "the example at the end")


# ------------------------------------------------------------------------------------------------------------------ 3


def options_of(command):
    """{option: the words of its help}"""
    text = run("leash", "help", *command.split()).stdout
    found = {}
    for name, meta, words in re.findall(r"^  --([a-z-]+)( \S+)? +(\S[^\n]*)$", text, re.M):
        found[name] = words
    return found


def common_options():
    """Those that leash(1) explains."""
    return {m[0]: m[1] for m in [(re.sub(r"^-(\S+).*", r"\1", i), t) for i, t in
                                 items(whole_section(source("leash.1"), "COMMON OPTIONS"), "Fl")] if m[0] != "h"}


def check_option(page, option, text, words):
    flat = " ".join(re.sub(r"^\.\w\w ?", "", text, flags=re.M).split())
    for default in re.findall(r"\[([^]]+)\]", words):
        check("Default: %s." % default in flat, "%s: --%s: \"Default: %s.\" is missing" % (page, option, default))
    if "Default: " in flat and not re.search(r"\[[^]]+\]", words):
        check(False, "%s: --%s has no default" % (page, option))
    m = re.search(r"\((\S+) to (\S+)\)$", words)
    if m:
        check("from %s to %s" % (m[1], m[2]) in flat, "%s: --%s: \"from %s to %s\" is missing" % (page, option, m[1], m[2]))


def command_pages():
    listed = re.findall(r"^  ([a-z-]+(?: [a-z-]+)?)  +\S", run("leash", "help").stdout, re.M)
    listed += re.findall(r"^  (log [a-z-]+) \S", run("leash", "help").stdout, re.M)
    same([c for cs in COMMANDS.values() for c in cs], set(listed), "commands with pages")
    same(ALIASES, ["leash-%s.1" % c for cs in COMMANDS.values() for c in cs if " " not in c and "leash-%s.1" % c not in COMMANDS],
         "pages under other names")
    check(set(ALIASES.values()) <= set(PAGES), "a page stands for one that is not there: %s" % ALIASES)
    top = source("leash.1")
    common = common_options()
    for page, commands in COMMANDS.items():
        check(re.search(r"^\.(?:It )?Xr %s 1" % page[:-2], top, re.M), "leash(1) does not name %s" % page)
        text = source(page)
        taken = set()
        for command in commands:
            ways = re.search(r"^\.Nm leash %s\n" % command, text, re.M)
            check(ways, "%s: no synopsis of leash %s" % (page, command))
            heads = [h for h in re.findall(r"^\.Ss (.*)$", text, re.M) if re.search(r"\bleash %s\b" % command, h)]
            part = section(text, heads[0]) if heads else whole_section(text, "DESCRIPTION")
            entries = {}
            for head, body in items(part, "Fl"):
                for name in re.findall(r"(?:^|, )-([a-z-]+)", head):
                    entries[name] = body
            want = options_of(command)
            check(want, "leash help %s could not be read" % command)
            same(entries, want, "%s: leash %s" % (page, command))
            for name, words in want.items():
                body = entries.get(name, "")
                if re.search(r"^\.Xr leash 1", body, re.M):
                    check(name in common, "leash(1) does not explain --%s" % name)
                    check_option("leash.1", name, common.get(name, ""), words)
                else:
                    check_option(page, name, body, words)
                taken.add(name)
        synopsis = whole_section(text, "SYNOPSIS")
        for name in taken - set(common):
            check(re.search(r"Fl -%s\b" % name, synopsis), "%s: --%s is not in the synopsis" % (page, name))
    variables = re.findall(r'"(LEASH_[A-Z_]+)"', code("src", "cli", "opts.c"))
    same([h for h, _ in items(top, "Ev")], variables, "leash(1), environment")


# ------------------------------------------------------------------------------------------------------------------ 4


def statuses(page):
    return [h for h, _ in re.findall(r"^\.It (\d+)\n(.*?)(?=^\.It |^\.El)", whole_section(source(page), "EXIT STATUS"),
                                     re.M | re.S)]


def exit_statuses():
    body = re.search(r"int node_exit_status.*?^}", code("src", "node", "node.c"), re.M | re.S)[0]
    node = set(re.findall(r"return (\d+);", body)) | set(re.findall(r"node_fatal\(\w+, (\d+)\)", code("src", "node", "node_io.c")))
    node |= set(re.findall(r"#define EX_\w+\s+(\d+)", code("src", "node", "noded.c"))) | {"0"}
    same(statuses("leash-noded.8"), node, "leash-noded(8), exit statuses")
    main = code("src", "gateway", "main.c")
    gateway = {"0", "1"} | ({"78"} if "EX_CONFIG" in main else set())
    check(not re.search(r"EX_(?!CONFIG)[A-Z]+", main), "leash-gatewayd has a status that this test does not know")
    same(statuses("leash-gatewayd.8"), gateway, "leash-gatewayd(8), exit statuses")
    enum = re.search(r"enum cli_exit \{([^}]*)\}", code("src", "cli", "cli.h"))[1]
    for page in ["leash.1"] + list(COMMANDS):
        same(statuses(page), [str(i) for i in range(len(enum.split(",")))], page + ", exit statuses")


# ------------------------------------------------------------------------------------------------------------------ 5


def journal_fields():
    for page, sources in (("leash-noded.8", ("src/node/diag_node.c", "src/node/noded.c", "src/node/hook.c")),
                          ("leash-gatewayd.8", ("src/gateway/diag_gateway.c", "src/gateway/gateway.c", "src/gateway/main.c"))):
        sent = set()
        for path in sources:
            sent |= set(re.findall(r'"(LEASH_[A-Z_]+)"', code(*path.split("/"))))
        named = set()
        for head, _ in items(whole_section(source(page), "JOURNAL"), "Li"):
            named |= set(re.findall(r"LEASH_[A-Z_]+", head))
        same(named, sent, page + ", journal fields")


def protocol():
    table = re.search(r"commands\[\] = \{(.*?)^\};", code("src", "wire", "xcmd_table.c"), re.M | re.S)[1]
    commands = {c.upper() for c in re.findall(r'\{ XCMD_\w+, "([a-z]+)"', table)}
    text = whole_section(source("leash-protocol.7"), "COMMANDS")
    named = set()
    for line in re.findall(r"^\.(?:It |)Ic (.*)$", text, re.M):
        named |= {w for w in re.findall(r"\b[A-Z]{3,}\b", re.sub(r"\b(Cm|Op|Ar|Ns)\b.*", "", line))} - {"STREAM"}
    same(named, commands, "leash-protocol(7), commands")
    front = "".join(code("src", "front", f) for f in os.listdir(os.path.join(TOP, "src", "front")) if f.endswith(".c"))
    errors = {"-" + e for e in re.findall(r'"([A-Z]{3,}) [A-Za-z]+ [^"]*"', front) if e not in ("RESP", "XREAD")}
    told = {re.split(r"[ ]", h)[0] for h, _ in items(whole_section(source("leash-protocol.7"), "ERROR REPLIES"), "Li")}
    same(told, errors, "leash-protocol(7), error replies")
    differences = re.findall(r'^    \("([^"]+)",', code("tests", "integration", "differential.py"), re.M)
    heads = re.findall(r"^\.It (.*)$", whole_section(source("leash-protocol.7"), "DIFFERENCES FROM REDIS"), re.M)
    plain = {re.sub(r"[^a-z ]", "", h.lower()) for h in heads} | {"command", "help"}
    for d in differences:
        check(re.sub(r"[^a-z ]", "", d.lower()).replace("xread unbalanced", "xread unbalanced") in plain,
              "leash-protocol(7) does not tell of the difference %r" % d)


def main():
    lint()
    conf_pages()
    command_pages()
    exit_statuses()
    journal_fields()
    protocol()
    print("man pages: %d, failures: %d" % (len(PAGES), failures))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
