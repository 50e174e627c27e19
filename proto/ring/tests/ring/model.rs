use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;
use ring::{Error, Ready};

use crate::stage::{CAPACITY, Directory, Pattern, Sizes, commit, read_all, write, write_all};

/// What both sides do in turn, in one thread.
#[derive(Clone, Debug)]
enum Step {
    /// Reserve so much, publish a part of it.
    Write { reserved: usize, published: usize, wake: bool },
    /// Look, and consume at most so much.
    Read(usize),
}

fn step(capacity: usize) -> impl Strategy<Value = Step> {
    let sizes = || prop_oneof![0..64usize, 0..capacity / 2 + 2];
    prop_oneof![
        (sizes(), sizes(), any::<bool>()).prop_map(|(reserved, published, wake)| Step::Write {
            reserved,
            published,
            wake
        }),
        sizes().prop_map(Step::Read),
    ]
}

const SMALL: usize = 1 << 16;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_is_a_queue_of_bytes_of_which_every_view_is_in_one_piece(
        steps in prop::collection::vec(step(SMALL), 1..200),
    ) {
        let directory = Directory::new();
        let (mut writer, mut reader) = directory.pair(SMALL);
        let mut model: VecDeque<u8> = VecDeque::new();
        let (pattern, mut position) = (Pattern::new(), 0);
        for step in steps {
            match step {
                Step::Write { reserved, published, wake } => {
                    let room = writer.wait_room(reserved, Some(Duration::ZERO));
                    if reserved > SMALL / 2 {
                        assert!(matches!(room, Err(Error::TooLarge { .. })));
                        continue;
                    }
                    // Less than 1/32 of the ring is consumed without the writer's knowing.
                    if room.unwrap() != Ready::More {
                        prop_assert!(reserved + model.len() + SMALL / 32 > SMALL);
                        continue;
                    }
                    // What is filled and not published is filled again the next time.
                    pattern.fill(position, writer.reserve(reserved).unwrap());
                    let published = published.min(reserved);
                    let mut bytes = vec![0; published];
                    pattern.fill(position, &mut bytes);
                    model.extend(bytes);
                    position += published as u64;
                    if wake {
                        commit(&mut writer, published).unwrap();
                    } else {
                        writer.publish(published).unwrap();
                    }
                    assert!(matches!(writer.publish(1), Err(Error::Overrun { .. })));
                }
                Step::Read(most) => {
                    let idle = reader.is_idle().unwrap();
                    let came = reader.wait_timeout(Duration::ZERO);
                    if !matches!(came, Err(Error::TooLarge { .. })) {
                        prop_assert_eq!(came.unwrap() == Ready::TimedOut, idle);
                    }
                    let seen = reader.data().unwrap();
                    prop_assert!(seen.iter().eq(model.iter().take(seen.len())));
                    let count = most.min(seen.len());
                    reader.consume(count).unwrap();
                    model.drain(..count);
                    let left = reader.seen().len();
                    assert!(matches!(reader.consume(left + 1), Err(Error::Overrun { .. })));
                }
            }
        }
        prop_assert_eq!(reader.queued().unwrap(), model.len() as u64);
        writer.close().unwrap();
        while !model.is_empty() {
            let seen = reader.data().unwrap().len();
            prop_assert!(reader.seen().iter().eq(model.iter().take(seen)));
            reader.consume(seen).unwrap();
            model.drain(..seen);
        }
        prop_assert_eq!(reader.wait().unwrap(), Ready::End);
    }
}

#[test]
fn two_threads_that_block_on_each_other_lose_nothing() {
    let directory = Directory::new();
    let (mut writer, mut reader) = directory.pair(SMALL);
    let total = 40_000_003;
    let other = std::thread::spawn(move || {
        write_all(&mut writer, total).unwrap();
        writer.close().unwrap();
    });
    let (outcome, count) = read_all(&mut reader);
    assert_eq!((outcome.unwrap(), count), (Ready::End, total));
    other.join().unwrap();
    assert!(directory.files().ends_with(&["ring-joint.reader".to_owned()]));
}

#[test]
fn a_reader_that_waits_for_a_whole_frame_gets_it_in_one_piece() {
    let directory = Directory::new();
    let (mut writer, mut reader) = directory.pair(SMALL);
    let (total, frame) = (20_000_000, SMALL / 2);
    let other = std::thread::spawn(move || {
        // The largest pieces that are promised, which leave no room for anything else.
        for at in 0..total / frame {
            writer.reserve(frame).unwrap().fill(at as u8);
            commit(&mut writer, frame).unwrap();
        }
        writer.close().unwrap();
    });
    let mut sizes = Sizes::new(1);
    let mut position = 0;
    loop {
        let wanted = sizes.next(SMALL / 2) + 1;
        let outcome = reader.wait_until(wanted).unwrap();
        let data = reader.data().unwrap();
        assert!(data.len() >= wanted || outcome == Ready::End);
        let count = wanted.min(data.len());
        assert!(
            data.iter()
                .take(count)
                .enumerate()
                .all(|(at, byte)| { *byte == ((position + at) / frame) as u8 })
        );
        reader.consume(count).unwrap();
        position += count;
        if outcome == Ready::End && count < wanted {
            break;
        }
    }
    assert_eq!(position, total / frame * frame);
    other.join().unwrap();
}

#[test]
fn pieces_over_half_the_ring_are_refused_on_both_sides() {
    let directory = Directory::new();
    let (mut writer, mut reader) = directory.pair(CAPACITY);
    let over = CAPACITY / 2 + 1;
    assert!(matches!(writer.reserve(over), Err(Error::TooLarge { .. })));
    assert!(matches!(write(&mut writer, &vec![0; over]), Err(Error::TooLarge { .. })));
    assert!(matches!(reader.wait_until(over), Err(Error::TooLarge { .. })));
    write(&mut writer, &vec![1; over - 1]).unwrap();
    assert_eq!(reader.wait_until(over - 1).unwrap(), Ready::More);
    assert_eq!(reader.data().unwrap().len(), over - 1);
    // A reader that sits on half a ring and asks for more could be waited for by the writer.
    assert!(matches!(reader.wait(), Err(Error::TooLarge { .. })));
}

#[test]
fn nothing_is_allocated_once_both_sides_run() {
    let directory = Directory::new();
    let (mut writer, mut reader) = directory.pair(SMALL);
    let frame = [7; 5400];
    let rounds = 20_000;
    let other = std::thread::spawn(move || {
        write(&mut writer, &frame).unwrap();
        let counted = allocation_counter::measure(|| {
            for _ in 1..rounds {
                writer.reserve(frame.len()).unwrap().copy_from_slice(&frame);
                writer.publish(frame.len()).unwrap();
            }
            writer.flush().unwrap();
        });
        writer.close().unwrap();
        counted.count_total
    });
    let mut count = 0;
    let _ = reader.wait().unwrap();
    let counted = allocation_counter::measure(|| {
        while reader.wait().unwrap() == Ready::More {
            let seen = reader.data().unwrap().len();
            reader.consume(seen).unwrap();
            count += seen;
            let _ = reader.is_idle().unwrap();
        }
    });
    assert_eq!(count, rounds * frame.len());
    assert_eq!((counted.count_total, other.join().unwrap()), (0, 0));
}
