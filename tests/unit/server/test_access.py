"""Which hosts and pages are admitted, by headers alone; what a browser sends of itself cannot be forged by a page."""

import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from landline.server.access import Access, AccessVerdict

HOME = "127.0.0.1:8080"
APP = "https://app.example.org"


def made(*, host: str = "127.0.0.1", hosts: tuple[str, ...] = (), origins: tuple[str, ...] = ()) -> Access:
    return Access.of(host, hosts, origins)


def scope_of(*headers: tuple[str, str], kind: str = "http", **fields: Any) -> dict[str, Any]:
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    scope = {"type": kind, "http_version": "1.1", "path": "/v1/responses", "headers": encoded, **fields}
    return scope | ({"method": fields.get("method", "GET")} if kind == "http" else {})


def verdict(access: Access, *headers: tuple[str, str], **fields: Any) -> int | str | None:
    """The status of the refusal, else the origin that is answered to."""
    found = access.judge(scope_of(*headers, **fields))
    return found.error.status if found.error is not None else found.origin


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:1",
        "LocalHost:65535",
        "localhost.",
        "localhost.:8080",
        "localhost:",
        "app.localhost",
        "a.b.LOCALHOST:3000",
        "127.0.0.1",
        "127.0.0.1:8080",
        "127.255.3.4:80",
        "[::1]",
        "[::1]:8080",
        "[0:0:0:0:0:0:0:1]:8080",
        "[::ffff:127.0.0.1]:8080",
        "[::ffff:7f00:1]",
    ],
)
def test_loopback_names_are_admitted(host: str) -> None:
    assert verdict(made(), ("host", host)) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example:8080",
        "notlocalhost",
        "evil-localhost:8080",
        "localhost.localdomain",
        "0.0.0.0:8080",
        "[::]:8080",
        "128.0.0.1",
        "126.255.255.255",
        "10.0.0.1:8080",
        "[::2]",
        "[::ffff:10.0.0.1]",
        "[fe80::1]:8080",
        "2130706433",
        "127.1",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.0.0.01",
    ],
)
def test_other_hosts_are_refused(host: str) -> None:
    assert verdict(made(), ("host", host)) == 421
    assert verdict(made(), ("host", host), ("x-forwarded-host", "localhost")) == 421
    assert verdict(made(), ("host", host), ("forwarded", "host=localhost")) == 421
    assert verdict(made(), ("host", host), kind="websocket") == 421


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":8080",
        "localhost:http",
        "localhost:0",
        "localhost:65536",
        "localhost:-1",
        "localhost:80:80",
        "user@localhost",
        "localhost:80@evil.example",
        "http://localhost",
        "localhost/",
        "localhost, evil.example",
        "evil.example localhost",
        "localhost\tevil.example",
        ".localhost",
        "evil..localhost",
        "localhost..",
        "::1",
        "[::1",
        "[127.0.0.1]",
        "[fe80::1%25eth0]",
        "[::1]evil.example",
        "evil.example#.localhost",
        "evil.example\\.localhost",
        "evil%2eexample",
        "l\xf6calhost",
        "localhost\x00",
    ],
)
def test_what_is_no_host_is_a_bad_request(host: str) -> None:
    assert verdict(made(), ("host", host)) == 400


@pytest.mark.parametrize("first", ["127.0.0.1", "evil.example"])
@pytest.mark.parametrize("second", ["127.0.0.1", "evil.example"])
def test_two_hosts_are_a_bad_request(first: str, second: str) -> None:
    assert verdict(made(), ("host", first), ("host", second)) == 400


@pytest.mark.parametrize(("version", "expected"), [("1.0", None), ("1.1", 400), ("2", 400), ("3", 400)])
def test_only_old_http_may_go_without_a_host(version: str, expected: int | None) -> None:
    assert verdict(made(), http_version=version) == expected


def test_a_socket_without_a_host_is_a_bad_request() -> None:
    scope = scope_of(kind="websocket")
    del scope["http_version"]
    error = made().judge(scope).error
    assert error is not None
    assert error.status == 400


def test_without_a_host_no_origin_is_the_servers_own() -> None:
    assert verdict(made(), ("origin", "http://localhost"), http_version="1.0") == 403


