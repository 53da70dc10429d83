"""Runs the command line: `python -m landline`."""

from landline.cli import app

if __name__ == "__main__":
    app(prog_name="landline")
