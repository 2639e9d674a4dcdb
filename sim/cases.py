"""What a bench needs to know of networks, as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from deepr_hw import reference
from deepr_hw.export.rtl import image as rtl_image
from deepr_hw.files import write_text
from deepr_hw.ir import IntNet


def write_case(
    path: Path, nets: Mapping[str, IntNet], images: Mapping[str, rtl_image.Image], x: Mapping[str, np.ndarray]
) -> None:
    """By the networks' names: the images' writes, the samples ``x`` as bytes, the reference's logits of each network
    for the samples of every one that has its shape.
    """
    write_text(
        path,
        json.dumps(
            {
                "geometry": asdict(next(iter(images.values())).geometry),
                "writes": {name: image.writes for name, image in images.items()},
                "codes": {
                    name: np.ascontiguousarray(each).reshape(len(each), -1).astype(np.int64).astype(np.uint8).tolist()
                    for name, each in x.items()
                },
                "logits": {name: reference.logits(net, x[name]).tolist() for name, net in nets.items()},
            }
        ),
    )
