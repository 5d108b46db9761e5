"""A routing table as JSON, for the record: who, where and at what price, never a credential."""

from typing import Any

from routing.table import Model, Party, Processor, Route, RoutingTable


def routing_to_json(table: RoutingTable) -> dict[str, Any]:
    return {
        "home_jurisdictions": sorted(table.home_jurisdictions),
        "parties": {party.id: _entity(party) for party in table.parties.values()},
        "processors": {
            processor.id: {**_entity(processor), "data": list(processor.data)}
            for processor in table.processors.values()
        },
        "models": {model.id: _model(model) for model in table.models.values()},
    }


def _entity(entity: Party | Processor) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": entity.name,
        "seat": entity.seat,
        "processes_in": list(entity.processes_in),
        "policy_url": entity.policy_url,
        "mechanism": entity.mechanism,
        "dpa": None,
    }
    if entity.dpa is not None:
        fields["dpa"] = {"url": entity.dpa.url, "date": entity.dpa.date.isoformat()}
    if isinstance(entity, Party):
        fields["controlled_from"] = entity.controlled_from
    return fields


def _model(model: Model) -> dict[str, Any]:
    return {
        "maker": model.maker,
        "price_revision": model.price.revision,
        "routes": [_route(route) for route in model.routes],
    }


def _route(route: Route) -> dict[str, Any]:
    started = route.effective_from
    return {
        "id": route.id,
        "upstream": route.upstream.id,
        "provider": route.provider.id,
        "aggregator": None if route.aggregator is None else route.aggregator.id,
        "host": None if route.host is None else route.host.id,
        "jurisdictions": list(route.jurisdictions),
        "cost_revision": route.cost.revision,
        "effective_from": None if started is None else started.isoformat(),
        "enabled": route.enabled,
    }
