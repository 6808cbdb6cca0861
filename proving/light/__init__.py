"""The verifier of a day's last proof for light clients: the standard library and nothing else."""
