"""A run that was interrupted or killed ends with the same bits as one that wasn't."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deepr_hw import cli, data
from deepr_hw.train import runfolder
from deepr_hw.train.checkpoint import load_checkpoint
from deepr_hw.train.config import load_config
from deepr_hw.train.loop import train
from deepr_hw.train.runfolder import TRAINED

ROOT = Path(__file__).parent.parent
SETTINGS = [
    "training.epochs=12",
    "training.optimizer=adam",
    "training.learning_rate=0.005",
    "augmentation.shift=1",
    "network.bias=true",
    "training.schedule=cosine",
    "data.validation=100",
    "budget.lanes=4",
]


def quiet(*_):
    """Progress that nobody watches."""


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def results(folder: Path) -> tuple[bytes, list[dict], str]:
    """Network, metrics without their times, budget log."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["seconds"]
    return (folder / "net.safetensors").read_bytes(), lines, (folder / "budget.json").read_text()


@pytest.mark.parametrize("stop", [0, 1, 5, 11])
def test_interrupted_run_ends_bit_identical(tmp_path, stop):
    config, digits = load_config("digits", SETTINGS), data.load("digits")
    train(config, digits, tmp_path / "whole", progress=quiet)

    def interrupt(metrics, n_epochs):
        if metrics.epoch == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, digits, tmp_path / "parts", progress=interrupt)
    assert not (tmp_path / "parts" / "net.safetensors").exists()
    train(config, digits, tmp_path / "parts", resume=True, progress=quiet)
    assert results(tmp_path / "parts") == results(tmp_path / "whole")


def test_killed_run_ends_bit_identical(tmp_path):
    """kill -9 at random moments of a run of the command, then ``--resume`` until it ends."""
    chance, runs = random.Random(0), {}
    settings = [*SETTINGS, "training.epochs=300"]
    flags = [part for setting in settings for part in ("--set", setting)]
    for name, kills in (("whole", 0), ("killed", 3)):
        folder = tmp_path / name
        command = [sys.executable, "-m", "deepr_hw", "train", "digits", "--out", str(folder), *flags]
        reached = [0]
        for _ in range(kills):
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if "--resume" not in command:
                command.append("--resume")
            log = folder / "metrics.jsonl"
            deadline = time.monotonic() + 120
            while (
                time.monotonic() < deadline
                and process.poll() is None
                and (not log.exists() or len(log.read_text().splitlines()) <= reached[-1] + 2)
            ):
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 0.2))
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL, "the run ended before it was killed"
            reached.append(len(log.read_text().splitlines()))
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=300, env=dict(os.environ))
        assert sorted(set(reached)) == reached, "every part went on from the one before"
        runs[name] = results(folder)
    assert len(runs["whole"][1]) == 300
    assert runs["killed"] == runs["whole"]


def test_training_without_assertions_gives_the_same_bits(tmp_path):
    """``python -O`` drops every ``assert``: none of them may do work that the steps build on."""
    settings = ["training.epochs=4", "budget.per_output=5"]
    train(load_config("digits", settings), data.load("digits"), tmp_path / "with", progress=quiet)
    flags = [part for setting in settings for part in ("--set", setting)]
    subprocess.run(
        [sys.executable, "-O", "-m", "deepr_hw", "train", "digits", "--out", str(tmp_path / "without"), *flags],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=300,
    )
    assert results(tmp_path / "without") == results(tmp_path / "with")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.learning_rate=0.2", r"training\.learning_rate: was 0\.01 so far, is 0\.2 now"),
        ("training.epochs=3", r"training\.epochs: was 4 so far, is 3 now; it may only rise"),
        ("training.l1_end=1e-6", r"training\.l1_end: was not given so far, is 1e-06 now"),
    ],
)
def test_resume_refuses_another_configuration(tmp_path, override, message):
    digits = data.load("digits")
    train(load_config("digits", ["training.epochs=4"]), digits, tmp_path, progress=quiet)
    before = files(tmp_path)
    with pytest.raises(ValueError, match=message):
        train(load_config("digits", ["training.epochs=4", override]), digits, tmp_path, resume=True, progress=quiet)
    assert files(tmp_path) == before


