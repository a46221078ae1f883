"""Costs and names by ticker (page 2.3, 6.9)."""

import json
from decimal import Decimal as D
from pathlib import Path

import pytest

from venues.topstepx.costs import commission, side_cost
from venues.topstepx.symbols import name_of_other, ticker

CATALOGUE = Path(__file__).resolve().parents[2] / "shared/data/topstepx/Contract_available.json"


@pytest.mark.parametrize(
    "symbol, all_in, own",
    [
        ("MNQ", "0.61", "0.25"),
        ("MGC", "0.96", "0.25"),
        ("MCL", "0.86", "0.25"),
        ("ES", "1.89", "0.50"),
        ("6E", "2.11", "0.50"),
    ],
)
def test_costs_of_a_side(symbol, all_in, own):
    assert (side_cost(symbol), commission(symbol)) == (D(all_in), D(own))


def test_a_product_without_a_figure():
    assert side_cost("NKD") is None


@pytest.mark.skipif(not CATALOGUE.exists(), reason="no recorded catalogue here")
def test_every_contract_of_the_recorded_catalogue_has_the_name_the_venue_gives_it():
    rows = json.loads(CATALOGUE.read_text())["contracts"]
    assert len(rows) == 51
    for row in rows:
        assert row["name"] == ticker(row["id"]) + row["name"][-2:]
        assert name_of_other(row["id"], {ticker(row["id"])}) == row["name"]
