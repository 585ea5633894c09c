#!/usr/bin/env python3
"""Rehearses everything that Lehr does with a GPU, against a stand-in for NVIDIA's libraries, where there is no GPU.

    cargo build --release --features cuda
    python3 scripts/rehearse_cuda.py             # minutes; --short in CI

The stand-in (scripts/stand_in) is one library under three names: a driver, NVRTC and cuBLASLt, written from their
documentation. It compiles the kernels that Lehr hands to NVRTC with the system's C++ compiler, runs them thread by thread,
holds every call against what the real library takes, keeps the device's memory from everybody between the moments at
which the real one would work on it, and does nothing before it is waited for. So the whole binary runs as it would on a
GPU; what this cannot show is speed, what NVIDIA's compiler makes of the kernels, their few lines for tensor cores and copies in
its assembly language, which C++ stands in for, and how its library adds up a product.

    gpu      device_check.py, its parts parity, repeat and resume: the processor's losses, equal bits, kills
    ways     threads in four orders, copies that land early and late: the same bits, so that no barrier is missing; steps that
             cannot be recorded, products that are not fused, an older GPU, TF32: the same run
    moves    a run that is trained here, resumed and cooled down there, and evaluated on both
    errors   one sentence each for what cannot work; the largest micro-batch that is named does train
    bench    bench step, and the three curves of device_check.py: what they say, and not how fast it is

Needs a C++ compiler; otherwise Python's standard library only.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import harness
from harness import ROOT, CheckFailed

STAND_IN = ROOT / "scripts" / "stand_in"
PARTS = ["gpu", "ways", "moves", "errors", "bench"]
# What of memory is kept for tokens, tables and libraries.
SPARE = 512 << 20


def arguments():
    parser = harness.arguments(__doc__, "python3 scripts/rehearse_cuda.py --parts ways errors", "rehearse_cuda")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--short", action="store_true", help="for CI: fewer steps, and of the ways the telling ones")
    return parser.parse_args()


def build(folder):
    """The stand-in, under the names that are looked for."""
    folder.mkdir()
    library = folder / "libcuda.so.1"
    command = ["c++", "-std=c++17", "-O2", "-Wall", "-Wextra", "-fPIC", "-shared",
               f'-DEMULATED_HPP="{ROOT / "src" / "kernels" / "emulated.hpp"}"',
               *sorted(map(str, STAND_IN.glob("*.cpp"))), "-o", str(library), "-ldl"]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise SystemExit("error: no c++, which makes the stand-in and the kernels; install g++")
    if done.returncode:
        raise SystemExit(f"error: the stand-in does not compile:\n{done.stderr}")
    for name in ("libnvrtc.so", "libcublasLt.so"):
        (folder / name).symlink_to(library.name)


class Rehearsal:
    def __init__(self, args):
        self.args, self.failures = args, []
        stand_in = args.work / "stand_in"
        build(stand_in)
        before = os.environ.get("LD_LIBRARY_PATH")
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("STAND_IN_", "CUDA_"))}
        self.env["LD_LIBRARY_PATH"] = ":".join(filter(None, [str(stand_in), before]))
        self.env["STAND_IN_KERNELS"] = str(stand_in)

    def lehr(self, words, variables={}):
        """Exit code, and all that was said."""
        command = [str(self.args.lehr), *map(str, words)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env={**self.env, **variables}, timeout=900)
        except subprocess.TimeoutExpired:
            raise CheckFailed(f"no end after 900 s: {' '.join(command)}")
        return done.returncode, done.stdout + done.stderr

    def small(self, name, family):
        """A small run: heads of 64, attention over several tiles, two micro-batches."""
        kv_heads = ["--n-kv-head", 1] if family == "llama" else []
        return ["train", "--model", family, "--n-layer", 1, "--n-head", 2, *kv_heads, "--n-embd", 128, "--sequence-length", 136,
                "--batch-size", 1, "--acc-steps", 2, "--iterations", 3, "--lr", "1e-3", "--warmup-steps", 1, "--seed", 5,
                "--data", self.args.data, "--tokenizer", "char", "--out", self.args.work, "--name", name,
                "--set", f"data.cache={self.args.work / 'prepared'}", "--set", "sample.tokens=0", "--set", "eval.sequences=2",
                "--live-law", "off", "--eval-interval", 0, "--checkpoint-every", 0]  # fmt: skip

    def train(self, name, family, *words, variables={}):
        """Its folder. What `words` say counts."""
        flags = self.small(name, family)
        for flag, value in zip(words[::2], words[1::2]):
            if flag in flags:
                flags[flags.index(flag) + 1] = value
            else:
                flags.extend([flag, value])
        code, said = self.lehr(flags, variables)
        return self.after(name, code, said)

    def after(self, name, code, said):
        if code:
            raise CheckFailed(f"{name}: exit code {code}: {said.strip()[-300:]}")
        return self.args.work / name

    def say(self, good, sentence):
        print(f"  {'ok  ' if good else 'FAIL'}  {sentence}", flush=True)
        if not good:
            self.failures.append(sentence)


def outcome(run):
    """Losses and gradient norms of a run, and the bytes of its weights."""
    lines, _ = harness.read_metrics(run)
    return [(l["loss"], l["grad_norm"]) for l in lines], (run / "final" / "model.safetensors").read_bytes()


def gpu(r):
    command = [sys.executable, ROOT / "scripts" / "device_check.py", "--lehr", r.args.lehr, "--data", r.args.data, "--tiny",
               "--steps", 4 if r.args.short else 20, "--parts", "parity", "repeat", "resume", "--out", r.args.work / "device_check",
               "--work", r.args.work / "device_check_work"]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=r.env)
    lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
    # Its tables stand there twice.
    for line in dict.fromkeys(line for line in lines if line.startswith("  ")):
        print(f"      {line.strip()}", flush=True)
    r.say(done.returncode == 0, lines[-1] if lines else "device_check.py said nothing")


def ways(r):
    wanted = [("gpt2", "bf16"), ("llama", "bf16"), ("gpt2", "f32")]
    for family, dtype in wanted[: 1 if r.args.short else None]:
        plain = outcome(r.train(f"{family}-{dtype}", family, "--device", "cuda", "--dtype", dtype))
        # Name, variables, and how far losses may be off; 0: the same bits.
        others = [
            ("one warp ahead of the others, the last one", dict(STAND_IN_ORDER="1"), 0),
            ("one warp ahead of the others, the first one", dict(STAND_IN_ORDER="2"), 0),
            ("threads and copies shuffled", dict(STAND_IN_ORDER="3"), 0),
            ("no step recorded", dict(STAND_IN_REFUSES="graphs"), 0),
            ("no GELU in products", dict(STAND_IN_REFUSES="epilogues"), 2e-3),
            ("compute capability 8.0", dict(STAND_IN_CAPABILITY="8.0"), 2e-3),
        ]
        for i, (name, variables, tolerance) in enumerate(others):
            found = outcome(r.train(f"{family}-{dtype}-{i}", family, "--device", "cuda", "--dtype", dtype, variables=variables))
            off = max(abs(a[0] - b[0]) for a, b in zip(plain[0], found[0]))
            same = found == plain
            r.say(same or off < tolerance, f"{family} {dtype}, {name}: {'the same bits' if same else f'losses differ by {off:.1e}'}")
    # Blocks of 8.6, 8.9 and 12.0 have 99 KiB of shared memory, which is not enough for large tiles of heads of 128.
    heads = ["--n-embd", 256, "--dtype", "bf16", "--iterations", 2]
    large = outcome(r.train("heads-128", "llama", "--device", "cuda", *heads))
    for capability in ["8.6"] if r.args.short else ["8.0", "8.6", "12.0"]:
        small = outcome(r.train(f"heads-128-{capability}", "llama", "--device", "cuda", *heads, variables=dict(STAND_IN_CAPABILITY=capability)))
        off = max(abs(a[0] - b[0]) for a, b in zip(large[0], small[0]))
        r.say(off < 2e-3, f"llama bf16, heads of 128, compute capability {capability}: losses differ from 9.0's by {off:.1e}")
    tf32 = outcome(r.train("tf32", "llama", "--device", "cuda", "--dtype", "tf32"))
    f32 = outcome(r.train("not-tf32", "llama", "--device", "cuda", "--dtype", "f32"))
    off = max(abs(a[0] - b[0]) for a, b in zip(tf32[0], f32[0]))
    # The stand-in rounds nothing to TF32, so that what is tested is that everything else is f32's.
    r.say(off == 0, f"llama tf32: losses differ from f32 by {off:.1e}")


def moves(r):
    """Checkpoints are no device's."""
    keeps = ["--scheduler", "constant", "--iterations", 6, "--checkpoint-every", 2, "--keep-last", 0, "--dtype", "bf16"]
    here, there = [outcome(r.train(f"trunk-{d}", "gpt2", *keeps, "--device", d))[0] for d in ("cuda", "cpu")]
    for device, other in (("cuda", "cpu"), ("cpu", "cuda")):
        trunk = r.args.work / f"trunk-{device}"
        moved = r.args.work / f"moved-to-{other}"
        shutil.copytree(trunk, moved)
        for name in ("final", "step-00000004", "step-00000006"):
            shutil.rmtree(moved / name)
        code, said = r.lehr(["resume", moved, "--device", other])
        r.after(moved.name, code, said)
        losses, _ = outcome(moved)
        off = max(abs(a[0] - b[0]) for a, b in zip(losses, here))
        r.say(len(losses) == 6 and off < 2e-2 and f"trained on {device} up to step 2" in said,
              f"resumed on {other} at step 2 of a run on {device}: losses differ by {off:.1e}")  # fmt: skip
        code, said = r.lehr(["resume", moved])
        r.say(code == 0 and "nothing left to do" in said, f"and stays there: {said.strip().splitlines()[-1]}")
        code, said = r.lehr(["cooldown", "--from", f"{trunk}@4", "--steps", 2, "--device", other, "--name", f"cool-on-{other}"])
        run = r.after(f"cool-on-{other}", code, said)
        code, said = r.lehr(["report", run, "--out", r.args.work / f"report-{other}"])
        r.say((run / "final").exists() and code == 0, f"cooled down on {other} from a run on {device}, and reported")
        before = (run / "run.toml").read_text()
        _, said = r.lehr(["resume", run, "--device", device])
        r.say((run / "run.toml").read_text() == before, f"a finished run is not moved: {said.strip().splitlines()[-1]}")
        code, said = r.lehr(["cooldown", "--from", f"{trunk}@4", "--steps", 2, "--device", device, "--name", f"cool-on-{other}"])
        r.say(code == 0 and "is finished" in said, f"nor cooled down again: {said.strip().splitlines()[-1]}")
    exact = r.train("tf32-trunk", "gpt2", *keeps, "--device", "cuda", "--dtype", "tf32")
    shutil.rmtree(exact / "final")
    shutil.rmtree(exact / "step-00000006")
    code, said = r.lehr(["resume", exact, "--device", "cpu"])
    again, _ = r.lehr(["resume", exact])
    r.say(code == 0 and again == 0 and "goes on in f32" in said, "a run in TF32 goes on in f32 on the processor")
    found = {}
    for device in ("cuda", "cpu"):
        code, said = r.lehr(["evaluate", r.args.work / "trunk-cuda", "--sequences", 4, "--device", device, "--dtype", "bf16", "--json"])
        loss = re.search(r'"loss": ([0-9.]+)', said)
        found[device] = float(loss[1]) if code == 0 and loss else float("nan")
    off = abs(found["cuda"] - found["cpu"])
    r.say(off < 1e-3, f"evaluated on both: {found['cuda']:.6f} and {found['cpu']:.6f}")
    machine = (r.args.work / "trunk-cuda" / "run.toml").read_text()
    r.say('gpu = "a stand-in"' in machine, "run.toml names the GPU")


