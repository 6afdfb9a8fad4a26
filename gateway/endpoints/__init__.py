"""One small file per endpoint."""
