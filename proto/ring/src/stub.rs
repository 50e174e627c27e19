//! The face of the room where there are no rings: it compiles, and says so when asked for one.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::{Address, Error, Patience, Ready, Until};

/// There is none on this system.
#[derive(Debug)]
pub enum Writer {}

/// There is none on this system.
#[derive(Debug)]
pub enum Reader {}

/// There is none on this system.
#[derive(Clone, Debug)]
pub enum Waker {}

#[allow(missing_docs)] // As in `linux/writer.rs`; none of it but the first two can be called.
impl Writer {
    pub fn create(name: &str, _: usize, _: Patience<'_>) -> Result<Self, Error> {
        Address::new(name)?;
        Err(Error::LinuxOnly)
    }

    pub fn create_at(_: &Address, _: usize, _: Patience<'_>) -> Result<Self, Error> {
        Err(Error::LinuxOnly)
    }

    pub fn reserve(&mut self, _: usize) -> Result<&mut [u8], Error> {
        match *self {}
    }

    pub fn wait_room(&mut self, _: usize, _: Option<Duration>) -> Result<Ready, Error> {
        match *self {}
    }

    pub fn publish(&mut self, _: usize) -> Result<(), Error> {
        match *self {}
    }

    pub fn flush(&mut self) -> Result<(), Error> {
        match *self {}
    }

    pub fn check_reader(&self) -> Result<(), Error> {
        match *self {}
    }

    pub fn close(self) -> Result<(), Error> {
        match self {}
    }

    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        match *self {}
    }

    #[must_use]
    pub fn capacity(&self) -> u64 {
        match *self {}
    }

    pub fn queued(&mut self) -> Result<u64, Error> {
        match *self {}
    }

    #[must_use]
    pub fn peer_pid(&self) -> u32 {
        match *self {}
    }

    #[must_use]
    pub fn peer_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }

    pub fn watch(&self, _: BorrowedFd<'_>, _: Until) -> Result<(), Error> {
        match *self {}
    }

    #[must_use]
    pub fn waker(&self) -> Waker {
        match *self {}
    }
}

#[allow(missing_docs)] // As in `linux/reader.rs`.
impl Reader {
    pub fn attach(name: &str, _: Patience<'_>) -> Result<Self, Error> {
        Address::new(name)?;
        Err(Error::LinuxOnly)
    }

    pub fn attach_at(_: &Address, _: Patience<'_>) -> Result<Self, Error> {
        Err(Error::LinuxOnly)
    }

    pub fn data(&mut self) -> Result<&[u8], Error> {
        match *self {}
    }

    #[must_use]
    pub fn seen(&self) -> &[u8] {
        match *self {}
    }

    pub fn consume(&mut self, _: usize) -> Result<(), Error> {
        match *self {}
    }

    pub fn wait(&mut self) -> Result<Ready, Error> {
        match *self {}
    }

    pub fn wait_timeout(&mut self, _: Duration) -> Result<Ready, Error> {
        match *self {}
    }

    pub fn wait_until(&mut self, _: usize) -> Result<Ready, Error> {
        match *self {}
    }

    pub fn is_idle(&mut self) -> Result<bool, Error> {
        match *self {}
    }

    pub fn detach(self) {}

    #[must_use]
    pub fn capacity(&self) -> u64 {
        match *self {}
    }

    pub fn queued(&mut self) -> Result<u64, Error> {
        match *self {}
    }

    #[must_use]
    pub fn peer_pid(&self) -> u32 {
        match *self {}
    }

    #[must_use]
    pub fn peer_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }

    pub fn watch(&self, _: BorrowedFd<'_>, _: Until) -> Result<(), Error> {
        match *self {}
    }

    #[must_use]
    pub fn waker(&self) -> Waker {
        match *self {}
    }
}

#[allow(missing_docs)] // As in `linux/watch.rs`.
impl Waker {
    pub fn wake(&self) {
        match *self {}
    }
}
