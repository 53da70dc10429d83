"""What tests of the benchmark commands share."""
