"""A regression in every engine, and its answers in the user's unit wherever an artefact gives them."""

import ctypes
import json
from dataclasses import replace

import numpy as np
import onnx
import pytest

from deepr_hw import cli, reference
from deepr_hw.evidence.info import describe
from deepr_hw.evidence.verify import random_samples
from deepr_hw.export.hls4ml import input as hls4ml_input
from deepr_hw.export.hls4ml import project as hls4ml_project
from deepr_hw.export.hls4ml.compile import LIBRARY_FLAGS, compile_cpp
from deepr_hw.export.onnx import integer as onnx_integer
from deepr_hw.export.onnx import qdq as onnx_qdq
from deepr_hw.export.onnx import qonnx_export
from deepr_hw.export.onnx.session import run_model
from deepr_hw.export.rtl import c_decoder
from deepr_hw.export.rtl import image as rtl_image
from deepr_hw.ir import netfile
from deepr_hw.ir.affine import Affine
from deepr_hw.targets import get_engine
from tests.random_nets import random_codes, random_net

ENGINES = (
    "onnx",
    "onnx-unoptimized",
    "onnx-reference",
    "qdq",
    "qonnx",
    "qonnx-functions",
    "hls4ml",
    "verilator",
    "icarus",
)
SAMPLES = {"hls4ml": 50, "verilator": 20, "icarus": 4}


def regression(seed, per_output=True):
    """A random network whose answers have units of very different size."""
    net, rng = random_net(seed, max_width=24, max_layers=3), np.random.default_rng(seed)
    n = net.n_out if per_output else 1
    unit = Affine(rng.normal(0, 10.0, n), 10.0 ** rng.uniform(-6, 9, n))
    names = tuple(f"y{i}" for i in range(net.n_out))
    return replace(net, task="regression", output_map=unit, class_labels=names)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("seed", [1, 4])
def test_every_engine_gives_the_references_integers(engine, seed, tmp_path):
    net = regression(seed)
    x = random_codes(net, SAMPLES.get(engine, 300), seed)
    np.testing.assert_array_equal(get_engine(engine)(net, x, tmp_path).logits, reference.logits(net, x))


@pytest.mark.parametrize("unit", [None, False, True])
@pytest.mark.parametrize("seed", range(6))
def test_the_qdq_file_gives_answers_in_the_users_unit(unit, seed):
    net = regression(seed, bool(unit))
    net = net if unit is not None else replace(net, output_map=Affine(np.zeros(1), np.ones(1)))
    samples = random_samples(net, 200, seed)
    model = onnx_qdq.build(net)
    assert [output.name for output in model.graph.output] == ["logits", "prediction"]
    found = run_model(model.SerializeToString(), samples.values.astype(np.float32), options=onnx_qdq.SESSION_OPTIONS)
    expected = net.decode(reference.logits(net, samples.codes))
    assert found["prediction"].dtype == np.float32
    np.testing.assert_array_equal(found["prediction"], expected)


@pytest.mark.parametrize("module", [onnx_integer, qonnx_export])
def test_files_without_answers_tell_the_unit(module):
    net = regression(2)
    model = module.build(net)
    assert [output.name for output in model.graph.output] == ["logits"], "no class of a regression"
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert about["task"] == "regression"
    told = json.loads(about["output"])
    logits = reference.logits(net, random_codes(net, 50))
    natural = np.ldexp(logits.astype(np.float64), -told["frac"]).astype(np.float32)
    found = (natural - np.float32(told["offset"])) * np.float32(told["factor"])
    np.testing.assert_array_equal(found, net.decode(logits))


def test_a_classification_has_a_class_and_no_unit():
    net = random_net(2)
    for module in (onnx_integer, onnx_qdq):
        model = module.build(net)
        assert [output.name for output in model.graph.output] == ["logits", "class"]
        assert "output" not in {entry.key for entry in model.metadata_props}
    assert c_decoder.board_files(net) == {}


