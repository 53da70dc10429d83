"""Fake servers at the network edge: scripted model servers of each vendor, a collector, a package index."""
