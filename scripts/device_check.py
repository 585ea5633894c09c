#!/usr/bin/env python3
"""Everything that only a machine with a GPU can tell, in one command, with a binary that is there already.

    scripts/build-cuda OUT --bundle --data mixed       # before, on a machine with Rust (mixed: scripts/mixed_corpus.py --out mixed)
    python3 lehr-cuda/scripts/device_check.py --out results                        # there, unpacked
    python3 lehr-cuda/scripts/device_check.py --out results --parts curves --minutes 9

Its parts, in this order unless --parts says otherwise:

    parity   the device against the processor from the same weights on the same batches, GPT-2 and Llama, f32 and bf16:
             every loss of 100 steps within 2e-3 and 2e-2 nats
    repeat   two runs of one seed: the same losses, norms and final weights, bit for bit
    resume   kill_and_resume.py on the device, six kills
    errors   what cannot work ends in one sentence; the largest micro-batch that it names does fit
    bench    bench_vs_torch on the device, into bench.txt and bench.json
    curves   GPT-2 124M under cosine, WSD and 811 on --corpus, as many steps as --minutes allows (measured first). What was
             stopped goes on when the same command is given again with the same --work

--out gets few and small files: device_check.txt (the tables), device_check.json, bench.*, and runs.tar.gz with the run.toml,
curves, metrics and messages of every run. --work holds the runs themselves. --corpus is a folder of texts or a directory that
`lehr prepare` wrote (default: data/corpus, which build-cuda --data packs, or else the shipped corpus); texts become tokens of
GPT-2's tokenizer first. --device cpu --tiny tries the script out where there is no GPU. Standard library only; bench needs torch.
"""

import argparse
import importlib.util
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import harness
from harness import ROOT, CheckFailed

