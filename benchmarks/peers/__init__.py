"""Other servers of the Responses API beside Landline: installed, probed and measured over one scripted upstream.

`make peers` runs the whole: see `benchmarks/peers/README.md`.
"""
