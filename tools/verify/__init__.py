"""Verification of signed answers and attestation documents.

A library with a thin command line (``python -m tools.verify``). Every check yields a ``Claim``. Neither the network nor
the gateway nor its host is trusted.
"""
