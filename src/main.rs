//! The `headwater` program: arguments, then configuration, then run.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Long enough that memory of bodies that come and go is used again, short enough that a server that rests gives it back.
const FREED_MEMORY_KEPT_MS: u16 = 10_000;

fn main() -> std::process::ExitCode {
    headwater::sys::keep_freed_memory_for(FREED_MEMORY_KEPT_MS);
    headwater::cli::run()
}
