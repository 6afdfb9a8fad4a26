"""Checks of what the gateway says about itself: signed answers and attestation documents.

A library with a thin command line over it (``python -m tools.verify``). Every check ends in a
:class:`~tools.verify.claims.Claim`; nothing here trusts the network, the gateway or the host it runs on.
"""
