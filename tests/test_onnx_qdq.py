"""The QDQ and QONNX files against the golden model, bit for bit, in everything that reads them."""

import json

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from deepr_hw import reference
from deepr_hw.export.onnx import integer as onnx_integer
from deepr_hw.export.onnx import qdq as onnx_qdq
from deepr_hw.export.onnx import qonnx_export
from deepr_hw.export.onnx.count import count_connections
from deepr_hw.export.onnx.session import LEVELS, run_model
from deepr_hw.ir import Budget, IntNet, fixed, sparse_linear
from deepr_hw.ir.fixed import Format
from deepr_hw.targets import ENGINES, get_engine
from tests.random_nets import random_codes, random_net
from tests.test_onnx_integer import (
    BREAKAGES,
    codes_as_logits,
    mnist_shaped,
    random_layer,
)

FLOAT32 = [seed for seed in range(60) if random_net(seed).acc_bits <= 25]
BUILDERS = {
    "qdq": lambda net, dense: onnx_qdq.build(net, dense=dense),
    "qdq codes": lambda net, dense: onnx_qdq.build(net, float_input=False, dense=dense),
    "qonnx": lambda net, dense: qonnx_export.build(net, dense=dense, batch="batch"),
}


def natural_units(net: IntNet, x: np.ndarray) -> np.ndarray:
    return np.ldexp(x.astype(np.float32), -net.x_format.frac)


def test_most_random_nets_fit_float32():
    assert len(FLOAT32) >= 50


@pytest.mark.parametrize("flavour", BUILDERS)
@pytest.mark.parametrize("seed", FLOAT32)
def test_every_level_and_the_reference_evaluator_agree(seed, flavour):
    net = random_net(seed)
    codes = random_codes(net, 9, seed)
    x = codes if flavour == "qdq codes" else natural_units(net, codes)
    expected = reference.logits(net, codes)
    model = BUILDERS[flavour](net, dense=bool(seed % 2))
    name = model.graph.input[0].name
    for level in LEVELS:
        options = onnx_qdq.SESSION_OPTIONS if flavour != "qonnx" else None
        outputs = run_model(model.SerializeToString(), x, 5, level, options)
        np.testing.assert_array_equal(onnx_qdq.to_codes(outputs["logits"], net.logit_frac), expected)
        if "class" in outputs:
            np.testing.assert_array_equal(outputs["class"], reference.predict(net, codes))
    logits = ReferenceEvaluator(model).run(["logits"], {name: x})[0]
    np.testing.assert_array_equal(onnx_qdq.to_codes(logits, net.logit_frac), expected)


@pytest.mark.parametrize("seed", FLOAT32[::3])
def test_qonnx_executor_agrees(seed, tmp_path):
    net = random_net(seed)
    x = random_codes(net, 9, seed)
    np.testing.assert_array_equal(qonnx_export.run(net, x, tmp_path).logits, reference.logits(net, x))


@pytest.mark.parametrize(
    "engine",
    [
        name
        for name, engine in ENGINES.items()
        if str(engine.run).startswith("deepr_hw.export.onnx")
        and not engine.encodes
        and "-no-vnni" not in name
        and not engine.shows_fault
    ],
)
def test_engines_agree_on_the_mnist_shape(engine, tmp_path):
    net = mnist_shaped()
    x = random_codes(net, 500)
    run = get_engine(engine)(net, x, tmp_path)
    np.testing.assert_array_equal(run.logits, reference.logits(net, x))
    assert run.logits.dtype == np.int32


@pytest.mark.parametrize("flavour", BUILDERS)
@pytest.mark.parametrize("dense", [False, True])
def test_files_are_sound_and_hold_the_connections(flavour, dense):
    net = mnist_shaped()
    model = BUILDERS[flavour](net, dense)
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    known = {info.name for info in (*inferred.graph.value_info, *inferred.graph.output)}
    assert known >= {output for node in inferred.graph.node for output in node.output}
    counted = [layer.matrix.n_nonzero if dense else layer.matrix.n_connections for layer in net.layers]
    assert count_connections(model) == counted
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert about["n_connections"] == "7904"
    if flavour != "qonnx":
        assert json.loads(about["session_options"]) == {"session.disable_quant_qdq": "1"}


