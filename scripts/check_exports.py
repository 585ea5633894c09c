#!/usr/bin/env python3
"""Holds Lehr's Hugging Face directories against transformers, in both directions.

Out: GPT-2 (tied, untied) and Llama (tied, untied, grouped keys and values) are trained for a few steps;
`from_pretrained(final)` must report no missing, unexpected or mismatched key, AutoTokenizer must encode and
decode as Lehr does, f32 logits must agree within 1e-4, and greedy continuations must be equal.
`lehr export` of the last checkpoint must give the tensors of final/.

In: random models that transformers saved must give the same logits in `lehr evaluate`, and
`lehr train --init-from` must start from exactly those weights, with the loss that transformers computes.
"""

import json

import harness

harness.ensure_modules("torch", "transformers", "safetensors", "numpy")

import numpy  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

LENGTH, ROWS, WIDTH = 64, 4, 64
TEXTS = [
    "It is a truth universally acknowledged",
    "She said, \"I am very glad;\" and  smiled.\n\nChapter 2",
    " leading and trailing space ",
    "Mr. Knightley's 1,000 letters",
]
# name -> (family, tied, key/value heads of 4)
CASES = {
    "gpt2-tied": ("gpt2", True, None),
    "gpt2-untied": ("gpt2", False, None),
    "llama-tied": ("llama", True, 4),
    "llama-untied": ("llama", False, 4),
    "llama-gqa": ("llama", True, 2),
    "llama-gqa-untied": ("llama", False, 1),
}


def arguments():
    parser = harness.arguments(__doc__, "python3 scripts/check_exports.py --case llama-gqa", "exports")
    parser.add_argument("--case", choices=list(CASES), nargs="+", default=list(CASES), help="default: all")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--tokenizer", default="bpe-1024", metavar="SPEC", help="able to encode any text (default: bpe-1024)")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="largest logit difference (default: 1e-4)")
    parser.add_argument("--max-tokens", type=int, default=24, help="length of the greedy continuation (default: 24)")
    return parser.parse_args()


class Check:
    """The findings of one case."""

    def __init__(self, name, failures):
        self.name, self.failures = name, failures
        self.largest = 0.0

    def that(self, held, sentence):
        if not held:
            self.failures.append(f"{self.name}: {sentence}")

    def logits(self, what, ours, theirs, tolerance):
        if ours.shape != theirs.shape:
            return self.that(False, f"{what}: logits of shape {tuple(ours.shape)}, transformers {tuple(theirs.shape)}")
        difference = (ours - theirs).abs().max().item()
        self.largest = max(self.largest, difference)
        self.that(difference <= tolerance, f"{what}: logits differ by {difference:.1e}, allowed {tolerance:g}")


def train(args, name, *words):
    """`lehr train` for a few steps at constant LR; returns the run directory."""
    harness.lehr(args, "train", "--batch-size", ROWS, "--acc-steps", 1, "--sequence-length", LENGTH, "--iterations", args.steps,
                 "--lr", "1e-3", "--warmup-steps", 1, "--scheduler", "constant", "--data", args.data, "--seed", 5,
                 "--name", name, "--out", args.work, "--checkpoint-every", args.steps, *words, *args.lehr_args)
    return args.work / name


def load(check, directory):
    """The transformers model of a directory, whose keys must all have found their place."""
    model, info = transformers.AutoModelForCausalLM.from_pretrained(directory, output_loading_info=True, dtype=torch.float32)
    for kind, keys in info.items():
        check.that(not keys, f"{directory.name}: from_pretrained reports {kind}: {sorted(map(str, keys))[:4] if keys else ''}")
    return model.eval()


def lehr_logits(args, directory, ids, name):
    path = args.work / f"{name}.logits.safetensors"
    harness.lehr(args, "evaluate", directory, "--tokens", ",".join(map(str, ids)), "--logits", path)
    return load_file(path)["logits"]