PARTS = ["parity", "repeat", "resume", "errors", "bench", "curves"]
FAMILIES = {"gpt2": [], "llama": ["--n-kv-head", "2"]}
TOLERANCE = {"f32": 2e-3, "bf16": 2e-2}
SCHEDULES = {"cosine": "cosine:final=0.1", "wsd": "wsd:fraction=0.2,decay=sqrt", "811": "811"}
# Of the minutes of the curves; the rest is for starts, evaluations and checkpoints.
TRAINING_SHARE = 0.85
KEPT = ["run.toml", "curve.csv", "curve.val.csv", "metrics.jsonl"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = ROOT / "lehr"
    parser.add_argument("--lehr", type=Path, default=here if here.exists() else ROOT / "target/release/lehr", metavar="BINARY",
                        help="built with --features cuda (default: the bundle's, or target/release/lehr)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the results go")
    parser.add_argument("--work", type=Path, default=ROOT / "target/checks/device", metavar="DIR", help="where the runs lie")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--data", type=Path, default=ROOT / "data/austen.txt", metavar="PATH", help="corpus of the small runs")
    parser.add_argument("--corpus", type=Path, metavar="PATH", help="corpus of the curves")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each, bench and curves (default: 10)")
    parser.add_argument("--works", nargs="+", help="of bench (default: its own)")
    parser.add_argument("--bench-args", default="", metavar="'ARGS'", help="more flags for bench_vs_torch")
    parser.add_argument("--steps", type=int, default=100, help="of parity and repeat (default: 100)")
    parser.add_argument("--micro-batch", type=int, default=32, help="sequences of 1024 tokens, of the curves (default: 32)")
    parser.add_argument("--acc-steps", type=int, default=4, help="micro-batches a step, of the curves (default: 4)")
    parser.add_argument("--tiny", action="store_true", help="everything as small as it goes")
    return parser.parse_args()


def environment():
    """What the binary is started with: NVIDIA's libraries among this Python's packages, or else the bundle's."""
    env = dict(os.environ)
    spec = importlib.util.find_spec("nvidia")
    folders = [str(lib) for place in (spec.submodule_search_locations if spec else [])
               for pattern in ("*/lib", "*/*/lib") for lib in sorted(Path(place).glob(pattern))]  # fmt: skip
    if folders:
        env["LD_LIBRARY_PATH"] = ":".join([*filter(None, [env.get("LD_LIBRARY_PATH")]), *folders])
    elif (ROOT / "cuda" / "lib").is_dir():
        env.setdefault("CUDA_HOME", str(ROOT / "cuda"))
    return env


class Check:
    """The parts share a binary, folders, and the list of what did not hold."""

    def __init__(self, args):
        self.args, self.env = args, environment()
        # What other parts came to, in earlier calls with this --out.
        file = args.out / "device_check.json"
        self.said = json.loads(file.read_text()) if file.exists() else {}
        self.part = None
        self.logs = args.work / "messages"
        self.logs.mkdir(parents=True, exist_ok=True)

    def start(self, name, words, seconds=None, interrupt=False):
        """Runs the binary; returns its exit code and what it said, which is kept as well. After so many seconds it is asked
        to save and end, or killed."""
        command = [str(self.args.lehr), *map(str, words)]
        log = self.logs / f"{name}.txt"
        with open(log, "w") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=self.env)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT if interrupt else signal.SIGKILL)
                try:
                    process.wait(180)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        return process.returncode, log.read_text(errors="replace")

    def train(self, name, words):
        """A small run in a folder of its own; returns the folder."""
        shutil.rmtree(self.args.work / name, ignore_errors=True)
        args = self.args
        code, said = self.start(name, ["train", "--out", args.work, "--name", name, "--data", args.data, "--tokenizer", "bpe-1024",
                                       "--set", f"data.cache={args.work / 'prepared'}", "--set", "sample.tokens=0",
                                       "--live-law", "off", "--eval-interval", 0, "--checkpoint-every", 0, *words])  # fmt: skip
        if code:
            raise CheckFailed(f"{name}: exit code {code}: {said.strip().splitlines()[-1] if said.strip() else 'nothing said'}")
        return args.work / name

    def small(self, family):
        """A small model: heads of 64, two micro-batches, a length that fills no tile."""
        width, layers, length, batch = (64, 1, 24, 2) if self.args.tiny else (256, 4, 200, 8)
        return ["--model", family, "--n-layer", layers, "--n-head", 4, "--n-embd", width, *FAMILIES[family],
                "--sequence-length", length, "--batch-size", batch, "--acc-steps", 2, "--iterations", self.args.steps,
                "--lr", "1e-3", "--warmup-steps", 10, "--seed", 5]  # fmt: skip

    def begin(self, part):
        self.part = part
        self.said[part] = dict(table="", failures=[], results=None)

    def table(self, title, lines, results=None):
        text = "\n".join([title, *[f"  {line}" for line in lines]])
        self.said[self.part].update(table=text, results=results)
        print(f"\n{text}", flush=True)

    def fail(self, sentence):
        self.said[self.part]["failures"].append(sentence)
        print(f"  FAIL  {sentence}", flush=True)


def losses(run):
    lines, evaluations = harness.read_metrics(run)
    return lines, [line["val_loss"] for line in evaluations]


