"""A small shop that reports what its customers do."""
