"""What is in an ``IntNet``: counts, formats, accumulator widths, bytes."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from .ir import IntNet, Layer

ANSWER = "(logit * 2**-frac - offset) * factor, float32"
"""What ``IntNet.decode`` computes."""


def describe_output(net: IntNet) -> dict[str, Any]:
    """What a reader of a regression's logits must know, as plain JSON types: exact numbers, one per output or one for
    all."""
    return {"value": ANSWER, "frac": net.logit_frac, "offset": net.output_map.offset.astype(float).tolist(),
            "factor": net.output_map.factor.astype(float).tolist()}


def describe(net: IntNet, path: Path | None = None) -> dict[str, Any]:
    """Facts about ``net`` (and its file ``path``) as plain JSON types; bytes per connection only with a file."""
    facts: dict[str, Any] = {
        "n_connections": net.n_connections,
        "n_nonzero": net.n_nonzero,
        "n_positions": net.n_positions,
        "usable_share": usable_share(net),
        "connectivity": net.n_connections / net.n_positions,
        "connectivity_formula": "n_connections / n_positions = "
                                f"{net.n_connections} / ({' + '.join(_size(layer) for layer in net.layers)})",
        "budget": {"kind": net.budget.kind, "limits": list(net.budget.limits), "total": net.budget.n_connections},
        "acc_bits": net.acc_bits,
        "input": {"shape": list(net.in_shape), "format": str(net.x_format)},
        "logits": {"n": net.n_out, "frac": net.logit_frac},
        "class_labels": list(net.class_labels),
        "task": net.task,
        "provenance": dict(net.provenance),
        "layers": [describe_layer(layer) for layer in net.layers],
    }
    if net.task == "regression":
        facts["output"] = describe_output(net)
    if path is not None:
        facts["file_bytes"] = path.stat().st_size
        facts["bytes_per_connection"] = facts["file_bytes"] / max(1, net.n_connections)
        facts["budget"]["log"] = budget_log(net, path.parent / "budget.json")
    return facts


def usable_share(net: IntNet) -> float:
    """Share of the connections that lie on a complete path from an input to a logit. A code of 0 counts as a
    connection; those on no path do nothing, whatever comes in."""
    reached, before = np.ones(net.layers[0].n_in, bool), []
    for layer in net.layers:
        before.append(reached)
        reached = np.zeros(layer.n_out, bool)
        reached[layer.out_idx[before[-1][layer.in_idx]]] = True
    leads, usable = np.ones(net.layers[-1].n_out, bool), 0
    for layer, reached in zip(reversed(net.layers), reversed(before), strict=True):
        onwards = leads[layer.out_idx]
        usable += int(np.count_nonzero(reached[layer.in_idx] & onwards))
        leads = np.zeros(layer.n_in, bool)
        leads[layer.in_idx[onwards]] = True
    return usable / max(1, net.n_connections)


def budget_log(net: IntNet, path: Path) -> dict[str, Any] | None:
    """What the trainer wrote beside the network: steps, arithmetic, smallest and largest count of each group after any
    step. None where there is no such file or it is about another budget."""
    try:
        log = json.loads(path.read_text(encoding="utf-8"))
        if (log["kind"], tuple(log["limits"])) != (net.budget.kind, net.budget.limits):
            return None
        return {key: log[key] for key in ("steps", "arithmetic", "active_min", "active_max")}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def describe_layer(layer: Layer) -> dict[str, Any]:
    """Facts about one layer as plain JSON types."""
    return {
        "kind": layer.kind,
        "in_shape": list(layer.in_shape),
        "out_shape": list(layer.out_shape),
        "n_connections": layer.n_connections,
        "n_nonzero": layer.n_nonzero,
        "n_positions": layer.n_positions,
        "fan_in": {"min": int(layer.fan_in.min()), "median": float(np.median(layer.fan_in)),
                   "max": int(layer.fan_in.max())},
        "formats": {"x": str(layer.x_format), "w": str(layer.w_format), "y": str(layer.y_format or "raw")},
        "shift": layer.shift,
        "acc_bits": layer.acc_bits,
        "bias": layer.bias is not None,
    }


def _size(layer: Layer) -> str:
    return "*".join(map(str, (*layer.in_shape, *layer.out_shape)))
