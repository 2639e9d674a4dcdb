"""``IntNet`` -> hls4ml project whose C++ gives the reference's integers, and the engine that runs that C++.

The graph is built layer by layer, without a detour through ONNX, so every type is stated here and nothing is inferred:
activations ``ap_(u)fixed<..., AP_RND_CONV, AP_SAT>``, accumulators as wide as the worst case of the actual weights.
"""

import contextlib
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from hls4ml.backends import get_backend
from hls4ml.model.graph import ModelGraph

from deepr_hw.files import make_folder, write_text
from deepr_hw.ir import IntNet, SparseLinear, linear_layers, netfile
from deepr_hw.ir.fixed import Format, signed_bits
from deepr_hw.reference import check_codes, logits
from deepr_hw.target import EngineRun

from . import sparse as hls4ml_sparse
from .arrays import count_connections
from .backends import BACKENDS, DEFAULT
from .compile import missing_program, predict
from .input import run_encoder, write_encoder
from .testbench import build_bench, run_bench, write_bench, write_golden

__all__ = ["encode", "missing_program", "run"]

PROJECT = "deepr"
IO_TYPES = ("io_parallel", "io_stream")


def type_name(fmt: Format, requantized: bool = False) -> str:
    """hls4ml's name of ``fmt``: ``(u)fixed<width, integer bits>``; ``requantized`` adds half-to-even and saturation."""
    modes = ",RND_CONV,SAT" if requantized else ""
    return f"{'' if fmt.signed else 'u'}fixed<{fmt.bits},{fmt.bits - fmt.frac}{modes}>"


def _exact_type(lo: int, hi: int, frac: int, min_bits: int = 1) -> str:
    """Narrowest signed type of at least ``min_bits`` for the integers ``lo``..``hi`` in units of ``2**-frac``."""
    width = max(signed_bits(lo, hi), min_bits)
    return f"fixed<{width},{width - frac}>"


def _node(layer: SparseLinear, name: str) -> dict[str, Any]:
    """hls4ml's description of one layer: which class, with which values (codes times their step, exact in float64)."""
    bias = None if layer.bias is None else _values(layer.bias, layer.acc_frac)
    node = {
        "class_name": "SparseDense" if layer.matrix.n_connections else "BiasDense",
        "name": name,
        "n_in": layer.n_in,
        "n_out": layer.n_out,
        "bias_data": bias,
    }
    if layer.matrix.n_connections:
        node |= {
            "weight_data": _values(layer.matrix.code, layer.matrix.w_format.frac),
            "in_idx_data": layer.matrix.in_idx,
            "out_idx_data": layer.matrix.out_idx,
        }
    return node


def _types(layer: SparseLinear) -> dict[str, str]:
    """hls4ml's precision configuration of one layer."""
    bias = np.zeros(1, np.int32) if layer.bias is None else layer.bias
    # At least as wide as the shift: rounding away more bits than there are trips an assertion of the ap_fixed sources.
    accumulator = _exact_type(*layer.acc_range, layer.acc_frac, layer.shift)
    return {
        "weight": type_name(layer.matrix.w_format),
        "bias": _exact_type(bias.min(), bias.max(), layer.acc_frac),
        "accum": accumulator,
        "result": accumulator if layer.y_format is None else type_name(layer.y_format, requantized=True),
    }


class Project(ModelGraph):
    """hls4ml's graph of ``net``; ``write``, hence ``compile``, adds what takes values in the user's unit."""

    net: IntNet

    def write(self) -> None:
        """Write the project."""
        super().write()
        write_encoder(Path(self.config.get_output_dir()), PROJECT, self.net)