def parity(check):
    rows, results = [], []
    for family in FAMILIES:
        for dtype, tolerance in TOLERANCE.items():
            runs = {}
            for side, device in (("device", check.args.device), ("processor", "cpu")):
                words = [*check.small(family), "--dtype", dtype, "--device", device]
                runs[side] = losses(check.train(f"parity-{family}-{dtype}-{side}", words))
            (ours, our_val), (theirs, their_val) = runs["device"], runs["processor"]
            if len(ours) != check.args.steps or len(ours) != len(theirs):
                check.fail(f"parity {family} {dtype}: {len(ours)} and {len(theirs)} steps were logged")
                continue
            off = [abs(a["loss"] - b["loss"]) for a, b in zip(ours, theirs)]
            norm = max(abs(a["grad_norm"] - b["grad_norm"]) / b["grad_norm"] for a, b in zip(ours, theirs))
            worst = max(range(len(off)), key=lambda i: off[i] if math.isfinite(off[i]) else math.inf)
            val = abs(our_val[-1] - their_val[-1])
            rows.append(f"{family:<6} {dtype:<5} largest loss difference {off[worst]:.1e} at step {worst + 1} (first {off[0]:.1e}, "
                        f"last {off[-1]:.1e}); gradient norm {100 * norm:.2g} %; held out {val:.1e}")  # fmt: skip
            results.append(dict(family=family, dtype=dtype, differences=off, gradient_norm=norm, held_out=val))
            if not all(x <= tolerance for x in off):
                check.fail(f"parity {family} {dtype}: losses differ by {off[worst]:.3g} at step {worst + 1}, more than {tolerance:g}")
    check.table(f"parity: {check.args.device} against cpu, {check.args.steps} steps", rows, results)


def repeat(check):
    rows = []
    for family in FAMILIES:
        for dtype in TOLERANCE:
            words = [*check.small(family), "--dtype", dtype, "--device", check.args.device, "--dropout", 0.1]
            runs = [check.train(f"repeat-{family}-{dtype}-{i}", words) for i in (1, 2)]
            lines = [[(l["loss"], l["grad_norm"]) for l in losses(run)[0]] for run in runs]
            weights = [(run / "final" / "model.safetensors").read_bytes() for run in runs]
            same = lines[0] == lines[1] and weights[0] == weights[1]
            rows.append(f"{family:<6} {dtype:<5} {'the same bits' if same else 'DIFFERENT'}, {len(lines[0])} steps with dropout")
            if not same:
                step = next((i + 1 for i, (a, b) in enumerate(zip(*lines)) if a != b), "none")
                check.fail(f"repeat {family} {dtype}: two runs differ, in losses first at step {step}")
    check.table("repeat: two runs of one seed", rows)


def resume(check):
    command = [sys.executable, ROOT / "scripts/kill_and_resume.py", "--tiny" if check.args.tiny else "--short", "--lehr", check.args.lehr, "--data", check.args.data,
               "--work", check.args.work / "kills", "--lehr-args", f"--device {check.args.device}"]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=check.env)
    (check.logs / "resume.txt").write_text(done.stdout + done.stderr)
    last = (done.stdout + done.stderr).strip().splitlines()[-1]
    if done.returncode:
        check.fail(f"resume: {last}")
    check.table("resume: killed on the device", [last])


def errors(check):
    """Bad input: how it is given, with which variables, and what the sentence must hold."""
    model = ["--model", "gpt2", "--n-layer", 12, "--n-head", 12, "--n-embd", 768, "--vocab-size", 50304, "--dtype", "bf16"]
    bench = ["bench", "step", "--device", "cuda", "--steps", 1, "--warmup", 1]
    huge = [*bench, *model, "--sequence-length", 1024, "--batch-size", 100_000]
    odd = [*bench, "--model", "gpt2", "--n-layer", 1, "--n-head", 3, "--n-embd", 36, "--vocab-size", 100, "--batch-size", 1]
    if check.args.device == "cpu":
        cases = [("no GPU", bench, {}, "built without CUDA|no NVIDIA driver|no GPU that CUDA can see")]
    else:
        cases = [
            ("too large a batch", huge, {}, r"would fit|not even one fits"),
            ("a width that the kernels do not take", odd, {}, r"multiple of 8"),
            ("no GPU", bench, {"CUDA_VISIBLE_DEVICES": ""}, r"no GPU that CUDA can see|no NVIDIA driver"),
        ]
    rows = []
    for name, words, variables, wanted in cases:
        env = check.env
        check.env = {**env, **variables}
        code, said = check.start(f"errors-{name.replace(' ', '-')}", words, seconds=300)
        check.env = env
        sentences = [line for line in said.splitlines() if line.startswith("error")]
        good = code not in (0, None) and code > 0 and len(sentences) == 1 and re.search(wanted, sentences[0])
        rows.append(f"{name}: {sentences[0] if sentences else 'no sentence'}")
        if not good:
            check.fail(f"errors: {name}: exit code {code}, said {said.strip()[-300:]!r}")
        fits = re.search(r"(\d+) would fit", said)
        if fits:
            words = [*bench, *model, "--sequence-length", 1024, "--batch-size", fits[1]]
            code, said = check.start("errors-what-fits", words, seconds=300)
            rows.append(f"  {fits[1]} sequences of 1024 tokens of GPT-2 124M {'do' if code == 0 else 'DO NOT'} train")
            if code:
                check.fail(f"errors: {fits[1]} sequences were said to fit and do not: {said.strip().splitlines()[-1]}")
    check.table("errors: one sentence each", rows)


