"""Bytes that no client of good will sends, against the real server: each gets its declared answer, nothing is repeated.

Every answer is one of ours (our shape of error, our headers), and the server lives on.
"""

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving_process import ServingProcess, receive, serving_process
from tests.serving_stubs import ATTEMPT, KEYS, VIEW

CANARY = b"canary-4111111111111111"
KEY = f"Authorization: Bearer {KEYS['all']}\r\n".encode()
JSON = b"Content-Type: application/json\r\n"
BEFORE_LAST_FIELD = json.dumps(ATTEMPT).encode()[:-1]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingProcess]:
    with serving_process(tmp_path_factory.mktemp("bad-inputs") / "var") as process:
        yield process
        assert process.process.poll() is None
        assert CANARY not in process.output.read_bytes()
        assert b"Traceback" not in process.output.read_bytes()


def post(body: bytes, headers: bytes = JSON, path: bytes = b"/v1/fraud/decisions") -> bytes:
    head = b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + KEY + headers
    return head + b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body


def get(path: bytes, headers: bytes = b"") -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + KEY + headers + b"\r\n"


def answer_of(received: bytes) -> tuple[int, str]:
    """Status and code of the one answer in the bytes."""
    assert CANARY not in received
    assert received.count(b"HTTP/1.1 ") == 1, received[:300]
    head, _, body = received.partition(b"\r\n\r\n")
    status = int(head.split(b" ")[1])
    if status == 200:
        return status, ""
    error = json.loads(body)["error"]
    assert set(error) == {"code", "message", "fields", "request_id"}
    assert b"x-powered-by" not in head.lower()
    assert b"\r\nserver:" not in head.lower()
    return status, error["code"]


def with_field(field: bytes) -> bytes:
    return BEFORE_LAST_FIELD + b", " + field + b"}"


