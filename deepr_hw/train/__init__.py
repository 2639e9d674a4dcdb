"""Training: configuration, compute per layer kind, schedule, loop, checkpoint, rival methods, freezing, sweeps."""
