"""From files and archives to batches of numbers."""
