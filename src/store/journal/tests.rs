use super::entry::{ALIGNMENT, Entry, Head, prepare, seal};
use super::recovery::{Recovered, recover};
use super::*;
use crate::store::record::{RecordError, StateRecord};
use crate::store::{JournalDamage, StoreOp};

const SALT: u64 = 0x0123_4567_89ab_cdef;

/// Bytes of a file for these tests.
const SIZE: usize = START + 4096;

fn batch(number: u64) -> Batch {
    let state = |sequence| StoreOp::State(StateRecord { sequence, redeliveries: 1, ..StateRecord::default() });
    let states = (0..number % 4).map(|each| state(number.wrapping_add(each)));
    Batch { operations: states.chain([StoreOp::Delete(number / 2)]).collect() }
}

fn entry(salt: u64, number: u64, safe: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    prepare(&mut bytes, &batch(number));
    seal(&mut bytes, Head { salt, number, safe }).unwrap();
    bytes
}

/// A file with these entries, given by number and safe number. Zero stands for a space where nothing can be read.
fn file(entries: &[(u64, u64)]) -> Vec<u8> {
    let mut bytes = [TITLE, &SALT.to_be_bytes()].concat();
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    bytes.resize(START, 0);
    for (number, safe) in entries {
        match number {
            0 => bytes.resize(bytes.len() + 10 * ALIGNMENT, b'?'),
            _ => bytes.extend_from_slice(&entry(SALT, *number, *safe)),
        }
    }
    assert!(bytes.len() <= SIZE);
    bytes.resize(SIZE, 0);
    bytes
}

#[test]
fn a_batch_reads_back() {
    for number in [1, 2, 39, u64::MAX] {
        let bytes = entry(SALT, number, 7);
        let read = Entry::read(&bytes, SALT).unwrap();
        assert_eq!(read.head, Head { salt: SALT, number, safe: 7 });
        assert_eq!((read.batch(), read.footprint()), (Ok(batch(number)), bytes.len()));
        assert_eq!(Entry::read(&bytes, SALT + 1), None, "it is another file's");
    }
}

#[test]
fn every_cut_and_every_changed_byte_is_noticed() {
    let bytes = entry(SALT, 3, 2);
    let padding = bytes.len() - Entry::read(&bytes, SALT).unwrap().content.len() - entry::HEAD;
    for at in 0..bytes.len() - padding {
        assert_eq!(Entry::read(&bytes[..at], SALT), None, "cut at {at}");
        let mut changed = bytes.clone();
        changed[at] ^= 0x40;
        assert_eq!(Entry::read(&changed, SALT), None, "changed at {at}");
    }
}

#[test]
fn what_a_right_checksum_covers_need_not_be_a_batch() {
    let check = |content: &[u8], expected: RecordError| {
        let mut bytes = [&[0; entry::HEAD], content].concat();
        seal(&mut bytes, Head { salt: SALT, number: 1, safe: 0 }).unwrap();
        assert_eq!(Entry::read(&bytes, SALT).unwrap().batch(), Err(expected));
        let damage = JournalDamage::Entry { batch: 1, error: expected };
        let file = [&file(&[])[..START], &bytes].concat();
        assert_eq!(recover(&[file], 0), Err(damage));
    };
    check(&[9], RecordError::UnknownKind(9));
    check(&[2, 1], RecordError::Truncated);
    check(&[1, 0xff, 0xff, 0xff, 0xff, 0xff], RecordError::Length);
    check(&[1, 0xff, 0xff, 0xff, 0x0f], RecordError::Truncated);
    check(&[1, 4, 0, 0, 0, 0], RecordError::Truncated);
}

/// What there is after batch 10, for files of entries that are given by number and safe number.
#[track_caller]
fn check(files: [&[(u64, u64)]; 2], expected: Result<(&[u64], u64), JournalDamage>) {
    let files = files.map(file);
    let expected = expected.map(|(batches, highest)| Recovered {
        batches: batches.iter().map(|number| (*number, batch(*number))).collect(),
        highest,
    });
    assert_eq!(recover(&files, 10), expected);
    let [first, second] = files;
    assert_eq!(recover(&[second, first], 10), expected, "in the other order");
}

#[test]
fn what_the_engine_has_not_is_found() {
    check([&[], &[]], Ok((&[], 10)));
    check([&[(8, 7), (9, 8), (10, 9)], &[]], Ok((&[], 10)));
    check([&[(9, 8), (10, 9), (11, 10), (12, 11)], &[]], Ok((&[11, 12], 12)));
    check([&[(11, 10), (12, 11)], &[(13, 12), (14, 13)]], Ok((&[11, 12, 13, 14], 14)));
    // The second file was used before; the first was begun again, and its old entries follow the new one.
    check([&[(11, 10), (6, 5), (7, 6)], &[(8, 7), (9, 8), (10, 9)]], Ok((&[11], 11)));
    check([&[(11, 10), (0, 0), (7, 6)], &[]], Ok((&[11], 11)));
}

