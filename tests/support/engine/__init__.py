"""The embedded model and model files for tests."""
