"""How the certificate counts in an hls4ml project, and makes it anew."""

import tempfile
from functools import partial
from pathlib import Path

from deepr_hw.ir import IntNet
from deepr_hw.testimony import Evidence, attest, difference

from .arrays import count_connections

_OF_THE_PLACE = ("build_lib.sh", "hls4ml_config.yml", "build_opt.tcl")
"""Files of a project that name its folder, a random stamp, or the user's settings."""


def examine(run: Path, net: IntNet | None, simulator: str) -> list[Evidence]:
    """Evidence on the project in the folder ``run``."""
    return [attest("hls4ml", "initializers of the C++ weight arrays", partial(_look, run / "hls4ml", net))]


def _look(folder: Path, net: IntNet | None) -> tuple[int, str | None]:
    import yaml

    from . import project

    k = count_connections(folder)
    if net is None:
        return k, None
    config = yaml.safe_load((folder / "hls4ml_config.yml").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as again:
        project.export(
            net,
            Path(again),
            config["Backend"],
            config["HLSConfig"]["Model"]["ReuseFactor"],
            config["IOType"],
            config["Part"],
        )
        return k, difference(Path(again), folder, _OF_THE_PLACE)
