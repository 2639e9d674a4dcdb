"""A user's way: fit on his own tables, export, feed the artefact his own X: every label is that of ``predict``."""

import json

import numpy as np
import onnx
import pytest
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.util.cleanup import cleanup_model
from sklearn import datasets

from deepr_hw import DeepRClassifier, reference
from deepr_hw.export.hls4ml import compile as hls4ml_compile
from deepr_hw.export.hls4ml import project as hls4ml_project
from deepr_hw.export.onnx import flavours as onnx_flavours
from deepr_hw.export.onnx import integer as onnx_integer
from deepr_hw.export.onnx import qdq as onnx_qdq
from deepr_hw.export.onnx import qonnx_export as qonnx
from deepr_hw.export.onnx.session import run_model
from deepr_hw.export.rtl import c_encoder


def scales_of_all_kinds():
    """Features from 1e-2 to 1e3 around offsets of their own, one of them constant."""
    rng = np.random.default_rng(0)
    x, y = datasets.make_classification(600, 20, n_informative=10, n_classes=4, random_state=0)
    x = (x + rng.normal(0, 30, 20)) * 10.0 ** rng.uniform(-2, 3, 20)
    x[:, 7] = 41.5
    return x, y


TABLES = {
    "breast_cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
    "wine": lambda: datasets.load_wine(return_X_y=True),
    "iris": lambda: datasets.load_iris(return_X_y=True),
    "digits": lambda: datasets.load_digits(return_X_y=True),
    "scales": scales_of_all_kinds,
}


@pytest.fixture(scope="module", params=TABLES)
def fitted(request):
    x, y = TABLES[request.param]()
    model = DeepRClassifier(hidden=(24,), n_connections=150, epochs=8, random_state=0).fit(x, y)
    # What follows shows something only if the network tells the classes apart, and all of them occur
    assert model.score(x, y) > {"scales": 0.45}.get(request.param, 0.7)
    assert np.unique(model.predict(x)).size == model.classes_.size
    return model, x


def from_integer(net, x, folder):
    path = onnx_flavours.export(net, folder, "integer", float_input=True)["path"]
    return run_model(path, x.astype(np.float32))["class"]


def from_qdq(net, x, folder):
    path = onnx_flavours.export(net, folder, "qdq")["path"]
    about = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    return run_model(path, x.astype(np.float32), options=json.loads(about["session_options"]))["class"]


def from_qonnx(net, x, folder):
    path = onnx_flavours.export(net, folder, "qonnx", batch="n")["path"]
    return run_model(path, x.astype(np.float32))["logits"].argmax(axis=1)


def from_qonnx_executor(net, x, folder):
    path = str(onnx_flavours.export(net, folder, "qonnx")["path"])
    model = cleanup_model(ModelWrapper(path), override_inpsize=len(x))
    (logits,) = execute_onnx(model, {model.graph.input[0].name: x.astype(np.float32)}).values()
    return logits.argmax(axis=1)


def from_hls4ml(net, x, folder):
    hls4ml_project.export(net, folder)
    return hls4ml_compile.predict(folder, hls4ml_project.PROJECT, x, net.n_out).argmax(axis=1)


def from_board(net, x, folder):
    return reference.predict(net, c_encoder.encode(net, x, folder))


ARTEFACTS = [from_integer, from_qdq, from_qonnx, from_qonnx_executor, from_hls4ml, from_board]


@pytest.mark.parametrize("artefact", ARTEFACTS, ids=lambda f: f.__name__)
def test_labels_are_those_of_predict(artefact, fitted, tmp_path):
    model, x = fitted
    labels = model.classes_[artefact(model.to_intnet(), x, tmp_path)]
    np.testing.assert_array_equal(labels, model.predict(x))


@pytest.mark.parametrize(
    ("module", "artefact"),
    [(onnx_integer, from_integer), (onnx_qdq, from_qdq), (qonnx, from_qonnx), (qonnx, from_qonnx_executor)],
)
def test_a_file_that_took_raw_values_for_natural_ones_would_be_seen(module, artefact, fitted, tmp_path, monkeypatch):
    model, x = fitted
    monkeypatch.setattr(module, "natural_input", lambda graph, net: graph.input("values", np.float32, net.in_shape))
    assert (model.classes_[artefact(model.to_intnet(), x, tmp_path)] != model.predict(x)).any()
