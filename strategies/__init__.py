"""One small pure file a strategy; a new file here is found by its name in the config."""
