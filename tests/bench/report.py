"""The report: rows as text, JSON and a picture. Knows rows only, not how they came about."""

import json
from html import escape
from math import log10

HEAD = ["case", "threads", "attnc ms", "GFLOP/s", "of limit", "peer", "peer ms", "ratio", "spread", "line", "reached"]


def merged(before, machine, threads, limits, rows):
    """A record with these rows added; rows of the same case and threads are replaced."""
    record = json.loads(json.dumps(before or {"limits": {}, "rows": []}))
    record["machine"] = machine
    record["limits"].setdefault(str(threads), []).append(limits)
    key = lambda row: (row["case"], row["threads"])
    new = {key(row): row for row in rows}
    record["rows"] = [new.pop(key(row), row) for row in record["rows"]] + list(new.values())
    return record


def number(value):
    if value is None:
        return ""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def percent(value):
    return "" if value is None else f"{100 * value:.0f} %"


def reached(value, line):
    """Whether `value` is at least `line`; nothing where there is none."""
    if line is None or value is None:
        return ""
    return "yes" if value >= line else "no"


def of_limit(row):
    """The part of the machine's limit that counts for the row, with its line."""
    if row.get("of_bandwidth") is not None:
        return row["of_bandwidth"], row.get("bandwidth_line"), "of bandwidth"
    return row.get("of_peak"), row.get("peak_line"), "of tile products"


def lines(row):
    """The row's cells: one line for attnc itself, one per peer."""
    part, least, what = of_limit(row)
    own = [row["case"], str(row["threads"]), number(row.get("ms")), number(row.get("gflops")), percent(part)]
    if row.get("skipped"):
        return [own + ["attnc", row["skipped"], "", "", "", ""]]
    if row.get("ms_line"):
        said = ["", "", "", "", f"≤ {row['ms_line']:g} ms", reached(row["ms_line"], row["ms"])]
    elif least:
        said = ["", "", "", "", f"{percent(least)} {what}", reached(part, least)]
    else:
        said = [""] * 6
    spread = f"{number(row['ms_low'])}–{number(row['ms_high'])} ms" if row.get("ms_low") is not None else ""
    said[3] = said[3] or spread
    found = [own + said]
    for peer in row["peers"]:
        blank = [""] * 5
        if peer.get("skipped"):
            found.append(blank + [peer["peer"], f"skipped: {peer['skipped']}", "", "", number(peer.get("line")), ""])
            continue
        differs = "" if peer.get("equal") in (True, None) else " RESULTS DIFFER"
        spread = f"{number(peer['ratio_low'])}–{number(peer['ratio_high'])}"
        met = reached(peer["ratio"], peer.get("line"))
        cells = [peer["peer"], number(peer["ms"]), number(peer["ratio"]) + differs, spread, number(peer.get("line")), met]
        found.append(blank + cells)
    return found


def line(row):
    """A row while it is measured."""
    return "\n".join("  ".join(cell for cell in cells if cell) for cells in lines(row))


def table(record):
    """All rows as a table in Markdown."""
    cells = [HEAD]
    cells += [cell for row in record["rows"] for cell in lines(row)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(HEAD))]
    show = lambda row: "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    notes = sorted({f"{row['case']}: {row['note']}" for row in record["rows"] if row.get("note")})
    body = [show(cells[0]), rule] + [show(row) for row in cells[1:]]
    return "\n".join(body + [""] + [f"- {note}" for note in notes]) + "\n"


def document(record):
    """The record as a page."""
    about = record["machine"]
    versions = ", ".join(f"{name} {v}" for name, v in about["versions"].items() if v)
    text = [f"# {about['date']}, {about['cpu']}, {about['cores']} cores", ""]
    text += [f"{about['system']}, {', '.join(about['isa'])}; Python {about['python']}; {versions}.", ""]
    text += [f"attnc at {about['commit']}.", ""] if about.get("commit") else []
    for threads, found in sorted(record["limits"].items()):
        best = {name: max(limits[name] for limits in found) for name in found[0]}
        product, read = best["product_gflops"], best["read_gbytes_s"]
        text.append(f"Limits with {threads} threads: tile products {product:.0f} GFLOP/s, reading {read:.1f} GB/s.")
    text += ["", "A ratio is the peer's time over attnc's: above 1, attnc is faster.", "", table(record)]
    return "\n".join(text)


COLOURS = ["#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e"]


def svg(record):
    """Ratios as bars on a logarithmic scale: right of the line at 1, attnc is faster; ticks are the lines to reach."""
    bars = [(row, peer) for row in record["rows"] for peer in row["peers"] if peer.get("ratio")]
    peers = list(dict.fromkeys(peer["peer"] for _, peer in bars))
    colour = {peer: COLOURS[at % len(COLOURS)] for at, peer in enumerate(peers)}
    left, step, wide, top = 260, 16, 620, 54
    ratios = [peer[key] for _, peer in bars for key in ("ratio_low", "ratio_high")] + [0.5, 10]
    ratios += [peer["line"] for _, peer in bars if peer.get("line")]
    low, high = log10(min(ratios)), log10(max(ratios))
    at = lambda ratio: left + wide * (log10(ratio) - low) / (high - low)
    height = top + step * len(bars) + 30
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + wide + 80}" height="{height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="100%" height="100%" fill="white"/><text x="8" y="18" font-size="14">time of a peer over '
        f'attnc’s, {escape(record["machine"]["date"])}, {escape(record["machine"]["cpu"])}</text>',
    ]
    for place, peer in enumerate(peers):
        x = 8 + place * 110
        out.append(f'<rect x="{x}" y="28" width="9" height="9" fill="{colour[peer]}"/>')
        out.append(f'<text x="{x + 13}" y="37">{escape(peer)}</text>')
    for ratio in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500):
        if low <= log10(ratio) <= high:
            style = "#000" if ratio == 1 else "#ddd"
            out.append(f'<path d="M{at(ratio):.1f} {top}V{height - 24}" stroke="{style}"/>')
            out.append(f'<text x="{at(ratio):.1f}" y="{height - 10}" text-anchor="middle">{ratio:g}</text>')
    for place, (row, peer) in enumerate(bars):
        y = top + place * step
        begin, end = sorted((at(1), at(peer["ratio"])))
        label = f"{row['case']}, {row['threads']} thread{'s' if row['threads'] > 1 else ''}"
        out.append(f'<text x="{left - 8}" y="{y + 11}" text-anchor="end">{escape(label)}</text>')
        out.append(f'<rect x="{begin:.1f}" y="{y + 2}" width="{max(end - begin, 1):.1f}" height="11" '
                   f'fill="{colour[peer["peer"]]}"/>')
        spread = f"M{at(peer['ratio_low']):.1f} {y + 7.5}H{at(peer['ratio_high']):.1f}"
        out.append(f'<path d="{spread}" stroke="#333"/>')
        out.append(f'<text x="{end + 4:.1f}" y="{y + 11}">{peer["ratio"]:.3g}</text>')
        if peer.get("line"):
            out.append(f'<path d="M{at(peer["line"]):.1f} {y}v15" stroke="#d00" stroke-width="2"/>')
    return "\n".join(out + ["</svg>"]) + "\n"


if __name__ == "__main__":
    import sys
    from pathlib import Path

    source, page, picture = (Path(name) for name in sys.argv[1:4])
    found = json.loads(source.read_text())
    page.write_text(document(found))
    picture.write_text(svg(found))
