"""Which attacks are made on which kinds of runs: asked by the configuration, and by the attacks themselves."""

from __future__ import annotations


def why_not(attack: str, unit: str, trust: str, algorithm: str) -> str | None:
    """Why an attack is not made on runs of a kind; None where it is."""
    if algorithm == "alone":
        return "every client trains by itself: there is no update and no common model"
    if attack in ("gradient_inversion", "audit") and algorithm == "scaffold":
        return "scaffold's clients send two vectors, and no attack here reads both"
    if attack == "audit" and trust == "local":
        return "clients add the noise by themselves, and no canary here speaks for a client"
    if attack == "audit" and unit == "record" and trust == "distributed":
        return "clients draw their own records for a sum, and no canary here is a record of theirs"
    return None
