"""Simulated venues, and the matching they share with the dry run."""
