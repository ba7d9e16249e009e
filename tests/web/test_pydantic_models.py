"""``Fen`` as a field of a pydantic model: whole fen or an error, and an integer in JSON."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from typing import Annotated, Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chaoying_async import Fen
from tests.table import table


class Sale(BaseModel):
    """What a shop keeps of an order."""

    amount: Fen
    refunded: Fen | None = None
    parts: list[Fen] = []


class Lenient(BaseModel):
    """A model that lets pydantic convert whatever it can."""

    model_config = ConfigDict(strict=False, coerce_numbers_to_str=True)
    amount: Annotated[Fen, Field(ge=1, le=10**15)]


@table("given", [0, 1230, -5, Fen(1230), 10**30])
def test_whole_numbers_become_fen(given: int) -> None:
    """What ``Fen(...)`` takes, in Python and in JSON."""
    for sale in (Sale(amount=given), Sale.model_validate_json(f'{{"amount": {int(given)}}}')):  # type: ignore[arg-type]
        assert type(sale.amount) is Fen
        assert sale.amount == given


@table("given", [1.0, 12.3, "1230", "12.30", True, None, Decimal(12), b"1", [1]])
def test_everything_else_is_refused(given: Any) -> None:
    """Text may be yuan and a float is no amount, however lenient the model is (M-12)."""
    for model in (Sale, Lenient):
        with pytest.raises(ValidationError) as caught:
            model(amount=given)
        assert caught.value.errors()[0]["loc"] == ("amount",)


@table("text", ["1.0", "1230.0", "1e3", '"1230"', "true", "null", "NaN"])
def test_everything_else_is_refused_in_json(text: str) -> None:
    """A number with a decimal point is a float to whoever wrote it."""
    for model in (Sale, Lenient):
        with pytest.raises(ValidationError):
            model.model_validate_json(f'{{"amount": {text}}}')


@table("text", ["12.0", "12", "1_000", " 12 "])
def test_text_is_refused_in_the_mode_for_text_too(text: str) -> None:
    """``model_validate_strings`` would take 12.0 yuan for 12 fen."""
    for model in (Sale, Lenient):
        with pytest.raises(ValidationError, match="text may be yuan"):
            model.model_validate_strings({"amount": text})


def test_bounds_of_a_field_are_kept() -> None:
    """``Field(ge=1)`` is held against the number of fen."""
    assert Lenient(amount=Fen(1)).amount == 1
    for amount in (Fen(0), Fen(10**15 + 1)):
        with pytest.raises(ValidationError):
            Lenient(amount=amount)


def test_it_is_fen_in_python_and_an_integer_in_json() -> None:
    """There and back it is the same."""
    sale = Sale(amount=Fen(1230), refunded=Fen(30), parts=[Fen(1200), Fen(30)])
    dumped = sale.model_dump()
    assert dumped == {"amount": 1230, "refunded": 30, "parts": [1200, 30]}
    assert type(dumped["amount"]) is Fen
    text = sale.model_dump_json()
    assert text == '{"amount":1230,"refunded":30,"parts":[1200,30]}'
    assert Sale.model_validate_json(text) == sale
    assert Sale.model_validate(sale.model_dump(mode="json")) == sale


def test_a_bound_can_be_named_in_the_json_schema() -> None:
    """Pydantic leaves ``ge`` there for every type of one's own; ``minimum`` has to be added."""

    class Paid(BaseModel):
        amount: Annotated[Fen, Field(ge=1, json_schema_extra={"minimum": 1})]

    assert Paid.model_json_schema()["properties"]["amount"]["minimum"] == 1
    with pytest.raises(ValidationError):
        Paid(amount=Fen(0))


def test_its_json_schema_is_an_integer() -> None:
    """As OpenAPI shows it, with the unit."""
    schema = Sale.model_json_schema()["properties"]
    assert schema["amount"]["type"] == "integer"
    assert "fen" in schema["amount"]["description"]
    assert schema["refunded"]["anyOf"][0]["type"] == "integer"
    assert schema["parts"]["items"]["type"] == "integer"


def test_a_fastapi_route_takes_and_gives_fen() -> None:
    """A float in a body is a 422, not a rounded amount."""
    app = FastAPI()

    @app.post("/sales")
    async def sell(sale: Sale) -> Sale:
        return Sale(amount=sale.amount + 1)

    with TestClient(app) as client:
        assert client.post("/sales", json={"amount": 1230}).json()["amount"] == 1231
        assert client.post("/sales", json={"amount": 12.3}).status_code == 422
        shown = client.get("/openapi.json").text
    assert '"type":"integer"' in shown


@pytest.mark.outside
def test_nothing_imports_pydantic_for_it() -> None:
    """A program that has no model does not pay for pydantic."""
    program = "import sys, chaoying_async as c; c.Fen(1); sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
