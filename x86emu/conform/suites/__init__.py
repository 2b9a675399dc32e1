"""The suites of the harness: where cases come from and what judges them."""
