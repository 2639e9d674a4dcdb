"""What is in an ``IntNet``: counts, formats, accumulator widths, bytes."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from deepr_hw.ir import IntNet, Layer, SparseMatrix
from deepr_hw.ir.answer import describe_output
from deepr_hw.ir.usable import usable_share


def describe(net: IntNet, path: Path | None = None) -> dict[str, Any]:
    """Facts about ``net`` (and its file ``path``) as plain JSON types; bytes per connection only with a file."""
    facts: dict[str, Any] = {
        "n_connections": net.n_connections,
        "n_nonzero": net.n_nonzero,
        "n_positions": net.n_positions,
        "usable_share": usable_share(net),
        "connectivity": net.n_connections / max(1, net.n_positions),
        "connectivity_formula": "n_connections / n_positions = "
        f"{net.n_connections} / ({' + '.join(_size(matrix) for _, matrix in net.matrices)})",
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
        "formats": {"x": str(layer.x_format), "y": str(layer.y_format or "raw")},
        "settings": dict(layer.settings),
        "matrices": {name: describe_matrix(matrix) for name, matrix in layer.matrices.items()},
        "arrays": {name: array.size for name, array in layer.arrays.items()},
        "acc_bits": layer.acc_bits,
        "macs_per_sample": layer.macs_per_sample,
    }


def describe_matrix(matrix: SparseMatrix) -> dict[str, Any]:
    """Facts about one sparse matrix as plain JSON types."""
    fan_in = matrix.fan_in
    return {
        "shape": [matrix.n_in, matrix.n_out],
        "n_connections": matrix.n_connections,
        "n_nonzero": matrix.n_nonzero,
        "n_positions": matrix.n_positions,
        "w_format": str(matrix.w_format),
        "fan_in": {"min": int(fan_in.min()), "median": float(np.median(fan_in)), "max": int(fan_in.max())},
    }


MATRIX_COLUMNS = ("layer", "shape", "matrix", "K", "non-zero", "fan-in min/med/max", "x", "w", "y", "acc bits")


def matrix_rows(facts: dict[str, Any]) -> list[list[str]]:
    """The facts of ``describe`` as rows of text under ``MATRIX_COLUMNS``, one for each matrix; a layer without any
    has a row too."""
    rows = []
    for i, layer in enumerate(facts["layers"]):
        shape = " -> ".join("x".join(map(str, layer[side])) for side in ("in_shape", "out_shape"))
        matrices = layer["matrices"] or {"": None}
        for name, matrix in matrices.items():
            counts = ["0", "0", "", ""]
            if matrix is not None:
                fan_in = matrix["fan_in"]
                counts = [
                    f"{matrix['n_connections']:,}",
                    f"{matrix['n_nonzero']:,}",
                    f"{fan_in['min']}/{fan_in['median']:g}/{fan_in['max']}",
                    matrix["w_format"],
                ]
            rows.append(
                [
                    f"{i} {layer['kind']}",
                    shape,
                    name,
                    *counts[:3],
                    layer["formats"]["x"],
                    counts[3],
                    layer["formats"]["y"],
                    str(layer["acc_bits"]),
                ]
            )
    return rows


def _size(matrix: SparseMatrix) -> str:
    return f"{matrix.n_in}*{matrix.n_out}"
