"""Adapters to the native extension hmeg._C: allocate outputs and call entry points by the names of their fields.

One module per operator; those whose parameters are the same on the CPU and on a GPU stand here.
"""
