"""Integer products of other people's ONNX models, evaluated exactly on every CPU.

onnxruntime's uint8 x int8 kernels add pairs of products in saturating 16 bits on an x86 CPU without VNNI. ONNX's own
reference evaluator multiplies in int32; it lacks QGemm, an operator of onnxruntime's that its quantizer writes.

Source: onnxruntime, ``docs/ContribOperators.md``, com.microsoft.QGemm.
"""

from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

INTEGER_PRODUCTS = ("QLinearMatMul", "QGemm", "MatMulInteger")
"""Operators that onnxruntime computes by kernels which may saturate."""


class QGemm(OpRun):
    """Y = alpha * step_a * step_b * ((A - zero_a) @ (B - zero_b) + C) in float32, quantized where Y has a step.

    A, B (transposed where the attributes say so) are codes, C (int32) is a bias in steps of the products; step_b and
    zero_b are one or one per column.
    """

    op_domain = "com.microsoft"

    def _run(
        self,
        a: np.ndarray,
        a_step: np.ndarray,
        a_zero: np.ndarray,
        b: np.ndarray,
        b_step: np.ndarray,
        b_zero: np.ndarray,
        c: np.ndarray | None = None,
        y_step: np.ndarray | None = None,
        y_zero: np.ndarray | None = None,
        alpha: float | None = None,
        transA: int | None = None,  # noqa: N803
        transB: int | None = None,  # noqa: N803
    ) -> tuple[np.ndarray]:
        left, right = a.T if transA else a, b.T if transB else b
        total = (left.astype(np.int64) - a_zero) @ (right.astype(np.int64) - b_zero)
        if c is not None:
            total = total + c
        step = np.float32(1 if alpha is None else alpha) * a_step * b_step
        if y_step is None:
            return ((total * step).astype(np.float32),)
        zero = np.uint8(0) if y_zero is None else y_zero
        limits = np.iinfo(zero.dtype)
        codes = np.rint(total * (step / y_step)) + zero.astype(np.int64)
        return (np.clip(codes, limits.min, limits.max).astype(zero.dtype),)


def open_evaluator(model: onnx.ModelProto) -> Any:
    """ONNX's reference evaluator of ``model``, QGemm included: ``run(None, {input: array})``.

    Raises ``ValueError`` for an operator that neither knows.
    """
    try:
        return ReferenceEvaluator(model, new_ops=[QGemm])
    except Exception as error:  # it raises its own kinds, which share no base class
        raise ValueError(f"ONNX's reference evaluator refuses it: {error}") from error
