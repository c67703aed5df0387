"""What goes over the wire: the one description from which bodies are judged and docs/openapi.json is made.

Fields of events and attempts to pay are judged by the readers of `ml.fraud.events` and `ml.serving.events`;
their models here say the same to who writes a client.
"""
