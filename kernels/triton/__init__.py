"""hmeg's Triton kernels: one module per operator, with the launchers that hmeg.backends.triton calls."""