def errors(r):
    """What is wrong, with which variables, and what the one sentence must hold."""
    cases = [
        ("no GPU", dict(CUDA_VISIBLE_DEVICES=""), [], r"no GPU that CUDA can see"),
        ("a GPU that is too old", dict(STAND_IN_CAPABILITY="7.5"), [], r"compute capability 7\.5.*8\.0 or newer"),
        ("a GPU that NVRTC does not know", dict(STAND_IN_CAPABILITY="99.0"), [], r"knows no GPU of compute capability 99\.0"),
        ("no room for a library", dict(STAND_IN_MEMORY=str(16 << 20)), [], r"has no room for 0\.03 GiB more"),
        ("no room for one sequence", dict(STAND_IN_MEMORY=str(SPARE)), [], r"not even one fits"),
        ("no room for a micro-batch", dict(STAND_IN_MEMORY=str(SPARE + (64 << 20))), ["--batch-size", 500], r"(\d+) would fit"),
        ("heads that no kernel takes", {}, ["--n-embd", 36, "--n-head", 3], r"multiple of 8"),
    ]
    for name, variables, words, wanted in cases:
        flags = [*r.small("refused", "gpt2"), "--device", "cuda"]
        for flag, value in zip(words[::2], words[1::2]):
            flags[flags.index(flag) + 1] = value
        code, said = r.lehr(flags, variables)
        sentences = [line for line in said.splitlines() if line.startswith("error")]
        good = code > 0 and len(sentences) == 1 and re.search(wanted, sentences[0]) and not (r.args.work / "refused").exists()
        r.say(good, f"{name}: {sentences[0] if sentences else said.strip()[-200:]}")
        fits = re.search(r"(\d+) would fit", said)
        if good and fits:
            flags[flags.index("--batch-size") + 1] = fits[1]
            flags[flags.index("--iterations") + 1] = 1
            code, said = r.lehr(flags, variables)
            r.say(code == 0, f"  {fits[1]} sequences {'do' if code == 0 else 'DO NOT'} train")
            shutil.rmtree(r.args.work / "refused")


