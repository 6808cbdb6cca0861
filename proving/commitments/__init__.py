"""Domains, Merkle trees and FRI."""
