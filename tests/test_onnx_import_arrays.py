"""Plain arrays as networks: which array is what, in which order, and which side of a matrix is the input."""

import itertools
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from deepr_hw.export.imports.array_chain import read_arrays
from deepr_hw.export.imports.onnx_import import agreement, import_model, original_outputs

RNG = np.random.default_rng(0)
SIZES = (64, 20, 20, 10)
LAYERS = [
    (np.where(RNG.random(shape) < 0.3, RNG.normal(size=shape), 0), RNG.normal(size=shape[1]))
    for shape in itertools.pairwise(SIZES)
]
X = RNG.random((50, 64))


def expected(x=X, layers=LAYERS):
    for weight, bias in layers[:-1]:
        x = np.maximum(x @ weight + bias, 0)
    return x @ layers[-1][0] + layers[-1][1]


def state_dict(names=("fc1", "fc2", "fc3"), layers=LAYERS, biased=True):
    """As PyTorch stores it: (n_out, n_in)."""
    parts = {}
    for name, (weight, bias) in zip(names, layers, strict=True):
        parts |= {f"{name}.weight": weight.T, **({f"{name}.bias": bias} if biased else {})}
    return {name: np.ascontiguousarray(part) for name, part in parts.items()}


def saved(arrays, tmp_path, suffix=".npz"):
    path = tmp_path / f"model{suffix}"
    if suffix == ".npz":
        np.savez(path, **arrays)
    else:
        save_file(arrays, path)
    return path


def check(path, layout=None, want=None):
    np.testing.assert_allclose(original_outputs(path, X, layout), expected() if want is None else want)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize(
    "names", [("fc1", "fc2", "fc3"), ("0", "2", "10"), ("layers.0", "layers.1", "head"), ("z", "y", "x")]
)
def test_a_state_dict(names, suffix, tmp_path):
    """Its own order is lost in .safetensors: 10 is stored before 2, and head before layers."""
    path = saved(state_dict(names), tmp_path, suffix)
    check(path)
    imported = import_model(path, X)
    assert imported.net.n_connections == sum(np.count_nonzero(weight) for weight, _ in LAYERS)
    assert agreement(path, imported, X).rms_error < 0.05


def test_a_shuffled_archive_is_put_in_order_by_its_shapes(tmp_path):
    arrays = state_dict(("in", "mid", "out"))
    check(saved({name: arrays[name] for name in sorted(arrays, reverse=True)}, tmp_path))


def test_an_order_that_nothing_tells_is_refused(tmp_path):
    weight = np.eye(10) + 1
    path = saved({"a.weight": weight, "b.weight": weight}, tmp_path, ".safetensors")
    with pytest.raises(ValueError, match=r"a\.weight: whether it or b\.weight comes first is not told"):
        import_model(path, X[:, :10])
    many = {f"{'abcdefghijklmnop'[i]}.weight": np.ones((3, 3)) for i in range(15)} | {"z.weight": np.ones((5, 7))}
    with pytest.raises(ValueError, match="number the layers"):
        import_model(saved(many, tmp_path, ".safetensors"), X[:, :3])


def test_arrays_in_the_order_of_keras(tmp_path):
    layers = [LAYERS[0], LAYERS[2]]
    np.savez(tmp_path / "weights.npz", *[part for layer in layers for part in layer])
    imported = import_model(tmp_path / "weights.npz", X, x_unit=1 / 255)
    assert imported.net.n_connections == sum(np.count_nonzero(weight) for weight, _ in layers)
    check(tmp_path / "weights.npz", want=expected(layers=layers))
    assert agreement(tmp_path / "weights.npz", imported, X).rms_error < 0.05


