//! The `pgbelay` program: reads its arguments and calls a command.

fn main() {}
