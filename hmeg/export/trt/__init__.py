"""Decoders as TensorRT engines: built from ONNX files, run on torch tensors.

Through TensorRT's own Python API, versions 10 and 11. ``library`` says what is missing, ``build`` makes an engine,
``sidecar`` is the JSON file beside it, ``runtime`` runs it.
"""
