"""Tokens counted without a vocabulary: never fewer than the learned or usual ratio says."""

from proxy.dialect.estimate import Estimator, Script, script_of
from routing.price import Quantities


def estimate(estimator: Estimator, prompt: int, text: int, model: str = "m") -> tuple[int, int]:
    found = estimator.estimate(model, prompt_bytes=prompt, text_bytes=text)
    assert found == Quantities(input=found.input, output=found.output)
    return found.input, found.output


def test_an_unknown_model_has_its_scripts_usual_ratio_rounded_up() -> None:
    estimator = Estimator()
    assert estimate(estimator, 401, 1) == (101, 1)
    assert estimate(estimator, 0, 0) == (0, 0)
    found = estimator.estimate("m", prompt_bytes=300, text_bytes=301, script=Script.CJK)
    assert found == Quantities(input=100, output=101)


def test_what_upstreams_report_is_learned_per_model() -> None:
    estimator = Estimator()
    stated = Quantities(input=80, cached_input=20, output=50)
    estimator.learn("m", quantities=stated, prompt_bytes=500, text_bytes=100)
    assert estimate(estimator, 500, 100) == (100, 50)
    assert estimate(estimator, 500, 100, "other") == (125, 25)


def test_one_odd_statement_moves_the_ratio_little() -> None:
    estimator = Estimator()
    usual, odd = Quantities(input=100, output=100), Quantities(input=100, output=100)
    estimator.learn("m", quantities=usual, prompt_bytes=400, text_bytes=400)
    estimator.learn("m", quantities=odd, prompt_bytes=800, text_bytes=100)
    assert estimate(estimator, 4000, 4000) == (942, 1050)


def test_impossible_ratios_are_bounded() -> None:
    estimator = Estimator()
    stated = Quantities(input=100, output=100)
    estimator.learn("m", quantities=stated, prompt_bytes=10**9, text_bytes=1)
    assert estimate(estimator, 8000, 1000) == (1000, 1000)


def test_hidden_reasoning_and_tiny_answers_teach_nothing_about_text() -> None:
    estimator = Estimator()
    hidden = Quantities(input=5, output=100, reasoning=900)
    estimator.learn("m", quantities=hidden, prompt_bytes=400, text_bytes=300)
    assert estimate(estimator, 400, 400) == (100, 100)


def test_only_so_many_models_are_remembered_the_latest_ones() -> None:
    estimator = Estimator(models_max=2)
    stated = Quantities(input=100, output=100)
    for model in ("a", "b", "a", "c"):
        estimator.learn(model, quantities=stated, prompt_bytes=200, text_bytes=200)
    assert [estimate(estimator, 200, 200, model) for model in "abc"] == [
        (100, 100),
        (50, 50),
        (100, 100),
    ]


def test_the_script_is_told_by_its_characters() -> None:
    assert script_of("") is Script.LATIN
    assert script_of("Grüße aus 世界, und mehr") is Script.LATIN
    assert script_of("你好世界 hi") is Script.CJK
    assert script_of("привет") is Script.LATIN
