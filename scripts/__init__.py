"""Tools beside the bot, each to be run by hand."""
