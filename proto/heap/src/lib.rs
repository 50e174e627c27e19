//! The allocator of the tools that read and write archives: blocks are taken apart into many small
//! pieces and put together again, and slabs by size are quicker at that than what the system has.
//!
//! It asks for huge pages, where the system lets programs have them: decoded events are put into fresh
//! memory and read once, so that each small page costs nearly as much as what is in it.
//!
//! A tool takes it with `use heap as _;`.

#![allow(unsafe_code)]

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The options of the allocator, see its manual under `malloc_conf`.
const OPTIONS: &[u8] = b"thp:always\0";

// SAFETY: jemalloc declares this name, weakly, as `const char *` for programs to define, and reads it as
// text that ends with a zero, which this does. No other crate of a tool defines it.
#[unsafe(export_name = "malloc_conf")]
static MALLOC_CONF: &u8 = &OPTIONS[0];
