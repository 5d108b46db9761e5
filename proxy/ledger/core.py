"""What the parts of a gateway's ledger share."""

from dataclasses import dataclass

from proxy.ledger.generations import FencedCalls, Generations
from proxy.ledger.keeper import Keeper
from proxy.ledger.loader import Loader
from proxy.ledger.pump import Pump
from proxy.ledger.server_clock import ServerClock
from proxy.ledger.tails import Tails


@dataclass(frozen=True, slots=True)
class Core:
    """Everything but the journals, which need a directory."""

    incarnation: str
    fenced: FencedCalls
    generations: Generations
    server_clock: ServerClock
    loader: Loader
    pump: Pump
    tails: Tails
    keeper: Keeper
