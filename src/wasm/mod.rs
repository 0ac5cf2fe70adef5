//! Inference for JavaScript, and nothing but translation. Two modules are made of it, of which a page
//! loads the second, the larger, where it asks for ranking.

/// std's own allocator is twice as long as all the rest.
#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: lol_alloc::LockedAllocator<lol_alloc::FreeListAllocator> =
    lol_alloc::LockedAllocator::new(lol_alloc::FreeListAllocator::new());

#[cfg(feature = "wasm")]
mod exact;
#[cfg(feature = "wasm-rank")]
mod ranked;
