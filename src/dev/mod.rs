//! Helpers for development: a private Postgres cluster for the demo and the tests.