@pytest.mark.parametrize("flags", [c_decoder.FLAGS, ("-std=gnu11", "-O3", "-march=native")], ids=" ".join)
@pytest.mark.parametrize("seed", range(4))
def test_the_boards_c_gives_the_same_answers(flags, seed, tmp_path):
    net = regression(seed, per_output=seed != 1)
    logits = np.random.default_rng(seed).integers(-(1 << 31), 1 << 31, (300, net.n_out)).astype(np.int32)
    logits[:2] = [[np.iinfo(np.int32).min], [np.iinfo(np.int32).max]]
    np.testing.assert_array_equal(c_decoder.decode(net, logits, tmp_path, flags), net.decode(logits))


def test_the_folder_of_a_board_tells_how_to_decode(tmp_path):
    net = regression(3)
    rtl_image.export(net, tmp_path, lanes=2)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["logits"]["task"] == "regression"
    assert np.float32(manifest["logits"]["factor"]).tolist() == net.output_map.factor.tolist()
    assert "deepr_decode(logits, values)" in (tmp_path / "README.md").read_text()
    assert {"deepr_decode.c", "deepr_decode.h"} <= {path.name for path in tmp_path.iterdir()}
    rtl_image.export(random_net(3), tmp_path / "class", lanes=2)
    assert "TUSER is the index of the largest one" in (tmp_path / "class" / "README.md").read_text()
    assert not (tmp_path / "class" / "deepr_decode.c").exists()


def test_the_hls4ml_projects_header_gives_the_same_answers(tmp_path):
    net = regression(1)
    hls4ml_project.export(net, tmp_path)
    logits = reference.logits(net, random_codes(net, 40))
    source = f"""#include "firmware/deepr_encode.h"
#include "{hls4ml_input.DECODER}"
extern "C" void decode(const double *outputs, float *answers) {{ deepr_output::decode(outputs, answers); }}
"""
    compile_cpp(tmp_path, source, tmp_path / "decode.so", LIBRARY_FLAGS)
    function = ctypes.CDLL(str(tmp_path / "decode.so")).decode
    function.argtypes, function.restype = (ctypes.c_void_p, ctypes.c_void_p), None
    answers = np.empty(logits.shape, np.float32)
    for sample, result in zip(np.ldexp(logits.astype(np.float64), -net.logit_frac), answers, strict=True):
        function(np.ascontiguousarray(sample).ctypes.data, result.ctypes.data)
    np.testing.assert_array_equal(answers, net.decode(logits))


def test_info_shows_the_unit(tmp_path, capsys):
    net = regression(2)
    netfile.save(net, tmp_path / "net.safetensors")
    assert cli.main(["info", str(tmp_path / "net.safetensors")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"regression: value = (logit * 2**-frac - offset) * factor, float32; frac = {net.logit_frac}" in shown
    assert f"y0: offset = {net.output_map.offset[0]:.9g}, factor = {net.output_map.factor[0]:.9g}" in shown
    assert describe(net)["output"]["factor"] == net.output_map.factor.tolist()
    netfile.save(replace(regression(2, per_output=False), class_labels=()), tmp_path / "one.safetensors")
    assert cli.main(["info", str(tmp_path / "one.safetensors")]) == 0
    assert "every output: offset" in capsys.readouterr().out


def test_the_whole_path(tmp_path, capsys):
    out = tmp_path / "run"
    assert (
        cli.main(["run", "diabetes", "--out", str(out), "--set", "training.epochs=20", "--engines", "onnx,qdq,c-codes"])
        == 0
    )
    text = " ".join(capsys.readouterr().out.split())  # lines are broken where the path is long
    assert "integer test R2 0." in text
    assert "certified: one K everywhere" in text
    page = (out / "report.html").read_text()
    assert "integer test R2 0." in page
    assert "RMSE" in page
    assert onnx.load(out / "onnx" / "qdq.onnx").graph.output[1].name == "prediction"
