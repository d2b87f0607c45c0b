# SPDX-License-Identifier: MIT
"""What came out of it: medians, spread, ratios round by round, whether to believe it; as text, JSON and Markdown."""
import statistics

# a run in which others had more of the machine than this, or whose ratios lie further apart, says so
OTHERS = 0.05
SPREAD = 0.15
HIGHER_IS_BETTER = {"rate"}


def median(values):
    return statistics.median(values)


def short(value):
    """Three digits that mean something."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def with_spread(values):
    if len(values) == 1 or max(values) == min(values):
        return short(median(values))
    return f"{short(median(values))} ({short(min(values))}-{short(max(values))})"


class Outcome:
    """The rounds of one work: a list of figures a candidate."""

    def __init__(self, work, rounds, errors):
        self.work = work
        self.rounds = rounds
        self.errors = errors
        self.took_s = 0

    def names(self):
        return [name for name in self.work.candidates if self.rounds.get(name)]

    def values(self, name, key):
        return [figures[key] for figures in self.rounds[name] if figures and key in figures]

    def first(self):
        return self.work.figures[0][0]

    def ratios(self, peer, key=None):
        """usherd's figure over the peer's, of the same round."""
        key = key or self.first()
        pairs = zip(self.rounds.get("usherd", []), self.rounds.get(peer, []))
        return [a[key] / b[key] for a, b in pairs if a and b and b.get(key)]

    def best_peer(self, key=None):
        key = key or self.first()
        peers = [name for name in self.names() if name != "usherd" and self.values(name, key)]
        if not peers or "usherd" not in self.names():
            return None
        choose = max if key in HIGHER_IS_BETTER else min
        return choose(peers, key=lambda name: median(self.values(name, key)))

    def others(self):
        shares = [f["others"] for rounds in self.rounds.values() for f in rounds if f and "others" in f]
        return median(shares) if shares else 0.0

    def noise(self):
        """Why the figures are not to be trusted, or nothing."""
        why = []
        if self.others() > OTHERS:
            why.append(f"other programs had {self.others():.0%} of the machine")
        best = self.best_peer()
        ratios = self.ratios(best) if best else []
        if len(ratios) > 1:
            low, high = quartiles(ratios)
            if (high - low) / median(ratios) > SPREAD:
                why.append(f"the ratios lie {(high - low) / median(ratios):.0%} apart")
        return why


def quartiles(values):
    if len(values) < 4:
        return min(values), max(values)
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def block(outcome):
    """The lines of one work's table."""
    work = outcome.work
    lines = [f"{work.name}: {work.title} ({outcome.took_s} s)"]
    head = ["", *[title for _, title in work.figures]]
    split = work.figures[0][0] == "cpu" and work.name != "growth"
    if split:
        head.insert(2, "user + system")
    head.append("usherd's ratio to it, round by round")
    rows = []
    for name in work.candidates:
        if not outcome.rounds.get(name):
            continue
        row = [name]
        for key, _ in work.figures:
            values = outcome.values(name, key)
            row.append(with_spread(values) if values else "-")
        if split:
            parts = [short(median(outcome.values(name, part))) for part in ("cpu_user", "cpu_system")]
            row.insert(2, " + ".join(parts))
        ratios = outcome.ratios(name) if name != "usherd" else []
        mark = " <- the best peer" if name == outcome.best_peer() else ""
        row.append(f"{median(ratios):.2f}  ({' '.join(f'{r:.2f}' for r in ratios)}){mark}" if ratios else "")
        rows.append(row)
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        lines.append("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    for name, error in outcome.errors.items():
        lines.append(f"  {name} FAILED: {error}")
    lines += [f"  NOISY: {why}" for why in outcome.noise()]
    return lines


def summary(outcomes):
    """A row a work: usherd, the best peer, the ratio."""
    lines = [f"{'':<64}{'usherd':>9}  {'the best peer':<24}{'ratio':>6}  from-to"]
    for outcome in outcomes:
        for key, title in summed(outcome.work):
            best = outcome.best_peer(key)
            if not best:
                continue
            ratios = outcome.ratios(best, key)
            lines.append(
                f"{outcome.work.title + ', ' + title:<64}{short(median(outcome.values('usherd', key))):>9}  "
                f"{short(median(outcome.values(best, key))) + ' ' + best:<24}{median(ratios):>6.2f}  "
                f"{min(ratios):.2f}-{max(ratios):.2f}{'  NOISY' if outcome.noise() else ''}")
    return lines


def summed(work):
    """The figures of a work that stand in the short tables."""
    return work.figures if work.name == "many" else work.figures[:1]


def markdown(outcomes, facts, versions, settings):
    """The README's table."""
    names = [n for n in versions if any(n in o.names() for o in outcomes)]
    lines = ["| | " + " | ".join(versions[n]["title"] for n in names) + " | ratio to the best peer |",
             "|---|" + "---:|" * (len(names) + 1)]
    for outcome in outcomes:
        for key, title in summed(outcome.work):
            best = outcome.best_peer(key)
            cells = []
            for name in names:
                values = outcome.values(name, key) if name in outcome.names() else []
                cells.append(short(median(values)) if values else "")
            ratio = f"{median(outcome.ratios(best, key)):.2f}" if best else ""
            lines.append(f"| {outcome.work.title}, {title} | " + " | ".join(cells) + f" | {ratio} |")
    noisy = [outcome.work.name for outcome in outcomes if outcome.noise()]
    if noisy:
        lines += ["", f"Too noisy to count: {', '.join(noisy)}."]
    lines += ["", f"Medians of {settings['rounds']} rounds. {facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, {facts['date']}, usher {facts['commit']}; "
              + ", ".join(f"{v['title']} {v['version']}" for v in versions.values() if v["version"]) + "."]
    return "\n".join(lines) + "\n"


def from_json(whole, works):
    """The outcomes that as_json wrote."""
    outcomes = []
    for work in works:
        had = whole["works"].get(work.name)
        if not had:
            continue
        for figures in (f for rounds in had["rounds"].values() for f in rounds if f and "curve" in f):
            figures["curve"] = {int(count): value for count, value in figures["curve"].items()}
        outcomes.append(Outcome(work, had["rounds"], had["errors"]))
        outcomes[-1].took_s = had["took_s"]
    return outcomes


def as_json(outcomes, facts, versions, settings):
    works = {}
    for outcome in outcomes:
        works[outcome.work.name] = {
            "title": outcome.work.title, "figures": dict(outcome.work.figures), "rounds": outcome.rounds,
            "medians": {
                name: {key: median(outcome.values(name, key)) for key, _ in outcome.work.figures if outcome.values(name, key)}
                for name in outcome.names()
            },
            "ratios": {name: outcome.ratios(name) for name in outcome.names() if name != "usherd"},
            "best_peer": outcome.best_peer(), "noise": outcome.noise(), "errors": outcome.errors,
            "without": outcome.work.without, "took_s": outcome.took_s,
        }
    return {"machine": facts, "candidates": versions, "settings": settings, "works": works}
