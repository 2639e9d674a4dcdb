"""Other people's hls4ml models: Dense layers with many zeros become sparse ones that give the same bits."""

import contextlib
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hls4ml.backends import get_backend
from hls4ml.converters import convert_from_onnx_model
from hls4ml.model.graph import ModelGraph
from hls4ml.utils import config_from_onnx_model
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.gemm_to_matmul import GemmToMatMul
from qonnx.util.cleanup import cleanup_model

from deepr_hw import cli
from deepr_hw.export.hls4ml import project as hls4ml_project
from deepr_hw.export.hls4ml import sparse as hls4ml_sparse
from deepr_hw.export.hls4ml.arrays import count_connections, read_layers
from deepr_hw.export.hls4ml.backends import BACKENDS, COMMON
from deepr_hw.export.hls4ml.compile import predict
from deepr_hw.export.imports.onnx_import import import_model, original_outputs
from deepr_hw.ir import Budget, IntNet, netfile, sparse_linear
from deepr_hw.ir.fixed import PIXEL, Format

SIZES = (24, 16, 12, 5)


def dense_model(out_dir, densities, backend="Vitis", io_type="io_parallel", **settings):
    """Somebody's float model under coarse types: truncating, wrapping accumulators, weights that need rounding."""
    rng = np.random.default_rng(3)
    layers = [{"class_name": "InputLayer", "name": "features", "input_shape": [SIZES[0]]}]
    for i, density in enumerate(densities):
        weight = rng.normal(size=SIZES[i : i + 2]) * (rng.random(SIZES[i : i + 2]) < density)
        layers.append(
            {
                "class_name": "Dense",
                "name": f"dense_{i}",
                "n_in": SIZES[i],
                "n_out": SIZES[i + 1],
                "weight_data": weight,
                "bias_data": rng.normal(size=SIZES[i + 1]),
            }
        )
        layers.append({"class_name": "Activation", "name": f"relu_{i}", "activation": "relu"})
    config = get_backend(backend).create_initial_config(io_type=io_type)
    config |= {
        "Backend": backend,
        "ProjectName": "their_model",
        "OutputDir": str(out_dir),
        "HLSConfig": {
            "Model": {
                "Precision": {"default": "fixed<16,6>", "accum": "fixed<12,4>"},
                "ReuseFactor": 1,
                "Strategy": "Latency",
                **settings,
            }
        },
    }
    hls4ml_sparse.install()
    with contextlib.redirect_stdout(io.StringIO()):
        graph = ModelGraph.from_layer_list(config, layers)
        graph.write()
    return graph


def outputs(folder):
    x = np.random.default_rng(5).normal(scale=3, size=(100, SIZES[0]))
    return predict(folder, "their_model", x, SIZES[-1])


@pytest.mark.parametrize(
    ("densities", "kinds", "backend", "io_type", "reuse_factor"),
    [
        ((0.1, 0.9, 0.3), ["SparseDense", "Dense", "SparseDense"], "Vitis", "io_parallel", 1),
        ((0.3, 0.2, 0.9), ["SparseDense", "SparseDense", "Dense"], "Vivado", "io_stream", 5),
        ((0.3, 0.9, 0.0), ["SparseDense", "Dense", "BiasDense"], "Vitis", "io_stream", 10**6),
    ],
)
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


@pytest.mark.filterwarnings("ignore:The GemmToMatMul transformation only offers")
def test_a_model_of_brevitas(tmp_path):
    """The documented path: Brevitas -> QONNX -> hls4ml -> the swap, and every output is the original's."""
    path = Path(__file__).parent / "models" / "brevitas_power_of_two_qonnx.onnx"
    hls4ml_sparse.install()
    with contextlib.redirect_stdout(io.StringIO()):
        model = cleanup_model(cleanup_model(ModelWrapper(str(path))).transform(GemmToMatMul()))
        config = config_from_onnx_model(model, granularity="name", backend="Vitis", default_precision="fixed<32,16>")
        config["Model"]["SparseBelow"] = 0.5
        graph = convert_from_onnx_model(
            model, output_dir=str(tmp_path), project_name="theirs", backend="Vitis", hls_config=config
        )
        graph.write()
    assert [layer.class_name for layer in graph.get_layers() if "Dense" in layer.class_name] == ["SparseDense"] * 2
    assert count_connections(tmp_path) == 711
    imported = import_model(path)
    step = float(imported.net.provenance["input_unit"])
    x = np.random.default_rng(2).integers(0, 256, (200, 64)) * step  # on the grid of the input's quantizer
    expected = original_outputs(path, x)
    assert len(np.unique(expected, axis=0)) == 200
    np.testing.assert_array_equal(predict(tmp_path, "theirs", x, 10), expected)