def test_resume_refuses_other_data(tmp_path):
    config, digits = load_config("digits", ["training.epochs=4"]), data.load("digits")
    train(config, digits, tmp_path, progress=quiet)
    other = dataclasses.replace(digits, y_train=(digits.y_train + 1) % 10)
    with pytest.raises(ValueError, match=r"data\.name = 'digits': the samples aren't those"):
        train(config, other, tmp_path, resume=True, progress=quiet)


def test_resume_may_raise_the_epochs_and_ends_as_one_longer_run(tmp_path):
    digits = data.load("digits")
    blind = ["training.schedule=step", "training.l1=1e-3", "training.idle=0"]  # to the number of epochs
    for epochs in (4, 7):
        config = load_config("digits", [*blind, f"training.epochs={epochs}"])
        train(config, digits, tmp_path / "parts", epochs == 7, quiet)
    train(load_config("digits", [*blind, "training.epochs=7"]), digits, tmp_path / "whole", progress=quiet)
    assert results(tmp_path / "parts") == results(tmp_path / "whole")
    same = [
        name
        for name in ("config.toml", "run.json")
        if (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    ]
    assert same == ["config.toml", "run.json"]


def test_a_method_that_has_met_its_budget_has_no_more_epochs(tmp_path):
    digits, settings = data.load("digits"), ["training.method=magnitude", "training.epochs=4"]
    train(load_config("digits", settings), digits, tmp_path, progress=quiet)
    with pytest.raises(ValueError, match="magnitude has met its budget at the end of 4 epochs"):
        train(load_config("digits", [*settings, "training.epochs=5"]), digits, tmp_path, resume=True, progress=quiet)


@pytest.mark.parametrize("left", [["net.safetensors"], ["report.html"], ["rtl/slots_0.hex", "config.toml"]])
def test_a_used_folder_is_asked_about(tmp_path, left):
    config, digits, folder = load_config("digits", ["training.epochs=4"]), data.load("digits"), tmp_path / "run"
    for name in [*left, "notes.txt"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("old")
    before = files(folder)
    with pytest.raises(ValueError, match=r"holds a run already.*--resume.*--force"):
        train(config, digits, folder, progress=quiet)
    assert files(folder) == before
    train(config, digits, folder, progress=quiet, force=True)
    assert files(folder).keys() == {*TRAINED, "notes.txt"}, "nothing of the old run stands beside the new network"
    assert files(folder)["notes.txt"] == b"old"


def test_going_on_leaves_nothing_that_was_made_of_the_network_before(tmp_path):
    digits = data.load("digits")
    train(load_config("digits", ["training.epochs=4"]), digits, tmp_path, progress=quiet)
    (tmp_path / "report.html").write_text("of four epochs")
    train(load_config("digits", ["training.epochs=4"]), digits, tmp_path, resume=True, progress=quiet)
    assert (tmp_path / "report.html").exists(), "the network is still the same"
    train(load_config("digits", ["training.epochs=5"]), digits, tmp_path, resume=True, progress=quiet)
    assert files(tmp_path).keys() == set(TRAINED)


def test_resume_asks_for_a_checkpoint_beside_a_network(tmp_path):
    (tmp_path / "net.safetensors").write_text("old")
    with pytest.raises(ValueError, match=r"has no checkpoint\.safetensors to go on from"):
        train(load_config("digits", ["training.epochs=4"]), data.load("digits"), tmp_path, True, quiet)


def test_two_trainings_into_one_folder(tmp_path, capsys):
    """The second ends at once; a killed one leaves no lock behind."""
    command = ["train", "digits", "--out", str(tmp_path / "run"), "--set", "training.epochs=300"]
    first = subprocess.Popen([sys.executable, "-m", "deepr_hw", *command], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "run" / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
            assert first.poll() is None
            time.sleep(0.01)
        for flags in ([], ["--resume"], ["--force"]):
            assert cli.main([*command, *flags]) == 2
            assert capsys.readouterr().err == f"deepr-hw: {tmp_path / 'run'}: another run is at work in this folder\n"
        assert first.poll() is None, "the first went on meanwhile"
    finally:
        first.kill()
        first.wait()
    train(
        load_config("digits", ["training.epochs=4"]), data.load("digits"), tmp_path / "run", progress=quiet, force=True
    )


def test_every_artefact_of_training_has_the_runs_id(tmp_path):
    """The id is the same for the same run in another folder and another for another seed, data or key."""
    digits, ids = data.load("digits"), {}
    fewer = dataclasses.replace(digits, x_train=digits.x_train[:-1], y_train=digits.y_train[:-1])
    for name, samples, settings in (
        ("a", digits, []),
        ("b", digits, []),
        ("epochs", digits, ["training.epochs=5"]),
        ("seed", digits, ["training.seed=1"]),
        ("data", fewer, []),
        ("key", digits, ["training.l1=2e-5"]),
    ):
        folder = tmp_path / name
        net = train(load_config("digits", ["training.epochs=4", *settings]), samples, folder, progress=quiet).net
        found = {json.loads(line)["run"] for line in (folder / "metrics.jsonl").read_text().splitlines()}
        found |= {json.loads((folder / text).read_text())["run"] for text in ("budget.json", "run.json")}
        found |= {net.provenance["run"], load_checkpoint(folder / "checkpoint.safetensors").about["run"]}
        (ids[name],) = found
    assert ids["a"] == ids["b"] == ids["epochs"]
    assert len({ids["a"], ids["seed"], ids["data"], ids["key"]}) == 4


def test_resume_of_a_finished_run_changes_nothing(tmp_path):
    config, digits = load_config("digits", ["training.epochs=4"]), data.load("digits")
    train(config, digits, tmp_path, progress=quiet)
    before = results(tmp_path)
    train(config, digits, tmp_path, resume=True, progress=quiet)
    assert results(tmp_path) == before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda b: b[: len(b) // 2], "not a whole checkpoint"),
        (lambda b: b"", "not a whole checkpoint"),
        (lambda b: b.replace(b"deepr_hw.train.checkpoint", b"deepr_hw.garden.cucumbers"), "metadata format"),
    ],
)
def test_resume_refuses_a_damaged_checkpoint(tmp_path, spoil, message):
    config, digits = load_config("digits", ["training.epochs=4"]), data.load("digits")
    train(config, digits, tmp_path, progress=quiet)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        train(config, digits, tmp_path, resume=True, progress=quiet)


def test_no_flipped_bit_of_a_checkpoint_is_taken(tmp_path):
    """Every bit of the header and a sample of the others: refused in a line that names the file."""
    train(load_config("digits", ["training.epochs=4"]), data.load("digits"), tmp_path, progress=quiet)
    path, spoilt = tmp_path / "checkpoint.safetensors", tmp_path / "spoilt.safetensors"
    whole = path.read_bytes()
    header = int.from_bytes(whole[:8], "little")
    places = [*range(8 + header), *random.Random(0).sample(range(8 + header, len(whole)), 300)]
    expected, taken = load_checkpoint(path), []
    for i, place in enumerate(places):
        content = bytearray(whole)
        content[place] ^= 1 << i % 8
        spoilt.write_bytes(content)
        try:
            read = load_checkpoint(spoilt)
        except ValueError as error:
            taken += [] if str(error).startswith(f"{spoilt}: ") else [place]
        else:
            same = read.about == expected.about and read.formats == expected.formats
            taken += [] if same and read.tensors.keys() == expected.tensors.keys() else [place]
    assert taken == []


def test_a_new_run_takes_away_what_further_targets_made_of_the_old_network_and_nothing_else(tmp_path):
    config, digits = load_config("digits", ["training.epochs=1"]), data.load("digits")
    run, beside = tmp_path / "run", tmp_path / "beside.txt"
    train(config, digits, run, progress=quiet)
    beside.write_text("somebody else's")
    (run / "notes.txt").write_text("the user's")
    (run / "toy").mkdir()
    (run / "toy" / "net.txt").write_text("of the old network")
    runfolder.write_record(run, "0" * 16, ["toy/net.txt", "../beside.txt", str(beside)])
    train(config, digits, run, progress=quiet, force=True)
    assert not (run / "toy").exists()
    assert (run / "notes.txt").exists()
    assert beside.exists()
