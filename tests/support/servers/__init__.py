"""Landline as a server in its several forms (a process, a fork, in the test's loop), and what stands beside it."""
