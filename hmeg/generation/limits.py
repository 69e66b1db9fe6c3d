"""What can be asked of a generator. Imports nothing, so that the command line starts quickly."""

DEFAULT_BATCH_SIZE = 16
MAX_TEMPERATURE = 2.0  # training saw none above 1
