from proxy.dialect.errors import ERRORS
from proxy.domain import errors
from proxy.domain.errors import ApiError


def _below(kind: type[ApiError]) -> set[type[ApiError]]:
    return {kind}.union(*(_below(child) for child in kind.__subclasses__())) - {ApiError}


def test_every_error_that_reaches_a_client_has_its_row_and_no_row_is_left_over() -> None:
    classes = {kind for kind in _below(ApiError) if kind.__module__ == errors.__name__}
    assert len(classes) > 15
    assert {kind.code for kind in classes} == set(ERRORS)
