"""What others' models often have: heads of classifiers, scikit-learn's, sparse constants, float16, inner scales."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from deepr_hw import cli, data, reference
from deepr_hw.export.imports.onnx_import import agreement, import_model, original_outputs
from deepr_hw.ir import netfile
from deepr_hw.ir.fixed import PIXEL
from tests.test_onnx_import import MODELS, VALUES, F, V, W, graph, saved

DIGITS = data.load_digits()
X_TRAIN, X_TEST = DIGITS.x_train.astype(np.float32) / 16, DIGITS.x_test.astype(np.float32) / 16


def first_output(path, x=X_TEST):
    """What onnxruntime gives for the model as it is, its head included."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    return session.run(None, {entry.name: x.astype(np.float64 if "double" in entry.type else np.float32)})[0]


@pytest.mark.parametrize(
    ("name", "labels", "ending", "n_connections", "error"),
    [
        ("digits", tuple("0123456789"), "Softmax and ArgMax", 711, 0.03),
        ("digits_zipmap", tuple("0123456789"), "Softmax and ArgMax", 711, 0.03),
        ("standardized", tuple("0123456789"), "Softmax and ArgMax", 711, 0.05),
        ("two_classes", ("large", "small"), "Sigmoid and ArgMax", 625, 0.03),
    ],
)
def test_classifiers_of_scikit_learn(name, labels, ending, n_connections, error):
    """The label that the original gives is that of the largest logit of the import."""
    path = MODELS / f"sklearn_{name}.onnx"
    imported = import_model(path, X_TRAIN)
    assert imported.net.class_labels == labels
    assert imported.net.n_connections == n_connections
    assert imported.notes[-1] == f"{ending} behind the logits left out"
    ours = np.array(labels)[reference.predict(imported.net, imported.codes(X_TEST))]
    theirs = first_output(path).astype(str)
    assert len(set(theirs)) == len(labels)
    assert np.count_nonzero(ours == theirs) >= 356
    found = agreement(path, imported, X_TEST)
    assert found.rms_error < error
    assert found.same_class == np.count_nonzero(ours == theirs)


def test_a_regressor_of_scikit_learn():
    path = MODELS / "sklearn_regressor.onnx"
    imported = import_model(path, X_TRAIN)
    assert imported.net.n_connections == 625
    ours = reference.logits(imported.net, imported.codes(X_TEST)) * imported.logit_unit
    theirs = first_output(path)
    assert theirs.shape == ours.shape == (360, 1)
    assert np.sqrt(np.square(ours - theirs).mean()) < 0.03 * np.sqrt(np.square(theirs).mean())
    assert imported.net.task == "regression"
    np.testing.assert_allclose(
        imported.net.decode(reference.logits(imported.net, imported.codes(X_TEST))), ours, rtol=1e-6
    )


def test_a_regression_on_the_command_line(tmp_path, capsys):
    """Least squares on the diabetes data: R2 of the import is that of the solution."""
    dataset, out = data.load("diabetes", "regression"), tmp_path / "net.safetensors"
    x = np.c_[dataset.x_train, np.ones(len(dataset.x_train))]
    solution = np.linalg.lstsq(x, dataset.y_train, rcond=None)[0]
    np.savez(tmp_path / "linear.npz", solution[:-1], solution[-1])
    argv = ["import", str(tmp_path / "linear.npz"), "--out", str(out), "--data", "diabetes"]
    assert cli.main([*argv, "--json", str(tmp_path / "i.json")]) == 0
    found = json.loads((tmp_path / "i.json").read_text())
    error = np.square(dataset.y_test - dataset.x_test @ solution[:-1] - solution[-1]).mean()
    assert found["test_r2"] == pytest.approx(1 - error / dataset.y_test.var(), abs=0.01)
    assert found["test_rmse"] == pytest.approx(np.sqrt(error), rel=0.01)
    assert netfile.load(out).task == "regression"
    assert "R2" in capsys.readouterr().out
    np.savez(
        tmp_path / "data.npz",
        x_train=dataset.x_train,
        x_test=dataset.x_test,
        **{f"y_{part}": (getattr(dataset, f"y_{part}")[:, 0] > 150).astype(int) for part in ("train", "test")},
    )
    assert cli.main([*argv[:-1], str(tmp_path / "data.npz")]) == 2
    assert "gives one number per sample, so it is no classification; say --task regression" in capsys.readouterr().err


