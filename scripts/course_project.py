#!/usr/bin/env python3
"""The questions of the course project on three 100M GPT runs (cosine, WSD, 811), answered on one evaluation set.

    python3 scripts/course_project.py --curves ../shared/curves --out docs

Fits every law on cosine and predicts 811 and WSD; fits the exponent with and without L0; fits cosine and WSD
together and predicts 811; asks what S3 buys. Writes `course-project-tables.md` and the pictures into --out. Needs a
built `lehr` (`cargo build --release`); about ten seconds.
"""

import argparse
import json
import pathlib
import subprocess
import sys


def lehr(binary, *arguments):
    done = subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"lehr {' '.join(map(str, arguments))}\n{done.stderr.strip()}")
    return json.loads(done.stdout)


def table(title, head, rows):
    lines = [f"### {title}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def cells(scores):
    paired = scores.get("paired", {})
    return [
        f"{scores['r2']:.3f} ({scores['r2_ceiling']:.3f})",
        f"{scores['ema']['r2']:.4f}",
        f"{scores['ema']['mae'] * 1e3:.1f}",
        f"{paired['mae'] * 1e3:.1f}" if paired else "",
    ]


SCORES = ["R² raw (ceiling)", "R² EMA", "MAE EMA", "MAE paired"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--curves", default="../shared/curves", help="folder with gpt100m_{811,wsd,cosine}.csv")
    parser.add_argument("--out", default="docs", help="where tables and pictures go")
    parser.add_argument("--lehr", default="target/release/lehr")
    parser.add_argument("--laws", default="all")
    options = parser.parse_args()
    folder, out = pathlib.Path(options.curves), pathlib.Path(options.out)
    curve = {name: folder / f"gpt100m_{name}.csv" for name in ("cosine", "wsd", "811")}
    for path in curve.values():
        if not path.exists():
            sys.exit(f"{path} is missing: give the folder of the curves with --curves")
    out.mkdir(parents=True, exist_ok=True)
    common = ["--warmup-steps", 2000, "--from", 2000]
    parts = []

    one = lehr(options.lehr, "compare", "--law", options.laws, *common, "--train", curve["cosine"],
               "--test", curve["811"], curve["wsd"], "--json")
    rows = []
    for law in one["laws"]:
        rows.append([law["law"], f"{law['train'][0]['ema']['r2']:.4f}"] + [c for t in law["test"] for c in cells(t)])
    parts.append(table("Fitted on cosine: 811, then WSD (errors ×10⁻³ nats)",
                       ["law", "cosine R² EMA", *SCORES, *SCORES], rows))

    rows = []
    for law in ("opl", "tissue", "elr"):
        for fixed in ([], ["--fix", "L0=0"]):
            fit = lehr(options.lehr, "fit", "--law", law, *common, *fixed, "--train", curve["cosine"], "--json")
            alpha = fit["params"]["alpha"]
            rows.append([law, "0, held" if fixed else f"{fit['params']['L0']['value']:.3f}",
                         f"{alpha['value']:.3f}", f"{alpha['low']:.3f} … {alpha['high']:.3f}",
                         f"{fit['train'][0]['ema']['r2']:.4f}"])
    parts.append(table("The exponent with and without L0, on cosine",
                       ["law", "L0", "alpha", "90 % interval", "R² EMA"], rows))

    two = lehr(options.lehr, "compare", "--law", options.laws, *common, "--train", curve["cosine"], curve["wsd"],
               "--test", curve["811"], "--json")
    single = {law["law"]: law["test"][0] for law in one["laws"]}
    rows = [[law["law"], *cells(single[law["law"]]), *cells(law["test"][0])] for law in two["laws"]
            if law["law"] in single]
    parts.append(table("811 predicted from cosine alone, then from cosine and WSD", ["law", *SCORES, *SCORES], rows))

    for name, laws in (("course-project", "tissue,mpl,hybrid-course,elr"),):
        subprocess.run([options.lehr, "compare", "--law", laws, *map(str, common), "--train", curve["cosine"],
                        "--test", curve["811"], curve["wsd"], "--png", out / f"{name}.png"],
                       check=True, stdout=subprocess.DEVNULL)
    text = "\n".join(parts)
    (out / "course-project-tables.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
