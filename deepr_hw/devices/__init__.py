"""Parts, what their memory holds, and the area law of the engine."""
