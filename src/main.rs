//! The `gumboot` command line.

fn main() {}
