"""The way back in: our own files return as they were, other people's within what the import says it changed."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization

from deepr_hw import data, reference
from deepr_hw.export.imports.onnx_import import agreement, import_model, original_outputs
from deepr_hw.export.onnx import integer as onnx_integer
from deepr_hw.export.onnx import qdq as onnx_qdq
from deepr_hw.export.onnx import qonnx_export
from deepr_hw.ir import netfile
from deepr_hw.ir.affine import IDENTITY
from deepr_hw.ir.fixed import PIXEL
from tests.random_nets import random_codes, random_net
from tests.test_compact import same
from tests.test_onnx_integer import mnist_shaped

MODELS = Path(__file__).parent / "models"
FLOAT32 = [seed for seed in range(60) if random_net(seed).acc_bits <= 25]
OURS = {
    "qdq": lambda net: onnx_qdq.build(net),
    "qdq codes": lambda net: onnx_qdq.build(net, float_input=False),
    "qdq dense": lambda net: onnx_qdq.build(net, dense=True),
    "qonnx": lambda net: qonnx_export.build(net),
    "qonnx dense": lambda net: qonnx_export.build(net, dense=True),
}


def counts(seed: int) -> list[int]:
    return [layer.matrix.n_connections for layer in random_net(seed).layers]


@pytest.fixture(scope="module")
def digits():
    """Training and test input in the units of the models in the folder: code / 255."""
    loaded = data.load_digits()
    return tuple(np.asarray(15 * x, np.float32).reshape(-1, 1, 8, 8) / 255 for x in (loaded.x_train, loaded.x_test))


def saved(model: onnx.ModelProto, tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("form", OURS)
@pytest.mark.parametrize("seed", FLOAT32)
def test_our_own_files_return_as_they_were(form, seed, tmp_path):
    net = random_net(seed)
    imported = import_model(saved(OURS[form](net), tmp_path))
    assert imported.notes == ()
    x = random_codes(net, 16, seed)
    np.testing.assert_array_equal(reference.logits(imported.net, x), reference.logits(net, x))
    assert imported.logit_unit == 2.0**-net.logit_frac
    for before, after in zip(net.layers, imported.net.layers, strict=True):
        assert (after.x_format, after.y_format) == (before.x_format, before.y_format)
        if "dense" not in form:
            for name in ("in_idx", "out_idx", "code"):
                np.testing.assert_array_equal(getattr(after.matrix, name), getattr(before.matrix, name))


@pytest.mark.parametrize("seed", [seed for seed in FLOAT32 if 0 not in counts(seed)])
def test_the_integer_flavour_returns_too(seed, tmp_path):
    net = random_net(seed)
    imported = import_model(saved(onnx_integer.build(net), tmp_path))
    assert (imported.notes, imported.net.input_map, imported.logit_unit) == ((), IDENTITY, 1.0)
    x = random_codes(net, 16, seed)
    np.testing.assert_array_equal(reference.logits(imported.net, x), reference.logits(net, x))
    assert [layer.matrix.n_connections for layer in imported.net.layers] == counts(seed)


def test_agreement_sees_a_flipped_weight(digits):
    path = MODELS / "brevitas_power_of_two_qonnx.onnx"
    imported = import_model(path)
    layer = imported.net.layers[1]
    weight = layer.matrix.code.copy()
    weight[40] ^= 1
    changed = replace(
        imported.net, layers=(imported.net.layers[0], replace(layer, matrix=replace(layer.matrix, code=weight)))
    )
    found = agreement(path, replace(imported, net=changed), digits[1])
    assert 0 < found.logits - found.equal_logits <= 360


def test_labels_and_connections_of_the_mnist_shape(tmp_path):
    net = mnist_shaped()
    imported = import_model(saved(onnx_qdq.build(net), tmp_path)).net
    assert imported.class_labels == net.class_labels
    assert imported.budget.limits == (3552, 3552, 800)
    assert imported.provenance["imported_from"] == "model.onnx"
    netfile.save(imported, tmp_path / "net.safetensors")
    assert same(netfile.load(tmp_path / "net.safetensors"), imported)


def pruned_weights(path: Path) -> int:
    """Non-zero elements of the float or integer matrices in the file."""
    matrices = [numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer if len(t.dims) == 2]
    return sum(map(np.count_nonzero, matrices))


@pytest.mark.parametrize("form", ["qonnx", "qcdq"])
def test_power_of_two_scales_are_imported_exactly(form, digits):
    path = MODELS / f"brevitas_power_of_two_{form}.onnx"
    imported = import_model(path)
    assert imported.notes == ()
    found = agreement(path, imported, digits[1])
    assert (found.equal_logits, found.same_class, found.rms_error) == (found.logits, 360, 0.0)
    assert imported.net.n_connections == pruned_weights(path) == 711


OF_DIGITS = sorted(path for path in MODELS.glob("*.onnx") if path.stem.startswith(("brev", "torch", "sklearn_digits")))


@pytest.mark.parametrize("path", OF_DIGITS, ids=lambda path: path.stem)
def test_what_others_trained_and_pruned(path, digits, tmp_path):
    x_train, x_test = digits
    imported = import_model(path, x_train)
    found = agreement(path, imported, x_test)
    assert found.samples == 360
    assert found.same_class >= 357
    assert found.rms_error < 0.03
    assert imported.net.n_connections == 711
    run = onnx_integer.run(imported.net, imported.codes(x_test), tmp_path)
    np.testing.assert_array_equal(run.logits, reference.logits(imported.net, imported.codes(x_test)))


def test_codes_of_a_data_set_go_in_as_they_are(digits):
    loaded = data.load_digits()
    codes = 15 * loaded.x_test.reshape(360, 64)
    imported = import_model(MODELS / "torch_dynamo.onnx", digits[0], x_unit=1 / 255)
    np.testing.assert_array_equal(imported.codes(digits[1]), codes)
    assert imported.net.x_format == PIXEL
    accuracy = (reference.predict(imported.net, codes) == loaded.y_test).mean()
    original = (original_outputs(MODELS / "torch_dynamo.onnx", digits[1]).argmax(1) == loaded.y_test).mean()
    assert accuracy >= original - 0.01
    replaced = import_model(MODELS / "brevitas_per_tensor_qonnx.onnx", x_unit=1 / 255)
    assert replaced.notes[0].startswith("input: step ")


class Batches(quantization.CalibrationDataReader):
    def __init__(self, x):
        self.batches = iter([{"input": part} for part in np.array_split(x, 10)])

    def get_next(self):
        return next(self.batches, None)


@pytest.mark.parametrize("form", list(quantization.QuantFormat), ids=str)
@pytest.mark.parametrize("types", ["U8S8", "S8S8", "U8U8"])
@pytest.mark.parametrize("more", [{}, {"per_channel": True}, {"symmetric": True}], ids=str)
@pytest.mark.parametrize("name", ["torch_dynamo", "torch_script"])
def test_onnxruntime_quantizer(form, types, more, name, digits, tmp_path):
    x_train, x_test = digits
    kinds = {"U": quantization.QuantType.QUInt8, "S": quantization.QuantType.QInt8}
    symmetric = {key: bool(more.get("symmetric")) for key in ("ActivationSymmetric", "WeightSymmetric")}
    path = tmp_path / "quantized.onnx"
    logging.disable(logging.WARNING)  # it wants its own pre-processing to have run
    try:
        quantization.quantize_static(
            MODELS / f"{name}.onnx",
            path,
            Batches(x_train),
            quant_format=form,
            activation_type=kinds[types[0]],
            weight_type=kinds[types[2]],
            per_channel=bool(more.get("per_channel")),
            extra_options=symmetric,
        )
    finally:
        logging.disable(logging.NOTSET)
    imported = import_model(path)
    found = agreement(path, imported, x_test)
    assert found.same_class >= 356
    assert found.rms_error < 0.035
    assert any("quantizer of the output left out" in note for note in imported.notes)


@pytest.mark.parametrize("op", ["QGemm", "QLinearMatMul", "MatMulInteger"])
def test_originals_with_integer_products_do_not_saturate(op, tmp_path):
    """Pairs of uint8 x int8 products beyond 16 bits, which onnxruntime cuts on CPUs without VNNI."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(200, 256, (50, 4)).astype(np.uint8), rng.integers(100, 128, (4, 3)).astype(np.int8)
    b[:, 1] *= -1
    constants = {
        "b": b,
        "za": np.uint8(3),
        "zb": np.array([0, 5, -7], np.int8),
        "one": F(1),
        "big": F(1024),
        "steps": np.array([1, 2, 4], F),
        "c": np.array([1, -2000, 3], np.int32),
        "zy": np.int8(-5),
    }
    inputs, domain = {
        "QGemm": ("x one za b steps zb c big zy", "com.microsoft"),
        "QLinearMatMul": ("x one za b steps zb big zy", ""),
        "MatMulInteger": ("x b za zb", ""),
    }[op]
    model = graph(
        [(op, inputs.split(), "i", {"domain": domain}), ("Cast", ["i"], "y", {"to": TensorProto.FLOAT})],
        constants,
        dtype=TensorProto.UINT8,
    )
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    total = (a.astype(int) - 3) @ (b.astype(int) - [0, 5, -7]) + (constants["c"] if op == "QGemm" else 0)
    scaled = np.clip(np.rint(total * [1, 2, 4] / 1024) - 5, -128, 127)
    expected = total if op == "MatMulInteger" else scaled
    np.testing.assert_array_equal(original_outputs(saved(model, tmp_path), a), expected)


