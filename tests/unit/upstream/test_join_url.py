import pytest

from proxy.upstream.client import join_url


def test_the_path_follows_the_base_as_it_stands() -> None:
    url = join_url("https://api.acme.example/v1", "/models/a%2Fb:generate?alt=sse")
    assert str(url) == "https://api.acme.example/v1/models/a%2Fb:generate?alt=sse"


@pytest.mark.parametrize("path", ["", "chat", "@evil.example/", ".evil.example/", ":8080/x"])
def test_a_path_cannot_lead_to_another_host(path: str) -> None:
    with pytest.raises(ValueError, match="does not follow"):
        join_url("https://api.acme.example", path)


def test_a_base_with_a_password_is_refused() -> None:
    with pytest.raises(ValueError, match="does not follow"):
        join_url("https://user:secret@api.acme.example", "/chat")
