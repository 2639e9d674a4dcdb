"""Other people's hls4ml models: Dense layers with many zeros become sparse ones that give the same bits."""

import contextlib
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hls4ml.backends import get_backend
from hls4ml.model.graph import ModelGraph

from deepr_hw.export import hls4ml_sparse
from deepr_hw.export.hls4ml_arrays import read_layers
from deepr_hw.export.hls4ml_compile import predict

SIZES = (24, 16, 12, 5)


def dense_model(out_dir, densities, backend="Vitis", io_type="io_parallel", **settings):
    """Somebody's float model under coarse types: truncating, wrapping accumulators, weights that need rounding."""
    rng = np.random.default_rng(3)
    layers = [{"class_name": "InputLayer", "name": "features", "input_shape": [SIZES[0]]}]
    for i, density in enumerate(densities):
        weight = rng.normal(size=SIZES[i : i + 2]) * (rng.random(SIZES[i : i + 2]) < density)
        layers.append({"class_name": "Dense", "name": f"dense_{i}", "n_in": SIZES[i], "n_out": SIZES[i + 1],
                       "weight_data": weight, "bias_data": rng.normal(size=SIZES[i + 1])})
        layers.append({"class_name": "Activation", "name": f"relu_{i}", "activation": "relu"})
    config = get_backend(backend).create_initial_config(io_type=io_type)
    config |= {"Backend": backend, "ProjectName": "their_model", "OutputDir": str(out_dir), "HLSConfig": {"Model": {
        "Precision": {"default": "fixed<16,6>", "accum": "fixed<12,4>"}, "ReuseFactor": 1, "Strategy": "Latency",
        **settings}}}
    hls4ml_sparse.install()
    with contextlib.redirect_stdout(io.StringIO()):
        graph = ModelGraph.from_layer_list(config, layers)
        graph.write()
    return graph


def outputs(folder):
    x = np.random.default_rng(5).normal(scale=3, size=(100, SIZES[0]))
    return predict(folder, "their_model", x, SIZES[-1])


@pytest.mark.parametrize(("densities", "kinds", "backend", "io_type", "reuse_factor"), [
    ((0.1, 0.9, 0.3), ["SparseDense", "Dense", "SparseDense"], "Vitis", "io_parallel", 1),
    ((0.3, 0.2, 0.9), ["SparseDense", "SparseDense", "Dense"], "Vivado", "io_stream", 5),
    ((0.3, 0.9, 0.0), ["SparseDense", "Dense", "BiasDense"], "Vitis", "io_stream", 10**6),
])
def test_gives_the_same_bits(tmp_path, densities, kinds, backend, io_type, reuse_factor):
    dense = dense_model(tmp_path / "dense", densities, backend, io_type)
    sparse = dense_model(tmp_path / "sparse", densities, backend, io_type, SparseBelow=0.5, ReuseFactor=reuse_factor)
    for model, expected in ((dense, ["Dense"] * 3), (sparse, kinds)):
        assert [layer.class_name for layer in model.get_layers() if "Dense" in layer.class_name] == expected
    expected = outputs(tmp_path / "dense")
    assert (len(np.unique(expected, axis=0)) > 1) == (densities[-1] > 0)
    np.testing.assert_array_equal(outputs(tmp_path / "sparse"), expected)
    for cpp, i in zip(read_layers(tmp_path / "sparse"), np.flatnonzero(np.array(kinds) != "Dense"), strict=True):
        assert cpp.n_connections == np.count_nonzero(dense.graph[f"dense_{i}"].get_weights("weight").data)


def test_layers_are_chosen_by_name(tmp_path):
    config = {"SparseBelow": 1.0, "LayerName": {}}
    graph = dense_model(tmp_path, (0.1, 0.0, 0.9), **config)
    assert "Dense" not in [layer.class_name for layer in graph.get_layers()]
    node = graph.graph["dense_0"]
    graph.config.config["HLSConfig"]["LayerName"] = {"dense_0": {"SparseBelow": 0.05}, "dense_1": {}}
    assert hls4ml_sparse._setting(node, "SparseBelow") == 0.05
    assert hls4ml_sparse._setting(graph.graph["dense_1"], "SparseBelow") == 1.0


def test_the_plug_in_stands_alone(tmp_path):
    """The module and its headers work outside of this package."""
    here = Path(hls4ml_sparse.__file__).parent
    for name in ("hls4ml_sparse.py", *set(hls4ml_sparse.SOURCES.values())):
        (tmp_path / name).write_bytes((here / name).read_bytes())
    code = "import sys, hls4ml_sparse; hls4ml_sparse.install(); assert 'deepr_hw' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
