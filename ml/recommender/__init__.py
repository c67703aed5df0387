"""Which products to show a customer next: candidates from the customer's history, ranked by a model."""
