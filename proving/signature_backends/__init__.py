"""ML-DSA-44 implementations behind `proving.signatures`: `stock` (cryptography), `liboqs`, `reference`."""
