"""Draws what `zoo.py --json` wrote: how long a peer's step takes, in units of ours.

    python benches/peers/picture.py FILE.json [PEER] > FILE.svg
"""

import html
import json
import sys

LABELS, BARS, LINE, TOP = 190, 420, 22, 58
AHEAD, BEHIND, INK, PALE = "#2a7f62", "#b4632d", "#222222", "#bbbbbb"


def text(x, y, content, anchor="start", size=13):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{html.escape(content)}</text>'


def ratios(report, peer):
    """Each row's name, and the peer's time over ours."""
    for row in report["rows"]:
        ours, theirs = (row["best"].get(program, {}).get("median_ms") for program in ("ours", peer))
        if ours and theirs:
            yield row["row"], theirs / ours


def svg(report, peer="torch", name="PyTorch"):
    """A bar per row, and a line where both are equally fast."""
    rows = list(ratios(report, peer))
    top = max([1.0, *(value for _, value in rows)])
    scale = BARS / (1.1 * top)
    width, height = LABELS + BARS + 60, TOP + LINE * len(rows) + 40
    place = f"{report['device']} device, {report['threads']} threads, {report['time'][:10]}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' font-family="sans-serif" fill="{INK}">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        text(12, 22, f"{name}'s time per step over wgrad's: right of the line, wgrad is faster", size=14),
        text(12, 42, place, size=12),
    ]
    for n, (row, value) in enumerate(rows):
        y = TOP + LINE * n
        colour = AHEAD if value >= 1 else BEHIND
        parts += [
            text(LABELS - 8, y + 14, row, "end"),
            f'<rect x="{LABELS}" y="{y + 2}" width="{value * scale:.1f}" height="{LINE - 6}" fill="{colour}"/>',
            text(LABELS + value * scale + 6, y + 14, f"{value:.2f}"),
        ]
    bottom = TOP + LINE * len(rows)
    for tick in [0.5 * n for n in range(int(2.2 * top) + 1)]:
        x = LABELS + tick * scale
        stroke = f'stroke="{INK}" stroke-width="1.5"' if tick == 1 else f'stroke="{PALE}" stroke-width="0.5"'
        parts += [f'<path d="M{x:.1f} {TOP - 4}V{bottom + 4}" {stroke}/>', text(x, bottom + 20, f"{tick:g}", "middle", 12)]
    return "\n".join([*parts, "</svg>"]) + "\n"


def main():
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    with open(sys.argv[1]) as file:
        report = json.load(file)
    print(svg(report, *sys.argv[2:]), end="")


if __name__ == "__main__":
    main()
