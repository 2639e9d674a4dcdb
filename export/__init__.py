"""IntNet to ONNX, hls4ml firmware and RTL memory images."""
