//! What is timed runs with the allocator of the program: that of the system gives large blocks back at once, and what is measured then is
//! page faults.

use criterion::Criterion;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As the arguments say.
pub(crate) fn criterion() -> Criterion {
    headwater::sys::keep_freed_memory_for(headwater::sys::FREED_MEMORY_KEPT_MS);
    Criterion::default().configure_from_args()
}
