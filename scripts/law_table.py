#!/usr/bin/env python3
"""Every law on every public data set, every setting at its default, as the Markdown of docs/law-table.md.

    python3 scripts/law_table.py --curves ../shared/curves > docs/law-table.md

Needs a built `lehr`; about half a minute.
"""

import argparse
import json
import pathlib
import subprocess
import sys

TRAIN = ["cosine_24000", "constant_24000", "wsdcon_9"]
TEST = ["constant_72000", "cosine_72000", "wsd_20000_24000", "wsdld_20000_24000", "wsdcon_3", "wsdcon_18"]
GPT = [(["cosine"], "wsd"), (["811"], "wsd"), (["cosine", "wsd"], "811")]


def lehr(binary, *arguments):
    done = subprocess.run([binary, *map(str, arguments), "--json"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"lehr {' '.join(map(str, arguments))}\n{done.stderr.strip()}")
    return json.loads(done.stdout)


def show(title, head, rows):
    print(f"\n## {title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--curves", default="../shared/curves")
    parser.add_argument("--lehr", default="target/release/lehr")
    parser.add_argument("--law", default="all")
    options = parser.parse_args()
    folder = pathlib.Path(options.curves)
    print("# Every law on every public data set\n\nMade by `scripts/law_table.py`, all settings at their defaults; errors in 10⁻³ "
          "nats but for the\nrelative PredE and WorstE (10⁻³); seconds of a fit with all its starts on two cores.")

    for size in (25, 100):
        data = folder / f"mpl_{size}"
        found = lehr(options.lehr, "compare", "--law", options.law, "--warmup-steps", 2160,
                     "--train", *[data / f"{n}.csv" for n in TRAIN], "--test", *[data / f"{n}.csv" for n in TEST])
        rows = []
        for law in found["laws"]:
            m = law["test_mean"]
            rows.append([law["law"], f"{m['r2']:.5f}", *[f"{m[k] * 1e3:.2f}" for k in ("mae", "rmse", "pred_e", "worst_e")],
                         f"{law['seconds']:.2f}"])
        show(f"MPL {size}M, the published split: mean over 6 test curves ({found['seconds']:.1f} s in all)",
             ["law", "R²", "MAE", "RMSE", "PredE", "WorstE", "s"], rows)

    suite = lehr(options.lehr, "compare", "--law", options.law, "--suite", folder / "lr_suite" / "tasks.json")
    tasks = suite["tasks"]
    rows = []
    for law in next(iter(tasks.values())):
        row = [law]
        for task in tasks.values():
            t = task[law]
            row.append(f"{t['mae'] * 1e3:.1f} / {t['final_mae'] * 1e3:.1f} / {t['pairs_ok']}:{t['pairs']}")
        rows.append(row)
    show("lr_suite: MAE / MAE of finals / pairs in the right order", ["law", *tasks], rows)

    rows = {}
    for train, test in GPT:
        found = lehr(options.lehr, "compare", "--law", options.law, "--warmup-steps", 2000, "--from", 2000,
                     "--train", *[folder / f"gpt100m_{n}.csv" for n in train], "--test", folder / f"gpt100m_{test}.csv")
        for law in found["laws"]:
            s = law["test"][0]
            rows.setdefault(law["law"], [law["law"]]).append(f"{s['ema']['r2']:.4f} / {s['paired']['mae'] * 1e3:.1f}")
    show("gpt100m, from step 2,000: R² of averaged losses (EMA-201) / paired MAE",
         ["law", *[f"{'+'.join(a)} → {b}" for a, b in GPT]], list(rows.values()))


if __name__ == "__main__":
    main()
