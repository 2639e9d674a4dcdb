"""Engine: unmodified hls4ml, fed with our QONNX file, for comparison with the sparse layer. Dense inside, but exact.

Strategies: ``latency``, ``resource``, ``resource_unrolled`` (C++ with one line per weight that is not 0) and
``distributed_arithmetic`` (adder graphs by da4ml; needs the mend of ``hls4ml_tensor_names``).
"""

import contextlib
import io
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hls4ml.backends import get_backend
from hls4ml.converters import convert_from_onnx_model
from hls4ml.utils import config_from_onnx_model
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.util.cleanup import cleanup_model

from deepr_hw.export.onnx import qonnx_export
from deepr_hw.files import make_folder
from deepr_hw.ir import IntNet, linear_layers
from deepr_hw.ir.affine import IDENTITY
from deepr_hw.reference import check_codes
from deepr_hw.target import EngineRun

from . import tensor_names as hls4ml_tensor_names
from .backends import DEFAULT
from .compile import missing_program, predict
from .hls_report import Cost, count_stock

__all__ = ["missing_program", "run"]

PROJECT = "stock"
MAX_POSITIONS = 1 << 24
FLAGS = ("-DNDEBUG",)
"""Rounding a narrow type away entirely reads a bit beyond its sign, which an assertion of the ap_fixed sources forbids
although the value is right (checked against NumPy in the tests); our own project never does that."""
STRATEGIES = ("latency", "resource", "resource_unrolled", "distributed_arithmetic")


def build_graph(
    net: IntNet,
    out_dir: Path,
    strategy: str = "latency",
    backend: str = DEFAULT,
    reuse_factor: int = 1,
    io_type: str = "io_parallel",
) -> Any:
    """hls4ml's ``ModelGraph`` of the network's QONNX form, its input in natural units.

    reuse_factor : hls4ml takes the nearest one that the shape of the layer allows; ``resource_unrolled`` gets at least
                   2 and ``resource`` takes over where a layer has no such factor, ``distributed_arithmetic`` gets 1

    Raises ``ValueError`` for an unknown strategy (hls4ml would silently take latency).
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy {strategy!r}: expected one of {', '.join(STRATEGIES)}")
    x = net.x_format
    with contextlib.redirect_stdout(io.StringIO()):
        model = cleanup_model(ModelWrapper(qonnx_export.build(replace(net, input_map=IDENTITY))))
        exact_input = f"fixed<{x.bits + 1},{x.bits + 1 - x.frac}>"
        config = config_from_onnx_model(model, granularity="name", backend=backend, default_precision=exact_input)
        dense = [name for name in config["LayerName"] if name.startswith("MatMul")]
        for name, layer in zip(dense, linear_layers(net.layers, "stock hls4ml"), strict=True):
            factor = 1 if strategy == "distributed_arithmetic" else reuse_factor
            chosen = strategy
            if strategy == "resource_unrolled":
                factor = _unrolled_factor(get_backend(backend), layer.n_in, layer.n_out, reuse_factor)
                chosen = strategy if factor > 1 else "resource"
            config["LayerName"][name] |= {"Strategy": chosen, "ReuseFactor": factor}
        hls4ml_tensor_names.install()
        return convert_from_onnx_model(
            model, output_dir=str(out_dir), project_name=PROJECT, backend=backend, io_type=io_type, hls_config=config
        )


def _unrolled_factor(backend: Any, n_in: int, n_out: int, reuse_factor: int) -> int:
    """Smallest factor from max(2, ``reuse_factor``) up that hls4ml unrolls for this shape; 1 when there is none."""
    allowed = backend.get_valid_reuse_factors(n_in, n_out)[:-1]
    return next((factor for factor in allowed if factor >= max(2, reuse_factor)), 1)


def static_costs(
    net: IntNet, reuse_factor: int = 1, strategies: tuple[str, ...] = ("latency", "resource")
) -> dict[str, dict[str, int]]:
    """``hls_report.Cost`` of the whole network as stock hls4ml writes it, by strategy; nothing is compiled.

    Empty for a network of more than ``MAX_POSITIONS`` positions, which stock hls4ml would write out as matrices.
    """
    if net.n_positions > MAX_POSITIONS:
        return {}
    costs = {}
    for strategy in strategies:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            build_graph(net, Path(folder), strategy, reuse_factor=reuse_factor).write()
            costs[strategy] = vars(sum(count_stock(Path(folder)), Cost()))
    return costs


def run(
    net: IntNet,
    x: np.ndarray,
    workdir: Path,
    strategy: str = "latency",
    backend: str = DEFAULT,
    reuse_factor: int = 1,
    io_type: str = "io_parallel",
) -> EngineRun:
    """Engine: stock hls4ml's C++ of the network, compiled with g++, on the codes ``x`` (n, *in_shape).

    Raises as ``build_graph``; ``RuntimeError`` when the C++ doesn't compile.
    """
    codes = check_codes(net, x).astype(np.float64)
    graph = build_graph(net, make_folder(workdir).resolve(), strategy, backend, reuse_factor, io_type)
    with contextlib.redirect_stdout(io.StringIO()):
        graph.write()
    outputs = predict(workdir, PROJECT, np.ldexp(codes, -net.x_format.frac), net.n_out, FLAGS)
    return EngineRun(np.ldexp(outputs, net.logit_frac).astype(np.int32))
