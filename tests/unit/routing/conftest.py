import pytest

from routing.load import parse_table
from routing.table import RoutingTable

TABLE = """
version: 1
home_jurisdictions: [EEA, US]
groups: {NORDIC: [DK, FI, IS, NO, SE]}
parties:
  maker:  {name: Maker Inc., seat: US, processes_in: [US],
    policy_url: https://maker.example/privacy, mechanism: SCC}
  euro:   {name: Euro SAS, seat: FR, processes_in: [EU],
    policy_url: https://euro.example/privacy, mechanism: EEA}
  broker: {name: Broker Inc., seat: US, processes_in: [US],
    policy_url: https://broker.example/privacy, mechanism: SCC}
  far:    {name: Far Pte., seat: SG, controlled_from: CN, processes_in: [SG],
    policy_url: https://far.example/privacy, mechanism: instruction}
  vague:  {name: Vague Inc., seat: US, processes_in: [unknown],
    policy_url: https://vague.example/privacy, mechanism: SCC}
upstreams:
  maker:  {party: maker, as: provider, keys: [{env: MAKER_KEY}], trains: false, zdr: true,
    speaks: {openai: https://maker.example/v1, anthropic: https://maker.example}}
  euro:   {party: euro, as: provider, keys: [{env: EURO_KEY}],
    speaks: {anthropic: https://euro.example}, quirks: openai}
  broker: {party: broker, as: aggregator, keys: [{env: BROKER_KEY}], trains: false, zdr: true,
    speaks: {openai: https://broker.example/v1}}
  far:    {party: far, as: host, keys: [{env: FAR_KEY}], speaks: {openai: https://far.example/v1}}
  vague:  {party: vague, as: host, keys: [{env: V_KEY}], speaks: {openai: https://v.example/v1}}
models:
  big:
    maker: maker
    aliases: [large]
    context_tokens: 100000
    output_tokens_max: 4096
    endpoints: [chat, responses]
    accepts: [text, tools]
    price: {input: "2", cached_input: "0.2", cache_write_5m: "2.5", cache_write_1h: "4",
      output: "10"}
    routes:
      - {upstream: euro, model: big-eu}
      - {upstream: maker, model: big}
      - {upstream: broker, model: m/big, provider: maker, cost: {input: "1", cached_input: "1",
         output: "1"}}
      - {upstream: far, model: big, endpoints: [chat]}
  small:
    maker: maker
    context_tokens: 1000
    output_tokens_max: 100
    endpoints: [chat]
    accepts: [text, image]
    price: {input: "0.1", cached_input: "0.1", output: "0.1"}
    routes: [{upstream: maker, model: small}, {upstream: maker, model: small}]
  foreign:
    maker: far
    context_tokens: 1000
    output_tokens_max: 100
    endpoints: [chat]
    price: {input: "0.1", cached_input: "0.1", output: "0.1"}
    routes: [{upstream: far, model: foreign}]
  hidden:
    maker: vague
    context_tokens: 1000
    output_tokens_max: 100
    endpoints: [chat]
    price: {input: "0.1", cached_input: "0.1", output: "0.1"}
    routes: [{upstream: vague, model: hidden}]
  vectors:
    maker: maker
    context_tokens: 1000
    endpoints: [embeddings]
    price: {input: "0.02"}
    routes: [{upstream: maker, model: vectors}]
"""


@pytest.fixture(scope="session")
def table_text() -> str:
    return TABLE


@pytest.fixture(scope="session")
def table(table_text: str) -> RoutingTable:
    return parse_table(table_text)