def graph(nodes, constants, shape=("n", 4), dtype=TensorProto.FLOAT, output="y") -> onnx.ModelProto:
    """A model from ``x`` to ``output``; each node is (op, inputs, output, attributes)."""
    made = [helper.make_node(op, inputs, [output], name=f"{op}_{output}", **more) for op, inputs, output, more in nodes]
    stored = [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()]
    x = helper.make_tensor_value_info("x", dtype, shape)
    real = dtype if dtype in (TensorProto.FLOAT16, TensorProto.DOUBLE) else TensorProto.FLOAT
    y = helper.make_tensor_value_info(output, real, None)
    return helper.make_model(
        helper.make_graph(made, "g", [x], [y], stored), opset_imports=[helper.make_opsetid("", 21)], ir_version=10
    )


W = np.array([[1, -2, 0], [0, 3, 1], [2, 0, -1], [1, 1, 1]], np.float32) / 4
V = np.array([[1, 0], [-1, 1], [2, -1]], np.float32) / 2
VALUES = np.random.default_rng(0).uniform(-1, 1, (400, 4)).astype(np.float32)
F = np.float32


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        (
            [
                ("Sub", ["x", "m"], "a", {}),
                ("Div", ["a", "s"], "b", {}),
                ("MatMul", ["b", "w"], "c", {}),
                ("Relu", ["c"], "d", {}),
                ("MatMul", ["d", "v"], "y", {}),
            ],
            {"m": F(0.25), "s": F(0.5), "w": W, "v": V},
        ),
        (
            [
                ("Mul", ["x", "m"], "a", {}),
                ("MatMul", ["a", "w"], "b", {}),
                ("Add", ["b", "t"], "c", {}),
                ("Mul", ["c", "k"], "d", {}),
                ("Relu", ["d"], "e", {}),
                ("Mul", ["e", "k"], "f", {}),
                ("Gemm", ["f", "v", "u"], "g", {"alpha": 2.0, "beta": 0.5}),
                ("Softmax", ["g"], "y", {}),
            ],
            {
                "m": np.array([1, 2, 0.5, 1], F),
                "w": W,
                "t": np.array([0.1, 0.2, -0.3], F),
                "k": np.array([1, 2, 0.5], F),
                "v": V,
                "u": np.array([1, -1], F),
            },
        ),
        (
            [("MatMul", ["x", "w"], "a", {}), ("Clip", ["a", "lo", "hi"], "b", {}), ("MatMul", ["b", "v"], "y", {})],
            {"w": W, "v": V, "lo": F(0), "hi": F(0.5)},
        ),
        ([("MatMul", ["x", "w"], "a", {}), ("MatMul", ["a", "v"], "y", {})], {"w": W, "v": V}),
        (
            [
                ("Sub", ["one", "x"], "a", {}),
                ("Constant", [], "w", {"value": numpy_helper.from_array(W)}),
                ("MatMul", ["a", "w"], "b", {}),
                ("Relu", ["b"], "c", {}),
                ("Transpose", ["vt"], "v", {"perm": [1, 0]}),
                ("MatMul", ["c", "v"], "y", {}),
            ],
            {"one": F(1), "vt": V.T.copy()},
        ),
        (
            [
                ("Shape", ["x"], "s", {}),
                ("Gather", ["s", "i"], "b", {}),
                ("Concat", ["b", "m"], "t", {"axis": 0}),
                ("Reshape", ["x", "t"], "f", {}),
                ("MatMul", ["f", "w"], "a", {}),
                ("Relu", ["a"], "c", {}),
                ("MatMul", ["c", "v"], "y", {}),
            ],
            {"i": np.array([0]), "m": np.array([-1]), "w": W, "v": V},
        ),
    ],
    ids=["normalized input", "scales everywhere", "relu with a ceiling", "linear", "folded constants", "view(n, -1)"],
)
def test_float_graphs(nodes, constants, tmp_path):
    path = saved(graph(nodes, constants), tmp_path)
    imported = import_model(path, VALUES)
    assert imported.net.n_connections == np.count_nonzero(W) + np.count_nonzero(V)
    assert (nodes[-1][0] == "Softmax") == (imported.notes[-1] == "Softmax behind the logits left out")
    assert agreement(path, imported, VALUES).rms_error < 0.02


