"""Compositions of stages and the ecliptica command."""
