"""The overview page escapes what it is given and links only to pages."""

from ml.monitoring.reports import status_page

STATE = {"state": "alert", "monitor": "feature_drift", "object": "<b>", "partition": "2017-11-20", "value": 0.25}
INCIDENT = {"severity": "alert", "title": "<script>x</script>", "kind": "drift"}


def page(links: dict[str, str]) -> str:
    incident = {**INCIDENT, "opened_partition": "2017-11-20", "last_partition": "2017-11-21"}
    return status_page("shop", [{**STATE, "threshold": None}], [incident], links)


def test_everything_is_escaped():
    text = page({"<i>label</i>": 'x.html"onclick="y'})
    assert "<script>" not in text
    assert "&lt;script&gt;x&lt;/script&gt;" in text
    assert "<b>" not in text
    assert "<i>" not in text
    assert 'href="x.html&quot;onclick=&quot;y"' in text


def test_an_address_that_is_no_page_is_not_linked():
    text = page({"bad": "javascript:alert(1)", "good": "http://127.0.0.1:8080", "near": "../monitoring/drift.html"})
    assert "javascript:" not in text
    assert 'href="http://127.0.0.1:8080"' in text
    assert 'href="../monitoring/drift.html"' in text


def test_an_empty_shop_has_a_page_too():
    text = status_page("shop", [], [], {})
    assert "Nothing was judged yet." in text
    assert "None." in text


def test_that_payments_are_made_up_stands_above_everything():
    page = status_page("small", [], [], {}, (), ["payments are <simulated>"])
    assert page.index("payments are &lt;simulated&gt;") < page.index("Open incidents")
