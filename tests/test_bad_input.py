"""Bad input of every kind through every command: one line, exit code 2, no traceback, nothing left behind.

No training begins: what is refused is refused before the work.
"""

import dataclasses
import gzip
import io
import itertools
import json
import shutil
import subprocess
import sys
import typing
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import save as to_safetensors

from deepr_hw import cli, data, memory
from deepr_hw.ir import netfile
from deepr_hw.train import config
from deepr_hw.train.config import BOUNDS, load_config
from deepr_hw.train.loop import train
from tests.random_nets import random_net

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a short training."""
    folder = tmp_path_factory.mktemp("trained")
    train(load_config("digits", ["training.epochs=3"]), data.load("digits"), folder, progress=lambda *_: None)
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty present folder but for a network, on a machine with 8 GiB, where no training may begin."""

    def never(*args, **options):
        raise AssertionError("training began")

    monkeypatch.setattr("deepr_hw.train.loop.run_epoch", never)
    monkeypatch.setattr(memory, "free", lambda: 8 << 30)
    monkeypatch.chdir(tmp_path)
    netfile.save(random_net(1), tmp_path / "net.safetensors")
    return tmp_path


def refused(capsys, here, *argv):
    """The one line that refuses ``argv``; the present folder is as it was."""

    def listing():
        return {path: path.read_bytes() if path.is_file() else None for path in here.rglob("*")}

    before = listing()
    try:
        code = cli.main([str(arg) for arg in argv])
    except SystemExit as stop:  # argparse's own refusals
        code = stop.code
    err = capsys.readouterr().err
    assert code == 2, err
    assert err.startswith("deepr-hw: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert listing() == before
    return err


def out_of_bounds():
    """Every number of the configuration: below, above, not finite, of a wrong type; alone and in a list."""
    hints = {
        f"{section.name}.{'global' if f.name == 'total' else f.name}": str(f.type)
        for section in dataclasses.fields(config.Config)
        for f in dataclasses.fields(typing.get_type_hints(config.Config)[section.name])
    }
    for key, (low, high) in BOUNDS.items():
        kind = "float" if "float" in hints[key] else "int"
        above, below = (high * 2, low - 1) if kind == "float" else (int(high) + 1, int(low) - 1)
        values = [below, above, "nan", "inf", "-inf", "true", "{}", "1979-05-27", "10" + "0" * 400]
        if "tuple" in hints[key]:
            values = [*(f"[{value}]" for value in values), f"[{low}, 'x']", "[[1]]", *values[-4:-1]]
        for value in values:
            yield f"{key}={value}"


@pytest.mark.parametrize("override", list(out_of_bounds()))
def test_numbers_of_the_configuration(capsys, here, override):
    assert override.partition("=")[0] in refused(capsys, here, "train", "digits", "--out", "out", "--set", override)


@pytest.mark.parametrize(
    "override",
    [
        "data.name=''",
        "data.name=3",
        "data.name=[]",
        "data.scale=loud",
        "data.scale=1",
        "data.task=poetry",
        "network.init=warm",
        "network.bias=1",
        "network.bias='true'",
        "budget.device=z80",
        "budget.device=1",
        "budget.tiles=[1]",
        "budget.tiles=[1,2,3]",
        "training.method=deepr",
        "training.method=1",
        "training.optimizer=sdg",
        "training.schedule=sine",
        "training.l1=none",
        "training.epoch=3",
        "trainin.epochs=3",
        "training",
        "epochs=3",
        "=3",
        "a.b.c=3",
        "training.=3",
        ".epochs=3",
        "quantization.warmup_epochs=100",
        "training.patience=3",
        "network.hidden=3",
        "budget.per_layer=[1,2]",
        "budget.per_layer=[1,2,99999999]",
        "budget.global=6465",
        "budget.bytes=1",
        "budget.per_output=[65,1,1]",
        "budget.density=[0.1]",
        "data.validation=1437",
        "data.name=/dev/null",
        "data.name=none.npz",
        "data.name=none",
        "data.name=diabetes",
        "network.hidden=[16777216,16777216,16777216]",
    ],
)
def test_other_keys_of_the_configuration(capsys, here, override):
    refused(capsys, here, "train", "digits", "--out", "out", "--set", override)
    refused(capsys, here, "compare", "digits", "--out", "out", "--set", override)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[budget",
        "budget = 3",
        "training = 3\n[budget]\nglobal = 3",
        "[budget]\nglobal = 3\n[budget]\nbytes = 4",
        "[data]\nname = 'digits'",
        "\0",
        "a = " + "[" * 3000,
        "a = 1" + "0" * 5000,
        "[budget]\nglobal = 'x'",
        "[nothing]",
        "[budget]\nglobal = 3\ndensity = 0.1",
        "[[budget]]\nglobal = 3",
        "= 3",
        "[budget.global]\nx = 1",
        "\xff",
    ],
)
def test_configuration_files(capsys, here, text):
    (here / "my.toml").write_text(text, encoding="latin-1")
    refused(capsys, here, "train", "my.toml", "--out", "out")


