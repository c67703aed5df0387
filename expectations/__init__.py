"""What data must be like: Great Expectations suites and the gates that run them."""

import os

# Releases of Great Expectations that send usage figures read this when they are imported; 1.24 sends none.
os.environ["GX_ANALYTICS_ENABLED"] = "false"