def compare_logits(args, check, what, directory, model, ids):
    with torch.no_grad():
        theirs = model(torch.tensor([ids])).logits[0]
    check.logits(what, lehr_logits(args, directory, ids, f"{check.name}-{what.replace(' ', '-')}"), theirs, args.tolerance)


def compare_tokenizer(args, check, directory, tokenizer):
    """Same ids from the same text, same text from the same ids."""
    for text in TEXTS:
        theirs = tokenizer.encode(text, add_special_tokens=False)
        check.that(tokenizer.decode(theirs, clean_up_tokenization_spaces=False) == text, f"AutoTokenizer does not round-trip {text!r}")
        ours = harness.lehr_json(args, "sample", directory, "--prompt", text, "--max-tokens", 4, "--temperature", 0)
        check.that(ours["prompt_tokens"] == theirs, f"{text!r} is {ours['prompt_tokens'][:8]}… to Lehr, {theirs[:8]}… to AutoTokenizer")
        decoded = tokenizer.decode(ours["tokens"], clean_up_tokenization_spaces=False)
        check.that(ours["text"] == decoded, f"Lehr decodes {ours['tokens']} to {ours['text']!r}, AutoTokenizer to {decoded!r}")


def compare_greedy(args, check, directory, model, tokenizer):
    """Greedy continuations are equal; where transformers' two best logits nearly tie, either may win."""
    prompt = TEXTS[0]
    ours = harness.lehr_json(args, "sample", directory, "--prompt", prompt, "--max-tokens", args.max_tokens, "--temperature", 0)["tokens"]
    start = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
    theirs = model.generate(**start, max_new_tokens=args.max_tokens, do_sample=False, pad_token_id=0,
                            output_scores=True, return_dict_in_generate=True)
    continuation = theirs.sequences[0, start["input_ids"].shape[1]:].tolist()
    end = model.config.eos_token_id
    ours, continuation = ([t for t in side if t != end] for side in (ours, continuation))
    for i, (a, b) in enumerate(zip(ours, continuation)):
        if a != b:
            best = theirs.scores[i][0].topk(2).values
            tie = (best[0] - best[1]).item() <= args.tolerance
            check.that(tie, f"greedy continuations part at token {i}: Lehr {a}, transformers {b}")
            return
    check.that(len(ours) == len(continuation), f"greedy continuations have {len(ours)} and {len(continuation)} tokens")


def check_out(args, name, failures):
    """Lehr trains and exports; transformers reads."""
    family, tied, kv_heads = CASES[name]
    check = Check(name, failures)
    words = ["--model", family, "--n-layer", 2, "--n-head", 4, "--n-embd", WIDTH, "--tied", str(tied).lower(), "--tokenizer", args.tokenizer]
    run = train(args, name, *words, *(["--n-kv-head", kv_heads] if kv_heads else []))
    final = run / "final"
    model = load(check, final)
    config = model.config
    check.that(config.model_type == family, f"config.json says {config.model_type}")
    check.that(config.tie_word_embeddings == tied, f"config.json says tie_word_embeddings {config.tie_word_embeddings}")
    check.that(kv_heads is None or config.num_key_value_heads == kv_heads, "config.json names other key/value heads")
    tokenizer = transformers.AutoTokenizer.from_pretrained(final)
    check.that(len(tokenizer) <= config.vocab_size, f"{len(tokenizer)} tokens, but config.json says vocab_size {config.vocab_size}")
    compare_tokenizer(args, check, final, tokenizer)
    generator = torch.Generator().manual_seed(11)
    ids = torch.randint(config.vocab_size, (LENGTH,), generator=generator).tolist()
    compare_logits(args, check, "final", final, model, ids)
    compare_logits(args, check, "final, one token", final, model, ids[:1])
    compare_greedy(args, check, final, model, tokenizer)
    exported = args.work / f"{name}-export"
    harness.lehr(args, "export", run / f"step-{args.steps:08d}", "--out", exported)
    check.that(harness.read_safetensors(exported / "model.safetensors") == harness.read_safetensors(final / "model.safetensors"),
               "`lehr export` of the last checkpoint gives other tensors than final/")
    compare_logits(args, check, "export", exported, load(check, exported), ids)
    transformers.AutoTokenizer.from_pretrained(exported)
    return check, final, config


