"""Hyperliquid: frames, answers, bytes and signatures behind `hyperliquid_client` and `hyperliquid_websocket`."""
