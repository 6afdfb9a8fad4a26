"""Debian packages: the lock file, its resolution, downloads and unpacking."""