def random_peer(family, config, tied, kv_heads):
    """A random transformers model like `config`, with weights large enough that every part shows in the logits."""
    torch.manual_seed(2)
    fresh = json.loads(config.to_json_string(use_diff=False))
    fresh.update(initializer_range=0.08, tie_word_embeddings=tied)
    if family == "llama":
        fresh["rope_parameters"] = {"rope_type": "default", "rope_theta": 50000.0}
        fresh.pop("rope_theta", None)
        fresh["num_key_value_heads"] = kv_heads
    model = transformers.AutoModelForCausalLM.from_config(type(config).from_dict(fresh)).float().eval()
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 1:  # norms and biases start at 1 and 0, where a mix-up would not show
                p.add_(0.1 * torch.randn_like(p))
    return model


def check_in(args, name, failures, final, config):
    """transformers writes; Lehr evaluates and trains."""
    family, tied, kv_heads = CASES[name]
    check = Check(f"{name}, from transformers", failures)
    model = random_peer(family, config, tied, kv_heads)
    directory = args.work / f"{name}-peer"
    model.save_pretrained(directory)
    transformers.AutoTokenizer.from_pretrained(final).save_pretrained(directory)
    ids = torch.randint(config.vocab_size, (LENGTH,), generator=torch.Generator().manual_seed(12)).tolist()
    compare_logits(args, check, "peer", directory, model, ids)
    batches = args.work / f"{name}.batches"
    run = train(args, f"{name}-continued", "--init-from", directory, "--tokenizer", directory / "tokenizer.json",
                "--record-batches", batches)
    start = harness.read_safetensors(run / "step-00000000" / "model.safetensors")
    given = harness.read_safetensors(directory / "model.safetensors")
    wrong = sorted(n for n in start.keys() | given.keys() if start.get(n) != given.get(n))
    check.that(not wrong, f"--init-from starts from other weights: {wrong[:4]}")
    rows = numpy.fromfile(batches, dtype="<u4", count=ROWS * (LENGTH + 1)).astype("int64").reshape(ROWS, LENGTH + 1)
    rows = torch.from_numpy(rows)
    with torch.no_grad():
        out = model(rows[:, :-1]).logits
    theirs = torch.nn.functional.cross_entropy(out.flatten(0, 1), rows[:, 1:].flatten()).item()
    lines, _ = harness.read_metrics(run)
    ours = lines[0]["loss"]
    check.that(abs(ours - theirs) <= args.tolerance, f"first loss {ours:.5f} after --init-from, transformers {theirs:.5f}")
    compare_logits(args, check, "continued", run / "final", load(check, run / "final"), ids)
    return check


def main():
    args = arguments()
    transformers.utils.logging.disable_progress_bar()
    harness.start(args)
    failures, largest = [], 0.0
    for name in args.case:
        before = len(failures)
        try:
            check, final, config = check_out(args, name, failures)
            out = check.largest
            back = check_in(args, name, failures, final, config).largest
            largest = max(largest, out, back)
            print(f"{name:18} logits out {out:.1e}, in {back:.1e}  {'ok' if len(failures) == before else 'FAIL'}", flush=True)
        except (harness.CheckFailed, OSError, ValueError, KeyError, RuntimeError) as e:
            failures.append(f"{name}: {type(e).__name__}: {e}")
    harness.conclude("check_exports", failures, f"{len(args.case)} cases against transformers {transformers.__version__}, "
                     f"no missing, unexpected or mismatched key, largest logit difference {largest:.1e} (allowed {args.tolerance:g})")


if __name__ == "__main__":
    main()
