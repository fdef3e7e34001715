"""The network, and how it is computed: by PyTorch, by compiled kernels, a character at a time."""
