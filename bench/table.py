"""Tables as text."""


def show(head, rows):
    """The first column to the left, the others to the right; short rows are filled up."""
    rows = [list(r) + [""] * (len(head) - len(r)) for r in rows]
    widths = [max(len(r[i]) for r in [head] + rows) for i in range(len(head))]
    for r in [head] + rows:
        print("  " + "  ".join(v.rjust(w) if i else v.ljust(w) for i, (v, w) in enumerate(zip(r, widths))).rstrip())
