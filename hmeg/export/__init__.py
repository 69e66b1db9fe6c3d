"""Networks as files for other runtimes, and those runtimes behind one interface (:mod:`hmeg.export.runtime`)."""