def quantized(x_zero, y_zero, dtype, relu, y_step=0.125) -> onnx.ModelProto:
    steps = {"sx": F(2**-6), "sy": F(y_step), "sw": F(0.25), "zx": dtype(x_zero), "zy": dtype(y_zero), "zw": np.int8(0)}
    return graph(
        [
            ("QuantizeLinear", ["x", "sx", "zx"], "a", {}),
            ("DequantizeLinear", ["a", "sx", "zx"], "b", {}),
            ("DequantizeLinear", ["w8", "sw", "zw"], "w", {}),
            ("MatMul", ["b", "w"], "c", {}),
            *([("Relu", ["c"], "d", {})] if relu else []),
            ("QuantizeLinear", ["d" if relu else "c", "sy", "zy"], "e", {}),
            ("DequantizeLinear", ["e", "sy", "zy"], "f", {}),
            ("MatMul", ["f", "v"], "y", {}),
        ],
        {"w8": (W * 4).astype(np.int8), "v": V, **steps},
    )


@pytest.mark.parametrize(
    ("x_zero", "y_zero", "dtype", "relu", "notes"),
    [
        (0, 0, np.int8, False, 0),
        (0, 0, np.int8, True, 0),
        (128, 0, np.uint8, True, 0),
        (-128, -128, np.int8, True, 0),
        (100, 128, np.uint8, False, 0),
        (57, 40, np.uint8, False, 0),
        (-3, 2, np.int8, False, 0),
        (57, 41, np.uint8, False, 1),
    ],
)
def test_zero_points_go_into_the_biases(x_zero, y_zero, dtype, relu, notes, tmp_path):
    path = saved(quantized(x_zero, y_zero, dtype, relu), tmp_path)
    imported = import_model(path)
    about = [note for note in imported.notes if not note.startswith("MatMul_y: weights") and "input: zero" not in note]
    assert len(about) == notes
    found = agreement(path, imported, VALUES)
    tolerated = 0 if not notes else found.logits // 4
    ours = np.abs(
        reference.logits(imported.net, imported.codes(VALUES)) * imported.logit_unit - original_outputs(path, VALUES)
    )
    assert np.count_nonzero(ours > 1e-6) <= tolerated
    assert ours.max() < 0.4


