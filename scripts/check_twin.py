#!/usr/bin/env python3
"""Holds the PyTorch twin itself against transformers: logits, loss and every gradient, both families.

Needs no Lehr binary. The parity check is only worth as much as its twin; this says what that is.
"""

import argparse
import tempfile
from pathlib import Path

import harness

harness.ensure_modules("torch", "transformers", "safetensors")

import torch  # noqa: E402
import transformers  # noqa: E402

import twin  # noqa: E402

TOLERANCE = 1e-5
VOCAB, LENGTH = 211, 48


def cases():
    """(name, transformers model). Weights larger than at initialisation, so that every part matters."""
    gpt2 = dict(vocab_size=VOCAB, n_positions=LENGTH, n_embd=48, n_layer=3, n_head=4, initializer_range=0.1,
                resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0)
    llama = dict(vocab_size=VOCAB, max_position_embeddings=LENGTH, hidden_size=48, intermediate_size=96,
                 num_hidden_layers=3, num_attention_heads=6, initializer_range=0.1, bos_token_id=0, eos_token_id=0)
    for tied in (True, False):
        word = "tied" if tied else "untied"
        yield f"gpt2 {word}", transformers.GPT2LMHeadModel(transformers.GPT2Config(tie_word_embeddings=tied, **gpt2))
        for kv in (6, 2, 1):
            config = transformers.LlamaConfig(tie_word_embeddings=tied, num_key_value_heads=kv, **llama)
            yield f"llama {word}, {kv} of 6 key/value heads", transformers.LlamaForCausalLM(config)
    config = transformers.LlamaConfig(
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0}, rms_norm_eps=1e-5, **llama)
    yield "llama theta 5e5", transformers.LlamaForCausalLM(config)


def relative(ours, theirs):
    """Largest difference of a gradient tensor over its largest element."""
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def main():
    argparse.ArgumentParser(description=__doc__, epilog="example:\n  python3 scripts/check_twin.py",
                            formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    failures, count = [], 0
    for name, peer in cases():
        # Biases and norm weights start at 0 and 1, where a mistake in them would not show.
        with torch.no_grad():
            for p in peer.parameters():
                if p.ndim == 1:
                    p.add_(0.1 * torch.randn_like(p))
        with tempfile.TemporaryDirectory() as folder:
            peer.save_pretrained(folder)
            config = twin.Config.read(Path(folder) / "config.json")
            weights = twin.load_weights(Path(folder) / "model.safetensors", config)
        rows = torch.randint(VOCAB, (3, LENGTH + 1))
        theirs = peer(rows[:, :-1]).logits
        logits = (twin.logits(config, weights, rows[:, :-1]) - theirs).abs().max().item()
        their_loss = torch.nn.functional.cross_entropy(theirs.flatten(0, 1), rows[:, 1:].flatten())
        their_loss.backward()
        our_loss = twin.loss(config, weights, rows)
        our_loss.backward()
        loss = abs(our_loss.item() - their_loss.item())
        gradients = max(relative(w.grad, peer.get_parameter(n).grad) for n, w in weights.items())
        print(f"{name:38} logits {logits:.1e}  loss {loss:.1e}  gradients {gradients:.1e}")
        count += 1
        if max(logits, loss, gradients) > TOLERANCE:
            failures.append(f"{name}: differs from transformers by more than {TOLERANCE:g}")
    harness.conclude("check_twin", failures, f"{count} models within {TOLERANCE:g} of transformers {transformers.__version__}")


if __name__ == "__main__":
    main()
