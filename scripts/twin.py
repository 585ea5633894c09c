"""GPT-2 and Llama in PyTorch, written plainly: the twin that Lehr's training is compared with.

A model is a config and a dict of tensors under their Hugging Face names; nothing is imported from
transformers, so a shared mistake would have to be made twice.

Shape letters: b batch, t position, d model width, h query heads, g key/value heads, e head width, v vocabulary.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file


@dataclass(frozen=True)
class Config:
    """The numbers of a Hugging Face config.json that the forward pass needs."""

    family: str  # "gpt2" or "llama"
    layers: int
    heads: int
    kv_heads: int
    width: int
    vocab: int
    eps: float
    rope_theta: float
    tied: bool

    @staticmethod
    def read(path):
        c = json.loads(Path(path).read_text())
        if c["model_type"] == "gpt2":
            if c.get("activation_function", "gelu_new") != "gelu_new":
                raise ValueError(f"{path}: the twin knows gelu_new only, not {c['activation_function']}")
            return Config("gpt2", c["n_layer"], c["n_head"], c["n_head"], c["n_embd"], c["vocab_size"],
                          c.get("layer_norm_epsilon", 1e-5), 0.0, c.get("tie_word_embeddings", True))
        if c["model_type"] == "llama":
            theta = (c.get("rope_parameters") or {}).get("rope_theta") or c.get("rope_theta", 10000.0)
            heads = c["num_attention_heads"]
            return Config("llama", c["num_hidden_layers"], heads, c.get("num_key_value_heads") or heads,
                          c["hidden_size"], c["vocab_size"], c.get("rms_norm_eps", 1e-6), theta,
                          c.get("tie_word_embeddings", False))
        raise ValueError(f"{path}: the twin knows gpt2 and llama, not {c['model_type']}")


def load_weights(path, config):
    """f32 parameters of a model.safetensors, each requiring a gradient."""
    weights = {name: w.float().requires_grad_() for name, w in load_file(path).items()}
    if config.tied and "lm_head.weight" in weights:
        raise ValueError(f"{path}: lm_head.weight is stored though the config ties it to the embedding")
    return weights


def logits(config, weights, tokens_bt):
    """Next-token logits [b, t, v]."""
    x_btd = (gpt2 if config.family == "gpt2" else llama)(config, weights, tokens_bt)
    if not config.tied:
        head_vd = weights["lm_head.weight"]
    else:
        head_vd = weights["transformer.wte.weight" if config.family == "gpt2" else "model.embed_tokens.weight"]
    return x_btd @ head_vd.T


def loss(config, weights, rows):
    """Mean cross-entropy in nats over rows [b, t+1]: inputs and, one further, targets."""
    out = logits(config, weights, rows[:, :-1])
    return F.cross_entropy(out.reshape(-1, config.vocab), rows[:, 1:].reshape(-1))


def gpt2(c, w, tokens_bt):
    """wte + wpe, blocks of attention and a 4x GELU-tanh MLP behind LayerNorms, final LayerNorm."""

    def norm(x, name):
        return F.layer_norm(x, (c.width,), w[name + ".weight"], w[name + ".bias"], c.eps)

    def conv1d(x, name):  # stored [in, out]
        return x @ w[name + ".weight"] + w[name + ".bias"]

    b, t = tokens_bt.shape
    x = w["transformer.wte.weight"][tokens_bt] + w["transformer.wpe.weight"][:t]
    for i in range(c.layers):
        block = f"transformer.h.{i}."
        q, k, v = conv1d(norm(x, block + "ln_1"), block + "attn.c_attn").split(c.width, dim=-1)
        q, k, v = (part.view(b, t, c.heads, -1) for part in (q, k, v))
        x = x + conv1d(attention(q, k, v), block + "attn.c_proj")
        x = x + conv1d(gelu_tanh(conv1d(norm(x, block + "ln_2"), block + "mlp.c_fc")), block + "mlp.c_proj")
    return norm(x, "transformer.ln_f")


def llama(c, w, tokens_bt):
    """Embedding, blocks of rotary GQA attention and SwiGLU behind RMSNorms, final RMSNorm."""

    def norm(x, name):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + c.eps) * w[name + ".weight"]

    def linear(x, name):  # stored [out, in]
        return x @ w[name + ".weight"].T

    b, t = tokens_bt.shape
    x = w["model.embed_tokens.weight"][tokens_bt]
    for i in range(c.layers):
        block = f"model.layers.{i}."
        h = norm(x, block + "input_layernorm")
        q = rope(linear(h, block + "self_attn.q_proj").view(b, t, c.heads, -1), c.rope_theta)
        k = rope(linear(h, block + "self_attn.k_proj").view(b, t, c.kv_heads, -1), c.rope_theta)
        v = linear(h, block + "self_attn.v_proj").view(b, t, c.kv_heads, -1)
        x = x + linear(attention(q, k, v), block + "self_attn.o_proj")
        h = norm(x, block + "post_attention_layernorm")
        gated = F.silu(linear(h, block + "mlp.gate_proj")) * linear(h, block + "mlp.up_proj")
        x = x + linear(gated, block + "mlp.down_proj")
    return norm(x, "model.norm")


def attention(q_bthe, k_btge, v_btge):
    """Causal softmax attention, scale 1/sqrt(e); query head h reads key/value head h // (heads / kv heads)."""
    b, t, heads, e = q_bthe.shape
    shared = heads // k_btge.shape[2]
    k_bthe = k_btge.repeat_interleave(shared, dim=2)
    v_bthe = v_btge.repeat_interleave(shared, dim=2)
    scores = torch.einsum("bqhe,bkhe->bhqk", q_bthe, k_bthe) / math.sqrt(e)
    future = torch.ones(t, t, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, -torch.inf).softmax(-1)
    return torch.einsum("bhqk,bkhe->bqhe", weights, v_bthe).reshape(b, t, heads * e)


def rope(x_bthe, theta):
    """Half rotation: the pair (j, j + e/2) turns by position * theta^(-2j/e)."""
    t, e = x_bthe.shape[1], x_bthe.shape[3]
    angle_tj = torch.outer(torch.arange(t).double(), theta ** (-torch.arange(0, e, 2).double() / e))
    cos, sin = angle_tj.cos().float()[:, None], angle_tj.sin().float()[:, None]
    a, b = x_bthe.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def gelu_tanh(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


EMBEDDINGS = ("transformer.wte.weight", "transformer.wpe.weight", "model.embed_tokens.weight")


def adamw(weights, weight_decay=0.1, decay_embeddings=False, **options):
    """torch.optim.AdamW over Lehr's groups: 2-D weights decay; biases, norms and (by default) embeddings do not."""
    decays = {n: w.ndim >= 2 and (decay_embeddings or n not in EMBEDDINGS) for n, w in weights.items()}
    groups = [
        {"params": [w for n, w in weights.items() if decays[n]], "weight_decay": weight_decay},
        {"params": [w for n, w in weights.items() if not decays[n]], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95), eps=1e-8, **options)


def train_step(config, weights, optimizer, micro_batches, lr, clip=1.0):
    """One optimiser step over equal micro-batches [b, t+1]; returns (mean loss, gradient norm before clipping)."""
    optimizer.zero_grad()
    total = 0.0
    for rows in micro_batches:
        part = loss(config, weights, rows)
        (part / len(micro_batches)).backward()
        total += part.item()
    norm = torch.nn.utils.clip_grad_norm_(list(weights.values()), clip).item()
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    return total / len(micro_batches), norm
