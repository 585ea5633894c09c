#!/usr/bin/env python3
"""Kills training with SIGKILL at random moments and holds the resumed run against an uninterrupted one.

One reference run goes through undisturbed. Then the same run is started again and again, killed several
times on its way (each time continued by `lehr resume DIR`), until the kills are used up. About half of the
kills strike as soon as a *.tmp appears, that is inside a checkpoint write; the others after a random time
or a random number of steps, some of them while a resume is still starting.

After each kill every checkpoint must be whole or absent. Of each completed run the final weights,
the checkpoints with their optimiser state, the LRs, losses and gradient norms in metrics.jsonl, curve.csv and
curve.val.csv must equal the reference bit for bit; no step is missing or doubled, and no *.tmp is left.
Dropout is on, so the random state must survive as well. Standard library only.
"""

import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import time

import harness

NAME = "run"
# What must be equal in a metrics line; the others (tokens/s, time, memory) depend on the clock.
EXACT = ("step", "lr", "loss", "grad_norm", "tokens", "val_loss", "val_bits_per_byte")


def arguments():
    parser = harness.arguments(__doc__, "python3 scripts/kill_and_resume.py --kills 30 --seed 7", "kill_and_resume")
    parser.add_argument("--kills", type=int, default=30, metavar="N", help="SIGKILLs in all (default: 30)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills (default: 0)")
    parser.add_argument("--short", action="store_true", help="for CI: 6 kills, 48 steps")
    parser.add_argument("--tiny", action="store_true", help="3 kills, 24 steps of a model as small as it goes, for devices that are emulated")
    parser.add_argument("--model", choices=["gpt2", "llama"], default="llama")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--checkpoint-every", type=int, default=12, metavar="K", help="must divide --steps (default: 12)")
    parser.add_argument("--dropout", type=float, default=0.1, metavar="P")
    parser.add_argument("--tokenizer", default="char", metavar="SPEC")
    parser.add_argument("--timeout", type=float, default=600, metavar="S", help="for one undisturbed process (default: 600 s)")
    args = parser.parse_args()
    if args.short:
        args.kills, args.steps = 6, 48
    if args.tiny:
        args.kills, args.steps = 3, 24
    if args.steps % args.checkpoint_every:
        parser.error("--checkpoint-every must divide --steps, so that the last step has a checkpoint to compare")
    return args


def train_command(args, out):
    layers, width, length, batch = (1, 32, 16, 1) if args.tiny else (2, 128, 64, 2)
    words = ["train", "--model", args.model, "--n-layer", layers, "--n-head", 4, "--n-embd", width, "--sequence-length", length,
             "--batch-size", batch, "--acc-steps", 2, "--iterations", args.steps, "--lr", "1e-3", "--warmup-steps", 10,
             "--scheduler", "wsd:fraction=0.2", "--dropout", args.dropout, "--data", args.data,
             "--tokenizer", args.tokenizer, "--seed", 3, "--name", NAME, "--out", out, "--eval-interval", 15,
             "--checkpoint-every", args.checkpoint_every, "--keep-last", 3, *args.lehr_args]
    if args.tiny:
        words += ["--set", "eval.sequences=4", "--set", "sample.tokens=0"]
    return [str(args.lehr), *map(str, words)]


def temporaries(folder):
    """Paths under `folder` with .tmp in their name; a walk that survives files vanishing under it."""
    return [os.path.join(at, name) for at, folders, files in os.walk(folder) for name in folders + files if ".tmp" in name]


def logged_lines(run):
    try:
        return (run / "metrics.jsonl").read_bytes().count(b"\n")
    except OSError:
        return 0


