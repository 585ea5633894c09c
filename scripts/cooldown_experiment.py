#!/usr/bin/env python3
"""Reruns the experiment of docs/cooldown-experiment.md: cooldowns of one trunk against cosines from scratch, length and
shape of the cooldown, averages along the trunk, and L(N, D) from both. Standard library only.

    python3 scripts/mixed_corpus.py --out mixed
    python3 scripts/cooldown_experiment.py --mixed mixed --docs docs

Trains for about two hours on two cores; killed, it goes on where it was. Writes
docs/cooldown-experiment-tables.md, docs/cooldown-experiment.svg and docs/cooldown-experiment-scaling.svg. Losses are
held out, in nats a token; a ± is the standard deviation between seeds.
"""

import argparse
import csv
import json
import statistics
import subprocess
from pathlib import Path

from harness import ROOT

SPEC = ROOT / "configs" / "suites" / "cooldown-experiment.toml"
SUITE = "suites/cooldown-experiment"
COLOURS = ["#1c4f8f", "#c2410c", "#15803d", "#7e22ce"]


def lehr(args, *words, output=False):
    done = subprocess.run([args.lehr, *words], cwd=args.work, text=True,
                          stdout=subprocess.PIPE if output else None)
    # `lehr scaling` may say why data allow no fit; everything else must go through.
    if done.returncode and not output:
        raise SystemExit(f"error: lehr {' '.join(words)} ended with {done.returncode}")
    return done.stdout


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def val_curve(run):
    return {int(r["step"]): float(r["loss"]) for r in rows(run / "curve.val.csv")}


def averages(run):
    """{step: {kind: loss}} of the averages that were evaluated along a run."""
    found = {}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        line = json.loads(line)
        if "average" in line:
            loss = next(v for k, v in line.items() if "val_loss" in k)
            found.setdefault(line["step"], {})[line["average"]] = loss
    return found


def mean(values):
    if not values:
        return "–"
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{spread}"


def table(header, lines):
    out = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(out + ["| " + " | ".join(line) + " |" for line in lines]) + "\n"


class Results:
    def __init__(self, folder):
        self.folder = folder
        self.rows = rows(folder / "results.csv")

    def of(self, **wanted):
        return [r for r in self.rows if all(r[k] == str(v) for k, v in wanted.items())]

    def losses(self, **wanted):
        return {r["seed"]: float(r["loss"]) for r in self.of(**wanted)}

    def sizes(self):
        return list(dict.fromkeys(r["size"] for r in self.rows))

    def horizons(self, size):
        return sorted({int(r["steps"]) for r in self.of(size=size, kind="cooldown")})


def paired(a, b):
    return [a[s] - b[s] for s in a if s in b]


def against_cosine(results):
    lines = []
    for size in results.sizes():
        for steps in results.horizons(size):
            cooled = results.losses(size=size, kind="cooldown", steps=steps)
            cosine = results.losses(size=size, kind="cosine", steps=steps)
            row = results.of(size=size, kind="cooldown", steps=steps)[0]
            lines.append([size, f"{int(row['params']):,}", f"{int(row['tokens']):,}", mean(list(cooled.values())),
                          mean(list(cosine.values())), mean(paired(cooled, cosine))])
    return table(["size", "N", "D", "cooldown", "cosine", "difference"], lines)


def length_and_shape(results):
    lines = []
    size = next(r["size"] for r in results.rows if r["kind"].startswith("cooldown-"))
    steps = results.horizons(size)[-1]
    cosine = results.losses(size=size, kind="cosine", steps=steps)
    for share in (5, 10, 20, 40):
        line = [f"{share} %"]
        for shape in ("linear", "sqrt"):
            kind = "cooldown" if (share, shape) == (20, "linear") else f"cooldown-{shape}-{share}"
            found = results.losses(size=size, kind=kind, steps=steps)
            line += [mean(list(found.values())), mean(paired(found, cosine))]
        lines.append(line)
    header = ["length", "linear", "less the cosine", "1 − √x", "less the cosine"]
    return f"{size}, {steps:,} steps:\n\n" + table(header, lines)


def along_the_trunk(results):
    lines = []
    for size in results.sizes():
        for steps in results.horizons(size)[:-1]:
            columns = {"trunk": [], "window": [], "sweep": [], "cooled": []}
            cooled = results.losses(size=size, kind="cooldown", steps=steps)
            for row in results.of(size=size, kind="trunk"):
                run = results.folder / row["run"]
                found = averages(run).get(steps, {})
                columns["trunk"].append(val_curve(run)[steps])
                columns["window"].append(found["window"])
                columns["sweep"].append(found["sweep"])
                columns["cooled"].append(cooled[row["seed"]])
            lines.append([size, f"{steps:,}", *(mean(v) for v in columns.values())])
    header = ["size", "step", "trunk", "last window", "best of 1–5 windows", "cooled down"]
    return table(header, lines)


def scaling(args, results):
    lines = []
    for kind in ("cooldown", "cosine"):
        said = lehr(args, "scaling", SUITE, "--kind", kind, "--approach", "parametric", "--json", output=True)
        fit = json.loads(said).get("parametric") if said else None
        if not fit or "params" not in fit:
            lines.append([kind] + ["–"] * 6)
            continue
        cell = lambda key, digits: (f"{fit['params'][key]:.{digits}g} "
                                    f"[{fit['low'][key]:.{digits}g}, {fit['high'][key]:.{digits}g}]")
        lines.append([kind, cell("E", 4), cell("A", 4), cell("B", 4), cell("alpha", 3), cell("beta", 3),
                      f"{fit['agree']:.0%}"])
    lehr(args, "scaling", SUITE, "--kind", "cooldown", "--svg", "scaling.svg", output=True)
    header = ["from", "E", "A", "B", "α", "β", "starts that agree"]
    return table(header, lines)


