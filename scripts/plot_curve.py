#!/usr/bin/env python3
"""Draws a run's loss, held-out loss and learning rate as one SVG. Standard library only.

    python3 scripts/plot_curve.py checkpoints/llama-wsd docs/curve.svg
"""

import argparse
import csv
from pathlib import Path

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 360, 56, 64, 34, 44
STYLE = """
  .bg { fill: #ffffff } text { font: 13px system-ui, sans-serif; fill: #333 } .grid { stroke: #ddd }
  .lr { stroke: #c77700; fill: none; stroke-width: 1.5 } .lr-text { fill: #a86400 }
  .loss { stroke: #9db8d9; fill: none; stroke-width: 1 } .loss-text { fill: #5f86b5 }
  .val { stroke: #1c4f8f; fill: none; stroke-width: 2.2 } .val-text { fill: #1c4f8f }
  @media (prefers-color-scheme: dark) {
    .bg { fill: #14171c } text { fill: #ccc } .grid { stroke: #333 }
    .lr { stroke: #f0a030 } .lr-text { fill: #f0a030 } .loss { stroke: #46607f } .loss-text { fill: #7f9fc4 }
    .val { stroke: #8ec1ff } .val-text { fill: #8ec1ff }
  }"""


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="directory of a run")
    parser.add_argument("out", type=Path, help="SVG to write")
    args = parser.parse_args()
    train, val = rows(args.run / "curve.csv"), rows(args.run / "curve.val.csv")
    steps = int(train[-1]["step"])
    peak = max(float(r["lr"]) for r in train)
    losses = [float(r["loss"]) for r in train]
    low = min(losses + [float(r["loss"]) for r in val]) - 0.1
    high = max(losses)

    def x(step):
        return LEFT + (WIDTH - LEFT - RIGHT) * step / steps

    def y(share):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    def y_loss(loss):
        return y((loss - low) / (high - low))

    def line(kind, points):
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        return f'<polyline class="{kind}" points="{path}"/>'

    def text(px, py, words, kind="", anchor="middle"):
        return f'<text x="{px:.1f}" y="{py:.1f}" class="{kind}" text-anchor="{anchor}">{words}</text>'

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">', f"<style>{STYLE}\n</style>",
             f'<rect class="bg" width="{WIDTH}" height="{HEIGHT}"/>']
    for loss in range(int(low) + 1, int(high) + 1):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y_loss(loss):.1f}" y2="{y_loss(loss):.1f}"/>')
        parts.append(text(LEFT - 8, y_loss(loss) + 4, loss, anchor="end"))
    for share in (0, 0.2, 0.4, 0.6, 0.8, 1):
        parts.append(text(x(share * steps), HEIGHT - BOTTOM + 20, f"{share * steps:,.0f}"))
    parts.append(text(x(steps / 2), HEIGHT - 8, "step"))
    parts.append(line("lr", [(x(int(r["step"])), y(0.9 * float(r["lr"]) / peak)) for r in train]))
    parts.append(line("loss", [(x(int(r["step"])), y_loss(float(r["loss"]))) for r in train]))
    parts.append(line("val", [(x(int(r["step"])), y_loss(float(r["loss"]))) for r in val]))
    parts.append(text(WIDTH - RIGHT + 6, y(0.9) + 4, f"{peak:.0e}".replace("e-0", "e-"), "lr-text", "start"))
    last = float(val[-1]["loss"])
    parts.append(text(WIDTH - RIGHT + 6, y_loss(last) + 4, f"{last:.3f}", "val-text", "start"))
    parts.append(text(LEFT, 20, "nats a token:", anchor="start"))
    parts.append(text(LEFT + 92, 20, "training batches", "loss-text", "start"))
    parts.append(text(LEFT + 206, 20, "held out", "val-text", "start"))
    parts.append(text(WIDTH - RIGHT, 20, "learning rate", "lr-text", "end"))
    parts.append("</svg>\n")
    args.out.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
