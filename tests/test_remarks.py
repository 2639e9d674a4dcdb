"""What is said of data, course and result that look wrong, and that a run which diverges finds its way back."""

import json

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_wine

from deepr_hw import cli, data, reference
from deepr_hw.evidence.info import describe
from deepr_hw.evidence.report import write_report
from deepr_hw.ir.tasks import balanced, recall
from deepr_hw.ir.usable import usable_share
from deepr_hw.train.config import config_from
from deepr_hw.train.loop import train
from deepr_hw.train.remarks import is_imbalanced, of_data, of_result
from tests.random_nets import random_net


def dataset(x, y, names=None):
    order = np.random.default_rng(0).permutation(len(y))
    x, y, n = x[order], y[order], len(y) // 4
    return data.make_dataset("odd", x[n:], y[n:], x[:n], y[:n], None if names is None else np.array(names))


def wine():
    return dataset(*load_wine(return_X_y=True))


def settings(scale="auto", hidden=(40,), k=200, **training):
    return config_from(
        {
            "data": {"scale": scale},
            "network": {"hidden": list(hidden)},
            "budget": {"global": k},
            "training": {"epochs": 12, **training},
        }
    )


def run(config, samples, folder, **options):
    return train(config, samples, folder, **{"progress": lambda *_: None, **options})


def said(samples, scale="auto"):
    return of_data(samples.x_train, data.encoded(samples, scale), len(samples.x_train), scale)


def test_sound_data_is_not_talked_about(tmp_path):
    for samples in (wine(), data.load("digits")):
        assert said(samples) == []
    assert run(settings(), wine(), tmp_path).history[-1].remarks == ()


def test_features_that_collapse_are_counted():
    x, y = load_wine(return_X_y=True)
    x[:, 7] = 3.25  # the same everywhere: no code could tell more
    (first, second) = said(dataset(x, y), "none")
    assert first.startswith("5 of 13 features have one code for (nearly) all training samples")
    assert second.startswith("inputs have a root mean square of 236 where training wants about 1")
    outlier = np.random.default_rng(0).normal(size=(4000, 3))
    outlier[0, 1] = 1e6
    (only,) = said(dataset(outlier, np.arange(4000) % 2))
    assert only.startswith("1 of 3 features")


def test_labels_with_gaps_and_empty_classes():
    x, y = load_wine(return_X_y=True)
    (gaps,) = said(dataset(x, 2 * y + 1))
    assert gaps == "3 of 6 classes have no training sample (0, 2, 4): labels should count 0, 1, 2, .. without gaps"
    (empty,) = said(dataset(x, y, ["barolo", "grignolino", "barbera", "lost"]))
    assert empty == "1 of 4 classes have no training sample (lost)"


def test_targets_of_a_regression_are_seen():
    x, y = load_diabetes(return_X_y=True)
    (remark,) = said(dataset(x, y.astype(int)))
    assert remark.startswith("labels look like the targets of a regression: ")
    assert remark.endswith('if they are, say data.task = "regression"')
    many = np.random.default_rng(0).normal(size=(4000, 5))
    assert said(dataset(many, np.arange(4000) % 100)) == [], "a hundred classes of 30 samples are classes"


