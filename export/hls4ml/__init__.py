"""The frozen network as hls4ml firmware, through a sparse layer of our own."""
