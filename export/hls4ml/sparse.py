"""A sparse dense layer for hls4ml: K weights and K indices instead of ``n_in * n_out`` weights.

A plug-in for hls4ml 1.3 (its backends that ``backends.py`` lists) that needs nothing but hls4ml, NumPy and the headers
 ``nnet_sparse_dense*.h`` beside it: ``install()`` registers the layer, its templates and its C++ by hls4ml's
extension API. ``nnet_sparse_dense.h`` shows what is unrolled, pipelined and partitioned; ``reuse_factor`` says how many
connections share a multiplier, from 1 (fully parallel) to the number of connections (one multiplier).

Whoever has an hls4ml model with many zeros asks for the swap in hls4ml's own configuration, per model, type or layer:

    install()
    config["Model"]["SparseBelow"] = 0.5      # Dense layers of which less than half of the weights differ from 0
    model = hls4ml.converters.convert_from_...(..., hls_config=config, backend="Vitis")
"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hls4ml.backends import get_backend
from hls4ml.backends.template import FunctionCallTemplate, LayerConfigTemplate
from hls4ml.model.attributes import Attribute, TypeAttribute, WeightAttribute
from hls4ml.model.flow import update_flow
from hls4ml.model.layers import Layer, layer_map, register_layer
from hls4ml.model.optimizer import OptimizerPass, get_available_passes, register_pass
from hls4ml.model.types import FixedPrecisionType, IntegerPrecisionType

from .backends import BACKENDS, COMMON

SWAP_PASS = "dense_to_sparse"
MAX_UNROLLED = 4096
"""Multipliers side by side that HLS compilers still unroll and partition arrays for, roughly (hls4ml#1168)."""


@dataclass(frozen=True)
class Layout:
    """Which multiplier computes which connection: multiplier ``k // n_steps`` takes connection ``k``.

    n_multipliers : ``ceil(K / n_steps)``
    n_steps       : connections per multiplier; at most the reuse factor asked for, and all stretches but the last full
    out_base      : (n_multipliers,) first output of each multiplier
    out_idx       : (K,) output of each connection, counted from the first one of its multiplier
    """

    n_multipliers: int
    n_steps: int
    out_base: np.ndarray
    out_idx: np.ndarray

    @property
    def window(self) -> int:
        """Outputs that one multiplier serves, at most (those without connections in between included)."""
        return int(self.out_idx.max()) + 1


def make_layout(out_idx: np.ndarray, reuse_factor: int) -> Layout:
    """Cut K connections, sorted by output, into equal stretches for ``ceil(K / reuse_factor)`` multipliers.

    out_idx : (K,) output of each connection, ascending; K at least 1

    Raises ``ValueError`` for a reuse factor below 1 or outputs that are not ascending.
    """
    out_idx = np.asarray(out_idx, np.int64)
    if reuse_factor < 1:
        raise ValueError(f"reuse_factor = {reuse_factor}: must be at least 1")
    if (np.diff(out_idx) < 0).any():
        raise ValueError("out_idx: connections must be sorted by output")
    n_multipliers = -(-out_idx.size // reuse_factor)
    n_steps = -(-out_idx.size // n_multipliers)
    out_base = out_idx[::n_steps]
    return Layout(out_base.size, n_steps, out_base, out_idx - np.repeat(out_base, n_steps)[: out_idx.size])


def _index_type(n: int) -> IntegerPrecisionType:
    """Narrowest unsigned type for 0..n-1 (1 bit for a single value: C++ has no type without bits)."""
    return IntegerPrecisionType(width=max(1, int(n - 1).bit_length()), signed=False)


class SparseDense(Layer):
    """K connections from ``n_in`` inputs to ``n_out`` outputs.

    Made from ``weight_data`` (K,), ``in_idx_data`` (K,), ``out_idx_data`` (K,), sorted by (output, input), and
    ``bias_data`` (n_out,) or None; types come from hls4ml's precision configuration of the layer.
    """

    _expected_attributes = [  # noqa: RUF012 - hls4ml's name and type
        Attribute("n_in"),
        Attribute("n_out"),
        Attribute("n_connections"),
        Attribute("n_multipliers"),
        Attribute("n_steps"),
        Attribute("window"),
        *(
            kind(name)
            for name in ("weight", "in_idx", "out_idx", "out_base", "bias")
            for kind in (WeightAttribute, TypeAttribute)
        ),
        TypeAttribute("accum"),
    ]

    def initialize(self) -> None:
        """Lay the connections out for the configured reuse factor and make the arrays; warns of more multipliers than
        compilers unroll."""
        self.add_output_variable([*self.get_input_variable().shape[:-1], self.attributes["n_out"]])
        layout = make_layout(self.attributes["out_idx_data"], self.model.config.get_reuse_factor(self))
        for name, value in (
            ("n_connections", layout.out_idx.size),
            ("n_multipliers", layout.n_multipliers),
            ("n_steps", layout.n_steps),
            ("window", layout.window),
        ):
            self.set_attr(name, int(value))
        if layout.n_multipliers > MAX_UNROLLED:
            warnings.warn(
                f"layer {self.name}: {layout.n_multipliers} multipliers side by side; HLS compilers give up "
                f"unrolling at about {MAX_UNROLLED}, so set its reuse factor to at least "
                f"{-(-layout.out_idx.size // MAX_UNROLLED)}",
                stacklevel=2,
            )
        self.add_weights_variable("weight", "w{index}")
        for name, data, n in (
            ("in_idx", np.asarray(self.attributes["in_idx_data"]), self.attributes["n_in"]),
            ("out_idx", layout.out_idx, layout.window),
            ("out_base", layout.out_base, self.attributes["n_out"]),
        ):
            self.add_weights_variable(name, name + "{index}", name + "{index}_t", _index_type(n), data)
        self.add_bias()
        # A loop that shares multipliers must stay a loop: hls4ml pipelines the top function, which unrolls everything
        # below it, unless some layer has the strategy Resource; then it takes dataflow.
        strategies = self.model.config.layer_name_strategy
        strategies.setdefault(self.name.lower(), "resource" if layout.n_steps > 1 else "latency")


class BiasDense(Layer):
    """A dense layer without any connection: ``bias_data`` (n_out,), or zeros when it is None."""

    _expected_attributes = [  # noqa: RUF012 - hls4ml's name and type
        Attribute("n_in"),
        Attribute("n_out"),
        WeightAttribute("bias"),
        TypeAttribute("bias"),
        TypeAttribute("accum"),
    ]

    def initialize(self) -> None:
        """Make the array."""
        self.add_output_variable([*self.get_input_variable().shape[:-1], self.attributes["n_out"]])
        self.add_bias()


class _Config(LayerConfigTemplate):
    """The struct that carries a layer's sizes and types."""

    template = """struct config{index} : nnet::sparse_dense_config {{
    static const unsigned n_in = {n_in};
    static const unsigned n_out = {n_out};
    static const unsigned n_connections = {n_connections};
    static const unsigned n_multipliers = {n_multipliers};
    static const unsigned n_steps = {n_steps};
    static const unsigned window = {window};
    typedef {accum_t.name} accum_t;
    typedef {weight_t.name} weight_t;
    typedef {bias_t.name} bias_t;
    typedef {in_idx_t.name} in_idx_t;
    typedef {out_idx_t.name} out_idx_t;
    typedef {out_base_t.name} out_base_t;
    template <class x_T, class w_T> using product = nnet::product::{product_type}<x_T, w_T>;
}};\n"""

    def __init__(self) -> None:
        super().__init__(SparseDense)

    def format(self, node: Layer) -> str:
        """The struct of ``node``."""
        params = self._default_config_params(node)
        types = node.get_input_variable().type.precision, node.get_weights("weight").type.precision
        params["product_type"] = node.model.config.backend.product_type(*types)
        return self.template.format(**params)


class _BiasConfig(LayerConfigTemplate):
    template = """struct config{index} : nnet::sparse_dense_config {{
    static const unsigned n_in = {n_in};
    static const unsigned n_out = {n_out};
    static const unsigned n_connections = 0;
    typedef {accum_t.name} accum_t;
    typedef {bias_t.name} bias_t;
}};\n"""

    def __init__(self) -> None:
        super().__init__(BiasDense)

    def format(self, node: Layer) -> str:
        """The struct of ``node``."""
        return self.template.format(**self._default_config_params(node))


class _Call(FunctionCallTemplate):
    """The call of ``function`` with the arrays ``arrays``."""

    layer: type[Layer] = SparseDense
    function = "sparse_dense"
    arrays: tuple[str, ...] = ("weight", "in_idx", "out_idx", "out_base", "bias")

    def __init__(self) -> None:
        super().__init__(self.layer)

    def transform(self, model: Any, node: Layer) -> bool:
        """Name the header of the model's backend, then fill in the call."""
        self.include_header = [f"nnet_utils/{BACKENDS[model.config.backend.name].header}"]
        return super().transform(model, node)

    def format(self, node: Layer) -> str:
        """The call for ``node``."""
        params: dict[str, Any] = self._default_function_params(node)
        names = ", ".join([params["input"], params["output"], *(node.get_weights(name).name for name in self.arrays)])
        return f"nnet::{self.function}<{params['input_t']}, {params['output_t']}, {params['config']}>({names});"


class _BiasCall(_Call):
    layer, function, arrays = BiasDense, "bias_dense", ("bias",)


class DenseToSparse(OptimizerPass):
    """Makes a ``SparseDense`` of every Dense layer whose density is below the configured ``SparseBelow``.

    The new layer has the name, types, reuse factor and outputs of the old one and gives the same bits; only an
    accumulator type that saturates would make the order of summation matter.
    """

    def match(self, node: Layer) -> bool:
        """Whether ``node`` is such a layer, of a type whose code 0 means 0, on a backend that has the C++."""
        if node.class_name != "Dense" or node.model.config.backend.name not in BACKENDS:
            return False
        limit, weight = _setting(node, "SparseBelow"), node.get_weights("weight")
        types = type(node.get_input_variable().type.precision), type(weight.type.precision)
        plain = all(issubclass(kind, (FixedPrecisionType, IntegerPrecisionType)) for kind in types)
        return limit is not None and plain and np.count_nonzero(weight.data) < limit * weight.data.size

    def transform(self, model: Any, node: Layer) -> bool:
        """Put the sparse layer in the place of ``node``.

        Raises ``ValueError`` for weights that aren't (n_in, n_out).
        """
        weight, bias = node.get_weights("weight"), node.get_weights("bias")
        _check_orientation(node, weight.data.shape)
        out_idx, in_idx = np.nonzero(np.asarray(weight.data).T)
        attributes = {"n_in": node.get_attr("n_in"), "n_out": node.get_attr("n_out"), "bias_data": bias.data}
        if out_idx.size:
            attributes |= {
                "weight_data": np.asarray(weight.data)[in_idx, out_idx],
                "in_idx_data": in_idx,
                "out_idx_data": out_idx,
            }
        model.config.parse_name_config(
            node.name,
            {
                "Precision": {
                    "weight": weight.type.precision,
                    "bias": bias.type.precision,
                    "accum": node.get_attr("accum_t").precision,
                    "result": node.get_output_variable().type.precision,
                }
            },
        )
        kind = SparseDense if out_idx.size else BiasDense
        model.replace_node(node, model.make_node(kind, node.name, attributes, [*node.inputs], [*node.outputs]))
        return True


def _check_orientation(node: Layer, shape: tuple[int, ...]) -> None:
    """Raises ``ValueError`` unless ``shape`` is (n_in, n_out). A square one doesn't show it: there it counts whether
    hls4ml, told that the model is PyTorch's (only then its configuration has the key), has turned the weights."""
    wanted = node.get_attr("n_in"), node.get_attr("n_out")
    conversion = node.model.config.config["HLSConfig"].get("Model", {}).get("ChannelsLastConversion")
    turned = conversion is None or getattr(node, "channels_last_converted", False)
    if tuple(shape) != wanted or (wanted[0] == wanted[1] and not turned):
        found = f"weights of shape {tuple(shape)}" if tuple(shape) != wanted else "square weights, not turned by hls4ml"
        raise ValueError(
            f"layer {node.name}: {found}, must be (n_in, n_out) = {tuple(map(int, wanted))}; a PyTorch "
            "model needs channels_last_conversion='full' or 'internal' in config_from_pytorch_model"
        )


def _setting(node: Layer, key: str) -> Any:
    """``key`` of the hls4ml configuration of this layer, else of its type, else of the model, else None."""
    config = node.model.config.config["HLSConfig"]
    for settings in (
        config.get("LayerName", {}).get(node.name),
        config.get("LayerType", {}).get(node.class_name),
        config.get("Model"),
    ):
        if settings is not None and key in settings:
            return settings[key]
    return None


def install(backends: Iterable[str] = tuple(BACKENDS)) -> None:
    """Teach hls4ml the layers ``SparseDense`` and ``BiasDense`` on ``backends`` and the pass that swaps Dense for them.

    Calling it again changes nothing; models that don't ask for the swap stay as they are.

    Raises ``ValueError`` for a backend that the C++ source is not written for.
    """
    for layer in (SparseDense, BiasDense):
        if layer.__name__ not in layer_map:
            register_layer(layer.__name__, layer)
    for name in backends:
        if name not in BACKENDS:
            raise ValueError(f"backend {name!r}: expected one of {', '.join(BACKENDS)}")
        backend, source = get_backend(name), Path(__file__).resolve().with_name(BACKENDS[name].header)
        if f"nnet_utils/{source.name}" in backend.get_custom_source():
            continue
        for path in (source, source.with_name(COMMON)):
            backend.register_source(path)
        for template in (_Config, _BiasConfig, _Call, _BiasCall):
            backend.register_template(template)
    if SWAP_PASS not in get_available_passes():
        register_pass(SWAP_PASS, DenseToSparse)
        update_flow("optimize", add_optimizers=[SWAP_PASS])
