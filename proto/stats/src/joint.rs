//! How an open descriptor is called on both sides of a joint.

use std::os::fd::{AsFd, AsRawFd};

use nix::sys::stat::{SFlag, fstat};

/// Describes an open input or output, so that the text is equal on both sides: `pipe:[INODE]`
/// for pipes, named or not, else what `/proc` says (a path, `socket:[INODE]`), else
/// `file:[DEVICE:INODE]`.
pub fn endpoint_of(descriptor: impl AsFd) -> String {
    let descriptor = descriptor.as_fd();
    let Ok(stat) = fstat(descriptor) else { return "closed".into() };
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFIFO {
        return format!("pipe:[{}]", stat.st_ino);
    }
    match std::fs::read_link(format!("/proc/self/fd/{}", descriptor.as_raw_fd())) {
        Ok(path) => path.to_string_lossy().into_owned(),
        Err(_) => format!("file:[{}:{}]", stat.st_dev, stat.st_ino),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_pipe_have_one_name() {
        let (reader, writer) = std::io::pipe().unwrap();
        let name = endpoint_of(&reader);
        assert!(name.starts_with("pipe:["), "{name}");
        assert_eq!(name, endpoint_of(&writer));
    }

    #[test]
    fn a_file_is_called_by_its_path() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().canonicalize().unwrap();
        assert_eq!(endpoint_of(file.as_file()), path.to_string_lossy());
    }
}