def bench(check):
    args = check.args
    works = args.works or (["tiny"] if args.tiny else [])
    command = [sys.executable, ROOT / "scripts/bench_vs_torch", "--device", args.device, "--lehr", args.lehr, "--minutes",
               args.minutes, "--out", args.out / "bench.json", *(["--works", *works] if works else []), *args.bench_args.split()]  # fmt: skip
    if args.tiny:
        command += ["--rounds", 1, "--seconds", 1, "--dtypes", "bf16", "--settings", "eager", "eager-cast"]
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, env=check.env)
    (args.out / "bench.txt").write_text(done.stdout)
    if done.returncode:
        check.fail(f"bench: {(done.stdout.strip().splitlines() or ['nothing said'])[-1]}")
    check.table("bench: against PyTorch", done.stdout.strip().splitlines())


def curve_words(check, data):
    """What every curve has in common: model, batch, data."""
    if check.args.tiny:
        model = ["--model", "gpt2", "--n-layer", 1, "--n-head", 2, "--n-embd", 16, "--sequence-length", 32]
    else:
        model = ["--config", "gpt2-124m", "--sequence-length", 1024]
    precision = "f32" if check.args.device == "cpu" else "bf16"
    return [*model, "--vocab-size", 50304, "--batch-size", check.args.micro_batch, "--acc-steps", check.args.acc_steps,
            "--device", check.args.device, "--dtype", precision], ["--data", data, "--tokenizer", "gpt2"]  # fmt: skip


def tokens(check):
    """The directory with the corpus as tokens, made here if it is not there."""
    corpus = check.args.corpus or next(p for p in (ROOT / "data/corpus", ROOT / "data/austen.txt") if p.exists())
    if not corpus.exists():
        raise CheckFailed(f"no corpus at {corpus}; name one with --corpus")
    if (corpus / "dataset.json").exists() or (corpus / "train.bin").exists():
        return corpus
    out = check.args.work / "tokens"
    if not out.exists():
        code, said = check.start("prepare", ["prepare", corpus, "--tokenizer", "gpt2", "--val-fraction", "0.01", "--out", out])
        if code:
            raise CheckFailed(f"lehr prepare: {said.strip().splitlines()[-1]}")
    return out


def planned(check, words, begin):
    """Steps a curve, by the speed that a few steps have; settled by the first call for all that follow."""
    file = check.args.work / "curves.json"
    if file.exists():
        return json.loads(file.read_text())["steps"]
    code, said = check.start("curves-speed", ["bench", "step", *words, "--seconds", "1" if check.args.tiny else "10", "--json"])
    if code:
        raise CheckFailed(f"lehr bench step: {said.strip().splitlines()[-1]}")
    # Notes may stand before the object.
    report = json.loads(said[said.index("{") :])
    seconds = TRAINING_SHARE * (60 * check.args.minutes - (time.monotonic() - begin))
    steps = int(seconds / len(SCHEDULES) / report["seconds_per_step"]["median"])
    if steps < 20:
        raise CheckFailed(f"{check.args.minutes:g} minutes allow for {steps} steps a curve; give more --minutes")
    harness.write_whole(file, json.dumps(dict(steps=steps, report=report)))
    return steps


