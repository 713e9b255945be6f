"""CSV tables as files: how one was saved, and which file a cell of it names."""
