"""Programs that measure data and write the statistics the package carries."""