def test_kernels_are_in_out(tmp_path):
    arrays = {}
    for i, (weight, bias) in enumerate(LAYERS):
        arrays |= {f"dense_{i}/kernel:0": weight, f"dense_{i}/bias:0": bias}
    check(saved(arrays, tmp_path))
    check(
        saved(
            {name.replace("/", ".").replace(":0", ""): part for name, part in arrays.items()}, tmp_path, ".safetensors"
        )
    )


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_transposed_matrices_are_known_by_their_shapes(suffix, tmp_path):
    layers = [LAYERS[0], LAYERS[2]]
    arrays = {}
    for i, (weight, bias) in enumerate(layers):
        arrays |= {f"{i}.weight": weight.copy(), f"{i}.bias": bias}  # not as PyTorch stores them
    path = saved(arrays, tmp_path, suffix)
    check(path, want=expected(layers=layers))
    assert any("0.weight: stored as (n_in, n_out), as its shape tells" in note for note in import_model(path, X).notes)
    np.savez(tmp_path / "turned.npz", *[part.T for layer in layers for part in layer])  # nor these as Keras does
    check(tmp_path / "turned.npz", want=expected(layers=layers))


def squares(turned, names=("arr_0", "arr_1", "arr_2")):
    return {name: weight.T if turned else weight for name, (weight, _) in zip(names, LAYERS, strict=True)}


@pytest.mark.parametrize("turned", [False, True])
def test_a_square_matrix_is_not_taken_in_silence(turned, tmp_path):
    path = saved(squares(turned), tmp_path)
    with pytest.raises(ValueError, match=r"arr_1: square, so its shape \(20, 20\) .*; say --layout in-out .* out-in"):
        import_model(path, X)
    check(path, ["in-out", "out-in"][turned], expected(layers=[(weight, 0) for weight, _ in LAYERS]))
    with pytest.raises(ValueError, match="arr_0: takes"):
        import_model(path, X, layout=["out-in", "in-out"][turned])


def test_a_convention_that_the_shapes_contradict_tells_nothing_of_squares(tmp_path):
    path = saved(squares(False, ("0.weight", "1.weight", "2.weight")), tmp_path)
    with pytest.raises(ValueError, match=r"1\.weight: square"):
        import_model(path, X)
    check(path, "in-out", expected(layers=[(weight, 0) for weight, _ in LAYERS]))


def test_square_matrices_of_a_state_dict_are_out_in(tmp_path):
    layers = [(weight[:20, :20], bias[:20]) for weight, bias in LAYERS[:2]]
    path = saved(state_dict(("0", "2"), layers), tmp_path)
    np.testing.assert_allclose(original_outputs(path, X[:, :20]), expected(X[:, :20], layers))
    np.testing.assert_allclose(
        original_outputs(path, X[:, :20], "in-out"), expected(X[:, :20], [(weight.T, bias) for weight, bias in layers])
    )


def test_a_single_matrix_needs_data_a_bias_a_name_or_the_option(tmp_path):
    weight, bias = LAYERS[2]
    path = saved({"arr_0": weight}, tmp_path)
    with pytest.raises(ValueError, match=r"arr_0: shape \(20, 10\) can be \(n_in, n_out\) and \(n_out, n_in\)"):
        read_arrays(path)
    assert read_arrays(path, 10).layers[0].weight.shape == (10, 20)
    assert read_arrays(path, layout="out-in").layers[0].weight.shape == (10, 20)
    assert read_arrays(saved({"arr_0": weight, "arr_1": bias}, tmp_path)).layers[0].weight.shape == (20, 10)
    assert read_arrays(saved({"weight": weight}, tmp_path)).layers[0].weight.shape == (10, 20)


def test_masks_of_pytorchs_pruning_are_the_connections(tmp_path):
    arrays, keep = state_dict(), RNG.random((20, 64)) < 0.1
    weight = arrays.pop("fc1.weight")
    dense = np.where(keep, RNG.normal(size=weight.shape), 7.0)
    dense[np.argwhere(keep)[0][0], np.argwhere(keep)[0][1]] = 0  # a connection of weight 0
    arrays |= {"fc1.weight_orig": dense, "fc1.weight_mask": keep.astype(np.float32)}
    path = saved(arrays, tmp_path, ".safetensors")
    check(path, want=expected(layers=[((dense * keep).T, LAYERS[0][1]), *LAYERS[1:]]))
    assert import_model(path, X).net.layers[0].matrix.n_connections == keep.sum()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8])
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_every_type_of_real_numbers(dtype, suffix, tmp_path):
    layers = [((4 * weight).astype(dtype), (4 * bias).astype(dtype)) for weight, bias in LAYERS]
    check(
        saved(state_dict(layers=layers), tmp_path, suffix),
        want=expected(layers=[(weight.astype(float), bias.astype(float)) for weight, bias in layers]),
    )


