"""Package managers: what to run (a plan), and what its end means. Nothing is run here but by `execute`."""
