"""The writes that turn one loaded network into the next."""

from dataclasses import fields

from deepr_hw.ir import IntNet

from . import image as rtl_image
from .geometry import Geometry
from .image import FRAME
from .words import LOAD_ADDRESS


def common_geometry(*geometries: Geometry) -> Geometry:
    """The smallest engine that holds all of them. Raises ``ValueError`` for different lane counts."""
    lanes = {geometry.lanes for geometry in geometries}
    if len(lanes) != 1:
        raise ValueError(f"lanes = {sorted(lanes)}: one engine has one lane count")
    return Geometry(**{f.name: max(getattr(geometry, f.name) for geometry in geometries) for f in fields(Geometry)})


def difference(old: rtl_image.Image, new: rtl_image.Image) -> list[tuple[int, int]]:
    """(address, data) of the words of ``new`` that a bank which holds ``old`` lacks, and the one that completes it.

    Empty where nothing differs. Raises ``ValueError`` when the two are not for one engine or differ in the size of
    input or output.
    """
    if old.geometry.lanes != new.geometry.lanes or old.geometry.words != new.geometry.words:
        raise ValueError(f"the images are for different engines: {old.geometry} and {new.geometry}")
    there = dict(old.writes)
    writes = [(address, data) for address, data in new.writes if there.get(address) != data]
    if any(LOAD_ADDRESS.get(address, "region") == FRAME for address, _ in writes):
        raise ValueError("the networks differ in the size of input or output")
    return writes + new.writes[-1:] if writes else []


def load_diff(old: IntNet, new: IntNet, lanes: int = 8) -> list[tuple[int, int]]:
    """Load port writes that turn a bank with ``old`` into one with ``new``, on the smallest engine that holds both."""
    geometry = common_geometry(*(rtl_image.build(net, lanes).geometry for net in (old, new)))
    return difference(rtl_image.build(old, lanes, geometry), rtl_image.build(new, lanes, geometry))