def test_heavy_imbalance_is_said_and_the_balanced_accuracy_printed(tmp_path, capsys):
    rng = np.random.default_rng(0)
    y = (rng.random(2000) < 0.03).astype(int)
    samples = dataset(rng.normal(size=(2000, 6)) + 1.5 * y[:, None], y)
    arrays = {key: getattr(samples, key) for key in ("x_train", "y_train", "x_test", "y_test")}
    np.savez(tmp_path / "rare.npz", **arrays)
    assert (
        cli.main(
            [
                "train",
                "digits",
                "--out",
                str(tmp_path / "run"),
                "--json",
                str(tmp_path / "out.json"),
                "--set",
                f"data.name={tmp_path / 'rare.npz'}",
                "--set",
                "budget.density=0.5",
            ]
        )
        == 0
    )
    shown = " ".join(capsys.readouterr().out.split())
    counts = np.bincount(samples.y_train)
    assert f"classes are heavily imbalanced: {counts[0]:,} training samples of class 0, {counts[1]} of class 1" in shown
    out = json.loads((tmp_path / "out.json").read_text())
    assert f"balanced accuracy {100 * out['test_balanced_accuracy']:.2f} %" in shown
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert out["recalls"] == last["recalls"]
    assert out["remarks"] == last["remarks"] != []
    assert out["test_balanced_accuracy"] == pytest.approx(np.mean(last["recalls"]))
    by_hand = np.dot(last["recalls"], np.bincount(samples.y_test)) / len(samples.y_test)
    assert by_hand == pytest.approx(out["test_accuracy"])
    write_report(tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    for text in (last["remarks"][0], *(f"{100 * value:.2f} %" for value in last["recalls"]), "balanced accuracy"):
        assert text in page
    assert not is_imbalanced(np.repeat([0, 1], (80, 10)))


def test_recalls_are_those_of_a_loop():
    rng = np.random.default_rng(1)
    outputs, y = rng.normal(size=(200, 5)), rng.integers(0, 4, 200)
    found = recall(outputs, y)
    for c in range(4):
        assert found[c] == np.mean([np.argmax(o) == c for o, label in zip(outputs, y, strict=True) if label == c])
    assert found[4] is None
    assert balanced(found) == pytest.approx(np.mean(found[:4]))


def test_a_result_no_better_than_the_largest_class_is_said(tmp_path):
    rng = np.random.default_rng(0)
    noise = dataset(rng.normal(size=(300, 4)), (rng.random(300) < 0.3).astype(int))
    result = run(settings(), noise, tmp_path)
    largest = np.bincount(noise.y_test).max() / len(noise.y_test)
    assert result.test["accuracy"] <= largest
    (remark,) = result.history[-1].remarks
    assert remark.endswith(f"is no better than always answering the largest class ({100 * largest:.2f} %)")
    assert of_result(result.net, {"accuracy": 1.0}, np.zeros(5, int)) == [], "the only class there is"


def paths_share(net):
    """Share of the connections that some path from an input to a logit goes through, by walking every path."""
    edges = [{} for _ in net.layers]
    for layer, leads in zip(net.layers, edges, strict=True):
        for k, (i, o) in enumerate(zip(layer.matrix.in_idx.tolist(), layer.matrix.out_idx.tolist(), strict=True)):
            leads.setdefault(i, []).append((k, o))
    used = set()

    def walk(depth, neuron, trail):
        if depth == len(net.layers):
            used.update(trail)
        else:
            for k, o in edges[depth].get(neuron, ()):
                walk(depth + 1, o, [*trail, (depth, k)])

    for i in range(net.layers[0].n_in):
        walk(0, i, [])
    return len(used) / max(1, net.n_connections)


@pytest.mark.parametrize("seed", range(30))
def test_the_usable_share_is_that_of_all_paths(seed):
    net = random_net(seed, max_width=7)
    assert usable_share(net) == describe(net)["usable_share"] == pytest.approx(paths_share(net))


def test_info_warns_below_a_half(tmp_path, capsys):
    from deepr_hw.ir import netfile

    for seed in range(200):
        net = random_net(seed, max_width=7)
        netfile.save(net, tmp_path / "net.safetensors")
        assert cli.main(["info", str(tmp_path / "net.safetensors")]) == 0
        shown = capsys.readouterr().out
        share = paths_share(net)
        assert f"usable {100 * share:.1f} %" in shown
        assert ("the network is too wide or too deep" in " ".join(shown.split())) == (share < 0.5)
        if share < 0.5:
            return
    raise AssertionError("no network with few usable connections among them")


FAST = settings(hidden=(300, 100), k=1710, optimizer="sgd", learning_rate=15.0)


def test_a_run_that_diverges_goes_back_and_learns(tmp_path):
    result = run(FAST, wine(), tmp_path)
    remarks = " ".join(result.history[-1].remarks)
    assert "epoch 1 diverged, the loss exploded to " in remarks
    assert "the run begins anew with the learning rate halved, to 7.5 at its highest" in remarks
    assert "it begins anew with the learning rate halved, to 1.875 at its highest" in remarks
    assert result.test["accuracy"] > 0.9
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(12))
    assert lines[-1]["remarks"] == list(result.history[-1].remarks)


@pytest.mark.parametrize("stop", [(0, 1), (0, 2), (0, 3), (1, 1), (7, 1)])
def test_a_recovered_run_resumes_bit_identical(tmp_path, stop):
    """Interrupted after the ``n``-th time that epoch ``e`` was trained: before, while and after it goes back."""
    config, samples = FAST, wine()
    run(config, samples, tmp_path / "whole")
    seen = []

    def interrupt(metrics, n_epochs):
        seen.append(metrics.epoch)
        if (metrics.epoch, seen.count(metrics.epoch)) == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(config, samples, tmp_path / "parts", progress=interrupt)
    run(config, samples, tmp_path / "parts", resume=True)
    files = [(tmp_path / name / "net.safetensors").read_bytes() for name in ("whole", "parts")]
    assert files[0] == files[1]
    told = []
    for name in ("whole", "parts"):
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        told.append([{key: value for key, value in line.items() if key != "seconds"} for line in lines])
    assert told[0] == told[1]
    assert len(told[0][-1]["remarks"]) >= 2


def test_what_never_converges_ends_with_the_cause(tmp_path):
    with pytest.raises(
        ValueError,
        match=r"training diverged in epoch 0, .* of 3.125e\+28 too; lower "
        r"training.learning_rate = 1e\+30",
    ):
        run(settings(learning_rate=1e30), wine(), tmp_path / "rate")
    with pytest.raises(
        ValueError,
        match=r"the cause may be the inputs' scale: data.scale = \"none\" leaves them at a "
        r"root mean square of 236, data.scale = \"auto\" brings it to about 1",
    ):
        run(settings("none", hidden=(300, 100), k=1710, optimizer="sgd", learning_rate=30.0), wine(), tmp_path / "x")
    assert not list(tmp_path.rglob("net.safetensors"))


def test_answers_of_a_recovered_network_are_the_references(tmp_path):
    samples = wine()
    result = run(FAST, samples, tmp_path)
    answers = reference.predict(result.net, result.net.encode(samples.x_test))
    assert result.test["accuracy"] == np.mean(answers == samples.y_test)
