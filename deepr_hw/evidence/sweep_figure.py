"""What a sweep says: mean and spread per method and budget, and the figure accuracy against connectivity."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from deepr_hw.ir.tasks import title as score_title


def summarize(rows: Sequence[dict[str, Any]], score: str) -> list[dict[str, Any]]:
    """Per method and budget, in order of K: mean and standard deviation (n - 1; 0 for one seed) of the test ``score``
    over the seeds that ended, and how many those are."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["n_connections"]), []).append(row)
    summary = []
    for (method, n_connections), members in sorted(groups.items()):
        reached = [row[f"test_{score}"] for row in members if row["error"] is None]
        summary.append(
            {
                "method": method,
                "n_connections": n_connections,
                "connectivity": members[0]["connectivity"],
                "seeds": len(reached),
                "mean": float(np.mean(reached)) if reached else None,
                "std": float(np.std(reached, ddof=1)) if len(reached) > 1 else 0.0,
            }
        )
    return summary


def draw(summary: Sequence[dict[str, Any]], title: str, score: str) -> bytes:
    """PNG: test ``score`` of the frozen integer network against connectivity, one line per method, bars of one standard
    deviation. Source of the figure's form: Bellec et al. 2018, figure 2.

    Raises ``RuntimeError`` when matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise RuntimeError("the plot needs the package 'matplotlib': pip install 'deepr-hw[report]'") from None

    figure = Figure(figsize=(7, 5), layout="constrained")
    axis = figure.subplots()
    share = 100 if score == "accuracy" else 1
    points = [point for point in summary if point["mean"] is not None]
    for i, method in enumerate(dict.fromkeys(point["method"] for point in points)):
        own = [point for point in points if point["method"] == method]
        axis.errorbar(
            [100 * p["connectivity"] for p in own],
            [share * p["mean"] for p in own],
            [share * p["std"] for p in own],
            fmt="osD^vP*X"[i % 8] + "-",
            ms=5,
            capsize=4,
            label=method,
        )
    seeds = sorted({point["seeds"] for point in points})
    ticks = sorted({100 * point["connectivity"] for point in points})
    axis.set(
        title=title,
        xscale="log",
        xlabel="connectivity, % of all positions",
        ylabel=f"test {score_title(score)}{', %' * (share == 100)} (mean ± std of "
        f"{' or '.join(map(str, seeds))} seeds)",
    )
    axis.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks], minor=False)
    axis.set_xticks([], minor=True)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
