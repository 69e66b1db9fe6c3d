"""Decoders compiled ahead of time: torch.export and AOTInductor packages (``.pt2``).

``build`` compiles, ``package`` says what a file is and refuses a wrong one, ``processor`` which machine code runs here,
``runtime`` runs it.
"""
