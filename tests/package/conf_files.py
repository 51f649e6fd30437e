#!/usr/bin/env python3
"""The sample configuration files and the units, against what the programs say about themselves.

1. Each key that --help lists stands in the file, once, in the same order, and no other.
2. Where the program has a default, the file has the same; a key is active only where the sample must differ (listen).
3. Keys that a reload can change are marked so, and no others.
4. The file is valid as it is, and with every key made active (examples included).
5. FileDescriptorName= and the files that units name are what the programs expect.
"""
import os
import re
import subprocess
import sys
import tempfile

BUILD = os.environ.get("LEASH_BUILDDIR", os.getcwd())
DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "data")
ACTIVE = {"leash-noded@P1.conf": {"listen": "127.0.0.1:8081"}, "leash-noded@S1.conf": {"listen": "127.0.0.1:8082"},
          "leash-noded@S2.conf": {"listen": "127.0.0.1:8083"}, "leash-gatewayd.conf": {}}


def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True, timeout=60,
                          env={k: v for k, v in os.environ.items() if not k.startswith("LEASH_")})


def keys_of(program):
    """[(key, default or None, reload)] from --help."""
    text = run(os.path.join(BUILD, program), "--help").stdout
    body = text.split("Each of these is also a key in the file", 1)[1].split("\nIn the file, any number of", 1)[0]
    found = re.findall(r"^  --([a-z0-9-]+) [^(]*?\n? *.*?\n {30,}\(([^\n]*)\)$", body, re.M)
    result = []
    for option, note in found:
        default = re.search(r"default: (.*?)(; must be set|; reload)?$", note)
        result.append((option.replace("-", "_"), default.group(1) if default else None, note.endswith("; reload")))
    assert len(result) > 10 and len(result) == body.count("\n  --"), (program, len(result), body.count("\n  --"))
    return result


def keys_in(path):
    """[(key, value, active, the comment before it)]"""
    result, comment, fresh = [], "", True
    for line in open(path, encoding="utf-8"):
        m = re.fullmatch(r"(#?)([a-z][a-z0-9_]*) = (.*)\n", line)
        if m:
            result.append((m.group(2), m.group(3), m.group(1) == "", comment))
            fresh = True
        elif line.startswith("# "):
            comment = line if fresh else comment + line
            fresh = False
        else:
            assert line in ("\n", "#\n"), (path, line)
    return result


def check_file(name, program, *operands):
    path = os.path.join(BUILD, "data", "conf", name)
    if not os.path.exists(path):
        path = os.path.join(DATA, "conf", name)
    table, lines = keys_of(program), keys_in(path)
    assert [k for k, _, _ in table] == [k for k, _, _, _ in lines], (
        name, [k for k, _, _ in table], [k for k, _, _, _ in lines])
    for (key, default, reload), (_, value, active, comment) in zip(table, lines):
        assert active == (key in ACTIVE[name]), (name, key)
        expected = ACTIVE[name].get(key, default)
        assert expected is None or value == expected, (name, key, value, expected)
        assert ("(reload)" in comment) == reload, (name, key, reload, comment)
    argv = [os.path.join(BUILD, program), *operands, "--check", "--config"]
    r = run(*argv, path)
    assert r.returncode == 0, (name, r)
    with tempfile.TemporaryDirectory() as tmp:
        whole = os.path.join(tmp, "whole.conf")
        with open(whole, "w", encoding="utf-8") as f:
            f.writelines("%s = %s\n" % (k, v) for k, v, _, _ in lines)
        r = run(*argv, whole)
        assert r.returncode == 0, (name, r)


def check_units():
    def read(name):
        path = os.path.join(BUILD, "data", "systemd", name)
        with open(path if os.path.exists(path) else os.path.join(DATA, "systemd", name), encoding="utf-8") as f:
            return f.read()

    node, node_socket = read("leash-noded@.service"), read("leash-noded@.socket")
    gateway, gateway_socket = read("leash-gatewayd.service"), read("leash-gatewayd.socket")
    assert "FileDescriptorName=control\n" in node_socket and "ListenStream=/run/leash/%i/control.sock\n" in node_socket
    # Only so does it go when its service fails, and is made again with the service's directory.
    assert "BindsTo=leash-noded@%i.service\n" in node_socket and "Sockets=leash-noded@%i.socket\n" in node
    assert "FileDescriptorName=listen\n" in gateway_socket and "ListenStream=127.0.0.1:8080\n" in gateway_socket
    for text in (node, gateway):
        assert "@sbindir@" not in text and "@bindir@" not in text and "@leashconfdir@" not in text, text
        assert "WatchdogSignal=SIGKILL\n" in text and "RestartPreventExitStatus=65 78\n" in text
        assert text.count("WatchdogSec=") == 1 and "Type=notify\n" in text
    hardening = [t.split("\nCapabilityBoundingSet=", 1)[1].split("[Install]", 1)[0] for t in (node, gateway)]
    without_comments = [re.sub(r"^#.*\n", "", t, flags=re.M) for t in hardening]
    assert without_comments[0] == without_comments[1], "the two services are not hardened alike"
    for program, text in (("leash-noded", node), ("leash-gatewayd", gateway)):
        limit = int(re.search(r"^LimitNOFILE=(\d+)$", text, re.M).group(1))
        assert limit > int(next(d for k, d, _ in keys_of(program) if k == "max_clients")) + 1000


def main():
    for name in ("P1", "S1", "S2"):
        check_file("leash-noded@%s.conf" % name, "leash-noded", name)
    check_file("leash-gatewayd.conf", "leash-gatewayd")
    check_units()


main()
