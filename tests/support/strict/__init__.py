"""What a strict model server refuses: the published rules that lenient servers let pass."""
