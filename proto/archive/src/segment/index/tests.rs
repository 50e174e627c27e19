use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn row() -> impl Strategy<Value = Row> {
    let fields = (proptest::option::of(0u32..5), 0u32..3, any::<u32>(), any::<u64>());
    (fields, any::<u64>(), any::<u8>()).prop_map(|((account, host, epoch, seq), time_ns, flags)| {
        match account {
            None => Row::default(),
            Some(_) => Row { account, host, epoch, seq, time_ns, flags },
        }
    })
}

proptest! {
    #[test]
    fn rows_come_back(rows in proptest::collection::vec(row(), 0..60)) {
        let mut out = Vec::new();
        put_order(&mut out, &rows);
        prop_assert_eq!(read_order(&out, rows.len(), 5, 3), Some(rows));
    }

    #[test]
    fn accounts_come_back_and_are_found(
        counts in proptest::collection::btree_map("did:([a-z]{0,6}|plc:[a-z2-7]{24})", 1u32..9, 0..40),
    ) {
        let counts: BTreeMap<String, u32> = counts;
        let mut accounts = Accounts { dids: Vec::new(), starts: vec![0] };
        let mut start = 0;
        for (did, events) in &counts {
            start += events;
            accounts.dids.push(did.as_str().into());
            accounts.starts.push(start);
        }
        let mut out = Vec::new();
        accounts.put(&mut out);
        let read = Accounts::read(&out).unwrap();
        for (at, did) in counts.keys().enumerate() {
            prop_assert_eq!(read.find(did), Some(at as u32));
        }
        prop_assert_eq!(read.find("did:0"), None);
        prop_assert_eq!(&read, &accounts);
        out.clear();
        accounts.put_short(&mut out);
        prop_assert_eq!(Accounts::read_short(&out), Some(accounts));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, events in 0usize..300) {
        let _ = read_blocks(&bytes);
        let _ = read_hosts(&bytes);
        let _ = read_marks(&bytes);
        let _ = Accounts::read(&bytes);
        let _ = Accounts::read_short(&bytes);
        let _ = find_part(&bytes, 1);
        let _ = read_order(&bytes, events, 3, 3);
    }
}

#[test]
fn blocks_hosts_and_marks_come_back() {
    let mut blocks = vec![BlockRow {
        codec: 1,
        offset: HEAD_BYTES as u64,
        length: 300,
        raw: 1000,
        first: 0,
        events: 7,
        crc: 5,
    }];
    blocks.push(BlockRow { offset: HEAD_BYTES as u64 + 300, first: 7, ..blocks[0] });
    let mut out = Vec::new();
    put_blocks(&mut out, &blocks);
    assert_eq!(read_blocks(&out), Some(blocks));

    let hosts = vec![
        Host { role: Role::Pds, name: "pds.example.com".into() },
        Host { role: Role::Relay, name: "127.0.0.1:2583".into() },
    ];
    let mut out = Vec::new();
    put_hosts(&mut out, hosts.iter());
    assert_eq!(read_hosts(&out), Some(hosts));

    let marks = vec![(0, 0, 5), (1, 2, u64::MAX)];
    let mut out = Vec::new();
    put_marks(&mut out, marks.iter().copied());
    assert_eq!(read_marks(&out), Some(marks));
}

#[test]
fn a_block_over_the_limit_is_refused_before_memory_is_taken() {
    let block = BlockRow {
        codec: 1,
        offset: HEAD_BYTES as u64,
        length: 10,
        raw: BLOCK_BYTES_MAX + 1,
        first: 0,
        events: 1,
        crc: 0,
    };
    let mut out = Vec::new();
    put_blocks(&mut out, &[block]);
    assert_eq!(read_blocks(&out), None);
}
