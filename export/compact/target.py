"""The compact container as a target."""

from deepr_hw.target import Engine, Target

TARGET = Target(
    name="compact",
    summary="a container close to the entropy",
    export="deepr_hw.export.compact.container:export",
    engines=(Engine("compact", "deepr_hw.export.compact.container:run"),),
    sizes="deepr_hw.export.compact.sizes:sizes",
)
