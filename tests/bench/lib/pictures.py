# SPDX-License-Identifier: MIT
"""SVG pictures, readable on light and on dark ground, and PNG made of them."""
import html
import math
import subprocess

import report

COLOURS = {  # light ground, dark ground
    "usherd": ("#c2410c", "#fb923c"), "haproxy": ("#1d4ed8", "#60a5fa"), "haproxy-splice": ("#0e7490", "#22d3ee"),
    "nginx": ("#15803d", "#4ade80"), "socket-proxyd": ("#6d28d9", "#a78bfa"), "hitch": ("#a16207", "#facc15"),
    "stunnel": ("#be185d", "#f472b6"), "xinetd": ("#475569", "#94a3b8"),
}
WIDTH = 860
BAR = 19
GROWTH = "How cost grows with connections"


def style():
    light = "".join(f".{n}{{fill:{c[0]};stroke:{c[0]}}}" for n, c in COLOURS.items())
    dark = "".join(f".{n}{{fill:{c[1]};stroke:{c[1]}}}" for n, c in COLOURS.items())
    return (
        "<style>text{font:13px system-ui,'DejaVu Sans',sans-serif;fill:#1f2937;stroke:none}.t{font-weight:600}.s{fill:#6b7280;font-size:12px}"
        ".g{stroke:#e5e7eb;fill:none}.bg,.cut{fill:#fff}rect,circle{stroke:none!important}polyline{fill:none!important;stroke-width:2}"
        f"{light}.w{{fill:none;stroke:#1f2937;stroke-width:1}}"
        "@media(prefers-color-scheme:dark){text{fill:#e5e7eb}.s{fill:#9ca3af}.g{stroke:#374151}.bg,.cut{fill:#0d1117}.w{stroke:#e5e7eb}"
        f"{dark}}}</style>"
    )


def text(x, y, words, kind="", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{html.escape(words)}</text>'


def page(parts, height, title):
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}" role="img">'
        f'<title>{html.escape(title)}</title>{style()}<rect class="bg" width="{WIDTH}" height="{height:.0f}"/>'
        + "".join(parts) + "</svg>\n"
    )


def scale_of(highs):
    """One that is far out does not make dots of all others: it is cut."""
    highs = sorted(highs)
    if len(highs) > 2 and highs[-1] > 4 * highs[-2] > 0:
        return 2 * highs[-2]
    return highs[-1] or 1


def panel(x, y, width, title, bars, titles):
    """Bars from zero, each with its range: (name, low, median, high)."""
    parts = [text(x, y, title, "t")]
    left, right = x + 142, x + width - 52
    most = scale_of(high for _, _, _, high in bars)
    for row, (name, low, middle, high) in enumerate(bars):
        at = y + 10 + row * BAR

        def place(value):
            return left + (right - left) * min(value, most) / most

        parts.append(text(left - 8, at + 13, titles[name], "t" if name == "usherd" else "", "end"))
        parts.append(f'<rect class="{name}" x="{left}" y="{at + 2}" width="{max(place(middle) - left, 1):.1f}" height="{BAR - 5}" rx="2"/>')
        if middle > most:
            parts.append(f'<path class="cut" d="M{right - 20} {at + BAR}l8 -{BAR}h6l-8 {BAR}z"/>')
        elif high > low:
            parts.append(f'<path class="w" d="M{place(low):.1f} {at + 9}H{place(high):.1f}"/>')
        parts.append(text(place(high) + 6, at + 13, report.short(middle), "s"))
    return parts, 26 + len(bars) * BAR


def bars_of(outcome, key):
    bars = []
    for name in outcome.names():
        values = outcome.values(name, key)
        if values:
            bars.append((name, min(values), report.median(values), max(values)))
    return bars


def panels(title, wanted, titles):
    """Two columns of panels; `wanted` are (title, outcome, key)."""
    parts, heights = [text(20, 30, title, "t"), text(WIDTH - 20, 30, "less is better", "s", "end")], [58, 58]
    width = (WIDTH - 60) / 2
    for name, outcome, key in wanted:
        bars = bars_of(outcome, key)
        if not bars:
            continue
        column = 0 if heights[0] <= heights[1] else 1
        drawn, height = panel(20 + column * (width + 20), heights[column], width, name, bars, titles)
        parts += drawn
        heights[column] += height
    return page(parts, max(heights), title)


def nice_ticks(most):
    step = 10 ** math.floor(math.log10(most))
    for factor in (0.2, 0.5, 1, 2):
        if most / (step * factor) <= 5:
            return [step * factor * i for i in range(int(most / (step * factor)) + 2)]
    return [0, most]


