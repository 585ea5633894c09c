#!/usr/bin/env python3
"""One PyTorch process of bench_vs_torch: trains on random tokens and prints one JSON object a line.

The models of twin.py again, written for speed this time: nn modules, F.scaled_dot_product_attention, the fused
norms, fused AdamW. A "setting" is words out of eager, compiled, autotuned (compiled by "max-autotune-no-cudagraphs"),
chunked (the loss without full logits), cast (bf16 weights made by hand instead of autocast; gradients are still added
up in f32) and, on a GPU, cudnn (attention by cuDNN instead of PyTorch's flash kernels). twin.py is the plain one that
losses are compared with.

    torch_peer.py '{"family": "gpt2", "layers": 6, …}'

The first line holds the number of parameters, each further one a step: its seconds, its loss and the peak memory so
far, so that whoever stops the process keeps what it has measured. On a GPU a step begins with its batches in pinned memory
of the host, where a loader leaves them, and ends when the GPU has finished; memory is PyTorch's own peak of what tensors
took, and what of the card is in use, context included.
"""

import contextlib
import json
import math
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn


class Gpt2Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        d = c["width"]
        self.heads = c["heads"]
        self.ln_1, self.ln_2 = nn.LayerNorm(d, c["eps"]), nn.LayerNorm(d, c["eps"])
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.fc, self.proj = nn.Linear(d, c["mlp"]), nn.Linear(c["mlp"], d)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.ln_1(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, d))
        return x + self.proj(F.gelu(self.fc(self.ln_2(x)), approximate="tanh"))


class LlamaBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, e = c["width"], c["width"] // c["heads"]
        self.heads, self.kv_heads, self.e = c["heads"], c["kv_heads"], e
        self.ln_1, self.ln_2 = nn.RMSNorm(d, c["eps"]), nn.RMSNorm(d, c["eps"])
        self.q, self.out = nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False)
        self.k, self.v = (nn.Linear(d, self.kv_heads * e, bias=False) for _ in range(2))
        self.gate, self.up = (nn.Linear(d, c["mlp"], bias=False) for _ in range(2))
        self.proj = nn.Linear(c["mlp"], d, bias=False)

    def forward(self, x, cos, sin):
        b, t, d = x.shape
        n = self.ln_1(x)

        def rotate(y):
            left, right = y.chunk(2, -1)
            return torch.cat([left * cos - right * sin, right * cos + left * sin], -1)

        q = self.q(n).view(b, t, self.heads, self.e).transpose(1, 2)
        k = self.k(n).view(b, t, self.kv_heads, self.e).transpose(1, 2)
        v = self.v(n).view(b, t, self.kv_heads, self.e).transpose(1, 2)
        grouped = self.heads != self.kv_heads
        y = F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True, enable_gqa=grouped)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, d))
        n = self.ln_2(x)
        return x + self.proj(F.silu(self.gate(n)) * self.up(n))


def computed_in(x):
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


class Model(nn.Module):
    """Ids and targets [b, t] to the mean cross-entropy; the head is the embedding."""

    def __init__(self, c):
        super().__init__()
        self.chunked = "chunked" in c["setting"]
        d, t, llama = c["width"], c["length"], c["family"] == "llama"
        self.embedding = nn.Embedding(c["vocab"], d)
        self.positions = None if llama else nn.Embedding(t, d)
        self.blocks = nn.ModuleList([(LlamaBlock if llama else Gpt2Block)(c) for _ in range(c["layers"])])
        self.norm = (nn.RMSNorm if llama else nn.LayerNorm)(d, c["eps"])
        if llama:
            e = d // c["heads"]
            angles = torch.outer(torch.arange(t).float(), c["theta"] ** (-torch.arange(0, e, 2).float() / e))
            self.register_buffer("cos", angles.cos())
            self.register_buffer("sin", angles.sin())
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                residual = name.endswith(("out.weight", "proj.weight"))
                nn.init.normal_(weight, std=0.02 / (math.sqrt(2 * c["layers"]) if residual else 1))
            elif name.endswith("bias"):
                nn.init.zeros_(weight)

    def forward(self, ids, targets):
        x = self.embedding(ids)
        if self.positions is not None:
            x = x + self.positions.weight[: ids.shape[1]]
        for block in self.blocks:
            if self.positions is None:
                # Autocast and bf16 weights give bf16 activations; f32 angles would widen them again.
                dtype = computed_in(x)
                x = block(x, self.cos.to(dtype), self.sin.to(dtype))
            else:
                x = block(x)
        x, head = self.norm(x), self.embedding.weight
        if self.chunked:
            # Newer PyTorch: the full logits never exist.
            dtype = computed_in(x)
            options = nn.LinearCrossEntropyOptions()
            return F.linear_cross_entropy(x.flatten(0, 1).to(dtype), head.to(dtype), targets.view(-1), options=options)
        logits = F.linear(x, head)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]).float(), targets.view(-1))


