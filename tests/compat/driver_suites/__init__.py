"""The drivers' own test suites: where each comes from, and how it is run."""
