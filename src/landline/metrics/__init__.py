"""What is counted, as time series for Prometheus: `GET /metrics` reads it, telemetry shares its sums."""
