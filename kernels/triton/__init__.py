"""hmeg's Triton kernels: one module per operator; ``launch`` is what hmeg.backends.triton calls."""
