#!/usr/bin/env python3
"""Trains with Lehr, replays the run in PyTorch, and compares the losses step by step.

Lehr writes its initial weights (checkpoint step 0), the token ids of every micro-batch and the LR of
every step; the twin (twin.py) starts from the same weights, sees the same batches at the same LRs, and
must give the same loss within 2e-3 at each of 100 f32 steps: GPT-2 and Llama, tied and untied
embeddings, one and two micro-batches a step.

Beside the losses it compares the gradient norms and, at the end, the weights and Adam's moments:
|lehr - torch| over the distance that torch's training moved the weights (L2, all tensors together). GPT-2's key biases are
left out of that: their gradient is exactly zero in theory, so Adam walks them by rounding alone.
"""

import json
import math
import re
import time

import harness

harness.ensure_modules("torch", "safetensors", "numpy")

import numpy  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

import twin  # noqa: E402

SHAPE = ["--n-layer", 2, "--n-head", 4, "--n-embd", 64, "--sequence-length", 64, "--batch-size", 8]
LENGTH, ROWS = 64, 8
WARMUP = 10
# Bounds beside the loss: loose enough for f32 rounding over 100 steps, tight enough that a wrong
# decay group, epsilon, clip or bias correction fails (README.md lists what each of them gives).
GRAD_NORM_TOLERANCE = 0.02
STATE_TOLERANCE = 0.02


