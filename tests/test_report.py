"""The report is written from what verification left, whatever came out of it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from deepr_hw.evidence import verify
from deepr_hw.evidence.report import write_report
from deepr_hw.ir import netfile
from deepr_hw.ir.affine import Affine
from tests.random_nets import random_net


def test_report_has_logits_codes_and_refusals(tmp_path: Path) -> None:
    net = random_net(3)
    samples = verify.random_samples(net, 7)
    netfile.save(net, tmp_path / "net.safetensors")
    compared = [verify.compare(net, samples, name, tmp_path) for name in ("onnx", "c-codes")]
    blind = replace(net, input_map=Affine(np.zeros(1, np.float32), np.zeros(1, np.float32)))
    compared += [verify.compare(blind, samples, "qdq", tmp_path)]
    (tmp_path / "verify.json").write_text(json.dumps(verify.as_json(net, compared)))
    write_report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    for text in (
        f"<td>{7 * net.n_out} logits</td><td><span class=ok>0</span>",
        f"<td>{7 * net.n_in} codes</td><td><span class=ok>0</span>",
        "<span class=bad>refused: input [0]: no value has the code",
    ):
        assert text in page
