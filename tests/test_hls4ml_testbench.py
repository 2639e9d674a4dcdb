"""The generated C++ test bench: passes on the golden values, fails on any other, whatever is wrong with them."""

import numpy as np
import pytest

from deepr_hw import reference
from deepr_hw.export.hls4ml import project as hls4ml_project
from deepr_hw.export.hls4ml.testbench import build_bench, run_bench
from deepr_hw.targets import get_engine
from tests.random_nets import random_codes, random_net


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The built bench of a project, and its two data files as they were written."""
    folder = tmp_path_factory.mktemp("bench")
    hls4ml_project.export(random_net(4, max_width=12), folder, samples=random_codes(random_net(4, max_width=12), 20))
    data = folder / "tb_data"
    return build_bench(folder, hls4ml_project.PROJECT), {path: path.read_text() for path in data.iterdir()}


def alter_last_bit(text):
    lines = text.splitlines()
    words = lines[-1].split()
    words[-1] = repr(float(np.nextafter(float(words[-1]), np.inf)))
    return "\n".join([*lines[:-1], " ".join(words)]) + "\n"


@pytest.mark.parametrize(
    ("name", "alter", "message"),
    [
        (None, None, "20 samples, 0 mismatches"),
        ("tb_output_predictions", alter_last_bit, "20 samples, 1 mismatches"),
        ("tb_output_predictions", lambda text: text.split("\n", 1)[1], "0 golden outputs"),
        ("tb_output_predictions", lambda text: text + "0\n", "more golden outputs than samples"),
        ("tb_output_predictions", lambda text: "", "0 golden outputs"),
        ("tb_input_features", lambda text: "", "more golden outputs"),
        ("tb_input_features", lambda text: text.replace(" ", " 0 ", 1), "inputs"),
    ],
)
def test_verdict(project, name, alter, message):
    executable, originals = project
    for path, text in originals.items():
        path.write_text(text if path.stem != name else alter(text))
    bench = run_bench(executable)
    assert bench.passed == (name is None)
    assert message in bench.message


def test_missing_files_fail(project):
    executable, originals = project
    for path in originals:
        path.unlink()
    bench = run_bench(executable)
    assert not bench.passed
    assert bench.message == "0 samples, 0 mismatches"


def test_engine_gives_the_logits(tmp_path):
    net = random_net(14)
    x = random_codes(net, 100)
    np.testing.assert_array_equal(get_engine("csim")(net, x, tmp_path).logits, reference.logits(net, x))
