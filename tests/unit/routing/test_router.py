"""Model names lead to targets, exactly or through the row that catches the rest."""

from landline.routing.router import Choice, Route, Router
from landline.wire.errors import ApiError

ROUTER = Router({"demo": [Route("a", "big-model"), Route("b", None)], "plain": [Route("b", None)]})
OPEN = Router({"demo": [Route("a", None)], "*": [Route("rest", None)]})


def test_named_model_goes_to_its_first_target_under_the_upstreams_name() -> None:
    assert ROUTER.choose("demo") == Choice("a", "big-model")


def test_without_an_upstream_name_the_clients_name_is_passed_on() -> None:
    assert ROUTER.choose("plain") == Choice("b", "plain")


def test_star_catches_other_names_and_only_those() -> None:
    assert OPEN.choose("gpt-x") == Choice("rest", "gpt-x")
    assert OPEN.choose("demo") == Choice("a", "demo")


def test_unknown_model_is_refused_with_what_is_on_offer() -> None:
    error = ROUTER.choose("nope")
    assert isinstance(error, ApiError)
    assert (error.code, error.status, error.param) == ("model_not_found", 404, "model")
    assert "`demo`, `plain`" in error.message
    assert "'nope'" in error.message


def test_absent_model_is_refused() -> None:
    error = OPEN.choose(None)
    assert isinstance(error, ApiError)
    assert error.code == "missing_required_parameter"


def test_star_is_no_name_to_ask_for() -> None:
    assert OPEN.model_names == ["demo"]
