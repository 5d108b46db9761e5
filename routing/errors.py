"""What can be wrong with a table, or with asking it. Each class is a different action."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a file, where it stands (1-based), and what to write instead."""

    file: str
    line: int
    column: int
    path: str
    reason: str
    instead: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.path}: {self.reason}; {self.instead}"


class ConfigError(Exception):
    """The file cannot be used. Carries every problem found, not only the first."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class RoutingError(Exception):
    """No route can be offered for this request. `rejected`: (route id, reason), where known."""

    rejected: tuple[tuple[str, str], ...] = ()


class UnknownModelError(RoutingError):
    """No model has this name or alias. `nearest` are names that look like it."""

    def __init__(self, model: str, nearest: tuple[str, ...]) -> None:
        super().__init__(model)
        self.model = model
        self.nearest = nearest


class NoRouteError(RoutingError):
    """The model exists, but nothing that can serve it now is left. `reasons` say why, per route."""

    def __init__(self, model: str, reasons: tuple[str, ...]) -> None:
        super().__init__(model)
        self.model = model
        self.reasons = reasons


class UnwantedError(NoRouteError):
    """The request's own preferences leave no route: asking again later changes nothing."""


class JurisdictionError(RoutingError):
    """Every route of the model reaches a party or country that the policy forbids.

    `party` and `country` name the first failure; `alternatives` are models that would pass.
    """

    def __init__(self, model: str, party: str, country: str, alternatives: tuple[str, ...]) -> None:
        super().__init__(model)
        self.model = model
        self.party = party
        self.country = country
        self.alternatives = alternatives


class UnsupportedParameterError(RoutingError):
    """No route of the model can carry these semantic parameters."""

    def __init__(self, model: str, parameters: tuple[str, ...]) -> None:
        super().__init__(model)
        self.model = model
        self.parameters = parameters


class ModelNotAllowedError(RoutingError):
    """The key's list of models leaves this one out."""

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self.model = model


class UnsupportedEndpointError(RoutingError):
    """No route of the model offers the endpoint. `endpoints` are those that one does."""

    def __init__(self, model: str, endpoints: tuple[str, ...]) -> None:
        super().__init__(model)
        self.model = model
        self.endpoints = endpoints


class UnknownJurisdictionError(RoutingError):
    """No country, group or preset has this name. `nearest` are names that look like it."""

    def __init__(self, name: str, nearest: tuple[str, ...]) -> None:
        super().__init__(name)
        self.name = name
        self.nearest = nearest