def test_a_step_between_powers_of_two_moves_to_the_next(tmp_path):
    imported = import_model(saved(quantized(0, 0, np.int8, True, y_step=0.14), tmp_path))
    assert imported.notes[0] == "MatMul_c: activation step 0.14 became 0.125"
    np.testing.assert_array_equal(imported.net.layers[0].matrix.code, [1, 2, 1, -2, 3, 1, 1, -1, 1])  # untouched


def refused(message, nodes, constants, **more):
    return pytest.param(graph(nodes, constants, **more), message, id=message.split()[0] + nodes[-1][0])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        refused(
            r"node 'Sigmoid_y' \(Sigmoid\): no dense layer",
            [("MatMul", ["x", "w"], "a", {}), ("Sigmoid", ["a"], "y", {}), ("MatMul", ["y", "v"], "z", {})],
            {"w": W, "v": V},
            output="z",
        ),
        refused(
            r"node 'Conv_y' \(Conv\): convolutions can't be imported yet, only dense layers",
            [("Conv", ["x", "w"], "y", {})],
            {"w": np.ones((1, 1, 3, 3), F)},
            shape=("n", 1, 8, 8),
        ),
        refused(
            r"node 'Conv_c' \(Conv\): convolutions can't be imported yet",  # not the Shape before it
            [
                ("Shape", ["x"], "s", {}),
                ("Slice", ["s", "i", "j"], "b", {}),
                ("Concat", ["b", "m"], "t", {"axis": 0}),
                ("Reshape", ["x", "t"], "i4", {}),
                ("Conv", ["i4", "k"], "c", {}),
                ("Flatten", ["c"], "f", {}),
                ("MatMul", ["f", "w"], "y", {}),
            ],
            {"i": np.array([0]), "j": np.array([1]), "m": np.array([1, 2, 2]), "k": np.ones((1, 1, 1, 1), F), "w": W},
        ),
        refused(
            r"node 'MatMul_y' \(MatMul\): its data has the axes \(batch, 2, 4\); it must be flattened",
            [("MatMul", ["x", "w"], "y", {})],
            {"w": W},
            shape=("n", 2, 4),
        ),
        refused(
            r"node 'MatMul_y' \(MatMul\): its data has the axes \(batch, \?, 4\); it must be flattened",
            [("MatMul", ["x", "w"], "y", {})],
            {"w": W},
            shape=("n", "m", 4),
        ),
        refused(
            r"node 'MatMul_y' \(MatMul\): its data has the axes \(batch\)",
            [("MatMul", ["x", "w"], "y", {})],
            {"w": W},
            shape=(4,),
        ),
        refused(
            r"node 'Reshape_a' \(Reshape\): reshapes to \[-1, 4\]",
            [("Reshape", ["x", "s"], "a", {}), ("MatMul", ["a", "w"], "y", {})],
            {"s": np.array([-1, 4]), "w": W},
            shape=("n", 8),
        ),
        refused(
            r"node 'Cast_a' \(Cast\): casts to int32, which drops the fraction",
            [
                ("Cast", ["x"], "a", {"to": TensorProto.INT32}),
                ("Cast", ["a"], "b", {"to": TensorProto.FLOAT}),
                ("MatMul", ["b", "w"], "y", {}),
            ],
            {"w": W},
        ),
        refused(
            r"node 'MatMul_y' \(MatMul\): its constant is complex",
            [("MatMul", ["x", "w"], "y", {})],
            {"w": W * np.complex64(1 + 2j)},
        ),
        refused(
            r"node 'Add_y' \(Add\): its constant is complex",
            [("MatMul", ["x", "w"], "a", {}), ("Add", ["a", "b"], "y", {})],
            {"w": W, "b": np.complex64([1, 2j, 3])},
        ),
        refused(
            r"node 'Add_v' \(Add\): its constant is complex",
            [("Add", ["w", "w"], "v", {}), ("MatMul", ["x", "v"], "y", {})],
            {"w": W * np.complex128(1 + 2j)},
        ),
        refused(
            r"input 'x': holds no real numbers",
            [("MatMul", ["x", "w"], "y", {})],
            {"w": W},
            dtype=TensorProto.COMPLEX64,
        ),
        refused(
            r"input 'x': holds no real numbers", [("MatMul", ["x", "w"], "y", {})], {"w": W}, dtype=TensorProto.STRING
        ),
        refused(
            r"node 'ArgMax_y' \(ArgMax\): works along axis 0, not along the classes",
            [("MatMul", ["x", "w"], "a", {}), ("ArgMax", ["a"], "y", {})],
            {"w": W},
        ),
        refused(
            r"node 'Softmax_y' \(Softmax\): works along axis 0, not along the classes",
            [("MatMul", ["x", "w"], "a", {}), ("Softmax", ["a"], "y", {"axis": 0})],
            {"w": W},
        ),
        refused(
            r"MatMul_y: takes 3 features, the data has 4", [("MatMul", ["x", "w"], "y", {})], {"w": W[:3]}, shape=None
        ),
        refused(
            r"node 'Add_y' \(Add\): joins two paths",
            [("MatMul", ["x", "w"], "a", {}), ("Relu", ["a"], "b", {}), ("Add", ["a", "b"], "y", {})],
            {"w": W},
        ),
        refused(r"node 'MatMul_y' \(MatMul\): its data is the second", [("MatMul", ["w", "x"], "y", {})], {"w": W}),
        refused(
            r"node 'Softmax_b' \(Softmax\): no dense layer",
            [("MatMul", ["x", "w"], "a", {}), ("Softmax", ["a"], "b", {}), ("MatMul", ["b", "v"], "y", {})],
            {"w": W, "v": V},
        ),
        refused(
            r"node 'MatMul_y' \(MatMul\): takes 4 features, its input has 3",
            [("MatMul", ["x", "w"], "a", {}), ("MatMul", ["a", "w"], "y", {})],
            {"w": W},
        ),
        refused(
            r"node 'Reshape_a' \(Reshape\): reshapes to \[-1, 2, 2\]",
            [("Reshape", ["x", "s"], "a", {}), ("MatMul", ["a", "w"], "y", {})],
            {"s": np.array([-1, 2, 2]), "w": W},
        ),
        refused(
            r"MatMul_a: weights or biases contain NaN or infinity",
            [("MatMul", ["x", "w"], "a", {}), ("Add", ["a", "b"], "y", {})],
            {"w": W, "b": F(np.inf)},
        ),
        refused(
            r"output 'y': works on activations that were scaled",
            [("MatMul", ["x", "w"], "a", {}), ("Relu", ["a"], "b", {}), ("Mul", ["b", "k"], "y", {})],
            {"w": W, "k": F(2)},
        ),
        refused(r"output 'y': no dense layer leads to it", [("Identity", ["x"], "y", {})], {}),
        refused(
            r"node 'QuantizeLinear_b' \(QuantizeLinear\): input 1 has 3 values; activations have one step",
            [
                ("MatMul", ["x", "w"], "a", {}),
                ("QuantizeLinear", ["a", "s", "z"], "b", {}),
                ("DequantizeLinear", ["b", "s", "z"], "y", {}),
            ],
            {"w": W, "s": np.ones(3, F), "z": np.zeros(3, np.int8)},
        ),
        refused(
            r"node 'DequantizeLinear_y' \(DequantizeLinear\): has step 2 and zero point 0, the codes have 1 and 0",
            [
                ("MatMul", ["x", "w"], "a", {}),
                ("QuantizeLinear", ["a", "s", "z"], "b", {}),
                ("DequantizeLinear", ["b", "t", "z"], "y", {}),
            ],
            {"w": W, "s": F(1), "t": F(2), "z": np.int8(0)},
        ),
        refused(
            r"MatMul_a: activations with codes -32768..32767; at most 8 bits",
            [
                ("MatMul", ["x", "w"], "a", {}),
                ("QuantizeLinear", ["a", "s", "z"], "b", {}),
                ("DequantizeLinear", ["b", "s", "z"], "c", {}),
                ("MatMul", ["c", "v"], "y", {}),
            ],
            {"w": W, "v": V, "s": F(1), "z": np.int16(0)},
        ),
        refused(
            r"MatMul_a: the last layer's output is clipped",
            [("MatMul", ["x", "w"], "a", {}), ("Relu", ["a"], "y", {})],
            {"w": W},
        ),
        refused(
            r"node 'Relu_d' \(Relu\): works on activations that were scaled",
            [
                ("MatMul", ["x", "w"], "a", {}),
                ("Relu", ["a"], "b", {}),
                ("Add", ["b", "k"], "c", {}),
                ("Relu", ["c"], "d", {}),
                ("MatMul", ["d", "v"], "y", {}),
            ],
            {"w": W, "k": F(-1), "v": V},
        ),
    ],
)
def test_refuses_by_name(model, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        import_model(saved(model, tmp_path), VALUES)


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("rounding_mode", b"FLOOR", r"node 'layer0/values' \(Quant\): rounding mode FLOOR"),
    ],
)
def test_refuses_another_rounding(attribute, value, message, tmp_path):
    model = qonnx_export.build(random_net(4))
    node = next(node for node in model.graph.node if node.name == "layer0/values")
    next(entry for entry in node.attribute if entry.name == attribute).s = value
    with pytest.raises(ValueError, match=message):
        import_model(saved(model, tmp_path))


def test_refuses_files_that_are_none(tmp_path):
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ValueError, match=r"text\.onnx: no ONNX model"):
        import_model(tmp_path / "text.onnx")
    with pytest.raises(OSError, match="absent"):
        import_model(tmp_path / "absent.onnx")


@pytest.mark.parametrize("more", [{}, {"x_unit": 1 / 255}])
def test_asks_for_a_calibration_set(more):
    with pytest.raises(ValueError, match="must come from a calibration set"):
        import_model(MODELS / "torch_dynamo.onnx", **more)
