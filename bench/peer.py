"""What peers with a load generator of bench/ have in common."""

import os

import systems


class Peer(systems.System):
    program = None  # of the server
    package = None
    load_name = None

    def __init__(self, ctx):
        super().__init__(ctx)
        self.load = os.path.join(ctx.builddir, "bench", self.load_name) if self.load_name else None
        if not os.access(self.program, os.X_OK):
            self.missing = "package %s is not installed" % self.package
        elif self.load and not os.access(self.load, os.X_OK):
            self.missing = "its load is not built: make bench-programs"

    def make(self):
        """Its servers: .test, .groups(), and .close() if they must end in their own way."""
        raise NotImplementedError

    def start(self):
        self.servers = self.ctx.shared(self.package, self.make)

    def stop(self):
        self.servers = None

    def groups(self):
        return self.servers.groups()

    def load_argv(self, address, shape, seconds, **options):
        return systems.load_argv(self.ctx, self.load_name, address, shape, seconds, **options)