@pytest.mark.parametrize("flavour", ["qdq", "qonnx"])
def test_size_follows_the_connections(flavour):
    net = mnist_shaped()
    indexed, dense = (len(BUILDERS[flavour](net, dense).SerializeToString()) for dense in (False, True))
    assert indexed < len(onnx_integer.build(net).SerializeToString()) + 12_000
    assert dense > net.n_positions


@pytest.mark.parametrize("build", [onnx_qdq.build, qonnx_export.build])
def test_refuses_what_float32_cannot_hold(build):
    n = 300
    layer = sparse_linear(
        n, 1, np.arange(n), np.zeros(n, int), np.full(n, 127), [1 << 24], fixed.PIXEL, Format(8, True, 0), None
    )
    with pytest.raises(ValueError, match=r"layer0: acc_bits = 26.*exceed the integers of float32.*integer flavour"):
        build(IntNet((layer,), Budget("global", (n,))))


@pytest.mark.parametrize("build", [onnx_qdq.build, qonnx_export.build])
def test_refuses_a_layer_too_large_for_a_matrix(build):
    layer = sparse_linear(100_000, 100_000, [5], [7], [1], None, fixed.PIXEL, Format(8, True, 0), None)
    with pytest.raises(ValueError, match=r"layer0: 10000000000 positions are too many"):
        build(IntNet((layer,), Budget("global", (1,))))


@pytest.mark.parametrize("room", [onnx_qdq, qonnx_export])
def test_refuses_a_layer_it_does_not_know(room):
    class Recurrent:
        kind = "recurrent"

    with pytest.raises(ValueError, match=r"layer2: no Q\w+ form for a layer of kind 'recurrent'"):
        room.add_layer(Recurrent(), None, "layer2", "x", "y", False)


@BREAKAGES
def test_comparison_sees_a_broken_qdq(spoil, detected):
    net = codes_as_logits(random_layer(np.random.default_rng(3), 30, 20, fixed.PIXEL, last=False, corner="ties"))
    x = random_codes(net, 200)
    model = onnx_qdq.build(net, float_input=False)
    spoil(model)
    logits = run_model(model.SerializeToString(), x, options=onnx_qdq.SESSION_OPTIONS)["logits"]
    assert (onnx_qdq.to_codes(logits, net.logit_frac) != reference.logits(net, x)).any() == detected


@pytest.mark.parametrize("rounding", ["FLOOR", "CEIL", "HALF_UP", "HALF_DOWN"])
def test_comparison_sees_another_rounding_in_qonnx(rounding, tmp_path, monkeypatch):
    net = codes_as_logits(random_layer(np.random.default_rng(3), 30, 20, fixed.PIXEL, last=False, corner="ties"))
    x = random_codes(net, 200)
    model = qonnx_export.build(net)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "rounding_mode":
                attribute.s = rounding.encode()
    monkeypatch.setattr(qonnx_export, "build", lambda *args, **more: model)
    assert (qonnx_export.run(net, x, tmp_path).logits != reference.logits(net, x)).any()


def test_values_near_an_integer_are_no_codes():
    near = np.array([[1.0, 2.0 + 2.0**-20]], np.float32)
    codes = onnx_qdq.to_codes(near, 3)
    assert codes.dtype == np.float64
    assert codes[0, 1] != 16
    assert onnx_qdq.to_codes(near[:, :1], 3).dtype == np.int32


def test_stock_hls4ml_reads_the_qonnx_file(tmp_path):
    from hls4ml.utils import config_from_onnx_model
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.util.cleanup import cleanup_model

    qonnx_export.export(mnist_shaped(), tmp_path)
    model = cleanup_model(ModelWrapper(str(tmp_path / "qonnx.onnx")))
    names = config_from_onnx_model(model, granularity="name", backend="Vitis", default_precision="fixed<32,16>")
    assert sum(name.startswith("MatMul") for name in names["LayerName"]) == 3
