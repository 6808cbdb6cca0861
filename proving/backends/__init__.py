"""The machines that run field programs and loop skeletons: reference and compiled CPU."""
