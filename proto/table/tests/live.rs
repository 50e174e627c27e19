//! A live file read while it is written, and files that are none.
#![allow(clippy::unwrap_used)]

use std::{fs, os::unix::fs::FileExt, sync::atomic::AtomicBool, sync::atomic::Ordering::Relaxed};

use table::{Error, Live, LiveMut, live};

const NOTE: [u8; live::NOTE_BYTES] = [7; live::NOTE_BYTES];

fn create(words: u64, area: u64) -> (fs::File, Result<LiveMut, Error>) {
    let file = tempfile::tempfile().unwrap();
    let made = LiveMut::create(&file, words, area, &NOTE);
    (file, made)
}

#[test]
fn what_is_announced_is_whole_however_fast_it_is_read() {
    const PIECES: u64 = 20_000;
    let (file, made) = create(9, PIECES * 128);
    let mut writer = made.unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let reader = Live::open(&file).unwrap();
                assert_eq!(reader.note(), &NOTE);
                let (mut seen, mut last) = (0, false);
                while !last {
                    last = done.load(Relaxed);
                    let number = reader.word(8);
                    assert!(number >= seen, "it goes back");
                    seen = number;
                    if number > 0 {
                        let at = (number as usize - 1) * 128;
                        let piece = &reader.area()[at..at + 100];
                        assert_eq!(piece, [number as u8; 100], "torn at {number}");
                    }
                }
                assert_eq!(seen, PIECES);
            });
        }
        for number in 1..=PIECES {
            let at = writer.append(&[number as u8; 100]).unwrap();
            assert_eq!(at as u64, (number - 1) * 128);
            writer.set(8, number);
        }
        done.store(true, Relaxed);
    });
    assert_eq!((writer.room(), writer.append(b"x")), (0, None));
    assert_eq!(writer.append(b""), Some(PIECES as usize * 128));
    assert_eq!(writer.as_live().word(9), 0);
    // What is published is the file's own affair.
    writer.set(0, 5);
    assert_eq!(writer.as_live().area().len() as u64, PIECES * 128);
}

#[test]
fn a_word_can_be_set_when_the_writer_is_gone() {
    let (file, made) = create(3, 0);
    drop(made.unwrap());
    let reader = Live::open(&file).unwrap();
    live::set_word(&file, 2, 77).unwrap();
    assert_eq!((reader.word(1), reader.word(2)), (0, 77));
}

#[test]
fn files_that_are_none_and_sizes_that_cannot_be_are_named() {
    let (file, made) = create(3, 100);
    assert_eq!(made.unwrap().as_live().area_bytes(), 128);
    assert!(matches!(LiveMut::create(&file, 3, 100, &NOTE), Err(Error::Length { .. })));
    assert!(matches!(create(0, 100).1, Err(Error::LiveSizes { .. })));
    assert!(matches!(create(1, u64::MAX).1, Err(Error::LiveSizes { .. })));
    let mut whole = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut whole, 0).unwrap();
    let open = |bytes: &[u8]| {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        Live::open(&file).map(drop)
    };
    open(&whole).unwrap();
    assert!(matches!(open(b""), Err(Error::NotLive { .. })));
    assert!(matches!(open(&whole[..whole.len() - 1]), Err(Error::Length { .. })));
    for at in 0..4096 {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        assert!(open(&bytes).is_err(), "{at}");
    }
}
