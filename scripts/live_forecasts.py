#!/usr/bin/env python3
"""How far the forecasts of the live law are off: for each size and seed a probe with a decay (and with --low another at half
the peak), then a WSD run four times as long that is forecast with it. Standard library only.

    python3 scripts/live_forecasts.py --data data/mixed-1024 --work target/live
    python3 scripts/live_forecasts.py --data data/mixed-1024 --work target/live --low --law elr-fixed

Prints, as CSV, the forecast told at 50, 75 and 90 % of each run minus its final held-out loss, in nats a token. What was
run before in --work is not run again.
"""

import argparse
import json
import subprocess
from pathlib import Path

from harness import ROOT

SIZES = {"64x4": (64, 4, 2), "96x4": (96, 4, 3)}
SHARES = (0.5, 0.75, 0.9)
PEAK = 2e-3
# Of the run's steps.
LOW = 0.1


def train(args, name, size, seed, steps, more):
    width, layers, heads = SIZES[size]
    if (args.work / name / "final").exists():
        return
    words = [args.lehr, "train", "--out", args.work, "--name", name, "--data", args.data,
             "--n-embd", width, "--n-layer", layers, "--n-head", heads, "--seed", seed, "--iterations", steps,
             "--batch-size", args.batch_size, "--sequence-length", 128, "--warmup-steps", 50, "--lr", PEAK,
             "--scheduler", "wsd:fraction=0.2", "--eval-interval", 20, "--checkpoint-every", 0,
             "--set", "sample.tokens=0", "--set", "eval.sequences=128", *more]
    subprocess.run([str(w) for w in words], check=True, stderr=subprocess.DEVNULL)


def forecasts(run, steps):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    final = [line["val_loss"] for line in lines if "val_loss" in line][-1]
    told = {line["step"]: line["law"]["forecast"] for line in lines if "law" in line}
    # The last that had been told by then.
    return [told[max(s for s in told if s <= share * steps)] - final for share in SHARES]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, default=Path("target/live"))
    parser.add_argument("--lehr", type=Path, default=ROOT / "target/release/lehr")
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--batch-size", type=int, default=16, help="sequences of 128 tokens; more are calmer losses")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--sizes", default=",".join(SIZES), help="of " + ", ".join(SIZES))
    parser.add_argument("--law", default="tissue")
    parser.add_argument("--low", action="store_true", help="a second probe, at half the peak")
    args = parser.parse_args()
    print("size,seed," + ",".join(f"at_{100 * s:g}" for s in SHARES), flush=True)
    of = f"{args.steps}x{args.batch_size}"
    for size in args.sizes.split(","):
        for seed in range(args.seeds):
            train(args, f"probe-{of}-{size}-{seed}", size, seed, args.steps // 4, ["--live-law", "off"])
            probes = [f"probe-{of}-{size}-{seed}"]
            if args.low:
                probes.append(f"low-{of}-{size}-{seed}")
                train(args, probes[1], size, seed, round(LOW * args.steps),
                      ["--live-law", "off", "--scheduler", "constant", "--lr", PEAK / 2, "--eval-interval", 8])
            # What a law says is in the log of its run.
            name = f"run-{args.law}-{len(probes)}-{of}-{size}-{seed}"
            train(args, name, size, seed, args.steps,
                  ["--live-law", args.law, "--law-probes", ",".join(str(args.work / p) for p in probes)])
            off = forecasts(args.work / name, args.steps)
            print(f"{size},{seed}," + ",".join(f"{x:+.4f}" for x in off), flush=True)


if __name__ == "__main__":
    main()