#[test]
fn what_was_not_safe_may_be_missing() {
    // The last one was cut off while it was written.
    check([&[(11, 10), (0, 0)], &[]], Ok((&[11], 11)));
    // None was synced since batch 11: some are there without the one before. They are of no use, but their numbers were used.
    check([&[(11, 10), (0, 0), (13, 11), (14, 11)], &[]], Ok((&[11], 14)));
    check([&[(0, 0), (12, 10)], &[]], Ok((&[], 12)));
}

#[test]
fn what_was_safe_may_not_be_missing() {
    check([&[(11, 10), (0, 0), (13, 12)], &[]], Err(JournalDamage::Hole { missing: 12, safe: 12 }));
    check([&[(11, 10), (0, 0)], &[(13, 12), (14, 13)]], Err(JournalDamage::Hole { missing: 12, safe: 13 }));
    check([&[(12, 11)], &[]], Err(JournalDamage::Hole { missing: 11, safe: 11 }));
}

#[test]
fn a_file_without_its_title_is_damaged() {
    let mut changed = file(&[(11, 10)]);
    changed[TITLE.len() + 2] ^= 1;
    for damaged in [&[], &TITLE[..5], &changed[..]] {
        assert_eq!(recover(&[file(&[]), damaged.to_vec()], 10), Err(JournalDamage::Title));
    }
}

/// Whatever stands in the files: no panic, and what is found was written.
#[test]
fn wrong_bytes_are_no_batches() {
    let files = [file(&[(9, 8), (10, 9), (11, 10), (12, 11)]), file(&[(13, 12), (14, 12), (15, 14)])];
    let mut random = 1_u64;
    let mut below = |limit: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % limit
    };
    let mut damaged = 0;
    for _ in 0..1_000 {
        let mut changed = files.clone();
        for _ in 0..=below(3) {
            let bytes = &mut changed[below(2)];
            let at = START + below(bytes.len() - START);
            let length = (1 + below(64)).min(bytes.len() - at);
            match below(4) {
                0 => bytes[at..at + length].fill(below(256) as u8),
                1 => bytes[at] ^= 1 << below(8),
                2 => bytes.truncate(at),
                _ => {
                    let to = START + below(bytes.len() - START - length);
                    bytes.copy_within(at..at + length, to);
                }
            }
            bytes.resize(SIZE, 0);
        }
        match recover(&changed, 10) {
            Err(_) => damaged += 1,
            Ok(recovered) => {
                let expected = (11..).take(recovered.batches.len()).map(|number| (number, batch(number)));
                assert!(recovered.batches.iter().cloned().eq(expected));
                assert!(recovered.highest < 16);
            }
        }
    }
    assert!(damaged > 20, "{damaged}");
}

fn opened(directory: &Path, bytes: usize, last: u64) -> (Journal, Recovered) {
    let form = Form { bytes: bytes as u64, is_synced: true };
    Journal::open(Files::read(directory).unwrap(), form, last).unwrap()
}

#[test]
fn files_are_used_in_turn() {
    let directory = std::env::temp_dir().join(format!("gumboot-journal-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    Journal::create(&directory, 2 * SIZE as u64).unwrap();
    let (mut journal, recovered) = opened(&directory, 2 * SIZE, 0);
    assert_eq!(recovered, Recovered::default());
    let mut turns = 0;
    let mut first = 1;
    for number in 1..=200 {
        journal.prepare(&batch(number));
        assert!(journal.could_hold());
        if !journal.has_room(true) {
            // The engine has what is in the other file.
            let (_, recovered) = opened(&directory, 2 * SIZE, first - 1);
            assert_eq!(recovered.batches.last(), Some(&(number - 1, batch(number - 1))));
            journal.turn().unwrap();
            turns += 1;
            first = number;
        }
        assert_eq!(journal.write(if number % 3 == 0 { Durability::Now } else { Durability::Later }).unwrap(), number);
    }
    assert!(turns > 2, "{turns}");
    assert!(journal.is_unsafe());
    journal.sync().unwrap();
    assert!(!journal.is_unsafe());
    let (_, recovered) = opened(&directory, 2 * SIZE, first - 1);
    assert_eq!(recovered.batches, (first..=200).map(|number| (number, batch(number))).collect::<Vec<_>>());
    // Nothing is left of it in new files, which may have another size.
    drop(opened(&directory, 4 * SIZE, 200));
    let (journal, recovered) = opened(&directory, 4 * SIZE, 190);
    assert_eq!((recovered.batches, journal.size), (vec![], 2 * SIZE as u64));
    fs::remove_dir_all(&directory).unwrap();
}
