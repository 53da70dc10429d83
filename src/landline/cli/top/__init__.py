"""`landline top`: the monitor in the terminal, for a server that runs."""

from landline.cli.top.command import TopOptions, run_top

__all__ = ["TopOptions", "run_top"]
