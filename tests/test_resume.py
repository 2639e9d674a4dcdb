"""A run that was interrupted or killed ends with the same bits as one that wasn't."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deepr_hw import data
from deepr_hw.config import load_config
from deepr_hw.train import train

ROOT = Path(__file__).parent.parent
SETTINGS = ["training.epochs=12", "training.optimizer=adam", "training.learning_rate=0.005", "augmentation.shift=1",
            "network.bias=true", "training.schedule=cosine", "data.validation=100", "budget.lanes=4"]


def results(folder: Path) -> tuple[bytes, list[dict], str]:
    """Network, metrics without their times, budget log."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["seconds"]
    return (folder / "net.safetensors").read_bytes(), lines, (folder / "budget.json").read_text()


@pytest.mark.parametrize("stop", [0, 1, 5, 11])
def test_interrupted_run_ends_bit_identical(tmp_path, stop):
    config, digits = load_config("digits", SETTINGS), data.load("digits")
    train(config, digits, tmp_path / "whole", progress=lambda *_: None)

    def interrupt(metrics, n_epochs):
        if metrics.epoch == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, digits, tmp_path / "parts", progress=interrupt)
    assert not (tmp_path / "parts" / "net.safetensors").exists()
    train(config, digits, tmp_path / "parts", resume=True, progress=lambda *_: None)
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
            while time.monotonic() < deadline and process.poll() is None and (
                    not log.exists() or len(log.read_text().splitlines()) <= reached[-1] + 2):
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
    train(load_config("digits", settings), data.load("digits"), tmp_path / "with", progress=lambda *_: None)
    flags = [part for setting in settings for part in ("--set", setting)]
    subprocess.run([sys.executable, "-O", "-m", "deepr_hw", "train", "digits", "--out", str(tmp_path / "without"),
                    *flags], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=300)
    assert results(tmp_path / "without") == results(tmp_path / "with")


def test_resume_refuses_another_configuration(tmp_path):
    digits = data.load("digits")
    train(load_config("digits", ["training.epochs=4"]), digits, tmp_path, progress=lambda *_: None)
    with pytest.raises(ValueError, match="belongs to another configuration"):
        train(load_config("digits", ["training.epochs=5"]), digits, tmp_path, resume=True, progress=lambda *_: None)


def test_resume_of_a_finished_run_changes_nothing(tmp_path):
    config, digits = load_config("digits", ["training.epochs=4"]), data.load("digits")
    train(config, digits, tmp_path, progress=lambda *_: None)
    before = results(tmp_path)
    train(config, digits, tmp_path, resume=True, progress=lambda *_: None)
    assert results(tmp_path) == before


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda b: b[: len(b) // 2], "not a whole checkpoint"),
    (lambda b: b"", "not a whole checkpoint"),
    (lambda b: b.replace(b"deepr_hw.checkpoint", b"deepr_hw.cucumbersk"), "metadata format"),
])
def test_resume_refuses_a_damaged_checkpoint(tmp_path, spoil, message):
    config, digits = load_config("digits", ["training.epochs=4"]), data.load("digits")
    train(config, digits, tmp_path, progress=lambda *_: None)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        train(config, digits, tmp_path, resume=True, progress=lambda *_: None)
