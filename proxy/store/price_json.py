"""A price history as JSON and back. Amounts are decimal strings: they exceed 64 bits."""

from datetime import date, time
from typing import Any

from routing.money import Attos
from routing.price import Multiplier, Price, PriceHistory, Rates, Tier, Unit, Window


def price_to_json(history: PriceHistory) -> dict[str, Any]:
    return {"revision": history.revision, "rows": [_row(price) for price in history.rows]}


def price_from_json(value: dict[str, Any]) -> PriceHistory:
    return PriceHistory(tuple(_price(row) for row in value["rows"]), value["revision"])


def _row(price: Price) -> dict[str, Any]:
    return {
        "rates": _rates_to_json(price.rates),
        "tiers": [
            {"above_input_tokens": t.above_input_tokens, "rates": _rates_to_json(t.rates)}
            for t in price.tiers
        ],
        "windows": [
            {
                "weekdays": sorted(w.weekdays),
                "spans": [[start.isoformat(), end.isoformat()] for start, end in w.spans],
                "except_dates": sorted(day.isoformat() for day in w.except_dates),
                "multiplier": _multiplier_to_json(w.multiplier),
            }
            for w in price.windows
        ],
        "service_tiers": {n: _multiplier_to_json(m) for n, m in price.service_tiers.items()},
        "image_fees": {name: str(attos) for name, attos in price.image_fees.items()},
        "from_date": None if price.from_date is None else price.from_date.isoformat(),
    }


def _price(row: dict[str, Any]) -> Price:
    started = row["from_date"]
    return Price(
        rates=_rates(row["rates"]),
        tiers=tuple(Tier(t["above_input_tokens"], _rates(t["rates"])) for t in row["tiers"]),
        windows=tuple(_window(window) for window in row["windows"]),
        service_tiers={name: _multiplier(m) for name, m in row["service_tiers"].items()},
        image_fees={name: Attos(int(attos)) for name, attos in row["image_fees"].items()},
        from_date=None if started is None else date.fromisoformat(started),
    )


def _window(value: dict[str, Any]) -> Window:
    return Window(
        weekdays=frozenset(value["weekdays"]),
        spans=tuple((time.fromisoformat(a), time.fromisoformat(b)) for a, b in value["spans"]),
        except_dates=frozenset(date.fromisoformat(day) for day in value["except_dates"]),
        multiplier=_multiplier(value["multiplier"]),
    )


def _rates_to_json(rates: Rates) -> dict[str, str]:
    return {unit.value: str(attos) for unit, attos in rates.attos.items()}


def _rates(value: dict[str, str]) -> Rates:
    return Rates({Unit(unit): Attos(int(attos)) for unit, attos in value.items()})


def _multiplier_to_json(multiplier: Multiplier) -> list[str]:
    return [str(multiplier.numerator), str(multiplier.denominator)]


def _multiplier(value: list[str]) -> Multiplier:
    return Multiplier(int(value[0]), int(value[1]))
