"""What data must be like: Great Expectations suites and the gates that run them."""