def picture(results, path):
    """Held-out losses of seed 0: trunks, their cooldowns, window averages, cosines."""
    width, height, left, right, top, bottom = 760, 420, 60, 110, 44, 46
    sizes = results.sizes()
    curves = []
    for i, size in enumerate(sizes):
        for row in results.of(size=size, seed=0):
            if row["kind"] not in ("trunk", "cooldown", "cosine"):
                continue
            run = results.folder / row["run"]
            points = sorted(val_curve(run).items())
            if row["kind"] == "cooldown":
                begin = int(row["steps"]) - round(0.2 * int(row["steps"]))
                points = [p for p in points if p[0] >= begin - 100]
            curves.append((i, row["kind"], points))
            if row["kind"] == "trunk":
                dots = [(step, found["window"]) for step, found in averages(run).items() if "window" in found]
                curves.append((i, "window", dots))
    inside = [p for _, _, points in curves for p in points if p[0] >= 150]
    low, high = min(p[1] for p in inside) - 0.05, max(p[1] for p in inside)
    last = max(p[0] for p in inside)
    x = lambda step: left + (width - left - right) * step / last
    y = lambda loss: height - bottom - (height - top - bottom) * (loss - low) / (high - low)
    text = lambda px, py, words, anchor="middle", extra="": (
        f'<text x="{px:.1f}" y="{py:.1f}" text-anchor="{anchor}"{extra}>{words}</text>')
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
             "<style>.bg{fill:#fff} text{font:13px system-ui,sans-serif;fill:#333} .grid{stroke:#ddd}"
             " polyline{fill:none} @media (prefers-color-scheme:dark){.bg{fill:#14171c} text{fill:#ccc}"
             " .grid{stroke:#333} polyline,circle{filter:brightness(1.8)}}</style>",
             f'<rect class="bg" width="{width}" height="{height}"/>']
    tenth = int(low * 5) + 1
    while tenth / 5 <= high:
        at = y(tenth / 5)
        parts += [f'<line class="grid" x1="{left}" x2="{width - right}" y1="{at:.1f}" y2="{at:.1f}"/>',
                  text(left - 8, at + 4, f"{tenth / 5:.1f}", "end")]
        tenth += 1
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(text(x(share * last), height - bottom + 20, f"{share * last:,.0f}"))
    parts.append(text(x(last / 2), height - 8, "step of 1,024 tokens"))
    parts.append(text(left, 18, "held-out loss, nats a token; seed 0", "start"))
    parts.append(text(left, 34, "thin: trunk (constant LR) · thick: cooldown over 20 % · dashed: cosine · "
                                "dots: mean of 100 steps of the trunk", "start", ' style="font-size:12px"'))
    styles = {"trunk": 'stroke-width="1.2"', "cooldown": 'stroke-width="2.6"',
              "cosine": 'stroke-width="1.4" stroke-dasharray="5 4"'}
    for i, kind, points in curves:
        colour = COLOURS[i % len(COLOURS)]
        shown = [(x(a), y(b)) for a, b in points if a >= 150]
        if kind == "window":
            parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.6" fill="{colour}"/>' for a, b in shown]
            continue
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in shown)
        parts.append(f'<polyline stroke="{colour}" {styles[kind]} points="{line}"/>')
    for i, size in enumerate(sizes):
        ends = [points[-1][1] for j, kind, points in curves if j == i and kind == "cooldown"]
        parts.append(text(width - right + 8, y(min(ends)) + 4, size, "start",
                          f' style="fill:{COLOURS[i % len(COLOURS)]}"'))
    path.write_text("\n".join(parts + ["</svg>\n"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lehr", type=Path, default=ROOT / "target" / "release" / "lehr", metavar="BINARY")
    parser.add_argument("--mixed", type=Path, metavar="DIR", help="what mixed_corpus.py wrote")
    parser.add_argument("--work", type=Path, default=ROOT / "target" / "cooldown-experiment", metavar="DIR")
    parser.add_argument("--docs", type=Path, default=None, metavar="DIR", help="where tables and pictures go (default: --work)")
    args = parser.parse_args()
    args.lehr, args.work = args.lehr.resolve(), args.work.resolve()
    docs = (args.docs or args.work).resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    if not (args.work / "data" / "mixed-1024").exists():
        if not args.mixed:
            raise SystemExit("error: give the corpus with --mixed (scripts/mixed_corpus.py makes it)")
        lehr(args, "prepare", str(args.mixed.resolve() / "*.txt"), "--tokenizer", "bpe-1024", "--out", "data/mixed-1024")
    lehr(args, "suite", SPEC, "--yes")
    results = Results(args.work / SUITE)
    said = "\n".join([
        "<!-- Written by scripts/cooldown_experiment.py. -->\n",
        "## Cooldowns against cosines from scratch\n", against_cosine(results),
        "## Length and shape of the cooldown\n", length_and_shape(results),
        "## Averages along the trunk\n", along_the_trunk(results),
        "## L(N, D) = E + A/N^α + B/D^β, with 95 % intervals\n", scaling(args, results),
    ])
    (docs / "cooldown-experiment-tables.md").write_text(said)
    picture(results, docs / "cooldown-experiment.svg")
    made = args.work / "scaling.svg"
    if made.exists():
        (docs / "cooldown-experiment-scaling.svg").write_bytes(made.read_bytes())
    print(said)


if __name__ == "__main__":
    main()
