"""Where commands run: this machine, or another one over SSH. One small protocol for both."""