def bench(r):
    # How fast the GPU multiplies is asked with products that would take hours here.
    variables = dict(STAND_IN_LARGEST=str(10**9), STAND_IN_NAME="NVIDIA H200")
    words = ["bench", "step", "--device", "cuda", "--model", "gpt2", "--n-layer", 1, "--n-head", 2, "--n-embd", 64, "--vocab-size", 100,
             "--sequence-length", 32, "--batch-size", 1, "--dtype", "bf16", "--steps", 2, "--warmup", 1, "--json"]  # fmt: skip
    code, said = r.lehr(words, variables)
    r.say(code == 0 and '"fraction_of_peak"' in said, f"bench step: {'its share of the peak' if code == 0 else said.strip()[-200:]}")
    if r.args.short:
        return
    command = [sys.executable, ROOT / "scripts" / "device_check.py", "--lehr", r.args.lehr, "--data", r.args.data, "--tiny", "--minutes", 5,
               "--micro-batch", 1, "--acc-steps", 1,
               "--parts", "curves", "--out", r.args.work / "device_check", "--work", r.args.work / "device_check_work"]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env={**r.env, **variables})
    for line in done.stdout.split("  (curves took")[0].strip().splitlines():
        print(f"      {line.strip()}")
    r.say(done.returncode == 0, (done.stdout.strip() or done.stderr.strip() or "nothing said").splitlines()[-1])


def main():
    args = arguments()
    harness.start(args)
    r = Rehearsal(args)
    for part in args.parts:
        print(f"\n{part}", flush=True)
        try:
            globals()[part](r)
        except (CheckFailed, OSError, ValueError) as e:
            r.say(False, f"{part}: {e}")
    print()
    harness.conclude("rehearse_cuda", r.failures, ", ".join(args.parts))


if __name__ == "__main__":
    main()
