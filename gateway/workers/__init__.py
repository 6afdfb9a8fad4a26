"""Several worker processes that form one gateway: one identity, one injection, one set of metrics.

A supervisor without an event loop accepts connections and passes them to the workers round-robin, because the kernel's
distribution (SO_REUSEPORT) hashes addresses and may leave a few busy connections on one worker. The keys are generated
before forking, so that a replaced worker has the same identity.
"""
