import pytest

from proxy.domain.errors import OverloadedError
from proxy.edge.body import BodyBudget


def test_a_lease_is_given_back_once_however_often_it_is_released() -> None:
    budget = BodyBudget(100)
    with budget.lease() as lease:
        lease.grow(60)
        lease.grow(40)
        assert budget.used_bytes == 100
        lease.release()
        lease.release()
        assert budget.used_bytes == 0
        with budget.lease() as other:
            other.grow(100)
            lease.release()
            assert budget.used_bytes == 100
    assert budget.used_bytes == 0


def test_what_does_not_fit_is_refused_and_takes_nothing() -> None:
    budget = BodyBudget(100)
    with budget.lease() as lease:
        lease.grow(60)
        with pytest.raises(OverloadedError):
            lease.grow(41)
        assert budget.used_bytes == 60
    assert budget.used_bytes == 0