def build_graph(
    net: IntNet,
    out_dir: Path,
    backend: str = DEFAULT,
    reuse_factor: int = 1,
    io_type: str = "io_parallel",
    part: str | None = None,
) -> Project:
    """The network as hls4ml's ``ModelGraph``, ready to be written to ``out_dir``, or compiled: its ``predict`` takes
    values in the user's unit.

    reuse_factor : connections per multiplier, 1 = fully parallel; at least the number of connections = one multiplier

    Raises ``ValueError`` for an unknown backend or io_type, a reuse factor below 1, a kind or format of layer that the
    backend doesn't have.
    """
    if io_type not in IO_TYPES:
        raise ValueError(f"io_type {io_type!r}: expected one of {', '.join(IO_TYPES)}")
    if reuse_factor < 1:
        raise ValueError(f"reuse_factor = {reuse_factor}: must be at least 1")
    if backend not in BACKENDS:
        raise ValueError(f"backend {backend!r}: expected one of {', '.join(BACKENDS)}")
    layers = linear_layers(net.layers, "hls4ml")
    for i, layer in enumerate(layers):
        if not BACKENDS[backend].single_bits and layer.y_format is not None and layer.y_format.bits == 1:
            raise ValueError(
                f"layer {i}: gives single bits ({layer.y_format}), and for {backend} hls4ml writes types "
                "of 1 bit as 2 bits"
            )
    hls4ml_sparse.install((backend,))
    names = [f"fc{i + 1}" for i in range(len(net.layers))]
    nodes = [{"class_name": "InputLayer", "name": "x", "input_shape": list(net.in_shape)}, *map(_node, layers, names)]
    precision = {"x": {"result": type_name(net.x_format)}, **dict(zip(names, map(_types, layers), strict=True))}
    settings = get_backend(backend).create_initial_config(**({"part": part} if part else {}), io_type=io_type)
    settings |= {
        "Backend": backend,
        "ProjectName": PROJECT,
        "OutputDir": str(out_dir),
        "HLSConfig": {
            "Model": {"Precision": {"default": "fixed<32,16>"}, "ReuseFactor": reuse_factor, "Strategy": "Latency"},
            "LayerName": {name: {"Precision": types} for name, types in precision.items()},
        },
    }
    with _quiet():
        graph = Project.from_layer_list(settings, nodes)
    graph.net = net
    return graph


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """hls4ml reports by ``print``; nobody asked for it."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def export(
    net: IntNet,
    out_dir: Path,
    backend: str = DEFAULT,
    reuse_factor: int = 1,
    io_type: str = "io_parallel",
    part: str | None = None,
    samples: np.ndarray | None = None,
) -> dict[str, Any]:
    """Write the hls4ml project of ``net`` into the folder ``out_dir``; returns what was written, for reports.

    samples : (n, *in_shape) codes for the test bench, with the reference's logits as golden values; 16 random ones when
              None

    Raises as ``build_graph``; ``OSError`` when the folder can't be written.
    """
    samples = _random_samples(net) if samples is None else check_codes(net, samples)
    out_dir = make_folder(out_dir).resolve()
    graph = build_graph(net, out_dir, backend, reuse_factor, io_type, part)
    shutil.rmtree(out_dir / "firmware", ignore_errors=True)  # arrays of an earlier network, sources of another backend
    with _quiet():
        graph.write()
    if BACKENDS[backend].bench:
        (x,), (y,) = graph.get_input_variables(), graph.get_output_variables()
        write_bench(out_dir, PROJECT, x.size(), net.n_out, x.definition_cpp(), y.definition_cpp())
    write_text(out_dir / "deepr_hw.json", json.dumps(netfile.origin(net), indent=1) + "\n")
    write_golden(out_dir, _values(samples, net.x_format.frac), _values(logits(net, samples), net.logit_frac))
    return {
        "project": str(out_dir),
        "backend": backend,
        "io_type": io_type,
        "reuse_factor": reuse_factor,
        "n_connections": count_connections(out_dir),
        "n_multipliers": sum(layer.get_attr("n_multipliers", 0) for layer in graph.get_layers()),
    }


def _random_samples(net: IntNet, n: int = 16) -> np.ndarray:
    fmt = net.x_format
    return np.random.default_rng(0).integers(fmt.lo, fmt.hi + 1, (n, *net.in_shape)).astype(fmt.dtype)


def _values(codes: np.ndarray, frac: int) -> np.ndarray:
    """``codes * 2**-frac`` in float64: exact."""
    return np.ldexp(codes.astype(np.float64), -frac)


def run(
    net: IntNet,
    x: np.ndarray,
    workdir: Path,
    backend: str = DEFAULT,
    reuse_factor: int = 1,
    io_type: str = "io_parallel",
) -> EngineRun:
    """Engine: export to ``workdir``, compile the C++ with g++, run it on values that have the codes ``x``
    (n, *in_shape).

    Raises as ``export``; ``ValueError`` for codes outside the input format and those that no value has,
    ``RuntimeError`` when nothing compiles.
    """
    codes = check_codes(net, x)
    export(net, workdir, backend, reuse_factor, io_type)
    return EngineRun(run_project(net, codes, workdir))


def run_project(net: IntNet, codes: np.ndarray, project_dir: Path) -> np.ndarray:
    """(n, n_out) int32 logits that the C++ in ``project_dir`` gives for values with ``codes``; ``net`` says only the
    unit and the formats.

    Raises ``ValueError`` when the project contradicts itself (see ``read_array``) and for a code that no value has,
    ``RuntimeError`` when it doesn't compile.
    """
    count_connections(project_dir)
    return _codes(predict(project_dir, PROJECT, net.values(codes), net.n_out), net)


def encode(net: IntNet, values: np.ndarray, workdir: Path, backend: str = DEFAULT) -> np.ndarray:
    """Encoder: what the project's header for the host makes of ``values`` (n, *in_shape), compiled with g++."""
    export(net, workdir, backend)
    return run_encoder(workdir, PROJECT, net, values)


def _codes(outputs: np.ndarray, net: IntNet) -> np.ndarray:
    """Logits in natural units as int32 codes."""
    return np.ldexp(outputs.reshape(-1, net.n_out), net.logit_frac).astype(np.int32)


def run_csim(
    net: IntNet,
    x: np.ndarray,
    workdir: Path,
    backend: str = DEFAULT,
    reuse_factor: int = 1,
    io_type: str = "io_parallel",
) -> EngineRun:
    """Engine: the generated test bench, compiled with g++, fed with ``x`` and the reference's logits as golden values.

    Raises as ``run``; ``ValueError`` for a backend without this bench, ``RuntimeError`` when the bench stops before the
    last sample.
    """
    with_bench = [row.name for row in BACKENDS.values() if row.bench]
    if backend not in with_bench:
        raise ValueError(f"backend {backend!r}: the test bench is for {' and '.join(with_bench)}")
    codes = check_codes(net, x)
    export(net, workdir, backend, reuse_factor, io_type, samples=codes)
    count_connections(workdir)
    bench = run_bench(build_bench(workdir, PROJECT))
    if len(bench.outputs) != len(codes):
        raise RuntimeError(
            f"{workdir}: the test bench ran {len(bench.outputs)} of {len(codes)} samples, then said: {bench.message}"
        )
    return EngineRun(_codes(bench.outputs, net))
