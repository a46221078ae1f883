"""TopstepX: answers, orders, tokens and hub records behind `topstep_client` and `topstep_websocket`."""
