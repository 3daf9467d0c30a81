//! The `headwater` program: arguments, then configuration, then run.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    headwater::sys::keep_freed_memory_for(headwater::sys::FREED_MEMORY_KEPT_MS);
    headwater::cli::run()
}
