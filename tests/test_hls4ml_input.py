"""A user's values into an hls4ml project: its bridge and its header make the reference's codes of them."""

import re
from dataclasses import replace

import hls4ml
import numpy as np
import pytest

from deepr_hw import reference
from deepr_hw.export.hls4ml import input as hls4ml_input
from deepr_hw.export.hls4ml import project as hls4ml_project
from deepr_hw.export.hls4ml.backends import BACKENDS, DEFAULT
from deepr_hw.export.hls4ml.compile import predict
from deepr_hw.ir.affine import Affine
from tests.random_nets import random_net
from tests.test_c_encoder import values_near_borders
from tests.test_units import with_unit

NETS = {"unsigned": random_net(14, max_width=12), "signed": random_net(7, max_width=12)}


def net_of(kind, per_feature=True):
    return with_unit(NETS[kind], np.random.default_rng(1), per_feature)


def natural(net, x):
    return np.ldexp(reference.logits(net, net.encode(x)).astype(float), -net.logit_frac)


def test_the_nets_are_what_their_names_say():
    assert [net.x_format.signed for net in NETS.values()] == [False, True]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("io_type", hls4ml_project.IO_TYPES)
def test_the_bridge_takes_values(backend, io_type, tmp_path):
    net = net_of("signed" if io_type == "io_stream" else "unsigned", backend != "Vivado")
    x = values_near_borders(net, 0)
    hls4ml_project.export(net, tmp_path, backend, io_type=io_type)
    np.testing.assert_array_equal(predict(tmp_path, hls4ml_project.PROJECT, x, net.n_out), natural(net, x))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # hls4ml leaves a file open
def test_an_exported_project_predicts_from_values(tmp_path):
    net = net_of("signed")
    single = values_near_borders(net, 0)
    between = single * (1 + 1e-9 * np.random.default_rng(0).normal(size=single.shape))  # two float32, as data often is
    hls4ml_project.export(net, tmp_path)
    linked = hls4ml.converters.link_existing_project(str(tmp_path))
    linked.compile()
    for x in (single, between):
        np.testing.assert_array_equal(linked.predict(x), natural(net, x))


def test_the_graph_predicts_from_values(tmp_path):
    net = net_of("unsigned")
    graph = hls4ml_project.build_graph(net, tmp_path)
    graph.compile()
    x = values_near_borders(net, 0)
    np.testing.assert_array_equal(graph.predict(x), natural(net, x))


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != DEFAULT])
@pytest.mark.parametrize("kind", NETS)
def test_the_header_serves_every_backend(backend, kind, tmp_path):
    net = net_of(kind)
    x = values_near_borders(net, 3)
    np.testing.assert_array_equal(hls4ml_project.encode(net, x, tmp_path, backend), net.encode(x))


def test_doubles_beyond_float32_saturate(tmp_path):
    net = replace(NETS["signed"], input_map=Affine(np.array([3], np.float32), np.array([2], np.float32)))
    x = np.full((2, net.n_in), 1e300) * [[1], [-1]]
    hls4ml_project.export(net, tmp_path)
    np.testing.assert_array_equal(predict(tmp_path, hls4ml_project.PROJECT, x, net.n_out), natural(net, x))


def test_another_bridge_is_refused(tmp_path):
    net = net_of("signed")
    hls4ml_project.export(net, tmp_path)
    path = tmp_path / "deepr_bridge.cpp"
    path.write_text(re.sub("convert_data<", "convert<", path.read_text()))
    with pytest.raises(RuntimeError, match=r"not the bridge of hls4ml 1\.3, it converts its input 0 times"):
        hls4ml_input.write_encoder(tmp_path, hls4ml_project.PROJECT, net)
