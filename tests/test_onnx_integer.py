"""The integer ONNX file in onnxruntime and in the ONNX reference evaluator against the golden model, bit for bit."""

import json

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from deepr_hw import reference
from deepr_hw.export.onnx import integer as onnx_integer
from deepr_hw.export.onnx.session import LEVELS, open_session, run_model
from deepr_hw.ir import Budget, IntNet, SparseLinear, SparseMatrix, fixed, sparse_linear
from deepr_hw.ir.fixed import Format
from tests.random_nets import CORNERS, random_codes, random_layer, random_net


def codes_as_logits(layer: SparseLinear) -> IntNet:
    """``layer`` followed by the identity: the logits are its requantized codes."""
    n = layer.n_out
    assert layer.y_format is not None
    diagonal, one = np.arange(n), Format(8, True, 0)
    last = sparse_linear(n, n, diagonal, diagonal, np.ones(n, int), None, layer.y_format, one, None)
    return IntNet((layer, last), Budget("global", (layer.matrix.n_connections + n,)))


def mnist_shaped(seed: int = 0) -> IntNet:
    rng = np.random.default_rng(seed)
    layers, x_format = [], fixed.PIXEL
    for n_in, n_out, n in ((784, 300, 3552), (300, 100, 3552), (100, 10, 800)):
        position = np.sort(rng.choice(n_in * n_out, n, replace=False))
        y_format = Format(8, False, x_format.frac + 7 - 9) if n_out > 10 else None
        layers.append(
            sparse_linear(
                n_in,
                n_out,
                position % n_in,
                position // n_in,
                rng.integers(-128, 128, n),
                rng.integers(-3000, 3000, n_out),
                x_format,
                Format(8, True, 7),
                y_format,
            )
        )
        x_format = y_format or x_format
    return IntNet(tuple(layers), Budget("per_layer", (3552, 3552, 800)), tuple("0123456789"), {"licence": "CC0-1.0"})


@pytest.mark.parametrize("seed", range(200))
def test_random_net_is_exact_in_the_default_session_and_unoptimized(seed, tmp_path):
    net = random_net(seed)
    x = random_codes(net, 24, seed)
    expected = reference.logits(net, x)
    for optimize in (True, False):
        run = onnx_integer.run(net, x, tmp_path, optimize=optimize)
        np.testing.assert_array_equal(run.logits, expected)
        assert run.logits.dtype == np.int32


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("matrix_positions", [0, onnx_integer.MATRIX_POSITIONS])
def test_every_level_and_the_reference_evaluator_agree(seed, matrix_positions):
    net = random_net(seed)
    x = random_codes(net, 7, seed)
    model = onnx_integer.build(net, matrix_positions=matrix_positions)
    expected, data = reference.logits(net, x), model.SerializeToString()
    for level in LEVELS:
        outputs = run_model(data, x, 3, level)
        np.testing.assert_array_equal(outputs["logits"], expected)
        np.testing.assert_array_equal(outputs["class"], reference.predict(net, x))
    np.testing.assert_array_equal(ReferenceEvaluator(model).run(["logits"], {"codes": x})[0], expected)


def test_mnist_shape_ten_thousand_samples(tmp_path):
    net = mnist_shaped()
    x = random_codes(net, 10_000)
    expected = reference.logits(net, x)
    assert len(np.unique(expected)) > 10_000
    for optimize in (True, False):
        np.testing.assert_array_equal(onnx_integer.run(net, x, tmp_path, optimize=optimize).logits, expected)


def test_layer_of_ten_billion_positions_stays_a_list_of_connections(tmp_path):
    rng, n = np.random.default_rng(0), 100_000
    position = np.unique(rng.integers(0, n * n, 1_001_000))[:1_000_000]
    wide = sparse_linear(
        n,
        n,
        position % n,
        position // n,
        rng.integers(-128, 128, position.size),
        rng.integers(-3000, 3000, n),
        fixed.PIXEL,
        Format(8, True, 6),
        Format(8, False, 6),
    )
    position = np.sort(rng.choice(n * 10, 5000, replace=False))
    last = sparse_linear(
        n,
        10,
        position % n,
        position // n,
        rng.integers(-128, 128, 5000),
        None,
        Format(8, False, 6),
        Format(8, True, 6),
        None,
    )
    net = IntNet((wide, last), Budget("global", (1_005_000,)))
    x = rng.integers(0, 256, (6, n)).astype(np.uint8)
    written = onnx_integer.export(net, tmp_path)
    assert written["n_connections"] == 1_005_000
    assert written["bytes"] < 6 * 1_005_000
    for optimize in (True, False):
        np.testing.assert_array_equal(
            onnx_integer.run(net, x, tmp_path, optimize=optimize).logits, reference.logits(net, x)
        )


