"""Turns sent to an OpenTelemetry collector, as spans and metrics by the GenAI semantic conventions."""
