"""Deterministic code only: what happens, in which order, and what if it fails."""