def peak_resident_bytes():
    # Not ru_maxrss, which a process inherits from whatever started it.
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return None


def memory(device):
    """Peak memory so far: of this process on this machine, and on the GPU."""
    taken = {"peak_resident_bytes": peak_resident_bytes()}
    if device == "cuda":
        free, total = torch.cuda.mem_get_info()
        taken.update(peak_allocated_bytes=torch.cuda.max_memory_allocated(), card_bytes=total - free)
    return taken


def attention(c):
    """On a GPU attention by the kernels asked for and no others (flash attention knows no f32); on a CPU there is one kind."""
    if c["device"] != "cuda":
        return contextlib.nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    if c["dtype"] != "bf16":
        return sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH])
    return sdpa_kernel(SDPBackend.CUDNN_ATTENTION if "cudnn" in c["setting"] else SDPBackend.FLASH_ATTENTION)


def say(**fields):
    print(json.dumps(fields), flush=True)


def main():
    c = json.loads(sys.argv[1])
    device = c["device"]
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    torch.set_num_threads(c["threads"])
    torch.set_float32_matmul_precision("high" if c["dtype"] == "tf32" else "highest")
    torch.manual_seed(0)
    imported = peak_resident_bytes()
    master = Model(c).to(device)
    params = sum(p.numel() for p in master.parameters())
    name = torch.cuda.get_device_name() if device == "cuda" else None
    say(params=params, torch=torch.__version__, imported_resident_bytes=imported, gpu=name)
    weights = list(master.parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in weights if p.dim() == 2], "weight_decay": 0.1},
            {"params": [p for p in weights if p.dim() != 2], "weight_decay": 0.0},
        ],
        lr=c["lr"], betas=(0.9, 0.95), eps=1e-8, fused=True,
    )  # fmt: skip
    # "cast": a bf16 copy of the weights, made by hand once a step; gradients go back to the f32 master.
    cast = "cast" in c["setting"]
    model, copies = master, []
    if cast:
        model = Model(c).to(device).bfloat16()
        copies = list(model.parameters())
        for p in weights:
            p.grad = torch.empty_like(p)
    mode = "max-autotune-no-cudagraphs" if "autotuned" in c["setting"] else None
    run = torch.compile(model, dynamic=False, mode=mode) if "compiled" in c["setting"] else model
    autocast = c["dtype"] == "bf16" and not cast
    micro_batches = c["accumulation"]
    shape = (micro_batches, 2, c["batch"], c["length"])
    batches = [torch.randint(0, c["vocab"], shape) for _ in range(4)]
    if device == "cuda":
        batches = [batch.pin_memory() for batch in batches]

    def gradients(ids, targets):
        """Adds this micro-batch's share to the gradients, and returns its share of the loss."""
        with torch.autocast(device, torch.bfloat16, enabled=autocast), attention(c):
            loss = run(ids, targets) / micro_batches
        loss.backward()
        return loss.detach()

    def step(number):
        batch = batches[number % len(batches)].to(device, non_blocking=True)
        total = 0.0
        if cast:
            with torch.no_grad():
                torch._foreach_copy_(copies, weights)
        else:
            optimizer.zero_grad(set_to_none=True)
        for i, (ids, targets) in enumerate(batch):
            if cast:
                model.zero_grad(set_to_none=True)
            total = total + gradients(ids, targets)
            if cast:
                with torch.no_grad():
                    ours, theirs = [p.grad for p in weights], [p.grad for p in copies]
                    (torch._foreach_add_ if i else torch._foreach_copy_)(ours, theirs)
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        return total.item()

    number, began = 0, None
    while True:
        if number == c["warmup"]:
            began = time.perf_counter()
        wait()
        start = time.perf_counter()
        loss = step(number)
        wait()
        end = time.perf_counter()
        say(step=number, warmup=began is None, seconds=end - start, loss=loss, **memory(device))
        number += 1
        if began is not None and number >= c["warmup"] + 3 and end - began >= c["seconds"]:
            break


if __name__ == "__main__":
    main()