def test_a_softmax_is_no_regression():
    with pytest.raises(ValueError, match="ends in Softmax and ArgMax, so it is no regression"):
        import_model(MODELS / "sklearn_digits.onnx", X_TRAIN, task="regression")


@pytest.mark.parametrize("ending", ["Softmax", "LogSoftmax", "Sigmoid", "ArgMax"])
def test_logits_are_compared_with_logits(ending, tmp_path):
    more = {"axis": 1} if ending == "ArgMax" else {}
    path = saved(graph([("MatMul", ["x", "w"], "a", {}), (ending, ["a"], "y", more)], {"w": 40 * W}), tmp_path)
    imported = import_model(path, VALUES)
    np.testing.assert_allclose(original_outputs(path, VALUES), VALUES @ (40 * W), rtol=1e-5, atol=1e-5)
    found = agreement(path, imported, VALUES)
    assert found.rms_error < 0.01
    assert found.same_class >= 395


def test_one_sigmoid_is_two_classes(tmp_path):
    path = saved(
        graph(
            [("Gemm", ["x", "w", "b"], "a", {}), ("Sigmoid", ["a"], "y", {})], {"w": W[:, :1], "b": np.array([0.25], F)}
        ),
        tmp_path,
    )
    imported = import_model(path, VALUES)
    assert "its single output became that of the second of two classes" in imported.notes[1]
    ours = reference.predict(imported.net, imported.codes(VALUES))
    theirs = first_output(path, VALUES)[:, 0] > 0.5
    assert 100 < theirs.sum() < 380
    assert np.count_nonzero(ours == theirs) >= 395
    assert imported.net.n_connections == np.count_nonzero(W[:, 0])


def sparse(values, name, coordinates):
    """Positions of ``values`` that differ from 0, and the first one whether or not, as a SparseTensorProto."""
    kept = values != 0
    kept.reshape(-1)[2] = True  # W[0, 2] is 0: a connection of weight 0
    index = np.argwhere(kept) if coordinates else np.flatnonzero(kept)
    return helper.make_sparse_tensor(
        numpy_helper.from_array(values[kept], name), numpy_helper.from_array(index, f"{name}_indices"), values.shape
    )


@pytest.mark.parametrize("coordinates", [False, True])
@pytest.mark.parametrize("form", ["float32", "float16", "int8", "constant"])
def test_sparse_constants(form, coordinates, tmp_path):
    dequantize = [("DequantizeLinear", ["c", "s"], "w", {})] if form == "int8" else []
    cast = [("Cast", ["c"], "w", {"to": TensorProto.FLOAT})] if form == "float16" else []
    constant = [("Constant", [], "w", {"sparse_value": sparse(W, "w", coordinates)})] if form == "constant" else []
    model = graph(
        [
            *constant,
            *dequantize,
            *cast,
            ("MatMul", ["x", "w"], "a", {}),
            ("Relu", ["a"], "b", {}),
            ("MatMul", ["b", "v"], "y", {}),
        ],
        {"v": V, **({"s": F(0.25)} if form == "int8" else {})},
    )
    if form != "constant":
        values = (4 * W).astype(np.int8) if form == "int8" else W.astype(form)
        model.graph.sparse_initializer.append(sparse(values, "w" if form == "float32" else "c", coordinates))
    path = saved(model, tmp_path)
    imported = import_model(path, VALUES)
    layer = imported.net.layers[0]
    assert layer.matrix.n_connections == np.count_nonzero(W) + 1
    kept = W != 0
    kept[0, 2] = True
    np.testing.assert_array_equal(np.c_[layer.matrix.out_idx, layer.matrix.in_idx], np.argwhere(kept.T))
    np.testing.assert_allclose(original_outputs(path, VALUES), np.maximum(VALUES @ W, 0) @ V, rtol=1e-5, atol=1e-6)
    assert agreement(path, imported, VALUES).rms_error < 0.02


