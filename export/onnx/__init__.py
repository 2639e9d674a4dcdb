"""The frozen network as ONNX: integer, QDQ and QONNX."""