@pytest.mark.parametrize(
    ("setting", "admitted", "refused"),
    [
        ("llm.example.org", "llm.example.org", "example.org"),
        ("llm.example.org", "LLM.example.org.:443", "x.llm.example.org"),
        ("LLM.Example.Org.", "llm.example.org", "llm.example.org.evil.example"),
        ("llm.example.org:8443", "llm.example.org:8443", "llm.example.org:8444"),
        ("llm.example.org:8443", "llm.example.org.:8443", "llm.example.org"),
        ("*.example.org", "a.example.org:80", "example.org"),
        ("*.example.org", "a.b.example.org", "evilexample.org"),
        ("*.example.org:81", "a.example.org:81", "a.example.org:82"),
        ("gpu_box", "gpu_box:8080", "gpu-box:8080"),
        ("192.0.2.7", "192.0.2.7:9000", "192.0.2.70"),
        ("[2001:db8::7]:80", "[2001:DB8:0::7]:80", "[2001:db8::7]:81"),
        ("2001:db8::7", "[2001:db8::7]:1", "[2001:db8::8]"),
        ("192.0.2.7", "[::ffff:192.0.2.7]", "[::ffff:192.0.2.8]"),
    ],
)
def test_allowed_hosts_are_admitted_and_their_neighbours_are_not(setting: str, admitted: str, refused: str) -> None:
    access = made(hosts=(setting,))
    assert verdict(access, ("host", admitted)) is None
    assert verdict(access, ("host", refused)) == 421
    assert verdict(access, ("host", HOME)) is None


@pytest.mark.parametrize(
    ("listening", "server", "host", "expected"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.7:8080", None),
        ("192.0.2.7", "192.0.2.7", "192.0.2.8:8080", 421),
        ("llm.example.org", "192.0.2.7", "llm.example.org", None),
        ("llm.example.org", "192.0.2.7", "192.0.2.7", None),
        ("0.0.0.0", "192.0.2.7", "192.0.2.7:8080", None),
        ("0.0.0.0", "192.0.2.7", "0.0.0.0:8080", None),
        ("0.0.0.0", "127.0.0.1", "192.0.2.7:8080", 421),
        ("0.0.0.0", "192.0.2.7", "evil.example:8080", 421),
        ("::", "2001:db8::7", "[2001:db8::7]:8080", None),
        ("::", "fe80::7%eth0", "[fe80::7]:8080", None),
        ("::", "::ffff:192.0.2.7", "192.0.2.7:8080", None),
        ("127.0.0.1", "127.0.0.1", "192.0.2.7", 421),
        ("127.0.0.1", "/run/landline.sock", "evil.example", 421),
        # An ASGI server may tell as its address what the request said.
        ("127.0.0.1", "evil.example", "evil.example", 421),
    ],
)
def test_address_that_is_listened_on_is_admitted(listening: str, server: str, host: str, expected: int | None) -> None:
    access = made(host=listening)
    assert verdict(access, ("host", host), server=(server, 8080)) == expected


def test_no_address_need_be_known() -> None:
    assert verdict(Access(), ("host", "evil.example"), server=None) == 421
    assert verdict(Access(), ("host", HOME), server=None) is None


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        (HOME, f"http://{HOME}"),
        ("localhost:8080", "http://localhost:8080"),
        ("localhost:8080", "http://LOCALHOST:8080"),
        ("localhost", "http://localhost"),
        ("localhost:80", "http://localhost"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("a.localhost:8080", "http://a.localhost:8080"),
        ("localhost:8080", "ws://localhost:8080"),
        # TLS that ends at a proxy, which passes the host on.
        ("localhost:8443", "https://localhost:8443"),
        ("localhost", "https://localhost"),
        ("localhost:443", "https://localhost"),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_own_origin_is_admitted(host: str, origin: str, kind: str) -> None:
    for site in ((), (("sec-fetch-site", "same-origin"),)):
        assert verdict(made(), ("host", host), ("origin", origin), *site, kind=kind) is None


FOREIGN = [
    "https://evil.example",
    "http://evil.example:8080",
    "http://127.0.0.1",
    "http://127.0.0.1:3000",
    "https://127.0.0.1",
    "http://127.0.0.2:8080",
    "http://localhost:8080",
    "http://127.0.0.1:8080.evil.example",
    "http://127.0.0.1.evil.example:8080",
    "http://evil.example/127.0.0.1:8080",
    "http://evil.example#http://127.0.0.1:8080",
    "http://user@127.0.0.1:8080",
    "http://127.0.0.1:8080/",
    "http://127.0.0.1:8080 http://evil.example",
    "http://127.0.0.1:8080,http://evil.example",
    "//127.0.0.1:8080",
    "127.0.0.1:8080",
    "chrome-extension://127.0.0.1:8080",
    "file://",
    "null",
    "NULL",
    "",
]


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_foreign_origin_is_refused(origin: str, kind: str) -> None:
    for site in ("", "same-origin", "same-site", "none", "cross-site"):
        headers = [("host", HOME), ("origin", origin), *([("sec-fetch-site", site)] if site else [])]
        assert verdict(made(), *headers, kind=kind) == 403


def test_two_origins_are_refused_though_one_is_own_and_one_allowed() -> None:
    access = made(origins=(APP,))
    for pair in ((f"http://{HOME}", APP), (APP, f"http://{HOME}"), (APP, APP)):
        assert verdict(access, ("host", HOME), *(("origin", each) for each in pair)) == 403


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "Cross-Site"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"}, 403),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "navigate"}, None),
        ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "no-cors"}, None),
        ({"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, None),
        ({"sec-fetch-mode": "cors"}, None),  # Node's fetch
        ({}, None),
    ],
)
def test_page_without_an_origin_is_known_by_its_site(headers: dict[str, str], expected: int | None) -> None:
    assert verdict(made(), ("host", HOME), *headers.items()) == expected


