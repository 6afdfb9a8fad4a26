"""Debian packages by lock: which ones, where from, and what is in them."""
