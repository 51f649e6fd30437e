#!/usr/bin/env python3
"""The Debian package: built from a copy of the sources, looked at from outside. For a machine with debhelper and lintian.

1. dpkg-buildpackage works, source and binary (without tests: they have run), and clean leaves nothing behind in debian/.
2. lintian -EviIL +pedantic has nothing to say beyond the overrides, and each override is used and has its reason.
3. What is in the package: both daemons, the command, units, pages, catalog, completions; nothing where it should not be.
4. systemd-analyze verify is silent; the exposure of each service is at most 1.3.
5. Maintainer scripts: an upgrade restarts the gateway and touches no node and no socket; purging keeps logs.
6. Units name only pages, programs and files that are in the package.

LEASH_PACKAGE=FILE.changes looks at one that is there already.
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
EXPOSURE_MAX = 1.3
ALLOWED = ("etc/leash/", "lib/systemd/system/", "usr/bin/leash", "usr/lib/systemd/catalog/leash.catalog",
           "usr/lib/sysusers.d/leash.conf", "usr/libexec/leash/", "usr/sbin/leash-", "usr/share/bash-completion/completions/",
           "usr/share/doc/leash/", "usr/share/lintian/overrides/leash", "usr/share/man/man",
           "usr/share/zsh/vendor-completions/_leash")
WANTED = ("etc/leash/leash-gatewayd.conf", "etc/leash/leash-noded@P1.conf", "etc/leash/leash-noded@S1.conf",
          "etc/leash/leash-noded@S2.conf", "lib/systemd/system/leash-gatewayd.service", "lib/systemd/system/leash-gatewayd.socket",
          "lib/systemd/system/leash-noded@.service", "lib/systemd/system/leash-noded@.socket", "lib/systemd/system/leash.target",
          "usr/bin/leash", "usr/sbin/leash-noded", "usr/sbin/leash-gatewayd", "usr/libexec/leash/leash-revoke-lease",
          "usr/lib/sysusers.d/leash.conf", "usr/lib/systemd/catalog/leash.catalog",
          "usr/share/bash-completion/completions/leash", "usr/share/zsh/vendor-completions/_leash",
          "usr/share/doc/leash/README.Debian", "usr/share/doc/leash/examples/producer.py", "usr/share/man/man1/leash.1.gz")
failures = 0


def check(cond, what):
    global failures
    if not cond:
        failures += 1
        print("FAILED:", what)


def run(*argv, **more):
    return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=900, **more)


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as f:
        return f.read()


def build(tmp):
    """The .changes of a package built from a copy of the tree."""
    src = os.path.join(tmp, "src")
    r = run("bash", "-c", 'leash_src=$1; . "$1/scripts/lib-setup.sh"; setup_copy_source "$2"', "bash", TOP, src)
    assert r.returncode == 0, r.stdout
    before = set(glob.glob(os.path.join(src, "**"), recursive=True))
    env = {k: v for k, v in os.environ.items() if not k.startswith(("LEASH_", "MAKE", "MFLAGS", "CFLAGS", "DEB_"))}
    env["DEB_BUILD_OPTIONS"] = "nocheck parallel=%d" % len(os.sched_getaffinity(0))
    r = run("dpkg-buildpackage", "-us", "-uc", cwd=src, env=env)
    assert r.returncode == 0, "\n".join(r.stdout.splitlines()[-60:])
    check("warning: " not in re.sub(r"libtool: warning|dpkg-genchanges: warning|dpkg-gencontrol: warning", "", r.stdout),
          "the build warns: %s" % re.findall(r".*warning: .*", r.stdout)[:5])
    r = run("debian/rules", "clean", cwd=src, env=env)
    left = {p for p in set(glob.glob(os.path.join(src, "**"), recursive=True)) - before if "/build-aux/" not in p}
    check(r.returncode == 0 and not [p for p in left if "/debian/" in p], "left behind by clean: %s" % sorted(left)[:10])
    return glob.glob(os.path.join(tmp, "leash_*.changes"))[0]


def lint(changes):
    r = run("lintian", "-EviIL", "+pedantic", "--tag-display-limit", "0", changes)
    said = [line for line in r.stdout.splitlines() if line and not line.startswith(("N:", "running with root"))]
    check(r.returncode == 0 and not said, "lintian: " + "\n".join(said))
    for overrides in ("leash.lintian-overrides", "source/lintian-overrides"):
        text = read(TOP, "debian", overrides)
        check("".join(re.findall(r"(?:^#.*\n)+(?:^[^#\n].*\n)+", text, re.M)) == text, overrides + ": one without a reason")


def contents(root):
    have = []
    for path, _, files in os.walk(root):
        have += [os.path.relpath(os.path.join(path, f), root) for f in files]
    for f in WANTED:
        check(f in have, "%s is not in the package" % f)
    for f in have:
        check(f.startswith(ALLOWED), "%s is in the package" % f)
    return have


def units(tmp, root, have):
    """Units as they are, but with the package's own programs, so that they are found."""
    where = os.path.join(tmp, "units")
    os.mkdir(where)
    for f in glob.glob(os.path.join(root, "lib/systemd/system/*")):
        text = read(f)
        for page, section in re.findall(r"man:([^( ]+)\((\d)\)", text):
            check("usr/share/man/man%s/%s.%s.gz" % (section, page, section) in have, "%s: no page %s(%s)" % (f, page, section))
        for conf in re.findall(r"--config (\S+)", text):
            check(conf.replace("%i", "P1").lstrip("/") in have, "%s: no file %s" % (f, conf))
        text = re.sub(r"(?<==)(-?)(/usr/(?:s?bin|libexec)/)", lambda m: m.group(1) + root + m.group(2), text)
        with open(os.path.join(where, os.path.basename(f)), "w", encoding="utf-8") as to:
            to.write(text)
    r = run("systemd-analyze", "verify", "--man=no", "./leash-noded@P1.service", "./leash-noded@P1.socket",
            "./leash-gatewayd.service", "./leash-gatewayd.socket", "./leash.target", cwd=where)
    check(r.returncode == 0 and r.stdout == "", "systemd-analyze verify: " + r.stdout)
    for unit in ("leash-noded@.service", "leash-gatewayd.service"):
        r = run("systemd-analyze", "security", "--offline=true", "--no-pager", "./" + unit, cwd=where)
        m = re.search(r"Overall exposure level for \S+: ([0-9.]+)", r.stdout)
        check(m and float(m.group(1)) <= EXPOSURE_MAX, "%s: %s" % (unit, m.group(0) if m else r.stdout))
        print(m.group(0) if m else unit)


