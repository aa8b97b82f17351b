"""A local ingestion server to develop and test against: `whisperr serve`."""
