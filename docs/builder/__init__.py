"""Makes the documentation site: notebooks are run, turned into MyST, and joined by pages that are read off the code."""
