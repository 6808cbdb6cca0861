"""AIR, LogUp, transcript, parameters, soundness and proof encoding."""
