"""Prometheus and Grafana configuration of a node."""
