"""The report of a run: one HTML page that stands alone, and its figure as a PNG."""

import base64
import html
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from deepr_hw.extras import missing
from deepr_hw.files import write_bytes, write_text
from deepr_hw.ir import IntNet, netfile
from deepr_hw.ir.tasks import DECIDES, balanced, title, value_text

from .info import MATRIX_COLUMNS, describe, matrix_rows

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 1000px; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.5em; margin-bottom: 0 } h2 { font-size: 1.1em; margin-top: 2em }
.sub { color: #666; margin-top: .2em }
table { border-collapse: collapse } td, th { padding: .25em .9em; border-bottom: 1px solid #ddd; text-align: right }
td:first-child, th:first-child { text-align: left } th { color: #666; font-weight: 500 } img { width: 100% }
.ok { color: #18794e } .bad { color: #c62828; font-weight: 600 } code { background: #f4f4f4; padding: 0 .3em }
"""


def write_report(run: Path) -> None:
    """Write ``report.html`` and ``report.png`` into the run folder, from what is there.

    Reads ``net.safetensors`` and, where they exist, ``metrics.jsonl`` (a line per epoch), ``verify.json`` and
    ``config.toml``.
    Raises ``MissingToolError`` when matplotlib is missing.
    """
    net = netfile.load(run / "net.safetensors")
    epochs = [json.loads(line) for line in _read(run / "metrics.jsonl").splitlines()]
    verified = json.loads(_read(run / "verify.json") or "{}").get("engines", [])
    figure = draw(net, epochs)
    write_bytes(run / "report.png", figure)
    facts = describe(net, run / "net.safetensors")
    write_text(run / "report.html", _page(run.name, facts, epochs, verified, figure, _read(run / "config.toml")))


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def draw(net: IntNet, epochs: list[dict[str, Any]]) -> bytes:
    """PNG of four panels: learning, the budget held at every step, fan-in per layer, where the inputs are used."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise missing("the report", error) from None

    figure = Figure(figsize=(11, 7), layout="constrained")
    axes = figure.subplots(2, 2).ravel()
    _draw_learning(axes[0], epochs, DECIDES[net.task])
    _draw_budget(axes[1], epochs, net.budget.n_connections)
    _draw_fan_in(axes[2], net)
    _draw_inputs(axes[3], net)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _draw_learning(axis: Any, epochs: list[dict[str, Any]], score: str) -> None:
    x, share = [e["epoch"] for e in epochs], 100 if score == "accuracy" else 1
    for part, style in (("train", "C0:"), ("val", "C1--"), ("test", "C0-")):
        points = [(e["epoch"], share * e[f"{part}_{score}"]) for e in epochs if e.get(f"{part}_{score}") is not None]
        if points:
            axis.plot(*zip(*points, strict=True), style, label=f"{part} {title(score)}")
    axis.set(title=title(score).capitalize(), xlabel="epoch", ylabel="%" if share == 100 else "")
    loss = axis.twinx()
    loss.plot(x, [e["loss"] for e in epochs], "0.6", lw=1)
    loss.set_ylabel("loss (grey)")
    if axis.lines:
        axis.legend(loc="center right", frameon=False)


def _draw_budget(axis: Any, epochs: list[dict[str, Any]], budget: int) -> None:
    x = [e["epoch"] for e in epochs]
    axis.axhline(budget, color="C3", lw=1, label=f"budget K = {budget:,}")
    axis.fill_between(x, [e["active_min"] for e in epochs], [e["active_max"] for e in epochs], alpha=0.4)
    axis.plot(x, [e["active_min"] for e in epochs], "C0o", ms=3, label="active, least and most over all steps")
    axis.set(title="The budget, held at every step", xlabel="epoch", ylabel="connections", ylim=(0, 1.25 * budget))
    rewired = axis.twinx()
    rewired.bar(x, [e["rewired"] for e in epochs], color="0.85", zorder=-1)
    rewired.set_ylabel("rewired in the epoch (bars)")
    axis.set_zorder(rewired.get_zorder() + 1)
    axis.patch.set_visible(False)
    axis.legend(loc="center right", framealpha=0.9)


def _draw_fan_in(axis: Any, net: IntNet) -> None:
    for name, matrix in net.matrices:
        share = np.sort(matrix.fan_in)[::-1]
        axis.plot(np.arange(1, share.size + 1), share, drawstyle="steps-mid", label=name)
    axis.set(title="Connections per output, sorted", xlabel="output", ylabel="fan-in", xscale="log")
    axis.legend(frameon=False)


def _draw_inputs(axis: Any, net: IntNet) -> None:
    first = next((matrix for _, matrix in net.matrices), None)
    use = np.zeros(1, int) if first is None else np.bincount(first.in_idx, minlength=first.n_in)
    side = math.isqrt(use.size)
    if side * side == use.size:
        shown = axis.imshow(use.reshape(side, side), cmap="viridis")
        axis.figure.colorbar(shown, ax=axis)
        axis.set(title="Connections from each input", xticks=[], yticks=[])
    else:
        axis.bar(np.arange(use.size), use, width=1)
        axis.set(title="Connections from each input", xlabel="input", ylabel="connections")


def _page(
    name: str,
    facts: dict[str, Any],
    epochs: list[dict[str, Any]],
    verified: list[dict[str, Any]],
    figure: bytes,
    config: str,
) -> str:
    last = epochs[-1] if epochs else {}
    reached = "".join(
        f", integer test {title(name)} {value_text(name, last[f'test_{name}'])}"
        for name in ("accuracy", "r2", "rmse")
        if last.get(f"test_{name}") is not None
    )
    parts = [
        f"<h1>{html.escape(name)}</h1>",
        f"<p class=sub>K = {facts['n_connections']:,} connections of {facts['n_positions']:,} possible "
        f"({100 * facts['connectivity']:.3f} %){reached}</p>",
        f'<img alt="training and connectivity" src="data:image/png;base64,{base64.b64encode(figure).decode()}">',
        "<h2>Layers</h2>",
        _layer_table(facts),
        f"<p>Connectivity = <code>{html.escape(facts['connectivity_formula'])}</code>; "
        f"file {facts['file_bytes']:,} bytes, {facts['bytes_per_connection']:.2f} per connection; "
        f"widest accumulator {facts['acc_bits']} bits; {100 * facts['usable_share']:.1f} % of the connections lie on a "
        "complete path.</p>",
    ]
    if last.get("remarks"):
        parts.insert(2, "".join(f"<p class=bad>{html.escape(remark)}</p>" for remark in last["remarks"]))
    if last.get("recalls"):
        parts += ["<h2>Recall on test samples</h2>", _recall_table(facts["class_labels"], last["recalls"])]
    if verified:
        parts += ["<h2>The same bits everywhere</h2>", _verify_table(verified)]
    if config:
        parts += ["<h2>Configuration</h2>", f"<pre>{html.escape(config)}</pre>"]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(name)}</title>"
        f"<style>{_STYLE}</style>{''.join(parts)}</html>\n"
    )


def _table(header: list[str], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _recall_table(names: list[str], recalls: list[float | None]) -> str:
    rows = [
        [html.escape(name), "" if value is None else f"{100 * value:.2f} %"]
        for name, value in zip(names or map(str, range(len(recalls))), recalls, strict=True)
    ]
    return _table(["class", "recall"], [*rows, ["mean: balanced accuracy", f"{100 * balanced(tuple(recalls)):.2f} %"]])


def _layer_table(facts: dict[str, Any]) -> str:
    return _table(list(MATRIX_COLUMNS), [[html.escape(cell) for cell in row] for row in matrix_rows(facts)])


def _verify_table(verified: list[dict[str, Any]]) -> str:
    rows = []
    for engine in verified:
        mark = "ok" if engine["passed"] else "bad"
        cycles, refusal = engine["cycles_per_sample"], engine["refusal"]
        outcome = f"{engine['mismatches']:,}" if refusal is None else f"refused: {html.escape(refusal)}"
        rows.append(
            [
                html.escape(engine["name"]),
                f"{engine['samples']:,}",
                f"{engine['compared']:,} {engine['what']}",
                f"<span class={mark}>{outcome}</span>",
                f"{engine['seconds']:.1f}",
                "" if cycles is None else f"{cycles:,.0f}",
                "" if engine["utilization"] is None else f"{engine['utilization']:.3f}",
            ]
        )
    return _table(["engine", "samples", "compared", "mismatches", "seconds", "cycles per sample", "utilization"], rows)
