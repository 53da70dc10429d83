"""`landline demo`: a recorded task over HTTP and over a socket, side by side on shaped lines to a server in this process."""

from landline.demo.run import DemoOptions, run_demo

__all__ = ["DemoOptions", "run_demo"]