def chart(x, y, width, height, title, lines, titles):
    """Lines over a number of connections, which is logarithmic: {name: {count: value}}."""
    xs = sorted({count for line in lines.values() for count in line})
    most = scale_of(max(line.values()) for line in lines.values())
    ticks = nice_ticks(most)
    left, top, right, bottom = x + 46, y + 28, x + width - 16, y + height - 34
    span = math.log(xs[-1] / xs[0]) or 1

    def at(count, value):
        return left + (right - left) * math.log(count / xs[0]) / span, bottom - (bottom - top) * value / ticks[-1]

    parts = [text(x, y, title, "t"), f'<clipPath id="c{x:.0f}"><rect x="{left}" y="{top}" width="{right - left}" '
             f'height="{bottom - top}"/></clipPath>']
    for value in ticks:
        level = at(xs[0], value)[1]
        parts.append(f'<path class="g" d="M{left} {level:.1f}H{right}"/>' + text(left - 6, level + 4, f"{value:g}", "s", "end"))
    for count in xs:
        parts.append(text(at(count, 0)[0], bottom + 17, f"{count:,}", "s", "middle"))
    for name in reversed(lines):  # usherd on top
        points = [at(count, value) for count, value in sorted(lines[name].items())]
        parts.append(f'<polyline class="{name}" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}" '
                     f'clip-path="url(#c{x:.0f})"/>')
        parts += [f'<circle class="{name}" cx="{a:.1f}" cy="{b:.1f}" r="3"/>' for a, b in points if b >= top]
        worst = max(lines[name].values())
        if worst > ticks[-1]:
            parts.append(text(right, top - 3, f"{titles[name]}: up to {report.short(worst)}", "s", "end"))
    return parts


def legend(x, y, names, titles):
    parts = []
    for name in names:
        parts.append(f'<circle class="{name}" cx="{x + 5}" cy="{y - 4}" r="5"/>' + text(x + 16, y, titles[name]))
        x += 34 + 7.4 * len(titles[name])
    return parts


def curves(outcome, value_of):
    """Medians of each point."""
    lines = {}
    for name in outcome.names():
        rounds = [figures["curve"] for figures in outcome.rounds[name] if figures]
        counts = [count for count in rounds[0] if count]
        lines[name] = {count: report.median([value_of(curve, count) for curve in rounds]) for count in counts}
    return lines


def growth(by_name, titles):
    parts, names, x = [text(20, 30, GROWTH, "t")], [], 20
    for name, words, value_of in (
        ("growth", "CPU a request (us), over connections that ask", lambda curve, count: curve[count]),
        ("idle", "memory (MiB) of the proxy, over idle connections", lambda curve, count: curve[count] / 1024),
    ):
        if name in by_name and by_name[name].names():
            lines = curves(by_name[name], value_of)
            parts += chart(x, 62, (WIDTH - 60) / 2, 300, words, lines, titles)
            names += [n for n in lines if n not in names]
            x += (WIDTH - 60) / 2 + 20
    parts += legend(20, 378, names, titles)
    return page(parts, 396, GROWTH)


GROUPS = [  # picture, its title, its panels: (work, figure, title)
    ("plain", "CPU time of the proxy", [
        ("request", "cpu", "a request, 64 kept connections (us)"), ("request-1000", "cpu", "a request, 1,000 kept connections (us)"),
        ("connection", "cpu", "a connection with one request (us)"), ("refused", "cpu", "a refused connection (us)"),
        ("download", "cpu", "a GiB to the client, 8 streams (ms)"), ("upload", "cpu", "a GiB from the client, 8 streams (ms)")]),
    ("latency", "Latency, 64 connections at a fixed rate", [
        (work, key, f"{name}, {rate} (us)") for key, name in (("p50", "p50"), ("p99", "p99"), ("p999", "p99.9"))
        for work, rate in (("latency", "5,000 a second"), ("latency-80", "80% of the slowest"))]),
    ("tls", "TLS to the client: CPU time of the proxy, and memory", [
        ("tls-full", "cpu", "a full handshake, ECDSA (us)"), ("tls-resumed", "cpu", "a resumed handshake (us)"),
        ("tls-download", "cpu", "a GiB to the client (ms)"), ("tls-upload", "cpu", "a GiB from the client (ms)"),
        ("tls-request", "cpu", "a request, 64 kept connections (us)"), ("tls-idle", "memory", "an idle connection (KiB)")]),
    ("start", "Memory; 1,000 listeners; storms", [
        ("idle", "memory", "an idle connection (KiB)"), ("storm", "seconds", "10,000 connections served (ms)"),
        ("many", "start", "start with 1,000 listeners (ms)"), ("many", "reload", "reload with 1,000 listeners (ms)")]),
    ("services", "Built-in services: CPU time", [
        ("echo", "cpu", "a request to echo (us)"), ("echo-connection", "cpu", "a connection to echo (us)"),
        ("daytime", "cpu", "a connection to daytime (us)"), ("discard", "cpu", "a GiB to discard (ms)")]),
]


def draw(outcomes, versions, into):
    """Returns (name, title) of what was drawn."""
    by_name = {outcome.work.name: outcome for outcome in outcomes}
    titles = {name: v["title"].replace("systemd-", "") for name, v in versions.items()}
    drawn = []

    def save(name, title, svg):
        (into / f"{name}.svg").write_text(svg)
        subprocess.run(["rsvg-convert", "--zoom", "2", "--output", into / f"{name}.png", into / f"{name}.svg"], check=True)
        drawn.append((name, title))

    for name, title, wanted in GROUPS:
        there = [(words, by_name[work], key) for work, key, words in wanted if work in by_name and by_name[work].names()]
        if there:
            save(name, title, panels(title, there, titles))
    if any(name in by_name and by_name[name].names() for name in ("growth", "idle")):
        save("growth", GROWTH, growth(by_name, titles))
    return drawn