def pytorch_like(out_dir, shape, n_in, n_out, conversion):
    """One Dense layer with weights of ``shape``, under the key that hls4ml's PyTorch front end puts into its config."""
    rng = np.random.default_rng(1)
    layers = [
        {"class_name": "InputLayer", "name": "x", "input_shape": [n_in]},
        {
            "class_name": "Dense",
            "name": "fc",
            "n_in": n_in,
            "n_out": n_out,
            "bias_data": np.zeros(n_out),
            "weight_data": rng.integers(-3, 4, shape) * (rng.random(shape) < 0.3),
        },
    ]
    model = {"Precision": {"default": "fixed<24,16>"}, "ReuseFactor": 1, "Strategy": "Latency", "SparseBelow": 0.8}
    if conversion is not None:
        model |= {"ChannelsLastConversion": conversion, "TransposeOutputs": False}
    config = get_backend("Vitis").create_initial_config() | {
        "Backend": "Vitis",
        "ProjectName": "theirs",
        "OutputDir": str(out_dir),
        "HLSConfig": {"Model": model},
    }
    hls4ml_sparse.install()
    with contextlib.redirect_stdout(io.StringIO()):
        graph = ModelGraph.from_layer_list(config, layers)
        graph.write()
    return np.asarray(layers[1]["weight_data"])


@pytest.mark.parametrize(
    ("shape", "sizes", "conversion"),
    [
        ((6, 9), (6, 9), None),
        ((6, 6), (6, 6), None),
        ((9, 6), (6, 9), "full"),
        ((6, 6), (6, 6), "full"),
        ((6, 6), (6, 6), "internal"),
        ((6, 9), (6, 9), "off"),
    ],
)
def test_weights_reach_their_places(shape, sizes, conversion, tmp_path):
    weight = pytorch_like(tmp_path, shape, *sizes, conversion)
    matrix = weight.T if conversion in ("full", "internal") else weight
    x = np.random.default_rng(4).integers(-50, 50, (40, sizes[0])).astype(float)
    np.testing.assert_array_equal(predict(tmp_path, "theirs", x, sizes[1]), x @ matrix)


@pytest.mark.parametrize(
    ("shape", "sizes", "conversion", "found"),
    [
        ((9, 6), (6, 9), "off", r"weights of shape \(9, 6\), must be \(n_in, n_out\) = \(6, 9\)"),
        ((9, 6), (6, 9), None, r"weights of shape \(9, 6\), must be \(n_in, n_out\) = \(6, 9\)"),
        ((6, 6), (6, 6), "off", r"square weights, not turned by hls4ml, must be \(n_in, n_out\) = \(6, 6\)"),
    ],
)
def test_refuses_transposed_weights(shape, sizes, conversion, found, tmp_path):
    with pytest.raises(ValueError, match=f"layer fc: {found}; a PyTorch model needs channels_last_conversion='full'"):
        pytorch_like(tmp_path, shape, *sizes, conversion)


def wide_net(n: int) -> IntNet:
    """One layer of ``n`` connections."""
    index = np.arange(n)
    layer = sparse_linear(n, 2, index, 2 * index // n, index % 7, None, PIXEL, Format(8, True, 6), None)
    return IntNet((layer,), Budget("global", (n,)))


@pytest.mark.parametrize(
    ("n", "reuse_factor", "wanted"), [(4096, 1, None), (4097, 1, 2), (4097, 2, None), (20_000, 4, 5), (20_000, 5, None)]
)
def test_warns_of_more_multipliers_than_compilers_unroll(n, reuse_factor, wanted, tmp_path):
    with (
        contextlib.nullcontext()
        if wanted is None
        else pytest.warns(
            UserWarning, match=(f"layer fc1: {-(-n // reuse_factor)} multipliers .* reuse factor to at least {wanted}$")
        )
    ):
        hls4ml_project.build_graph(wide_net(n), tmp_path, reuse_factor=reuse_factor)


@pytest.mark.filterwarnings("default:layer fc1")
def test_the_command_line_warns_in_one_line(tmp_path, capsys):
    netfile.save(wide_net(4097), tmp_path / "net.safetensors")
    assert cli.main(["export", "hls4ml", str(tmp_path / "net.safetensors"), "--out", str(tmp_path / "hls")]) == 0
    assert capsys.readouterr().err == (
        "deepr-hw: warning: layer fc1: 4097 multipliers side by side; HLS compilers give up unrolling at about 4096, "
        "so set its reuse factor to at least 2\n"
    )


def test_the_plug_in_stands_alone(tmp_path):
    """The module, its table and its headers work outside of this package."""
    here, there = Path(hls4ml_sparse.__file__).parent, tmp_path / "plug_in"
    there.mkdir()
    for name in {"sparse.py", "backends.py", COMMON, *(row.header for row in BACKENDS.values())}:
        (there / name).write_bytes((here / name).read_bytes())
    code = "import sys; from plug_in import sparse; sparse.install(); assert 'deepr_hw' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
