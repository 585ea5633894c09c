"""Writes compat_reference.csv: the learning rates of schedules-and-scaling (commit 17e78d6).

    python3 compat_reference.py > compat_reference.csv

Needs nothing but Python. OneCycleLR follows torch.optim.lr_scheduler's phases and annealing
functions; the two lambdas follow the original's closures. Each row: spec; steps; warm-up; step,
multiple of the peak. Runs are written at their corners and on a stride.
"""

import math


def one_cycle(step, total, pct_start, anneal, div=100.0, final_div=0.1):
    top, start = 1.0, 1.0 / div
    floor = start / final_div
    phases = [
        (float(pct_start * total) - 1, start, top),
        (total - 1, top, floor),
    ]
    phase_start = 0
    for i, (end_step, begin, end) in enumerate(phases):
        if step <= end_step or i == len(phases) - 1:
            pct = (step - phase_start) / (end_step - phase_start)
            if anneal == "cos":
                return end + (begin - end) / 2.0 * (math.cos(math.pi * pct) + 1)
            return (end - begin) * pct + begin
        phase_start = end_step


def cos_inf(step, total, warmup, n_inf, div=100.0, final_div=0.1):
    top = 1.0
    floor = top / div / final_div
    anneal_until = total - n_inf
    if step < warmup:
        return (step / warmup) + (1 - step / warmup) / div
    if step < anneal_until:
        t = (step - warmup) / (anneal_until - warmup)
        return floor + 0.5 * (top - floor) * (1 + math.cos(math.pi * t))
    return floor


def wsd(step, total, warmup, fraction, kind, final, div=100.0):
    n_anneal = int(fraction * total)
    n_hold = total - n_anneal
    if step < warmup:
        return (step / warmup) + (1 - step / warmup) / div
    if step < n_hold:
        return 1.0
    if step >= total:
        return final
    x = (step - n_hold) / n_anneal
    linear = final + (1 - final) * (1 - x)
    cosine = final + (1 - final) * (1 + math.cos(math.pi * x)) * 0.5
    return {
        "linear": lambda: linear,
        "cosine": lambda: cosine,
        "miror_cosine": lambda: 2 * linear - cosine,
        "exp": lambda: final**x,
        "square": lambda: final + (1 - final) * (1 - x**2),
        "sqrt": lambda: final + (1 - final) * (1 - math.sqrt(x)),
    }[kind]()


def cases(total, warmup):
    for name in ["cos", "linear"]:
        yield name, lambda s, n=name: one_cycle(s, total, warmup / total, n)
    for n_inf in [0, total // 5]:
        yield f"cos_inf:cos_inf_steps={n_inf}", lambda s, n=n_inf: cos_inf(s, total, warmup, n)
    for kind in ["linear", "cosine", "exp", "miror_cosine", "square", "sqrt"]:
        for fraction, final in [(0.1, 0.0), (0.29, 0.1)]:
            spec = f"wsd:fract_decay={fraction},decay_type={kind},final_lr_scale={final}"
            yield spec, lambda s, a=(fraction, kind, final): wsd(s, total, warmup, *a)


def main():
    print("spec;steps;warmup;step,multiple")
    for total, warmup in [(40, 7), (100, 0), (1000, 60), (15000, 300)]:
        corners = {0, 1, warmup - 1, warmup, warmup + 1, total // 2, total - 2, total - 1}
        for fraction in (0.1, 0.2, 0.29):
            start = total - int(fraction * total)
            corners |= {start - 1, start, start + 1}
        steps = sorted(s for s in corners | set(range(0, total, total // 8)) if s >= 0)
        for spec, lr in cases(total, warmup):
            for s in steps:
                print(f"{spec};{total};{warmup};{s},{lr(s):.15g}")


main()
