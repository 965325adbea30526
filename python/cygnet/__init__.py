"""Cygnet from Python: the command as a subprocess. ``cygnet.torch`` converts PyTorch's modules."""
