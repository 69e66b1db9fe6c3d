"""Losses, Less-is-More sampling and the trainers."""
