//! The `headwater` program: arguments, then configuration, then run.
fn main() {}
