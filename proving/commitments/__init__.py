"""Evaluation domains, Merkle trees and FRI."""