def arguments():
    parser = harness.arguments(__doc__, "python3 scripts/parity_vs_torch.py --model llama --steps 100", "parity")
    parser.add_argument("--model", choices=["gpt2", "llama"], nargs="+", default=["gpt2", "llama"])
    parser.add_argument("--acc-steps", type=int, nargs="+", default=[1, 2], metavar="N", help="default: 1 2")
    parser.add_argument("--tied", choices=["true", "false"], nargs="+", default=["true", "false"])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--tolerance", type=float, default=2e-3, help="largest loss difference, nats (default: 2e-3)")
    # Above about 2e-3 tied models this small train at the edge of stability, where any two orders of
    # summation part ways: there the twin would measure chaos.
    parser.add_argument("--lr", type=float, default=1e-3, help="peak LR (default: 1e-3)")
    parser.add_argument("--scheduler", default="wsd:fraction=0.2", metavar="SPEC")
    parser.add_argument("--tokenizer", default="bpe-1024", metavar="SPEC")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--decay-embeddings", action="store_true", help="weight decay on the embeddings as well")
    parser.add_argument("--threads", type=int, default=0, help="PyTorch's threads (default: its own choice)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    return parser.parse_args()


def train_with_lehr(args, name, family, acc, tied):
    """Runs Lehr; returns its run directory and the micro-batches [steps][acc] of rows [b, t+1]."""
    batches = args.work / f"{name}.batches"
    words = ["train", "--model", family, *SHAPE, "--acc-steps", acc, "--tied", tied, "--iterations", args.steps,
             "--lr", args.lr, "--warmup-steps", WARMUP, "--scheduler", args.scheduler, "--data", args.data,
             "--tokenizer", args.tokenizer, "--seed", args.seed, "--name", name, "--out", args.work,
             "--checkpoint-every", args.steps, "--record-batches", batches]
    if family == "llama":
        words += ["--n-kv-head", 2]
    if args.decay_embeddings:
        words += ["--set", "optim.decay_embeddings=true"]
    harness.lehr(args, *words, *args.lehr_args)
    rows = numpy.fromfile(batches, dtype="<u4")
    expected = args.steps * acc * ROWS * (LENGTH + 1)
    if rows.size != expected:
        raise harness.CheckFailed(f"{batches} holds {rows.size} token ids, expected {expected}")
    shape = (args.steps, acc, ROWS, LENGTH + 1)
    return args.work / name, torch.from_numpy(rows.astype("int64")).view(shape)


def read_training(run, steps):
    """The training lines of metrics.jsonl, one for each step 1..steps in order."""
    lines, _ = harness.read_metrics(run)
    found = [line["step"] for line in lines]
    if found != list(range(1, steps + 1)):
        raise harness.CheckFailed(f"{run / 'metrics.jsonl'} should hold steps 1 to {steps}, holds {found[:5]}…{found[-3:]}")
    return lines


def state_difference(run, steps, start, weights, optimizer):
    """|lehr - torch| relative to |torch's movement| for the weights, to |torch| for the moments; the worst tensor."""
    step = run / f"step-{steps:08d}"
    theirs, moments = load_file(step / "model.safetensors"), load_file(step / "optimizer.safetensors")
    expected = {f"{n}.{k}" for n in weights for k in "mv"}
    if set(theirs) != set(weights) or not expected <= set(moments):
        raise harness.CheckFailed(f"{step} names other tensors: {sorted(set(theirs) ^ set(weights) or expected - set(moments))[:4]}")
    sums = {k: [0.0, 0.0] for k in ("weights", "m", "v")}
    worst = (0.0, "")
    for name, ours in weights.items():
        state = optimizer.state[ours]
        keep = torch.ones_like(ours, dtype=torch.bool)
        if name.endswith("attn.c_attn.bias"):
            keep.view(3, -1)[1] = False  # q | k | v: the key part
        for key, lehr, torch_, size in (
            ("weights", theirs[name], ours, ours - start[name]),
            ("m", moments[name + ".m"], state["exp_avg"], state["exp_avg"]),
            ("v", moments[name + ".v"], state["exp_avg_sq"], state["exp_avg_sq"]),
        ):
            off = ((lehr - torch_)[keep].double() ** 2).sum().item()
            of = (size[keep].double() ** 2).sum().item()
            sums[key][0] += off
            sums[key][1] += of
            if key == "weights":
                worst = max(worst, (math.sqrt(off / of) if of else math.inf * (off > 0), name))
    return {k: math.sqrt(off / of) for k, (off, of) in sums.items()}, worst


def compare(args, family, acc, tied):
    """One case: Lehr's run, the replay, and what differs."""
    name = f"{family}-{'tied' if tied == 'true' else 'untied'}-acc{acc}"
    began = time.monotonic()
    run, batches = train_with_lehr(args, name, family, acc, tied)
    lehr_seconds = time.monotonic() - began
    lines = read_training(run, args.steps)
    config = twin.Config.read(run / "final" / "config.json")
    if (config.family, config.tied) != (family, tied == "true"):
        raise harness.CheckFailed(f"{run}/final/config.json says {config}, asked for {family}, tied {tied}")
    if batches.max() >= config.vocab:
        raise harness.CheckFailed(f"{name}: a recorded token id {batches.max()} is beyond the vocabulary {config.vocab}")
    weights = twin.load_weights(run / "step-00000000" / "model.safetensors", config)
    start = {n: w.detach().clone() for n, w in weights.items()}
    optimizer = twin.adamw(weights, decay_embeddings=args.decay_embeddings)
    began = time.monotonic()
    differences, norms, torch_losses = [], [], []
    for line, micro_batches in zip(lines, batches):
        loss, norm = twin.train_step(config, weights, optimizer, list(micro_batches), line["lr"])
        torch_losses.append(loss)
        differences.append(abs(loss - line["loss"]))
        norms.append(abs(norm - line["grad_norm"]) / norm)
    with torch.no_grad():
        state, worst = state_difference(run, args.steps, start, weights, optimizer)
    largest = max(range(args.steps), key=lambda s: differences[s] if math.isfinite(differences[s]) else math.inf)
    return {
        "case": name, "steps": args.steps, "first_loss": lines[0]["loss"], "last_loss": lines[-1]["loss"],
        "torch_last_loss": torch_losses[-1], "largest_loss_difference": differences[largest],
        "at_step": largest + 1, "mean_loss_difference": sum(differences) / len(differences),
        "largest_grad_norm_difference": max(norms), "weights_difference": state["weights"], "m_difference": state["m"],
        "v_difference": state["v"], "worst_tensor": worst[1], "worst_tensor_difference": worst[0],
        "lr": [min(l["lr"] for l in lines), max(l["lr"] for l in lines)], "loss_differences": differences,
        "lehr_seconds": lehr_seconds, "torch_seconds": time.monotonic() - began,
    }


def judge(args, r):
    """Sentences for what a case got wrong."""
    def beyond(value, bound):
        return not value <= bound  # NaN is beyond every bound

    if beyond(r["largest_loss_difference"], args.tolerance):
        yield f"{r['case']}: loss differs by {r['largest_loss_difference']:.2e} at step {r['at_step']}, allowed {args.tolerance:g}"
    if beyond(r["largest_grad_norm_difference"], GRAD_NORM_TOLERANCE):
        yield f"{r['case']}: gradient norm differs by {r['largest_grad_norm_difference']:.1%}, allowed {GRAD_NORM_TOLERANCE:.0%}"
    for key in ("weights", "m", "v"):
        if beyond(r[f"{key}_difference"], STATE_TOLERANCE):
            worst = f" (worst tensor {r['worst_tensor']})" if key == "weights" else ""
            yield f"{r['case']}: final {key} differ by {r[key + '_difference']:.1%}{worst}, allowed {STATE_TOLERANCE:.0%}"
    if not r["last_loss"] < r["first_loss"]:
        yield f"{r['case']}: the loss did not fall ({r['first_loss']:.3f} to {r['last_loss']:.3f}), so the comparison says little"


def main():
    args = arguments()
    harness.start(args)
    if args.threads:
        torch.set_num_threads(args.threads)
    results, failures = [], []
    if not args.json:
        print(f"torch {re.split(r'[+]', torch.__version__)[0]}, {args.steps} steps of {ROWS} x {LENGTH} tokens, f32, {args.scheduler}, peak LR {args.lr:g}")
        print("case                 loss first→last   largest |Δloss|       |g|     weights         m         v")
    for family in args.model:
        for tied in args.tied:
            for acc in args.acc_steps:
                try:
                    r = compare(args, family, acc, tied)
                except (harness.CheckFailed, OSError, ValueError, KeyError) as e:
                    failures.append(f"{family}, tied {tied}, acc {acc}: {type(e).__name__}: {e}")
                    continue
                results.append(r)
                failures += judge(args, r)
                if not args.json:
                    print(f"{r['case']:20} {r['first_loss']:6.3f} → {r['last_loss']:5.3f}   {r['largest_loss_difference']:.1e} at {r['at_step']:4}"
                          f"   {r['largest_grad_norm_difference']:.1e}   {r['weights_difference']:.1e}   {r['m_difference']:.1e}   {r['v_difference']:.1e}", flush=True)
    if args.json:
        print(json.dumps({"tolerance": args.tolerance, "torch": torch.__version__, "cases": results, "failures": failures}))
        raise SystemExit(1 if failures else 0)
    worst = max((r["largest_loss_difference"] for r in results), default=math.nan)
    harness.conclude("parity_vs_torch", failures, f"{len(results)} cases, largest loss difference {worst:.1e} (allowed {args.tolerance:g})")


if __name__ == "__main__":
    main()