def test_contradicting_sites_are_refused() -> None:
    for sites in (("none", "cross-site"), ("cross-site", "none")):
        assert verdict(made(), ("host", HOME), *(("sec-fetch-site", each) for each in sites)) == 403


def test_own_host_under_another_scheme_is_refused_where_the_browser_says_so() -> None:
    headers = [("host", "localhost"), ("origin", "http://localhost")]
    assert verdict(made(), *headers, ("sec-fetch-site", "same-site")) == 403
    assert verdict(made(), *headers, ("sec-fetch-site", "cross-site")) == 403


@pytest.mark.parametrize(
    ("setting", "origin", "expected"),
    [
        (APP, APP, APP),
        ("https://APP.example.org:443", APP, APP),
        (APP, "https://app.example.org:443", "https://app.example.org:443"),
        (APP, "http://app.example.org", 403),
        (APP, "https://app.example.org:8443", 403),
        (APP, "https://x.app.example.org", 403),
        (APP, "https://app.example.org.evil.example", 403),
        ("http://localhost:5173", "http://localhost:5173", "http://localhost:5173"),
        ("http://localhost:5173", "http://localhost:5174", 403),
        ("http://localhost:5173", "null", 403),
        ("app://obsidian.md", "app://obsidian.md", "app://obsidian.md"),
        ("chrome-extension://abcdefghij", "chrome-extension://abcdefghij", "chrome-extension://abcdefghij"),
        ("http://[::1]:5173", "http://[0::1]:5173", "http://[0::1]:5173"),
    ],
)
def test_allowed_origins_are_answered_and_no_others(setting: str, origin: str, expected: int | str) -> None:
    for site in ("cross-site", "same-site", "none"):
        headers = [("host", HOME), ("origin", origin), ("sec-fetch-site", site)]
        assert verdict(made(origins=(setting,)), *headers) == expected


def test_allowed_origin_opens_no_other_host() -> None:
    assert verdict(made(origins=(APP,)), ("host", "app.example.org"), ("origin", APP)) == 421


def test_host_of_an_allowed_proxy_makes_its_origin_own() -> None:
    access = made(hosts=("llm.example.org",))
    assert verdict(access, ("host", "llm.example.org"), ("origin", "https://llm.example.org")) is None
    assert verdict(access, ("host", "llm.example.org"), ("origin", "https://blog.example.org")) == 403


JSON_TYPES = [
    "application/json",
    "Application/JSON",
    "application/json; charset=utf-8",
    "application/json;x=text/plain",
    "application/vnd.api+json",
    "application/problem+json ; charset=utf-8",
]
OTHER_TYPES = [
    "text/plain",
    "text/plain;charset=UTF-8",
    "text/plain; application/json",
    "text/plain+json",
    "text/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=application/json",
    "application/jsonx",
    "application/json, text/plain",
    "text/plain, application/json",
    "text/plain, application/x+json",
    "application/json+xml",
    "json",
    "",
]


