"""Costs and names by ticker (page 2.3, 6.9)."""

import json
from decimal import Decimal as D
from pathlib import Path

import msgspec
import pytest

from config.topstep_data import FeesFile, ProductsFile, read
from tests.core.gateway import RULES
from venues.topstepx.costs import commission
from venues.topstepx.symbols import name_of_other, ticker
from wiring.topstep import paper_terms

CATALOGUE = Path(__file__).resolve().parents[2] / "shared/data/topstepx/Contract_available.json"


def test_the_commission_agrees_with_the_table_of_costs():
    fees, products = read("fees", FeesFile), read("products", ProductsFile)
    counted_as_minis = {"MBT", "MET"}  # by the caps alone
    for symbol in products.symbols:
        is_micro = symbol in counted_as_minis or products.weights.get(symbol, 1) < 1
        whole = fees.commission_micro if is_micro else fees.commission_mini
        assert commission(symbol) * 2 == whole, symbol


@pytest.mark.parametrize(("symbols", "side"), [(["MGC"], "0.96"), (["MGC", "ES"], "1.89"), (["NKD"], "2.16")])
def test_a_dry_run_pays_what_the_dearest_market_costs(symbols, side):
    markets = dict.fromkeys(symbols, RULES.markets["MGC"])
    terms, _ = paper_terms(msgspec.structs.replace(RULES, markets=markets))
    assert terms.fee_per_unit == D(side)


@pytest.mark.skipif(not CATALOGUE.exists(), reason="no recorded catalogue here")
def test_every_contract_of_the_recorded_catalogue_has_the_name_the_venue_gives_it():
    rows = json.loads(CATALOGUE.read_text())["contracts"]
    assert len(rows) == 51
    for row in rows:
        assert row["name"] == ticker(row["id"]) + row["name"][-2:]
        assert name_of_other(row["id"], {ticker(row["id"])}) == row["name"]
