"""A paying client for people who use curl: shows the offers, asks before it signs, pays one request."""
