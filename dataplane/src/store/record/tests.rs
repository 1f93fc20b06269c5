//! Records read back what was written, refuse garbage, and old bytes still read.

use proptest::prelude::*;

use super::*;
use crate::store::key::hex;

fn text(value: &'static str) -> Value<'static> {
    Value::Text(Cow::Borrowed(value))
}

fn sample_state() -> State {
    State {
        covered: Timestamp(1_700_000_000_000),
        last_server: Timestamp(5),
        latest: vec![
            Latest { key: 1, ts: Timestamp(3), seq: 9, value: Some(Value::Double(0.5)) },
            Latest { key: 2, ts: Timestamp(4), seq: 8, value: Some(text("on")) },
            Latest { key: 3, ts: Timestamp(4), seq: 8, value: None },
        ],
        tombstones: vec![Tombstone { key: 1, start: Timestamp(0), end: Timestamp(i64::MAX), seq: 7 }],
        connectivity: Connectivity {
            last_connect: Timestamp(1),
            last_disconnect: Timestamp(2),
            last_activity: Timestamp(3),
            inactivity_alarm: Timestamp(4),
            active: true,
            deadline: Timestamp(5),
        },
    }
}

#[test]
fn a_row_reads_back() {
    let values = [
        (1, Value::Bool(true)),
        (2, Value::Long(-7)),
        (3, Value::Double(21.5)),
        (4, text("ü")),
        (5, Value::Json(Cow::Borrowed("[1]"))),
        (2, Value::Long(8)),
    ];
    let mut encoder = Encoder::new();
    // Twice, because the encoder keeps its memory.
    for _ in 0..2 {
        let bytes = encoder.row(values.iter().map(|(key, value)| (*key, value)), 60, Some(Timestamp(77))).to_vec();
        let row = Row::read(b"k", &bytes).unwrap();
        let cells: Vec<(u32, Value<'_>)> = row.cells().map(|cell| (cell.key, cell.value)).collect();
        assert_eq!(cells, values);
        assert_eq!((row.ttl_s, row.activity), (60, Some(Timestamp(77))));
        assert_eq!((row.get(2), row.get(9)), (Some(Value::Long(8)), None));
    }
}

#[test]
fn attributes_and_states_read_back() {
    let mut encoder = Encoder::new();
    for value in [Value::Bool(false), Value::Long(i64::MIN), Value::Double(-0.0), text(""), Value::Json("{}".into())] {
        let bytes = encoder.attribute(Timestamp(5), &value).to_vec();
        assert_eq!(read_attribute(b"k", &bytes).unwrap(), Attribute { ts: Timestamp(5), value });
    }
    for state in [State::default(), sample_state()] {
        let bytes = encoder.state(&state).to_vec();
        assert_eq!(read_state(b"k", &bytes).unwrap(), state);
    }
}

/// Golden: these bytes lie on disks; they must read the same for ever.
#[test]
fn old_records_still_read() {
    let mut encoder = Encoder::new();
    let (long, double, word) = (Value::Long(1), Value::Double(0.5), text("on"));
    let row = encoder.row([(1, &long), (2, &double), (3, &word)].into_iter(), 60, None);
    assert_eq!(hex(row), ROW);
    assert_eq!(hex(encoder.attribute(Timestamp(2), &word)), ATTRIBUTE);
    assert_eq!(hex(encoder.state(&sample_state())), STATE);

    let row = unhex(ROW);
    let cells: Vec<(u32, Value<'_>)> = Row::read(b"k", &row).unwrap().cells().map(|cell| (cell.key, cell.value)).collect();
    assert_eq!(cells, [(1, long), (2, double), (3, word.clone())]);
    assert_eq!(read_attribute(b"k", &unhex(ATTRIBUTE)), Ok(Attribute { ts: Timestamp(2), value: word }));
    assert_eq!(read_state(b"k", &unhex(STATE)), Ok(sample_state()));
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

const ROW: &str = "\
    1400000000000e001800040008000c00100014000e0000001c00000010000000240000003c0000003c000000030000000102\
    030003000000010000000200000003000000030000000100000000000000000000000000e03f000000000000000001000000\
    04000000020000006f6e0000";
const ATTRIBUTE: &str = "\
    14000000000000000c0014000c000700000008000c000000000000030c0000000200000000000000020000006f6e0000";
const STATE: &str = "\
    200000000000000018004c001000180008000c0020002800300038000700400018000000000000014c000000400000000068\
    e5cf8b0100000500000000000000010000000000000002000000000000000300000000000000040000000000000005000000\
    0000000000000000010000002000000003000000a400000064000000340000000c00180004000000080010000c0000000100\
    0000ffffffffffffff7f07000000000000000c001c0008000c00140007000c000000000000ff030000000400000000000000\
    080000000000000010002400080010001800070000000c001000000000000003020000001800000004000000000000000800\
    00000000000000000000020000006f6e000000000e00240008000c00140007001c000e000000000000020100000003000000\
    000000000900000000000000000000000000e03f";

#[test]
fn corrupted_records_are_errors_that_name_the_key() {
    let check = |error: StoreError| assert!(error.to_string().contains("at key 6b31"), "{error}");
    check(Row::read(b"k1", b"").unwrap_err());
    check(Row::read(b"k1", &[0xFF; 40]).unwrap_err());
    check(read_attribute(b"k1", b"\0\0").unwrap_err());
    check(read_state(b"k1", &[1; 7]).unwrap_err());
}

proptest! {
    #[test]
    fn flipped_bytes_never_panic(at in 0..400_usize, bits in 1..=255_u8) {
        let mut encoder = Encoder::new();
        let (long, word) = (Value::Long(1), text("a text"));
        let mut row = encoder.row([(1, &long), (3, &word)].into_iter(), 60, None).to_vec();
        let mut state = encoder.state(&sample_state()).to_vec();
        let at_row = at % row.len();
        let at_state = at % state.len();
        row[at_row] ^= bits;
        state[at_state] ^= bits;
        if let Ok(row) = Row::read(b"k", &row) {
            prop_assert!(row.cells().count() < 1_000_000);
        }
        let _ = read_state(b"k", &state);
    }
}
