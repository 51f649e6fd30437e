#!/usr/bin/env python3
"""leash on booted systemd hosts: installs the package as an administrator would, breaks things, and checks the promises.

    tests/hosts/run.py [--list] [--few] [--seconds N] [--keep] [SCENARIO...]

Needs root, and a machine that can boot hosts (hosts.py says what that takes); elsewhere it says so and ends with 77. The package is
built from this tree, or taken from $LEASH_DEB (and $LEASH_DEB_NEWER, for upgrades). $LEASH_HOSTS_CACHE is a directory that keeps
the base system between runs. --few runs a selection of some minutes. --keep keeps logs and histories; after a failure they stay
anyhow, with the journals of all hosts.
"""

import argparse
import concurrent.futures
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from hosts import Net, why_not  # noqa: E402
from image import Image, NoSources, Packages  # noqa: E402
from leashhosts import Site  # noqa: E402
from scenarios import cuts, deaths, fresh, life, package, reboots  # noqa: E402

# In an order that needs few sites.
SCENARIOS = [*fresh.SCENARIOS, *life.SCENARIOS, *deaths.SCENARIOS, *cuts.SCENARIOS, *reboots.SCENARIOS, *package.SCENARIOS,
             *reboots.SCENARIOS_TWO_GATEWAYS]
FEW = [*fresh.FEW, *life.FEW, *deaths.FEW, *cuts.FEW, *reboots.FEW, *package.FEW]
SCENARIO_S = 600


class Lab:
    """What scenarios work with: the packages, the base system, and one site that stays up until somebody wants another."""

    def __init__(self, directory):
        self.dir = directory
        self.packages = Packages(directory)
        self.figures = []
        self.standing = None
        self.standing_gateways = 0
        self.sites = 0

    def prepare(self):
        """Package and base system, side by side: one computes, one waits for downloads."""
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            image = pool.submit(Image, self.dir)
            self.deb = self.packages.current()
            self.image = image.result()

    def site(self, gateways=1):
        """The standing site, or a new one."""
        if self.standing is None or self.standing_gateways != gateways:
            self.drop_site()
            self.sites += 1
            began = time.monotonic()
            self.standing = Site(self, os.path.join(self.dir, "site%d" % self.sites), gateways)
            self.standing_gateways = gateways
            print("  %d hosts set up in %.0f s" % (len(self.standing.hosts), time.monotonic() - began), flush=True)
        return self.standing

    def drop_site(self):
        if self.standing:
            self.standing.close()
            self.standing = None

    def bare(self, name):
        """A network without hosts, in a directory of its own; a context manager."""
        self.drop_site()
        directory = os.path.join(self.dir, name)
        os.makedirs(directory)
        return Net(directory)

    def figure(self, what, value):
        self.figures.append((what, value))
        print("  %s: %s" % (what, value), flush=True)


def one(lab, scenario):
    """Runs a scenario; True: it passed."""
    began = time.monotonic()
    print("%s: %s" % (scenario.__name__, (scenario.__doc__ or "").split("\n")[0]), flush=True)
    signal.alarm(SCENARIO_S)
    try:
        scenario(lab)
        ok = True
    except Exception:
        traceback.print_exc()
        ok = False
        if lab.standing:
            lab.standing.save_evidence()
        lab.drop_site()  # the next one gets a new one
    finally:
        signal.alarm(0)
    print("%s %s: %.0f s" % ("ok" if ok else "FAILED", scenario.__name__, time.monotonic() - began), flush=True)
    return ok


def on_alarm(*_):
    raise TimeoutError("a scenario takes longer than %d s" % SCENARIO_S)


def on_end(number, _):
    sys.exit(128 + number)


def chosen(args):
    by_name = {s.__name__: s for s in SCENARIOS}
    for name in args.scenario:
        if name not in by_name:
            sys.exit("there is no scenario \"%s\"; --list names them" % name)
    return [by_name[n] for n in args.scenario] or (FEW if args.few else SCENARIOS)


def main():
    parser = argparse.ArgumentParser(description="leash on booted hosts")
    parser.add_argument("--list", action="store_true", help="names the scenarios")
    parser.add_argument("--few", action="store_true", help="a selection")
    parser.add_argument("--seconds", type=int, metavar="N", help="begin no further scenario after N seconds")
    parser.add_argument("--keep", action="store_true", help="keep what is left in the end")
    parser.add_argument("scenario", nargs="*")
    args = parser.parse_args()
    scenarios = chosen(args)
    if args.list:
        for s in scenarios:
            print("%-28s %s" % (s.__name__, (s.__doc__ or "").split("\n")[0]))
        return 0
    reason = why_not(tempfile.gettempdir())
    if reason:
        return skipped("this machine cannot boot hosts: %s" % reason)
    signal.signal(signal.SIGTERM, on_end)
    signal.signal(signal.SIGHUP, on_end)
    signal.signal(signal.SIGALRM, on_alarm)
    return run(args, scenarios)


def skipped(reason):
    print("skipped: %s" % reason)
    return 77


def run(args, scenarios):
    lab = Lab(tempfile.mkdtemp(prefix="leash-hosts-"))
    failed, passed, began = [], 0, time.monotonic()
    finished = False
    try:
        lab.prepare()
        print("%s and base system: %.0f s" % (os.path.basename(lab.deb), time.monotonic() - began), flush=True)
        for s in scenarios:
            if args.seconds and time.monotonic() - began > args.seconds:
                print("%s: left out, no time" % s.__name__, flush=True)
            elif one(lab, s):
                passed += 1
            else:
                failed.append(s.__name__)
        finished = True
    except NoSources as e:
        finished = True
        return skipped("there is no base system for hosts: %s" % e)
    finally:
        lab.drop_site()
        if finished and not failed and not args.keep:
            shutil.rmtree(lab.dir, ignore_errors=True)
        else:
            print("what it left is in %s" % lab.dir)
    print("figures:" if lab.figures else "no figures")
    for what, value in lab.figures:
        print("  %-44s %s" % (what, value))
    print("total: %.0f s%s" % (time.monotonic() - began, "; failed: " + ", ".join(failed) if failed else ""))
    if not passed and not failed:
        return skipped("no time was left")
    print("%d passed, %d failed" % (passed, len(failed)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