@pytest.mark.parametrize(
    ("indices", "dims"),
    [
        ([0, 12], (4, 3)),
        ([-1, 3], (4, 3)),
        ([[0, 3], [1, 1]], (4, 3)),
        ([[-1, 0], [1, 1]], (4, 3)),
        ([0], (4, 3)),
        ([[0, 0, 0], [1, 1, 1]], (4, 3)),
        ([0, 1], (1 << 20, 1 << 20)),
    ],
)
def test_refuses_sparse_constants_that_contradict_themselves(indices, dims, tmp_path):
    model = graph([("MatMul", ["x", "w"], "y", {})], {})
    model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(
            numpy_helper.from_array(np.ones(2, F), "w"), numpy_helper.from_array(np.array(indices), "i"), dims
        )
    )
    with pytest.raises(ValueError, match=r"model\.onnx: sparse initializer 'w': "):
        import_model(saved(model, tmp_path), VALUES)


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_other_floats(dtype, tmp_path):
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    path = saved(
        graph(
            [("Gemm", ["x", "w", "b"], "a", {}), ("Relu", ["a"], "c", {}), ("MatMul", ["c", "v"], "y", {})],
            {"w": W.astype(kind), "b": np.array([0.1, 0.2, 0.3], kind), "v": V.astype(kind)},
            dtype=dtype,
        ),
        tmp_path,
    )
    assert agreement(path, import_model(path, VALUES), VALUES).rms_error < 0.02


def test_float16_on_the_command_line(tmp_path, capsys):
    rng = np.random.default_rng(0)
    weight = (rng.normal(size=(64, 10)) * (rng.random((64, 10)) < 0.3)).astype(np.float16)
    path = saved(graph([("MatMul", ["x", "w"], "y", {})], {"w": weight}, ("n", 64), TensorProto.FLOAT16), tmp_path)
    assert (
        cli.main(
            [
                "import",
                str(path),
                "--out",
                str(tmp_path / "net.safetensors"),
                "--data",
                "digits",
                "--json",
                str(tmp_path / "i.json"),
            ]
        )
        == 0
    )
    found = json.loads((tmp_path / "i.json").read_text())
    assert found["n_connections"] == np.count_nonzero(weight)
    assert found["agreement"]["rms_error"] < 0.01
    capsys.readouterr()


@pytest.mark.parametrize(("shape", "works"), [((64,), True), ((1, 64), True), ((8, 8), False), (("m", 64), False)])
def test_axes_of_the_input(shape, works, tmp_path, capsys):
    """What can't be compared with its original is not written either."""
    weight = np.random.default_rng(0).normal(size=(shape[-1], 10)).astype(F)
    path = saved(graph([("MatMul", ["x", "w"], "y", {})], {"w": weight}, ("n", *shape)), tmp_path)
    out = tmp_path / "net.safetensors"
    assert cli.main(["import", str(path), "--out", str(out), "--data", "digits"]) == (0 if works else 2)
    assert out.exists() == works
    error = capsys.readouterr().err
    assert works or ("its data has the axes" in error and error.count("\n") == 1)


def test_nothing_is_written_before_everything_has_succeeded(tmp_path, capsys, monkeypatch):
    from deepr_hw.export.imports import onnx_import

    def fails(*_):
        raise ValueError("no agreement")

    monkeypatch.setattr(onnx_import, "agreement", fails)
    path = saved(graph([("MatMul", ["x", "w"], "y", {})], {"w": np.ones((64, 10), F)}, ("n", 64)), tmp_path)
    assert cli.main(["import", str(path), "--out", str(tmp_path / "net.safetensors"), "--data", "digits"]) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]
    assert capsys.readouterr().err == "deepr-hw: no agreement\n"


@pytest.mark.parametrize("unit", ["inf", "0", "-1", "nan", "-inf", "1e-30", "1e30"])
def test_refuses_a_unit_before_the_work(unit, tmp_path, capsys):
    out = tmp_path / "net.safetensors"
    argv = ["import", str(tmp_path / "absent.onnx"), "--out", str(out), "--data", "absent", f"--unit={unit}"]
    try:
        code = cli.main(argv)
    except SystemExit as stop:
        code = stop.code
    error = capsys.readouterr().err
    assert code == 2
    assert "unit" in error
    assert error.count("\n") == 1
    assert not out.exists()
    with pytest.raises(ValueError, match=r"unit \S+: must be a positive number"):
        import_model(MODELS / "torch_dynamo.onnx", VALUES, x_unit=float(unit))