ARRAYS = state_dict()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"w": np.full((2, 2), np.nan)}, "w: contains NaN"),
        ({"w": np.full((2, 3), np.inf)}, "w: contains NaN"),
        ({"w": np.ones((2, 3)) * 1j}, "w: holds complex128; only real numbers"),
        ({"w": np.array([["a", "b"]])}, "w: holds <U1; only real numbers"),
        ({"w": np.array([["2026-01-01"]], "M8[D]")}, "w: holds datetime64"),
        ({"w": np.array([[object()]], object)}, "allow_pickle"),
        ({"w": np.zeros((2, 2), [("a", "f4")])}, "w: holds"),
        ({"w": np.ones((0, 3))}, "w: shape .* is empty"),
        ({"w": np.ones(3)}, r"w: shape \(3,\) is neither a matrix nor"),
        ({}, "no matrix in it"),
        ({"a": np.ones((2, 3)), "b": np.ones(4)}, r"b: shape \(4,\) is neither a matrix nor the bias of one that fits"),
        ({"a": np.ones((2, 3)), "b": np.ones(3), "c": np.ones(3)}, r"c: shape \(3,\) is neither"),
        ({"a": np.ones((2, 3)), "b": np.float64(1)}, r"b: shape \(\) is neither"),
        ({"a": np.ones((2, 3)), "b": np.ones((4, 5))}, "b: takes 4 features, the layer before gives 3"),
        ({"a": np.ones((2, 3)), "b": np.ones((3, 4)), "c": np.ones(3)}, "b: gives 4 features, its bias has 3"),
        ({**ARRAYS, "bn.running_mean": np.ones(20)}, r"bn\.running_mean: a normalization"),
        ({**ARRAYS, "norm.weight": np.ones(20)}, r"norm\.weight: shape \(20,\) is neither"),
        ({**ARRAYS, "norm.bias": np.ones(20)}, r"norm\.bias: shape \(20,\) is neither"),
        ({"conv.weight": np.ones((4, 1, 3, 3)), **ARRAYS}, r"conv\.weight: shape .* convolution .* only dense layers"),
        (
            {"0.weight_orig": np.ones((3, 2)), "0.weight_mask": np.ones((2, 3))},
            r"0\.weight_orig: shape .* its mask has",
        ),
    ],
)
def test_refuses_arrays_by_name(arrays, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        import_model(saved(arrays, tmp_path))


def test_refuses_data_of_another_size(tmp_path):
    with pytest.raises(ValueError, match=r"fc1\.weight: takes 64 features, the data gives 63"):
        import_model(saved(state_dict(), tmp_path), X[:, 1:])


def test_refuses_damaged_files(tmp_path):
    for suffix in (".npz", ".safetensors"):
        whole = saved(state_dict(), tmp_path, suffix).read_bytes()
        path = tmp_path / f"damaged{suffix}"
        for content in (b"", b"text", whole[:100], whole[: len(whole) // 2], whole[:-30]):
            path.write_bytes(content)
            with pytest.raises(ValueError, match="damaged"):
                import_model(path, X)
    np.save(tmp_path / "one.npy", X)
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    with pytest.raises(ValueError, match="no archive of named arrays"):
        import_model(tmp_path / "one.npz", X)
    with zipfile.ZipFile(tmp_path / "odd.npz", "w") as archive:
        archive.writestr("note.txt", "hello")
    with pytest.raises(ValueError, match=r"odd\.npz"):
        import_model(tmp_path / "odd.npz", X)


def test_a_layout_is_for_arrays(tmp_path):
    with pytest.raises(ValueError, match="layout out-in: only arrays"):
        import_model(tmp_path / "model.onnx", layout="out-in")
    with pytest.raises(ValueError, match="layout 'sideways': expected one of in-out, out-in"):
        import_model(saved(state_dict(), tmp_path), X, layout="sideways")