ARRAYS = {"x_train": np.zeros((9, 4)), "y_train": np.arange(9) % 3, "x_test": np.zeros((3, 4)), "y_test": np.arange(3)}


def declared(shape, dtype="<f8"):
    """An .npy file that says it holds ``shape``, and holds nothing."""
    text = io.BytesIO()
    np.lib.format.write_array_header_1_0(text, {"descr": dtype, "fortran_order": False, "shape": shape})
    return text.getvalue()


def archive(method=zipfile.ZIP_STORED, **members):
    """An .npz archive: the sound arrays with some replaced; None leaves one out, bytes are taken as they are."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as file:
        for name, value in {**ARRAYS, **members}.items():
            text = io.BytesIO()
            if isinstance(value, bytes):
                text.write(value)
            elif value is not None:
                np.lib.format.write_array(text, np.asarray(value), allow_pickle=True)
            if value is not None:
                file.writestr(f"{name}.npy", text.getvalue())
    return content.getvalue()


def spoilt(array, value):
    array = array.astype(float)
    array.flat[-1] = value
    return array


NPZ = {
    "empty": b"",
    "no archive": b"hello" * 50,
    "half": archive()[:300],
    "one array": declared((3,)),
    "flipped": archive(method=zipfile.ZIP_DEFLATED).replace(b"\x78", b"\x79"),
    **{f"without {name}": archive(**{name: None}) for name in ARRAYS},
    **{f"objects in {name}": archive(**{name: np.array([{}] * 3, object)}) for name in ARRAYS},
    **{f"text in {name}": archive(**{name: np.array(["a"] * 9)}) for name in ARRAYS},
    **{f"nothing in {name}": archive(**{name: b""}) for name in ARRAYS},
    **{f"10^13 in {name}": archive(**{name: declared((10**13, 4))}) for name in ARRAYS},
    **{f"too little in {name}": archive(**{name: declared((1000, 4))}) for name in ARRAYS},
    **{f"complex {name}": archive(**{name: value.astype(complex)}) for name, value in ARRAYS.items()},
    **{f"0-d {name}": archive(**{name: np.array(3)}) for name in ARRAYS},
    **{f"empty {name}": archive(**{name: value[:0]}) for name, value in ARRAYS.items()},
    **{
        f"{value} in {name}": archive(**{name: spoilt(ARRAYS[name], value)})
        for name in ARRAYS
        for value in (np.nan, np.inf)
    },
    **{f"label {value}": archive(y_train=spoilt(ARRAYS["y_train"], value)) for value in (-1, 0.5, 1e6)},
    "negative shape": archive(x_train=declared((-3, 4))),
    "unknown class": archive(y_test=np.array([0, 1, 7])),
    "another width": archive(x_test=np.zeros((3, 5))),
    "objects as names": archive(class_labels=np.array([{}], object)),
    "one name": archive(class_labels=np.array(["a"])),
    "a name for all": archive(class_labels=np.array("abc")),
    "a table of names": archive(class_labels=np.array([["a", "b", "c"]])),
}


@pytest.mark.parametrize("name", NPZ)
def test_npz_files(capsys, here, name):
    (here / "my.npz").write_bytes(NPZ[name])
    assert "my.npz: " in refused(capsys, here, "train", "digits", "--out", "out", "--set", "data.name=my.npz")


def idx(*shape, kind=8, data=None, dims=None):
    head = bytes([0, 0, kind, len(shape) if dims is None else dims]) + np.array(shape, ">u4").tobytes()
    return head + (bytes(int(np.prod(shape))) if data is None else data)


SOUND_IDX = {"train-images": idx(9, 2, 2), "train-labels": idx(9), "t10k-images": idx(3, 2, 2), "t10k-labels": idx(3)}
IDX = {
    "empty": b"",
    "head only": b"\0\0\x08",
    "of floats": idx(9, 2, 2, kind=13),
    "short": idx(9, 2, 2)[:-1],
    "long": idx(9, 2, 2) + b"\0",
    "no dimension": idx(),
    "255 dimensions": idx(9, 2, 2, dims=255),
    "huge": idx(2**32 - 1, 2**32 - 1, data=b""),
    "bad magic": b"\1" + idx(9, 2, 2)[1:],
    "text": b"hello" * 99,
    "no samples": idx(0, 2, 2),
    "one dimension": idx(9),
    "other number": idx(8, 2, 2),
}


@pytest.mark.parametrize(
    ("name", "packed"),
    [*itertools.product(IDX, (False, True)), ("half a gzip file", None), ("a bomb", None), ("no gzip file", None)],
)
def test_idx_folders(capsys, here, name, packed):
    folder = here / "images"
    folder.mkdir()
    for role, content in SOUND_IDX.items():
        (folder / role).write_bytes(content)
    (folder / "train-images").unlink()
    if packed is None:
        content = {
            "half a gzip file": gzip.compress(SOUND_IDX["train-images"])[:-12],
            "no gzip file": b"hello" * 9,
            "a bomb": gzip.compress(idx(9, 2, 2) + bytes(1 << 26)),
        }[name]
    else:
        content = gzip.compress(IDX[name]) if packed else IDX[name]
    (folder / f"train-images{'' if packed is False else '.gz'}").write_bytes(content)
    assert "images" in refused(capsys, here, "train", "digits", "--out", "out", "--set", "data.name=images")


@pytest.mark.parametrize("role", SOUND_IDX)
def test_idx_folders_with_a_file_absent(capsys, here, role):
    for other, content in SOUND_IDX.items():
        if other != role:
            (here / other).write_bytes(content)
    err = refused(capsys, here, "verify", "net.safetensors", "--engines", "onnx", "--data", ".")
    assert f"no IDX file {role}" in err


def net_file(change=lambda about: None, **tensors):
    """The file of a network with its description or tensors changed."""
    about, arrays = netfile.to_parts(random_net(1))
    read = json.loads(about)
    read = change(read) or read
    return to_safetensors({**arrays, **tensors}, {netfile.KEY: read if isinstance(read, str) else json.dumps(read)})


def put(*path, value):
    def change(about):
        for key in path[:-1]:
            about = about[key]
        about[path[-1]] = value

    return change


WRONG = {"text": "4", "NaN": float("nan"), "4.5": 4.5, "null": None, "true": True, "list": [1], "object": {}}
_PATHS = {
    "schema": ("schema",),
    "layers": ("layers",),
    "n_in": ("layers", 0, "matrices", "weight", "n_in"),
    "n_out": ("layers", 0, "matrices", "weight", "n_out"),
    "bits": ("layers", 0, "matrices", "weight", "w_format", "bits"),
    "frac": ("layers", 0, "x_format", "frac"),
    "limits": ("budget", "limits"),
    "a limit": ("budget", "limits", 0),
}
NETS = {
    "empty": b"",
    "text": b"hello" * 9,
    "half": net_file()[:100],
    "no description": to_safetensors({}, {"a": "b"}),
    "not JSON": net_file(lambda about: "{"),
    "deep JSON": net_file(lambda about: "[" * 9000),
    "a list": net_file(lambda about: "[1]"),
    "n_out = 2^33": net_file(put("layers", 0, "matrices", "weight", "n_out", value=2**33)),
    "n_in = 10^12": net_file(put("layers", 0, "matrices", "weight", "n_in", value=10**12)),
    "schema 99": net_file(put("schema", value=99)),
    "no layers": net_file(put("layers", value=[])),
    "unknown kind": net_file(put("layers", 0, "kind", value="conv")),
    "stray tensor": net_file(x=np.zeros(3)),
    "float weights": net_file(**{"layers.0.weight.code": np.zeros(3)}),
    "a provenance of numbers": net_file(put("provenance", value={"data": 4})),
    "labels of numbers": net_file(put("class_labels", value=[1])),
    "negative limit": net_file(put("budget", "limits", value=[-1])),
    "no limit": net_file(put("budget", "limits", value=[])),
    "unknown task": net_file(put("task", value="poetry")),
    **{
        f"{key} is {name}": net_file(put(*path, value=value))
        for key, path in _PATHS.items()
        for name, value in WRONG.items()
        if (key, name) not in {("layers", "list")} and not (key == "limits" and name == "list")
    },
    **{
        f"provenance is {name}": net_file(put("provenance", value=value))
        for name, value in WRONG.items()
        if name != "object"
    },
}


@pytest.mark.parametrize("name", NETS)
def test_network_files(capsys, here, name):
    (here / "bad.safetensors").write_bytes(NETS[name])
    assert "bad.safetensors: " in refused(capsys, here, "info", "bad.safetensors")


@pytest.mark.parametrize(
    "command",
    [
        ["export", "onnx", "bad", "--out", "out"],
        ["export", "hls4ml", "bad", "--out", "out"],
        ["export", "rtl", "bad", "--out", "out"],
        ["verify", "bad", "--engines", "onnx"],
        ["hls", "bad", "--out", "out"],
        ["synth", "bad", "--out", "out"],
        ["load-diff", "bad", "net.safetensors", "--out", "out"],
        ["load-diff", "net.safetensors", "bad", "--out", "out"],
        ["certify", "bad"],
        ["import", "bad", "--out", "out"],
    ],
)
@pytest.mark.parametrize("content", [None, b"", b"hello" * 9])
def test_bad_files_of_every_command(capsys, here, command, content):
    if content is not None:
        (here / "bad").write_bytes(content)
    refused(capsys, here, *command)


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["frobnicate"],
        ["train"],
        ["train", "digits"],
        ["train", "none.toml", "--out", "out"],
        ["train", "digits", "--out", "net.safetensors"],
        ["train", "digits", "--out", "net.safetensors/x"],
        ["train", "digits", "--out", "/proc/none/x"],
        ["train", "digits", "--out", "out", "--resume", "--force"],
        ["train", "digits", "--out", "out", "--json", "none/x.json"],
        ["train", "digits", "--out", "out", "--json", "."],
        ["train", "digits", "--out", "."],
        ["train", "digits", "--out", ".", "--resume"],
        ["run", "digits", "--out", "out", "--engines", "vivado"],
        ["run", "digits", "--out", "out", "--engines", ""],
        ["run", "digits", "--out", "out", "--engines", "onnx:0"],
        ["run", "digits", "--out", "out", "--engines", "onnx:x"],
        ["run", "digits", "--out", "out", "--engines", "onnx:361"],
        ["run", "digits", "--out", "out", "--samples", "361"],
        ["run", "digits", "--out", "out", "--lanes", "3"],
        ["run", "digits", "--out", "out", "--lanes", "1000000000000"],
        ["run", "digits", "--out", "out", "--waves", "net.safetensors"],
        ["run", "digits", "--out", "out", "--json", "."],
        ["compare", "digits", "--out", "out", "--methods", "deepr"],
        ["compare", "digits", "--out", "out", "--budgets", "0"],
        ["compare", "digits", "--out", "out", "--budgets", "101%"],
        ["compare", "digits", "--out", "out", "--budgets", "x"],
        ["compare", "digits", "--out", "out", "--seeds", "0"],
        ["compare", "digits", "--out", "out", "--jobs", "-2"],
        ["compare", "digits", "--out", "out", "--backend", "mpi"],
        ["compare", "digits", "--out", "net.safetensors"],
        ["info", "."],
        ["info", "net.safetensors", "--json", "."],
        ["info", "net.safetensors", "--json", "none/x.json"],
        ["export", "vhdl", "net.safetensors", "--out", "out"],
        ["export", "onnx", "net.safetensors"],
        ["export", "onnx", "net.safetensors", "--out", "out", "--lanes", "8"],
        ["export", "onnx", "net.safetensors", "--out", "out", "--batch", "0"],
        ["export", "onnx", "net.safetensors", "--out", "out", "--batch", "-1"],
        ["export", "onnx", "net.safetensors", "--out", "out", "--flavour", "float"],
        ["export", "onnx", "net.safetensors", "--out", "net.safetensors"],
        ["export", "hls4ml", "net.safetensors", "--out", "out", "--backend", "gcc"],
        ["export", "hls4ml", "net.safetensors", "--out", "out", "--reuse-factor", "0"],
        ["export", "rtl", "net.safetensors", "--out", "out", "--flavour", "qdq"],
        ["export", "rtl", "net.safetensors", "--out", "out", "--lanes", "1000000000000"],
        ["verify", "net.safetensors", "--engines", "vivado"],
        ["verify", "net.safetensors", "--engines", ","],
        ["verify", "net.safetensors", "--samples", "0"],
        ["verify", "net.safetensors", "--samples", "1e3"],
        ["verify", "net.safetensors", "--samples", "1000000000000"],
        ["verify", "net.safetensors", "--engines", "onnx", "--samples", "1000000000"],
        ["verify", "net.safetensors", "--engines", "onnx:999999999"],
        ["verify", "net.safetensors", "--engines", "onnx:\u00b2"],
        ["verify", "net.safetensors", "--engines", "onnx", "--data", "none"],
        ["verify", "net.safetensors", "--engines", "onnx", "--data", "net.safetensors"],
        ["verify", "net.safetensors", "--engines", "onnx", "--data", "digits"],
        ["verify", "net.safetensors", "--engines", "onnx", "--waves", "net.safetensors"],
        ["verify", "net.safetensors", "--lanes", "\u00b2"],
        ["synth", "net.safetensors", "--target", "abacus"],
        ["synth", "net.safetensors", "--lanes", "0"],
        ["synth", "net.safetensors", "--banks", "3"],
        ["synth", "net.safetensors", "--out", "net.safetensors"],
        ["load-diff", "net.safetensors", "net.safetensors", "--out", "none/x"],
        ["load-diff", "net.safetensors", "net.safetensors", "--out", "."],
        ["load-diff", "net.safetensors", "net.safetensors", "--out", "out", "--lanes", "5"],
        ["hls", "net.safetensors", "--out", "net.safetensors"],
        ["hls", "net.safetensors", "--out", "out", "--io-type", "x"],
        ["certify", "none"],
        ["certify", "net.safetensors"],
        ["certify", ".", "--simulator", "x"],
        *(["import", "net.safetensors", "--out", "out", "--unit", unit] for unit in ("0", "-1", "inf", "nan", "x")),
        ["import", "net.safetensors", "--out", "none/x"],
        ["import", "net.safetensors", "--out", "."],
        ["import", "net.safetensors"],
    ],
)
def test_command_lines(capsys, here, argv):
    refused(capsys, here, *argv)


def onnx_model(op="Relu", **attributes):
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    node = helper.make_node(op, ["x"], ["y"], **attributes)
    values = [helper.make_tensor_value_info(name, kind, [1, 4]) for name in "xy"]
    return helper.make_model(helper.make_graph([node], "g", values[:1], values[1:])).SerializeToString()


def weights(*arrays):
    content = io.BytesIO()
    np.savez(content, *arrays)
    return content.getvalue()


IMPORTS = {
    "empty.onnx": b"",
    "text.onnx": b"hello" * 9,
    "half.onnx": onnx_model()[:20],
    "no layer.onnx": onnx_model(),
    "convolution.onnx": onnx_model("Sin"),
    "empty.npz": b"",
    "text.npz": b"hello" * 9,
    "nothing.npz": weights(),
    "complex.npz": weights(np.full((4, 3), 1j)),
    "text array.npz": weights(np.full((4, 3), "a")),
    "nan.npz": weights(np.full((4, 3), np.nan)),
    "inf.npz": weights(np.full((4, 3), np.inf)),
    "cube.npz": weights(np.ones((4, 3, 2))),
    "gap.npz": weights(np.ones((4, 3)), np.ones((5, 2))),
    "half.npz": weights(np.ones((4, 3)))[:80],
    "objects.npz": archive(x=np.array([{}], object)),
}


@pytest.mark.parametrize("name", IMPORTS)
def test_models_to_import(capsys, here, name):
    (here / name).write_bytes(IMPORTS[name])
    refused(capsys, here, "import", name, "--out", "out")


def flip(place):
    def spoil(content):
        content = bytearray(content)
        content[int(place * (len(content) - 1))] ^= 4
        return bytes(content)

    return spoil


CHECKPOINTS = {
    "empty": lambda c: b"",
    "half": lambda c: c[: len(c) // 2],
    "text": lambda c: b"hello" * 99,
    "another format": lambda c: c.replace(b"deepr_hw.train.checkpoint", b"deepr_hw.cucumbers!"),
    "a network": lambda c: net_file(),
    **{f"a bit flipped at {share}": flip(share) for share in (0, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 1)},
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints(capsys, here, trained, name):
    shutil.copytree(trained, here / "run")
    path = here / "run" / "checkpoint.safetensors"
    path.write_bytes(CHECKPOINTS[name](path.read_bytes()))
    err = refused(capsys, here, "train", "digits", "--out", "run", "--resume", "--set", "training.epochs=5")
    assert "run/checkpoint.safetensors: " in err


@pytest.mark.parametrize(
    "override",
    [
        "training.seed=1",
        "budget.global=900",
        "network.hidden=[64,16]",
        "data.validation=10",
        "augmentation.shift=1",
        "quantization.samples=999",
        "data.scale=standard",
    ],
)
def test_resuming_as_another_run(capsys, here, trained, override):
    shutil.copytree(trained, here / "run")
    err = refused(
        capsys, here, "train", "digits", "--out", "run", "--resume", "--set", "training.epochs=5", "--set", override
    )
    assert "run/checkpoint.safetensors: " in err


def test_the_deforming_kernel_reads_nothing_outside():
    """In a process of its own: without the guard this ends in a segmentation fault."""
    code = (
        "import numpy as np, deepr_hw.data.augment as a, deepr_hw.kernel.noise as n\n"
        "x = np.full((4, 9, 7), 200, np.uint8)\n"
        "for values in np.vstack([v * np.eye(4) for v in (1e39, 1e300, np.inf, np.nan, -1e39)]):\n"
        "    out = np.zeros_like(x)\n"
        "    a.augment(x, np.arange(4), out, *values, n.seed_state(np.random.default_rng(0)))\n"
        "    assert out.max() <= 200\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=120)
