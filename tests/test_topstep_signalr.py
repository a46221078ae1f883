"""SignalR records: cut, parsed, refused (page 4)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.dialect import BadFrame
from runtime.wire import ProtocolError
from venues.topstepx.signalr import (
    CLOSE,
    COMPLETION,
    HANDSHAKE,
    INVOCATION,
    PING,
    RecordCutter,
    handshake_error,
    invocation,
    parse,
)


def test_what_we_say():
    assert HANDSHAKE == '{"protocol":"json","version":1}\x1e'
    assert PING == '{"type":6}\x1e'
    text = invocation("7", "SubscribeOrders", 20000001)
    assert text.endswith("\x1e")
    wanted = {"type": 1, "invocationId": "7", "target": "SubscribeOrders", "arguments": [20000001]}
    assert json.loads(text[:-1]) == wanted
    assert json.loads(invocation("8", "SubscribeAccounts")[:-1])["arguments"] == []


@pytest.mark.parametrize(
    "messages, records",
    [
        ([b"{}\x1e"], [[b"{}"]]),
        ([b'{}\x1e{"type":6}\x1e'], [[b"{}", b'{"type":6}']]),
        ([b'{"ty', b'pe":6', b"}\x1e"], [[], [], [b'{"type":6}']]),
        ([b'{}\x1e{"type"', b':6}\x1e{"a"', b":1}\x1e"], [[b"{}"], [b'{"type":6}'], [b'{"a":1}']]),
        ([b"{}", b"\x1e"], [[], [b"{}"]]),
        ([b""], [[]]),
        ([b"\x1e"], [[b""]]),
    ],
)
def test_records_are_cut_wherever_messages_end(messages, records):
    cutter = RecordCutter()
    assert [cutter.feed(m) for m in messages] == records


@given(st.lists(st.binary(max_size=20).filter(lambda b: b"\x1e" not in b)), st.lists(st.integers(1, 9), min_size=1))
def test_the_cutter_does_not_care_where_messages_end(records, sizes):
    data = b"".join(r + b"\x1e" for r in records)
    cutter, heard, at, turn = RecordCutter(), [], 0, 0
    while at < len(data):
        heard += cutter.feed(data[at : at + sizes[turn % len(sizes)]])
        at, turn = at + sizes[turn % len(sizes)], turn + 1
    assert heard == records


def test_a_record_without_end_is_no_record():
    cutter = RecordCutter(record_bytes_max=100)
    cutter.feed(b"x" * 100)
    with pytest.raises(ProtocolError, match="100"):
        cutter.feed(b"x")


@pytest.mark.parametrize(
    "raw, type_, fields",
    [
        (b'{"type":1,"target":"GatewayQuote","arguments":["a",{}]}', INVOCATION, {"target": "GatewayQuote"}),
        (b'{"arguments":[1],"target":"T","type":1}', INVOCATION, {"target": "T"}),  # key order is free
        (b'{"type":3,"invocationId":"1","result":0}', COMPLETION, {"invocation_id": "1", "error": None}),
        (b'{"type":3,"invocationId":"8"}', COMPLETION, {"invocation_id": "8", "error": None}),
        (b'{"type":3,"invocationId":"9","error":"no","result":1}', COMPLETION, {"error": "no"}),
        (b'{"type":6}', 6, {}),
        (b'{"type":7,"error":"e","allowReconnect":true}', CLOSE, {"error": "e", "allow_reconnect": True}),
        (b'{"type":7}', CLOSE, {"error": None, "allow_reconnect": None}),
        (b'{"type":8,"sequenceId":1394}', 8, {}),
        (b'{"type":2,"invocationId":"3","item":42}', 2, {}),
        (b'{"type":99,"new":[{}]}', 99, {}),
    ],
)
def test_parse(raw, type_, fields):
    record = parse(raw)
    assert record.type == type_
    assert {name: getattr(record, name) for name in fields} == fields


@pytest.mark.parametrize(
    "raw, kind",
    [
        (b"", "truncated"),
        (b'{"type":6', "truncated"),
        (b"nonsense", "not_json"),
        (b'{"type":6} more', "not_json"),
        (b'{"type":1,"target":"T","arguments":[1,}', "not_json"),
        (b"\xff\xfe", "not_json"),
        (b'{"type":1,"target":"\xff"}', "not_json"),
        (b"[]", "wrong_type"),
        (b"null", "wrong_type"),
        (b"6", "wrong_type"),
        (b"{}", "wrong_type"),
        (b'{"type":"6"}', "wrong_type"),
        (b'{"type":null}', "wrong_type"),
        (b'{"type":1.5}', "wrong_type"),
        (b'{"type":3,"invocationId":1}', "wrong_type"),
        (b'{"type":7,"allowReconnect":"yes"}', "wrong_type"),
        (b'{"type":1,"target":null}', "wrong_type"),
        (b'{"type":1,"x":' + b"[" * 5000 + b"]" * 5000 + b"}", "too_deep"),
    ],
)
def test_broken_records(raw, kind):
    with pytest.raises(BadFrame) as e:
        parse(raw)
    assert e.value.kind == kind


@given(st.binary(max_size=80))
def test_parse_raises_nothing_but_bad_frames(raw):
    try:
        parse(raw)
    except BadFrame:
        pass


def test_handshake_answers():
    assert handshake_error(b"{}") is None
    assert handshake_error(b'{"error":null,"minorVersion":0}') is None
    assert handshake_error(b'{"error":"Handshake was canceled."}') == "Handshake was canceled."


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"type":6}', b'{"type":"x"}', b'{"error":5}', b"{" * 5000, b"HTTP/1.1"])
def test_other_first_records_are_no_answer(raw):
    with pytest.raises(BadFrame):
        handshake_error(raw)