def test_rounded_biases_are_noted(tmp_path):
    def notes(bias):
        model = graph(
            [
                ("QuantizeLinear", ["x", "s", "z"], "a", {}),
                ("DequantizeLinear", ["a", "s", "z"], "b", {}),
                ("DequantizeLinear", ["c", "s"], "w", {}),
                ("Gemm", ["b", "w", "bias"], "y", {}),
            ],
            {"s": F(0.25), "z": np.int8(0), "c": (4 * W).astype(np.int8), "bias": np.array(bias, F)},
        )
        return import_model(saved(model, tmp_path)).notes

    assert notes([0.0625, -3, 1000]) == ()
    assert notes([0.0625, 0.03, 0]) == ("Gemm_y: biases rounded to the accumulator's step 0.0625, by up to 0.03",)


def test_codes_go_in_as_they_are_behind_one_scale(tmp_path):
    """Mean and deviation inside of the model go into the first layer."""
    path = saved(
        graph(
            [("Sub", ["x", "m"], "a", {}), ("Div", ["a", "s"], "b", {}), ("MatMul", ["b", "w"], "y", {})],
            {"m": F(0.1307), "s": F(0.3081), "w": W},
        ),
        tmp_path,
    )
    imported = import_model(path, x_unit=1 / 255)
    assert imported.net.x_format == PIXEL
    codes = np.random.default_rng(0).integers(0, 256, (200, 4))
    np.testing.assert_array_equal(imported.codes(codes / 255), codes)
    found = agreement(path, imported, codes / 255)
    assert found.rms_error < 0.02
    assert found.same_class >= 190


def test_a_scale_per_feature_keeps_negative_values(tmp_path):
    path = saved(
        graph(
            [("Sub", ["x", "m"], "a", {}), ("Mul", ["a", "s"], "b", {}), ("MatMul", ["b", "w"], "y", {})],
            {"m": np.array([0.2, 0.5, 0.7, 0.1], F), "s": np.array([1, 2, 4, 0.5], F), "w": W},
        ),
        tmp_path,
    )
    codes = np.random.default_rng(0).integers(0, 256, (200, 4))
    assert agreement(path, import_model(path, x_unit=1 / 255), codes / 255).rms_error < 0.02


def test_codes_as_input_may_be_cast(tmp_path):
    path = saved(
        graph(
            [
                ("Cast", ["x"], "f", {"to": TensorProto.FLOAT}),
                ("Div", ["f", "k"], "a", {}),
                ("MatMul", ["a", "w"], "y", {}),
            ],
            {"k": F(255), "w": W},
            dtype=TensorProto.UINT8,
        ),
        tmp_path,
    )
    codes = np.random.default_rng(0).integers(0, 256, (200, 4))
    imported = import_model(path)
    np.testing.assert_array_equal(imported.codes(codes), codes)
    assert agreement(path, imported, codes).rms_error < 0.02


def test_the_command_line_takes_a_pipeline_and_a_layout(tmp_path, capsys):
    out = tmp_path / "net.safetensors"
    path = str(MODELS / "sklearn_standardized.onnx")
    assert (
        cli.main(
            [
                "import",
                path,
                "--out",
                str(out),
                "--data",
                "digits",
                "--unit",
                "0.0625",
                "--json",
                str(tmp_path / "i.json"),
            ]
        )
        == 0
    )
    found = json.loads((tmp_path / "i.json").read_text())
    assert found["agreement"]["same_class"] >= 356
    original = np.mean(first_output(path).astype(int) == DIGITS.y_test)
    assert found["test_accuracy"] == pytest.approx(original, abs=0.012)
    assert netfile.load(out).class_labels == tuple("0123456789")
    np.savez(tmp_path / "square.npz", np.eye(64), np.ones((10, 64)))
    argv = ["import", str(tmp_path / "square.npz"), "--out", str(out), "--data", "digits"]
    assert cli.main(argv) == 2
    assert "--layout" in capsys.readouterr().err
    assert cli.main([*argv, "--layout", "out-in"]) == 0
    capsys.readouterr()


def test_an_unused_name_of_an_operator_is_no_trap(tmp_path):
    """Nodes behind the logits and constants that nothing needs are not looked at."""
    model = graph([("MatMul", ["x", "w"], "y", {}), ("Tan", ["y"], "t", {}), ("Conv", ["t", "w"], "u", {})], {"w": W})
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.complex64([1j]), "unused"))
    assert import_model(saved(model, tmp_path), VALUES).net.n_connections == np.count_nonzero(W)