BODIES = [
    (b"", 422, "invalid"),
    (b"null", 422, "invalid"),
    (b"[]", 422, "invalid"),
    (b"[" + json.dumps(ATTEMPT).encode() + b"]", 422, "invalid"),
    (b"1", 422, "invalid"),
    (b'"' + CANARY + b'"', 422, "invalid"),
    (b"true", 422, "invalid"),
    (b"{}", 422, "invalid"),
    (b" ", 400, "bad_json"),
    (b"{", 400, "bad_json"),
    (json.dumps(ATTEMPT).encode()[:-5], 400, "bad_json"),
    (json.dumps(ATTEMPT).encode() + b"x", 400, "bad_json"),
    (json.dumps(ATTEMPT).encode() * 2, 400, "bad_json"),
    (b"{'payment_id': 1}", 400, "bad_json"),
    (b"\xef\xbb\xbf" + json.dumps(ATTEMPT).encode(), 400, "bad_json"),
    (json.dumps(ATTEMPT).encode("utf-16"), 400, "bad_json"),
    (json.dumps(ATTEMPT).encode("utf-16-le"), 400, "bad_json"),
    (json.dumps(ATTEMPT).encode("utf-32"), 400, "bad_json"),
    (with_field(b'"channel": "\xff\xfe"'), 400, "bad_json"),
    (with_field(b'"channel": "\xed\xa0\x80"'), 400, "bad_json"),
    (with_field(b'"channel": "\\ud800"'), 422, "invalid"),
    (with_field(b'"channel": "a\\u0000b"'), 422, "invalid"),
    (with_field(b'"channel": "a\\u0085b"'), 422, "invalid"),
    (with_field(b'"channel": "\xef\xbb\xbfa"'), 422, "invalid"),
    (with_field(b'"channel": "a\x00b"'), 400, "bad_json"),
    (with_field(b'"channel": ""'), 422, "invalid"),
    (with_field(b'"channel": "' + b"x" * 10_000 + b'"'), 422, "invalid"),
    (with_field(b'"channel": 5'), 422, "invalid"),
    (with_field(b'"channel": ["web"]'), 422, "invalid"),
    (with_field(b'"channel": {"a": {"b": 1}}'), 422, "invalid"),
    (with_field(b'"amount_cents": 1'), 400, "duplicate_key"),
    (with_field(b'"\\u0061mount_cents": 1'), 400, "duplicate_key"),
    (with_field(b'"is_admin": true'), 422, "invalid"),
    (with_field(b'"score": 0.0'), 422, "invalid"),
    (with_field(b'"' + CANARY + b'": "' + CANARY + b'"'), 422, "invalid"),
    (with_field(b'"__proto__": {"x": 1}'), 422, "invalid"),
    (b"[" * 20_000, 400, "bad_json"),
    (b'{"a":' * 9_000 + b"1" + b"}" * 9_000, 400, "bad_json"),
    (b"[" * 30 + b"]" * 30, 400, "bad_json"),
    (b"x" * 65_537, 413, "too_large"),
    (b'{"a": "' + b"x" * 200_000 + b'"}', 413, "too_large"),
]
AMOUNTS = [
    (b"NaN", 400),
    (b"Infinity", 400),
    (b"-Infinity", 400),
    (b"1e400", 422),
    (b'"NaN"', 422),
    (b"-0.0", 422),
    (b"0.0", 422),
    (b"9" * 5000, 400),
    (b"-1", 422),
    (b"1000000000001", 422),
    (b"10.5", 422),
    (b"1e2", 422),
    (b"true", 422),
    (b'"12"', 422),
    (b"null", 422),
    (b"[1]", 422),
    (b"01", 400),
    (b"+1", 400),
    (b"0x10", 400),
    (b"1_000", 400),
]
MOMENTS = [
    *("2017-11-20T10:00:00", "2017-11-20", "2999-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
    *("0001-01-01T00:00:00+23:59", "2017-02-30T00:00:00Z", "2016-12-31T23:59:60Z", "yesterday", "", "1511172000"),
    *("2017-11-20T25:00:00Z", "2017-11-20T10:00:00+25:00", "2017-11-20 10:00 America/New_York"),
]


@pytest.mark.parametrize(("body", "status", "code"), BODIES, ids=range(len(BODIES)))
def test_a_body_is_read_strictly(api, body, status, code):
    assert answer_of(api.send(post(body))) == (status, code)
    if b"payment_id" not in body:  # the same of a route that keeps what it is sent
        assert answer_of(api.send(post(body, path=b"/v1/events"))) == (status, code)


@pytest.mark.parametrize(("number", "status"), AMOUNTS, ids=[str(number[:12]) for number, _ in AMOUNTS])
def test_a_number_is_a_whole_number_of_cents(api, number, status):
    body = json.dumps(ATTEMPT).encode().replace(b"5000", number)
    assert answer_of(api.send(post(body)))[0] == status


@pytest.mark.parametrize("moment", [*MOMENTS, 1511172000, 1511172000000, None, True], ids=str)
def test_a_moment_has_its_offset_and_lies_in_the_past(api, moment):
    body = json.dumps({**ATTEMPT, "attempted_at": moment}).encode()
    assert answer_of(api.send(post(body))) == (422, "invalid")
    body = json.dumps({**VIEW, "occurred_at": moment}).encode()
    assert answer_of(api.send(post(body, path=b"/v1/events"))) == (422, "invalid")


@pytest.mark.parametrize(
    "headers",
    [
        b"",
        b"Content-Type: text/plain\r\n",
        b"Content-Type: application/x-www-form-urlencoded\r\n",
        b"Content-Type: multipart/form-data; boundary=x\r\n",
        b"Content-Type: application/jsonp\r\n",
        b"Content-Type: \r\n",
        JSON + b"Content-Encoding: gzip\r\n",
        JSON + b"Content-Encoding: identity\r\n",
    ],
)
def test_only_plain_json_is_read(api, headers):
    assert answer_of(api.send(post(json.dumps(ATTEMPT).encode(), headers))) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50, 400),  # TLS
        (b"\x00" * 100, 400),
        (b"GET\r\n\r\n", 400),
        (b"GET /healthz\r\n\r\n", 400),
        (b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + KEY + b"Authorization: Bearer other\r\n\r\n", 400),
        (b"POST /v1/events HTTP/1.1\r\nHost: x\r\n" + JSON + JSON + b"Content-Length: 2\r\n\r\n{}", 400),
        (b"GARBAGE /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nNo Colon Here\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nBad\x00Name: 1\r\n\r\n", 400),
        (b"CONNECT example.org:80 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", 400),
        (b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 6\r\n\r\n", 400),
        (b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
        (b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", 400),
    ],
)
def test_what_is_no_http_is_told_so(api, request_bytes, status):
    assert answer_of(api.send(request_bytes))[0] == status


@pytest.mark.parametrize(
    "headers",
    [
        b"X-Large: " + b"x" * 9_000 + b"\r\n",
        b"".join(b"X-%d: y\r\n" % place for place in range(2_000)),
        b"X-Endless: " + b"x" * 300_000,
        b"Cookie: " + CANARY * 1_000 + b"\r\n",
    ],
)
def test_headers_have_a_limit(api, headers):
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers + b"\r\n"
    assert answer_of(api.send(request)) == (431, "headers_too_large")


def test_an_address_has_a_limit(api):
    assert answer_of(api.send(get(b"/v1/recommendations/" + b"x" * 20_000)))[0] == 431


def test_chunks_without_end_are_cut_off(api):
    head = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + JSON + KEY + b"\r\n"
    received = api.send(head + b"8000\r\n" + b"x" * 0x8000 + b"\r\n" + (b"8000\r\n" + b"x" * 0x8000 + b"\r\n") * 50)
    assert answer_of(received) == (413, "too_large")


def test_a_declared_size_is_believed_when_it_is_too_large(api):
    head = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n" + JSON + KEY + b"\r\n"
    assert answer_of(api.send(head))[0] in (400, 413)
    head = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n" + JSON + KEY + b"\r\n"
    assert answer_of(api.send(head)) == (413, "too_large")


def test_a_batch_may_be_as_long_as_it_says_and_has_a_limit_of_its_own(api):
    views = [VIEW | {"interaction_id": f"long-{place:03d}-{'x' * 180}"} for place in range(500)]
    body = json.dumps({"events": views}).encode()
    assert 64 * 1024 < len(body) < 256 * 1024
    assert answer_of(api.send(post(body, path=b"/v1/events/batch"))) == (200, "")
    assert answer_of(api.send(post(b"x" * (256 * 1024 + 1), path=b"/v1/events/batch"))) == (413, "too_large")


def test_chunks_that_end_are_read(api):
    head = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n" + JSON + KEY
    body = json.dumps(VIEW | {"interaction_id": "chunked"}).encode()
    chunks = b"".join(b"1\r\n" + body[place : place + 1] + b"\r\n" for place in range(len(body)))
    assert answer_of(api.send(head + b"\r\n" + chunks + b"0\r\n\r\n")) == (200, "")


@pytest.mark.parametrize(
    "start", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "], ids=["silent", "slow headers"]
)
def test_who_never_finishes_is_cut_off_and_holds_up_nobody(api, start):
    held = []
    for _ in range(30):
        connection = socket.create_connection(("127.0.0.1", api.port), timeout=40)
        connection.sendall(start)
        held.append(connection)
    began = time.monotonic()
    assert answer_of(api.send(get(b"/healthz"))) == (200, "")
    assert time.monotonic() - began < 5
    received = receive(held[0])
    assert received == b"" if not start else answer_of(received) == (408, "too_slow")
    assert time.monotonic() - began < 30
    for connection in held:
        connection.close()


def test_a_slow_body_is_cut_off(api):
    with socket.create_connection(("127.0.0.1", api.port), timeout=40) as connection:
        connection.sendall(post(b"x" * 100)[:-50])
        assert answer_of(receive(connection)) == (408, "too_slow")


def test_requests_in_a_row_on_one_connection_are_answered_in_order(api):
    """Pipelined; a small body that was not read is passed over, and the next request is found."""
    refused = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n" + JSON + b"\r\nhello"
    received = api.send(refused + get(b"/healthz"))
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"401", b"200"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (b"/v1/recommendations/%00", 422),
        (b"/v1/recommendations/%FF%FE", 422),
        (b"/v1/recommendations/a%0d%0aSet-Cookie:%20x=1", 422),
        (b"/v1/recommendations/..%2f..%2fetc%2fpasswd", 404),
        (b"/v1/recommendations/../../etc/passwd", 404),
        (b"//healthz", 404),
        (b"/healthz/", 404),
        (b"/v1/recommendations/c1?k=5%00", 422),
        (b"/v1/recommendations/c1?k=%FF", 422),
        (b"/v1/recommendations/c1?category=%FF", 422),
        (b"/v1/recommendations/c1?" + b"&".join([b"exclude=x"] * 300), 422),
        (b"/v1/decisions/" + CANARY, 404),
        (b"http://evil.example/healthz", 200),  # the absolute form of an address: the host is not looked at
    ],
)
def test_addresses_are_read_strictly(api, path, status):
    assert answer_of(api.send(get(path)))[0] == status


@pytest.mark.parametrize("method", [b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"PATCH", b"TRACE"])
def test_other_methods_are_refused_and_none_is_overridden(api, method):
    request = method + b" /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-HTTP-Method-Override: GET\r\n\r\n"
    received = api.send(request)
    assert received.startswith(b"HTTP/1.1 405 ")
    assert b"access-control" not in received.lower()


def test_the_server_listens_on_loopback_only(api):
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    own = [address for address in listening if address.endswith(f":{api.port:04X}")]
    assert own
    assert {address[:8] for address in own} == {"0100007F"}