def wide_accumulators(shift: int, signed: bool) -> tuple[IntNet, np.ndarray]:
    """acc_bits = 32: biases spread over the whole int32 range, inputs that step through ties around them."""
    rng = np.random.default_rng(shift)
    n_out = 512
    step = 1 << shift
    top = min(250 * step, (1 << 31) - 70_000)
    bias = rng.integers(-top if signed else -step, top, n_out) // max(1, step // 2) * max(1, step // 2)
    bias[:2] = (1 << 31) - 70_000, -(1 << 31) + 70_000
    layer = sparse_linear(
        3,
        n_out,
        np.tile([0, 1, 2], n_out),
        np.repeat(np.arange(n_out), 3),
        np.tile([1, -1, 127], n_out),
        bias,
        fixed.PIXEL,
        Format(8, True, 7),
        Format(8, signed, 15 - shift),
    )
    x = rng.integers(0, 256, (64, 3)).astype(np.uint8)
    x[:, 2] = 0
    return codes_as_logits(layer), x


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("shift", [0, 1, 8, 15, 22, 23])
def test_accumulators_of_32_bits(shift, signed, tmp_path):
    net, x = wide_accumulators(shift, signed)
    assert net.acc_bits == 32
    for optimize in (True, False):
        np.testing.assert_array_equal(
            onnx_integer.run(net, x, tmp_path, optimize=optimize).logits, reference.logits(net, x)
        )
    model = onnx_integer.build(net)
    np.testing.assert_array_equal(ReferenceEvaluator(model).run(["logits"], {"codes": x})[0], reference.logits(net, x))


def test_float32_would_be_wrong_there(monkeypatch, tmp_path):
    net, x = wide_accumulators(23, True)
    monkeypatch.setattr(onnx_integer, "FLOAT32_EXACT", 1 << 31)
    assert (onnx_integer.run(net, x, tmp_path).logits != reference.logits(net, x)).any()


@pytest.mark.parametrize("seed", range(20))
def test_float_input_in_natural_units(seed):
    net = random_net(seed)
    fmt = net.x_format
    rng = np.random.default_rng(seed)
    values = (rng.uniform(fmt.lo - 8, fmt.hi + 8, (40, *net.in_shape)) * fmt.step).astype(np.float32)
    values[:20] = np.round(values[:20] / fmt.step * 2) * fmt.step / 2  # half of the codes are ties
    values[0, 0], values[1, 0] = np.inf, -np.inf
    model = onnx_integer.build(net, float_input=True)
    expected = reference.logits(net, fixed.quantize(values, fmt))
    for level in LEVELS:
        np.testing.assert_array_equal(run_model(model.SerializeToString(), values, level=level)["logits"], expected)


def initializer(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def flip_bit(model: onnx.ModelProto, name: str) -> None:
    tensor = initializer(model, name)
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] ^= 1
    tensor.CopyFrom(numpy_helper.from_array(values, name))


def other_rounding(model: onnx.ModelProto, nodes_for) -> None:
    """Replace every QuantizeLinear by scaling, the rounding that ``nodes_for`` makes, clip and cast."""
    nodes = []
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear":
            nodes.append(node)
            continue
        y, zero = node.output[0], numpy_helper.to_array(initializer(model, node.input[2]))
        limits = np.iinfo(zero.dtype)
        for key, bound in (("lo", limits.min), ("hi", limits.max)):
            model.graph.initializer.append(numpy_helper.from_array(np.float32(bound), f"{y}_{key}"))
        nodes += [
            helper.make_node("Div", list(node.input[:2]), [f"{y}_scaled"]),
            *nodes_for(f"{y}_scaled", f"{y}_rounded"),
            helper.make_node("Clip", [f"{y}_rounded", f"{y}_lo", f"{y}_hi"], [f"{y}_clipped"]),
            helper.make_node("Cast", [f"{y}_clipped"], [y], to=helper.np_dtype_to_tensor_dtype(zero.dtype)),
        ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "half"))


def floor_nodes(x, y):
    return [helper.make_node("Floor", [x], [y])]


def half_up_nodes(x, y):
    return [helper.make_node("Add", [x, "half"], [f"{y}_up"]), helper.make_node("Floor", [f"{y}_up"], [y])]


def half_away_nodes(x, y):
    return [
        helper.make_node("Abs", [x], [f"{y}_abs"]),
        helper.make_node("Sign", [x], [f"{y}_sign"]),
        *half_up_nodes(f"{y}_abs", f"{y}_away"),
        helper.make_node("Mul", [f"{y}_away", f"{y}_sign"], [y]),
    ]


