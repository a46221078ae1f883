"""What gives the hubs their access token (protocol page 3.2)."""

import threading

from runtime.venue import CredentialsRefused, VenueUnavailable
from venues.topstepx.rest import TopstepRest


class TokenProvider:
    """Gives the hubs their access token, from whichever stream thread: one asks at a time, no order waits for it."""

    def __init__(self, rest: TopstepRest) -> None:
        self._rest, self._turn = rest, threading.Lock()
        self._given: str | None = None
        self._refused: str | None = None

    def __call__(self) -> str:
        """Raises VenueUnavailable, also when the venue refuses the key: the stream goes on trying."""
        with self._turn:
            try:
                self._given = self._rest.token(self._refused)
            except CredentialsRefused as e:
                raise VenueUnavailable(str(e)) from None
            return self._given

    def refused(self) -> None:
        """A hub answered 401 to the token given last: the next one comes from a new login."""
        self._refused = self._given

    def close(self) -> None:
        self._rest.close()