@pytest.mark.parametrize("origin", [f"http://{HOME}", APP])
@pytest.mark.parametrize("size", [{"content-length": "5"}, {"transfer-encoding": "chunked"}])
def test_body_of_a_page_must_be_json(origin: str, size: dict[str, str]) -> None:
    access = made(origins=(APP,))
    page = [("host", HOME), ("origin", origin), *size.items()]
    for method in ("POST", "GET", "DELETE", "PUT"):
        for kind in JSON_TYPES:
            assert verdict(access, *page, ("content-type", kind), method=method) in (None, APP)
        for kind in OTHER_TYPES:
            assert verdict(access, *page, ("content-type", kind), method=method) == 415
        assert verdict(access, *page, method=method) == 415
        both = [("content-type", "application/json"), ("content-type", "text/plain")]
        assert verdict(access, *page, *both, method=method) == 415


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "POST"])
def test_page_without_a_body_needs_no_type(method: str) -> None:
    page = [("host", HOME), ("origin", f"http://{HOME}")]
    assert verdict(made(), *page, ("content-length", "0"), method=method) is None
    assert verdict(made(), *page, method=method) is None


def test_later_http_need_not_tell_a_bodys_size() -> None:
    page = [("host", HOME), ("origin", f"http://{HOME}")]
    assert verdict(made(), *page, method="POST", http_version="2") == 415
    assert verdict(made(), *page, ("content-length", "0"), method="POST", http_version="2") is None
    assert verdict(made(), *page, ("content-type", "application/json"), method="POST", http_version="3") is None
    assert verdict(made(), *page, method="GET", http_version="2") is None


@pytest.mark.parametrize("kind", OTHER_TYPES)
def test_body_of_a_program_may_be_of_any_type(kind: str) -> None:
    headers = [("host", HOME), ("content-type", kind), ("content-length", "5")]
    assert verdict(made(), *headers, method="POST") is None


def test_preflight_is_what_an_allowed_page_asks_with() -> None:
    asks = [("host", HOME), ("origin", APP), ("access-control-request-method", "POST")]
    access = made(origins=(APP,))
    assert access.judge(scope_of(*asks, method="OPTIONS")) == AccessVerdict(origin=APP, is_preflight=True)
    assert access.judge(scope_of(*asks[:2], method="OPTIONS")) == AccessVerdict(origin=APP)
    assert access.judge(scope_of(*asks, method="GET")) == AccessVerdict(origin=APP)
    assert verdict(made(), *asks, method="OPTIONS") == 403


names = st.from_regex(re.compile(r"[a-z0-9_-]{1,12}(\.[a-z0-9_-]{1,12}){0,3}", re.ASCII), fullmatch=True)
ports = st.one_of(st.just(""), st.integers(1, 65535).map(":{}".format))


@given(names, ports)
def test_no_name_is_admitted_that_nobody_allowed(name: str, port: str) -> None:
    assume(name != "localhost" and not name.endswith(".localhost"))
    assume(not re.fullmatch(r"127(\.\d+){3}", name))
    assert verdict(made(), ("host", name + port)) == 421
    assert verdict(made(), ("host", name + port), ("origin", f"http://{name}{port}")) == 421


@given(st.text(st.characters(max_codepoint=255), max_size=40))
def test_any_host_is_admitted_or_refused_and_never_a_fault(value: str) -> None:
    found = verdict(made(), ("host", value))
    is_loopback = re.search(r"localhost\.?(:\d*)?$|^127\.|^\[", value.strip(" \t").lower()) is not None
    assert found in (400, 421) or (found is None and is_loopback)


@given(st.text(st.characters(max_codepoint=255), max_size=40))
def test_any_origin_but_the_own_one_is_refused(value: str) -> None:
    assume(value.strip(" \t").lower() not in (f"http://{HOME}", f"https://{HOME}"))
    assert verdict(made(), ("host", HOME), ("origin", value)) == 403


@given(names, ports, st.sampled_from(["http", "https"]))
def test_origin_is_own_exactly_where_host_and_port_agree(name: str, port: str, scheme: str) -> None:
    access = made(hosts=(name,))
    assume(not re.fullmatch(r"[\d.]+", name))
    assert verdict(access, ("host", name + port), ("origin", f"{scheme}://{name}{port}")) is None
    other = ":4711" if port != ":4711" else ":4712"
    assert verdict(access, ("host", name + port), ("origin", f"{scheme}://{name}{other}")) == 403
