"""What a bench needs to know of a network, as JSON."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from .. import reference
from ..export import rtl_image
from ..export.rtl_package import input_words
from ..files import write_text
from ..ir import IntNet


def write_case(path: Path, nets: dict[str, IntNet], images: dict[str, rtl_image.Image], x: np.ndarray) -> None:
    """The images' writes, the samples ``x`` as input beats, and the reference's logits for each of ``nets``."""
    geometry = next(iter(images.values())).geometry
    lanes = geometry.lanes
    beats = [[int.from_bytes(word.tobytes(), "little") for word in words] for words in input_words(x, lanes)]
    write_text(path, json.dumps({
        "geometry": asdict(geometry),
        "writes": {name: image.writes for name, image in images.items()},
        "beats": beats,
        "codes": np.ascontiguousarray(x).reshape(len(x), -1).astype(np.int64).astype(np.uint8).tolist(),
        "logits": {name: reference.logits(net, x).tolist() for name, net in nets.items()},
    }))