def half_even_nodes(x, y):
    return [helper.make_node("Round", [x], [y])]


BREAKAGES = pytest.mark.parametrize(
    ("spoil", "detected"),
    [
        (lambda model: flip_bit(model, "layer0/weight"), True),
        (lambda model: flip_bit(model, "layer0/in_idx"), True),
        (lambda model: flip_bit(model, "layer0/out_idx"), True),
        (lambda model: flip_bit(model, "layer0/bias"), True),
        (lambda model: other_rounding(model, floor_nodes), True),
        (lambda model: other_rounding(model, half_up_nodes), True),
        (lambda model: other_rounding(model, half_away_nodes), True),
        (lambda model: other_rounding(model, half_even_nodes), False),
    ],
    ids=["weight", "in_idx", "out_idx", "bias", "floor", "half_up", "half_away", "untouched"],
)


@BREAKAGES
def test_comparison_sees_a_broken_design(spoil, detected):
    rng = np.random.default_rng(3)
    net = codes_as_logits(random_layer(rng, 30, 20, fixed.PIXEL, last=False, corner="ties"))
    x = random_codes(net, 200)
    model = onnx_integer.build(net)
    spoil(model)
    for level in LEVELS:
        differs = run_model(model.SerializeToString(), x, level=level)["logits"] != reference.logits(net, x)
        assert differs.any() == detected


def test_file_is_sound_and_describes_itself(tmp_path):
    net = mnist_shaped()
    path = onnx_integer.export(net, tmp_path / "new" / "folder")["path"]
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    known = {info.name for info in (*inferred.graph.value_info, *inferred.graph.output)}
    assert known >= {output for node in inferred.graph.node for output in node.output}
    assert (model.ir_version, [(o.domain, o.version) for o in model.opset_import]) == (10, [("", 21)])
    assert all(node.name for node in model.graph.node)
    session = open_session(path)
    meta = session.get_modelmeta().custom_metadata_map
    assert meta["n_connections"] == "7904"
    assert json.loads(meta["class_labels"]) == list("0123456789")
    assert json.loads(meta["budget"]) == {"kind": "per_layer", "limits": [3552, 3552, 800]}
    assert (meta["licence"], meta["logit_frac"], meta["flavour"]) == ("CC0-1.0", "11", "integer")
    assert [(i.name, i.shape, i.type) for i in session.get_inputs()] == [("codes", ["batch", 784], "tensor(uint8)")]
    assert [(o.name, o.shape) for o in session.get_outputs()] == [("logits", ["batch", 10]), ("class", ["batch"])]


def test_size_follows_the_connections(tmp_path):
    size = onnx_integer.export(mnist_shaped(), tmp_path)["bytes"]
    stored = 7904 * 3 + 3552 * 2 + 410 * 4 + 100 * 0  # weight, two indices, the wide ones of the first layer; biases
    assert stored < size < stored + 10_000  # nodes, names, shapes, metadata


def test_same_network_same_bytes(tmp_path):
    for name in "ab":
        onnx_integer.export(random_net(4), tmp_path / name)
    assert (tmp_path / "a/integer.onnx").read_bytes() == (tmp_path / "b/integer.onnx").read_bytes()


def test_empty_batch():
    net = random_net(5)
    outputs = run_model(onnx_integer.build(net).SerializeToString(), random_codes(net, 3)[:0])
    assert outputs["logits"].shape == (0, net.n_out)


@pytest.mark.parametrize("corner", CORNERS)
def test_one_layer_of_every_corner(corner, tmp_path):
    rng = np.random.default_rng(1)
    layer = random_layer(rng, 17, 9, Format(8, corner == "signed_input", 3), last=True, corner=corner)
    net = IntNet((layer,), Budget("global", (layer.matrix.n_connections,)))
    x = random_codes(net, 40)
    np.testing.assert_array_equal(onnx_integer.run(net, x, tmp_path).logits, reference.logits(net, x))


def test_refuses_a_layer_it_does_not_know():
    class Recurrent(SparseLinear):
        kind = "recurrent"

    with pytest.raises(ValueError, match="layer3: no integer ONNX form for a layer of kind 'recurrent'"):
        onnx_integer.add_layer.dispatch(object)(replace_kind(Recurrent), None, "layer3", "x", "y", 0)


def replace_kind(cls):
    return cls(SparseMatrix(1, 1, [0], [0], [1], Format(8, True, 0)), None, fixed.PIXEL, None)


def test_refuses_a_file_that_is_no_model(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"a\.onnx: onnxruntime refuses it"):
        open_session(tmp_path / "a.onnx")
