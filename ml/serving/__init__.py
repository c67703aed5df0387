"""What others ask over HTTP."""