def pick_kill(rng, seconds, steps):
    """A moment: ("tmp", how many appearances to let pass, delay), ("time", seconds, 0) or ("lines", more metrics lines, delay)."""
    kind = rng.choices(["tmp", "time", "lines", "startup"], [5, 2, 2, 1])[0]
    if kind == "tmp":
        return "tmp", rng.choice([0, 0, 1, 2]), rng.choice([0, 0, rng.uniform(0, 0.004), rng.uniform(0, 0.03)])
    if kind == "lines":
        return "lines", rng.randint(1, max(1, steps // 3)), rng.uniform(0, 0.02)
    return "time", rng.uniform(0, 0.7 * seconds if kind == "time" else min(0.5, 0.3 * seconds)), 0


def strike(process, run, moment, timeout):
    """Waits for the moment and kills the process. False when it ended first."""
    kind, value, delay = moment
    began, first = time.monotonic(), logged_lines(run)
    seen, passed = False, 0
    while process.poll() is None:
        if kind == "time":
            due = time.monotonic() - began >= value
        elif kind == "lines":
            due = logged_lines(run) >= first + value
        else:
            present = bool(temporaries(run))
            passed += present and not seen
            seen = present
            due = present and passed > value
        if due:
            time.sleep(delay)
            process.kill()
            return process.wait() < 0
        if time.monotonic() - began > timeout:
            process.kill()
            process.wait()
            raise harness.CheckFailed(f"no end after {timeout:.0f} s: {shlex.join(process.args)}")
        time.sleep(0.0005 if kind == "tmp" else 0.002)
    return False


def check_whole(run):
    """Every checkpoint under its final name must be complete, at any moment."""
    for folder in sorted(run.glob("step-*")):
        if ".tmp" in folder.name:
            continue
        try:
            json.loads((folder / "state.json").read_text())
            for name in ("model.safetensors", "optimizer.safetensors"):
                harness.read_safetensors(folder / name)
        except (OSError, ValueError, harness.CheckFailed) as e:
            raise harness.CheckFailed(f"a kill left a broken checkpoint: {e}")


def spawn(command, log):
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)


def killed_run(args, rng, out, kills, seconds, tally):
    """One run with up to `kills` kills on its way, then through to its end. Returns its directory."""
    run = out / NAME
    out.mkdir()
    command = train_command(args, out)
    with open(out / "output.log", "w") as log:
        for _ in range(kills):
            process = spawn(command, log)
            if not strike(process, run, pick_kill(rng, seconds, args.steps), args.timeout):
                if process.returncode:
                    raise harness.CheckFailed(f"exit code {process.returncode} from {shlex.join(command)}; see {log.name}")
                return run  # it was faster than the kill
            tally["kills"] += 1
            check_whole(run)
            inside = bool(temporaries(run))
            tally["inside a write"] += inside
            lines = logged_lines(run)
            if any(".tmp" not in p.name for p in run.glob("step-*")):
                command = [str(args.lehr), "resume", str(run)]
            else:  # nothing to resume from yet: a user would start over
                tally["before the first checkpoint"] += 1
                shutil.rmtree(run, ignore_errors=True)
            print(f"  kill {tally['kills']:3}: {lines:4} lines logged{', inside a write' if inside else ''}", flush=True)
        process = spawn(command, log)
        try:
            code = process.wait(args.timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise harness.CheckFailed(f"no end after {args.timeout:.0f} s: {shlex.join(command)}")
        if code:
            raise harness.CheckFailed(f"exit code {code} from {shlex.join(command)}; see {log.name}")
    return run


def steps_of(lines):
    return [line["step"] for line in lines]


def differences(reference, run):
    """Sentences for everything in which a completed run is not the reference."""
    for kind, ours, theirs in zip(("training", "evaluation"), harness.read_metrics(run), harness.read_metrics(reference)):
        steps, expected = steps_of(ours), steps_of(theirs)
        if steps != expected:
            doubled = sorted({s for s in steps if steps.count(s) > expected.count(s)})
            missing = sorted(set(expected) - set(steps))
            yield f"{kind} lines of metrics.jsonl: missing steps {missing[:5]}, doubled {doubled[:5]}, or out of order"
            continue
        for a, b in zip(ours, theirs):
            off = [k for k in EXACT if repr(a.get(k)) != repr(b.get(k))]
            if off:
                yield f"metrics.jsonl, {kind} step {a['step']}: {off[0]} is {a.get(off[0])!r}, uninterrupted {b.get(off[0])!r}"
                break
    for name in ("curve.csv", "curve.val.csv"):
        if (run / name).read_bytes() != (reference / name).read_bytes():
            yield f"{name} differs"
    ours, theirs = (sorted(p.name for p in r.glob("step-*")) for r in (run, reference))
    if ours != theirs:
        yield f"keeps checkpoints {ours}, uninterrupted {theirs}"
    for name in ["final/model.safetensors"] + [
        f"{step}/{part}.safetensors" for step in theirs if step in ours for part in ("model", "optimizer")
    ]:
        a, b = harness.read_safetensors(run / name), harness.read_safetensors(reference / name)
        wrong = sorted(n for n in a.keys() | b.keys() if a.get(n) != b.get(n))
        if wrong:
            yield f"{name}: {len(wrong)} of {len(b)} tensors differ, such as {wrong[0]}"
    for path in temporaries(run):
        yield f"left behind {path}"


def main():
    args = arguments()
    harness.start(args)
    rng = random.Random(args.seed)
    reference = args.work / "reference" / NAME
    (args.work / "reference").mkdir()
    seconds = None
    for _ in range(2):  # the first may prepare tokens that the later ones find ready, so the second is timed
        shutil.rmtree(reference, ignore_errors=True)
        began = time.monotonic()
        try:
            harness.lehr(args, *train_command(args, args.work / "reference")[1:])
        except harness.CheckFailed as e:
            harness.conclude("kill_and_resume", [str(e)], "")
        seconds = time.monotonic() - began
    training, evaluations = harness.read_metrics(reference)
    print(f"reference: {args.steps} steps, {len(training)} + {len(evaluations)} lines, {seconds:.1f} s", flush=True)
    failures = []
    last = reference / f"step-{args.steps:08d}"
    if steps_of(training) != list(range(1, args.steps + 1)):
        failures.append(f"the reference does not log each step 1 to {args.steps} once: {steps_of(training)[:6]}…")
    if not evaluations:
        failures.append("the reference holds no evaluation line")
    if not last.is_dir():
        failures.append(f"the reference has no {last.name}, so its optimiser state cannot be compared")
    tally = {"kills": 0, "inside a write": 0, "before the first checkpoint": 0}
    runs, idle = 0, 0
    while tally["kills"] < args.kills and idle < 5 and not failures:
        runs += 1
        before = tally["kills"]
        wanted = min(rng.randint(2, 6), args.kills - before)
        try:
            run = killed_run(args, rng, args.work / f"killed-{runs:02}", wanted, seconds, tally)
            found = list(differences(reference, run))
        except (harness.CheckFailed, OSError) as e:
            found = [str(e)]
        idle = idle + 1 if tally["kills"] == before else 0
        failures += [f"run {runs} ({args.work / f'killed-{runs:02}'}): {f}" for f in found]
        print(f"run {runs}: {tally['kills'] - before} kills, {'DIFFERS' if found else 'equal to the reference bit for bit'}", flush=True)
    if idle == 5:
        failures.append("five runs in a row ended before a kill could strike; give a larger --steps")
    conclude_line = ", ".join(f"{n} {what}" for what, n in tally.items())
    harness.conclude("kill_and_resume", failures, f"{conclude_line}; {runs} runs equal bit for bit (seed {args.seed})")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