def scripts(control):
    for name in ("postinst", "prerm", "postrm"):
        r = run("sh", "-n", os.path.join(control, name))
        check(r.returncode == 0, r.stdout)
    check(not os.path.exists(os.path.join(control, "preinst")), "a preinst: something is stopped before an upgrade")
    postinst, prerm, postrm = (read(control, n) for n in ("postinst", "prerm", "postrm"))
    check(re.findall(r"deb-systemd-invoke (.*) >", postinst) == ["try-restart 'leash-gatewayd.service'"],
          "postinst does more than to restart the gateway")
    check("leash-noded" not in postinst, "postinst touches nodes")
    check(prerm.count("deb-systemd-invoke") == 1 and '[ "$1" = remove ]' in prerm, "prerm stops something at an upgrade")
    check("rm -r " not in re.sub(r"echo .*", "", postrm), "postrm removes a tree")
    check(set(read(control, "conffiles").split()) == {"/" + f for f in WANTED if f.startswith("etc/")}, "conffiles")


def main():
    for tool in ("dpkg-buildpackage", "dh", "lintian", "systemd-analyze"):
        if not shutil.which(tool):
            print("%s is needed (debhelper, dpkg-dev, lintian, systemd)" % tool)
            return 77
    with tempfile.TemporaryDirectory(prefix="leash-package.") as tmp:
        changes = os.environ.get("LEASH_PACKAGE") or build(tmp)
        print(os.path.basename(changes))
        lint(changes)
        deb = [f for f in glob.glob(os.path.join(os.path.dirname(changes), "leash_*.deb"))
               if os.path.basename(f) in read(changes)][0]
        root, control = os.path.join(tmp, "root"), os.path.join(tmp, "control")
        assert run("dpkg-deb", "-x", deb, root).returncode == 0 and run("dpkg-deb", "-e", deb, control).returncode == 0
        units(tmp, root, contents(root))
        scripts(control)
    print("failed" if failures else "passed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
