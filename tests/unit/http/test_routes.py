"""Which path takes what, and how a wrong method is told."""

import pytest

from proxy.domain.errors import MethodNotAllowedError
from proxy.http.arrival import Arrival
from proxy.http.routes import Routes, get, post


async def handle(arrival: Arrival) -> None:
    del arrival


ROUTES = Routes(
    {"/v1/chat/completions": post(handle), "/healthz": get(handle)}, {"/v1/models/": get(handle)}
)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/chat/completions", "POST, OPTIONS"),
        ("/v1/models/a/b", "GET, HEAD, OPTIONS"),
        ("/healthz", "GET, HEAD"),  # no browser of another origin has business here
    ],
)
def test_allow_names_what_is_taken_and_nothing_else(path: str, allowed: str) -> None:
    with pytest.raises(MethodNotAllowedError) as caught:
        ROUTES.match("DELETE", path)
    assert caught.value.headers["allow"] == allowed
