"""What the black-box tests share: a private Postgres, the proxy's process, a raw protocol client."""