def curves(check):
    begin = time.monotonic()
    deadline = begin + 60 * check.args.minutes
    words, of_data = curve_words(check, tokens(check))
    steps = planned(check, words, begin)
    rows, results = [], {}
    for name, spec in SCHEDULES.items():
        run = check.args.work / f"curve-{name}"
        left = deadline - time.monotonic()
        finished = (run / "final").exists()
        if not finished and left > 5:
            every = max(steps // 25, 1)
            command = ["train", "--out", check.args.work, "--name", run.name, *words, *of_data, "--scheduler", spec, "--iterations",
                       steps, "--warmup-steps", "3%", "--eval-interval", every, "--checkpoint-every", 5 * every, "--keep-last", 1,
                       "--live-law", "off", "--set", "eval.sequences=64", "--set", "sample.tokens=0",
                       "--set", "checkpoint.permanent_every=0"]  # fmt: skip
            if (run / "run.toml").exists():
                command = ["resume", run]
            code, said = check.start(run.name, command, seconds=left, interrupt=True)
            finished = code == 0
            # What a signal stops says so and how to go on.
            if code and not (run / "metrics.jsonl").exists():
                check.fail(f"curve {name}: exit code {code}: {(said.strip().splitlines() or ['nothing said'])[-1]}")
        if not (run / "metrics.jsonl").exists():
            rows.append(f"{name:<7} not begun")
            continue
        lines, evaluations = losses(run)
        done = lines[-1]["step"] if lines else 0
        rows.append(f"{name:<7} {done} of {steps} steps, {lines[-1]['tokens'] / 1e6 if lines else 0:.1f} M tokens, "
                    f"held out {evaluations[-1] if evaluations else math.nan:.4f}{'' if finished else '; stopped, give the command again'}")  # fmt: skip
        results[name] = dict(steps=done, of=steps, evaluations=evaluations)
    check.table(f"curves: GPT-2, {steps} steps each", rows, results)


def collect(check):
    """The small files of every run, packed."""
    args = check.args
    with tarfile.open(args.out / "runs.tar.gz", "w:gz") as archive:
        for run in sorted(args.work.iterdir()):
            for name in KEPT:
                if run.is_dir() and (run / name).is_file():
                    archive.add(run / name, f"{run.name}/{name}")
        archive.add(check.logs, "messages")
    (args.out / "device_check.txt").write_text(tables(check) + "\n")
    harness.write_whole(args.out / "device_check.json", json.dumps(check.said, indent=1))


def tables(check):
    return "\n\n".join(check.said[part]["table"] for part in PARTS if part in check.said)


def main():
    args = arguments()
    if not args.lehr.is_file():
        raise SystemExit(f"error: no binary at {args.lehr}; scripts/build-cuda makes one, --lehr names one")
    if not args.data.exists():
        raise SystemExit(f"error: no corpus at {args.data}; name one with --data")
    args.lehr, args.work, args.out = args.lehr.resolve(), args.work.resolve(), args.out.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    check = Check(args)
    for part in PARTS:
        if part not in args.parts:
            continue
        began = time.monotonic()
        check.begin(part)
        try:
            globals()[part](check)
        except (CheckFailed, OSError, KeyError, ValueError) as e:
            check.fail(f"{part}: {e}")
        print(f"  ({part} took {time.monotonic() - began:.0f} s)", flush=True)
        # After every part: whoever stops this keeps what there is.
        collect(check)
    print(f"\n{tables(check)}")
    failures = [sentence for part in args.parts for sentence in check.said[part]["failures"]]
    harness.conclude("device_check", failures, f"{', '.join(args.parts)} on {args.device}; results in {args.out}")


if __name__ == "__main__":
    main()
