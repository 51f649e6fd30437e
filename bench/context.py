"""What all measurements share: options, where programs run, and the servers that more than one of them uses."""

import os
import shutil
import sys

import leashtest
import load
import machine
import systems


class Context:
    """`with Context(...)`: what it started ends with it, and directories go."""

    def __init__(self, args, source_dir):
        self.args = args
        self.builddir = args.builddir
        self.pin = machine.Pin(args.pin)
        self.about = machine.describe(source_dir, args.dir)
        self.about.update(pin=str(self.pin), runs=args.runs, seconds=args.seconds, command=" ".join(sys.argv))
        self.tests = []
        self.kept = {}
        args.log_sizes = [load.size_parse(p) for p in args.log_sizes.split(",")]
        if args.payloads:
            args.payloads = [load.size_parse(p) for p in args.payloads.split(",")]
        if not os.access(os.path.join(self.builddir, "leash-noded"), os.X_OK):
            sys.exit("no leash-noded in %s: --builddir says where leash was built" % self.builddir)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end_all()

    def end_all(self):
        self.end_shared()
        for test in list(self.tests):
            self.end_test(test)

    def new_test(self):
        """A directory and the processes in it."""
        test = leashtest.Test()
        self.tests.append(test)
        return test

    def end_test(self, test):
        test.end()
        self.tests.remove(test)
        shutil.rmtree(test.dir, ignore_errors=True)

    def shared(self, name, make):
        if name not in self.kept:
            self.progress("starting %s" % name)
            self.kept[name] = make()
        return self.kept[name]

    def leash_servers(self, nodes):
        return self.shared("leash with %d nodes" % nodes, lambda: systems.LeashServers(self, nodes))

    def end_shared(self):
        """Ends all that shared() made."""
        while self.kept:
            _, servers = self.kept.popitem()
            try:
                if hasattr(servers, "close"):
                    servers.close()
            finally:
                self.end_test(servers.test)

    @staticmethod
    def progress(text):
        if sys.stderr.isatty():
            sys.stderr.write("\r%-78s\r" % text[:78])
            sys.stderr.flush()

    def tell(self):
        a = self.about
        print("%(date)s, commit %(commit)s; %(cpus)d x %(cpu)s, Linux %(kernel)s, %(file_system)s; load average before: "
              "%(load_average).1f" % a)
        print("%(pin)s; medians of %(runs)d runs of %(seconds)g s, in turn" % a)
