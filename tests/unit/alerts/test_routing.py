"""Routes are named without their secrets."""

from ml.alerts.routing import routes


def test_a_route_is_named_by_position_and_scheme(configure):
    settings = configure(alert_urls='["mailtos://ops:s3cret@mail.test", "slack://t0ken/b/c", "not a url s3cret"]')
    assert [route.name for route in routes(settings)] == ["1-mailtos", "2-slack", "3-unreadable"]
    assert "s3cret" not in repr(routes(settings))
    assert "t0ken" not in repr(routes(settings))


def test_no_url_means_no_route(configure):
    assert routes(configure()) == ()
