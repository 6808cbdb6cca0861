"""KoalaBear, its degree-5 extension, field programs, Poseidon2 and the NTT."""
