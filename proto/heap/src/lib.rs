//! The allocator of the tools that read archives: events are put together from many small pieces,
//! and slabs by size are quicker at that than what the system has.
//!
//! It asks for huge pages, where the system lets programs have them: decoded events are put into
//! fresh memory and read once, so that each small page costs nearly as much as what is in it.
//!
//! A tool takes it with `use heap as _;`.

#![allow(unsafe_code)]

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

// SAFETY: jemalloc declares this name, weakly, as `const char *` for programs to define, and reads
// it as text that ends with a zero, which this does. No other crate of a tool defines it. The
// options are in its manual, under `malloc_conf`.
#[unsafe(export_name = "malloc_conf")]
static MALLOC_CONF: &[u8; 11] = b"thp:always\0";
