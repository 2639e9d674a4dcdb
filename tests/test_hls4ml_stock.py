"""Unmodified hls4ml, fed with our QONNX file, gives the same bits under every strategy."""

import re
from importlib.metadata import requires
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

from deepr_hw import reference
from deepr_hw.export.hls4ml import stock as hls4ml_stock
from tests.random_nets import random_codes, random_net


@pytest.mark.parametrize(
    ("strategy", "seed", "io_type"),
    [
        ("latency", 7, "io_stream"),
        ("resource", 12, "io_parallel"),
        ("resource_unrolled", 8, "io_parallel"),
        ("distributed_arithmetic", 9, "io_stream"),
    ],
)
def test_is_exact(tmp_path, strategy, seed, io_type):
    net = random_net(seed, max_width=12, max_layers=2)
    x = random_codes(net, 100, seed)
    run = hls4ml_stock.run(net, x, tmp_path, strategy, reuse_factor=seed % 4 + 1, io_type=io_type)
    np.testing.assert_array_equal(run.logits, reference.logits(net, x))


def test_refuses_a_strategy_that_hls4ml_would_take_for_latency(tmp_path):
    with pytest.raises(ValueError, match="expected one of latency"):
        hls4ml_stock.build_graph(random_net(1), tmp_path, "unrolled")


def test_needs_the_mend_for_distributed_arithmetic(tmp_path, monkeypatch):
    monkeypatch.setattr(hls4ml_stock.hls4ml_tensor_names.NameTensorsAfterLayers, "transform", lambda self, model: False)
    with pytest.raises(AssertionError, match="which is not in the model"):
        hls4ml_stock.build_graph(random_net(4, max_width=8), tmp_path, "distributed_arithmetic")


def test_da4ml_is_a_version_that_hls4ml_accepts():
    wanted = [Requirement(line) for line in requires("hls4ml") if line.startswith("da4ml<") or "da4ml>" in line]
    pinned = re.search("^da4ml==(.+)$", (Path(__file__).parent.parent / "constraints.txt").read_text(), re.M)[1]
    assert wanted
    assert all(requirement.specifier.contains(pinned) for requirement in wanted)
