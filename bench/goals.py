"""What leash is to reach, checked against the medians of one run. Only what was measured in it is told."""

import table

GATEWAY, DIRECT, FLOOR, NO_WAIT = "leash gateway", "leash direct", "floor", "redis no WAIT"


class Medians:
    def __init__(self, cells):
        self.by = {(c["shape"][:3], c["system"]): c["median"] for c in cells if c["median"]}
        self.durable_peers = {c["system"] for c in cells if c["durable"] and not c["system"].startswith("leash")} - {FLOOR}

    def rate(self, shape, system):
        return self.by[shape, system]["per_second"]

    def p50(self, shape, system):
        return self.by[shape, system]["append_ns"]["p50"]

    def best_peer(self, shape):
        return max(self.rate(shape, p) for p in self.durable_peers if (shape, p) in self.by)

    def fastest_p50(self, shape):
        return min(self.p50(shape, p) for p in self.durable_peers if (shape, p) in self.by)


def goals():
    """(what, at most or at least, bound, function of Medians)"""
    one = (1, 1, 128)
    found = [
        ("1 x 1 p50: direct / floor", "<=", 1.25, lambda m: m.p50(one, DIRECT) / m.p50(one, FLOOR)),
        ("1 x 1 p50: gateway / floor", "<=", 1.5, lambda m: m.p50(one, GATEWAY) / m.p50(one, FLOOR)),
        ("1 x 1 p50: gateway / Redis with WAIT", "<=", 0.65, lambda m: m.p50(one, GATEWAY) / m.p50(one, "redis WAIT 2")),
    ]
    for depth in (1, 16, 64):
        s = (50, depth, 128)
        found.append(("50 x %d: gateway / best durable peer" % depth, ">=", 2.5,
                      lambda m, s=s: m.rate(s, GATEWAY) / m.best_peer(s)))
    for depth in (16, 64):
        s = (50, depth, 128)
        found += [
            ("50 x %d: gateway / direct" % depth, ">=", 0.75, lambda m, s=s: m.rate(s, GATEWAY) / m.rate(s, DIRECT)),
            ("50 x %d: the gateway's CPU s per million" % depth, "<=", 1.0, lambda m, s=s: m.by[s, GATEWAY]["cpu"]["gateway"]),
        ]
    s, large = (50, 64, 128), (50, 16, 16384)
    return found + [
        ("50 x 64: gateway / Redis without WAIT", ">=", 1.0, lambda m: m.rate(s, GATEWAY) / m.rate(s, NO_WAIT)),
        ("50 x 64: servers' CPU s per million", "<=", 3.5, lambda m: m.by[s, GATEWAY]["server_cpu"]),
        ("50 x 16, 16 KiB: gateway / floor", ">=", 0.6, lambda m: m.rate(large, GATEWAY) / m.rate(large, FLOOR)),
    ]


def show(found):
    """[(what, value, "<=" or ">=", bound)]"""
    if found:
        print("\ngoals")
        table.show(["", "value", "wanted", ""], [
            [what, "%.2f" % value, "%s %g" % (sense, bound),
             "reached" if (value <= bound if sense == "<=" else value >= bound) else "MISSED"]
            for what, value, sense, bound in found])


def tell(cells):
    m, found = Medians(cells), []
    for what, sense, bound, value_of in goals():
        try:
            found.append((what, value_of(m), sense, bound))
        except (KeyError, ValueError, ZeroDivisionError):
            pass  # not measured in this run
    show(found)
