#!/usr/bin/env python3
"""Reruns the experiment of the closed loop: probes, a law, the schedule that it designs for a run four times as long, and that run
beside cosine, linear, WSD and 811, each at the best of three peak learning rates. Standard library only.

    python3 scripts/mixed_corpus.py --out mixed
    python3 scripts/loop_experiment.py --mixed mixed --docs docs

Trains for some four hours on two idle cores; killed, it goes on where it was, and with --docs it copies what there is so far:
predictions, results and picture. Losses are held out, in nats a token.
"""

import argparse
import os
import shutil
import subprocess
from pathlib import Path

from harness import ROOT

RECIPE = ROOT / "configs" / "loops" / "experiment.toml"
OUT = "loops/experiment"
BASELINES = [
    "cosine:final=0", "cosine:final=0.1", "linear", "811",
    *(f"wsd:fraction={fraction}{shape}" for fraction in (0.1, 0.2, 0.4) for shape in ("", ",decay=sqrt")),
]
# Twice as many points would cost as much again as the probes' steps. A short cooldown leaves the trunk longer, and what it shows is
# no licence to fall faster than over a fifth of the long run: at these sizes a tenth ends higher (docs/cooldown-experiment.md).
COMMON = ["--budget", "0.25", "--low-probe", "0.3", "--cooldowns", "0.1", "--largest-drop", "0.0025", "--points", "20",
          "--peaks", "1e-3,4e-3", "--seeds", "0,1,2", "--baselines", ",".join(BASELINES)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lehr", type=Path, default=ROOT / "target" / "release" / "lehr", metavar="BINARY")
    parser.add_argument("--mixed", type=Path, metavar="DIR", help="what mixed_corpus.py wrote")
    parser.add_argument("--work", type=Path, default=ROOT / "target" / "loop-experiment", metavar="DIR")
    parser.add_argument("--docs", type=Path, metavar="DIR", help="where results go")
    parser.add_argument("--jobs", default=str(os.cpu_count() or 1), help="runs trained at a time")
    parser.add_argument("--plan", action="store_true", help="print the plan and end")
    args = parser.parse_args()
    lehr, work = args.lehr.resolve(), args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)

    def run(*words):
        done = subprocess.run([lehr, *words], cwd=work)
        if done.returncode:
            raise SystemExit(f"error: lehr {words[0]} ended with {done.returncode}")

    if not (work / "data" / "mixed-1024").exists():
        if not args.mixed:
            raise SystemExit("error: give the corpus with --mixed (scripts/mixed_corpus.py makes it)")
        run("prepare", str(args.mixed.resolve() / "*.txt"), "--tokenizer", "bpe-1024", "--out", "data/mixed-1024")
    words = ["loop", RECIPE, "--out", OUT, "--jobs", args.jobs, *COMMON]
    if args.plan:
        return run(*words, "--dry-run")
    try:
        run(*words, "--svg", "loop.svg")
    finally:
        if args.docs:
            for name, made in [("loop-experiment-predictions.csv", work / OUT / "predictions.csv"),
                               ("loop-experiment.csv", work / OUT / "results.csv"),
                               ("loop-experiment.svg", work / "loop.svg")]:
                if made.exists():
                    shutil.copyfile(made, args.docs / name)


if __name__ == "__main__":
    main()
