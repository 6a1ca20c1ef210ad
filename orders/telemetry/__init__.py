"""Metrics, traces, and how log lines name orders."""
