"""A paying client for the command line: shows the offers, asks before it signs, pays one request."""
