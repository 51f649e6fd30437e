"""Plots of latency by load, as SVG, with gnuplot."""

import os
import shutil
import subprocess

import load

HEAD = """set terminal svg size 900,560 background '#ffffff'
set output '%s'
set title '%s' noenhanced
set xlabel 'records per second'
set ylabel 'ms'
set logscale y
set key outside right noenhanced
set grid
plot %s
"""


def _draw(path, title, curves, logscale_x=False):
    """`curves`: {name: [(x, y)]}"""
    blocks, parts = [], []
    for i, (name, points) in enumerate(curves.items()):
        blocks.append("$c%d << E\n%s\nE\n" % (i, "\n".join("%g %g" % p for p in sorted(points))))
        parts.append("$c%d using 1:2 with linespoints title '%s'" % (i, name))
    text = "".join(blocks) + ("set logscale x\n" if logscale_x else "") + HEAD % (path, title, ", ".join(parts))
    subprocess.run(["gnuplot"], input=text, text=True, check=True)
    print("drew %s" % path)


def _of_curve(found, directory):
    curves = {}
    for c in found:
        for p in ("p50", "p99"):
            curves.setdefault("%s %s" % (c["system"], p), []).append(
                (c["highest"] * c["part"], c["median"]["append_ns"][p] / 1e6))
    _draw(os.path.join(directory, "load.svg"), "latency by load, which is on a schedule: 50 connections, 128 bytes", curves)


def _of_appends(cells, directory):
    """Each system's way through the shapes of 128 bytes: more at a time gives more per second, and takes longer."""
    for p in ("p50", "p99"):
        curves = {}
        for c in cells:
            if c["median"] and load.Shape(*c["shape"]).payload == 128:
                curves.setdefault(c["system"], []).append((c["median"]["per_second"], c["median"]["append_ns"][p] / 1e6))
        _draw(os.path.join(directory, "append-%s.svg" % p), "%s by rate: 1 x 1 to 50 x 64, 128 bytes" % p, curves, True)


def draw(results, directory):
    if not shutil.which("gnuplot"):
        print("no plots: gnuplot is not installed")
        return
    os.makedirs(directory, exist_ok=True)
    if results.get("load"):
        _of_curve(results["load"], directory)
    if results.get("append"):
        _of_appends(results["append"], directory)
