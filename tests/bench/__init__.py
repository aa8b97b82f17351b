"""Measures the client beside comparable SDKs and beside the limit; see docs/performance.md."""
