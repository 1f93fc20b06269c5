//! Payloads: JSON texts of fixed length whose digits change from message to message, patched in place. Every digit is a pure
//! function of the device, the message's number and its timestamp, so that an audit can say what must be stored.
//! Never allocates per message.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::misuse::Misuse;

/// Marks in a template, one per digit. No JSON text can hold these characters.
const NOISE: char = '\u{1}';
const COUNTER: char = '\u{2}';
const CHECK: char = '\u{3}';
const TIMESTAMP: char = '\u{4}';

/// The reading that audit mode adds to every message, and the one it overwrites with every message.
pub(crate) const AUDIT_KEY: &str = "audit";
pub(crate) const AUDIT_LAST_KEY: &str = "audit_last";
/// What the number of a message is added to in `audit_last`, because JSON numbers have no leading zeros.
pub(crate) const AUDIT_LAST_BASE: u64 = 1_000_000_000_000;

/// `--payload`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Meter,
    Tracker,
    Plc,
    File(PathBuf),
}

/// The readings of one message as a template, without timestamp.
#[derive(Clone, Debug)]
pub(crate) struct Readings {
    pub(crate) name: String,
    /// A JSON object with marks.
    marked: String,
    /// The key whose value is 10,000,000 + the message's number (modulo 10,000,000).
    pub(crate) counter: Option<&'static str>,
}

/// What a counter's digits are added to.
pub(crate) const COUNTER_BASE: u64 = 10_000_000;

impl Readings {
    /// # Errors
    /// [`Misuse`] when the file cannot be read or is not a JSON object that can be sent.
    pub(crate) fn of(choice: &Choice) -> Result<Self, Misuse> {
        let (name, marked, counter) = match choice {
            Choice::Meter => {
                ("meter", r#"{"pulseCounter":1@@@@@@@,"leakage":false,"batteryLevel":8#}"#.to_owned(), "pulseCounter")
            }
            Choice::Tracker => (
                "tracker",
                r#"{"latitude":52.#####,"longitude":13.#####,"speed":6#.#,"fuel":7#.#,"odometer":1@@@@@@@}"#.to_owned(),
                "odometer",
            ),
            Choice::Plc => ("plc", plc(), "line001"),
            Choice::File(path) => {
                let shown = path.display().to_string();
                let text = std::fs::read_to_string(path).map_err(|error| Misuse::new("--payload", &shown, error.to_string()))?;
                check_object(&text).map_err(|rule| Misuse::new("--payload", &shown, rule))?;
                return Ok(Self { name: shown, marked: text.trim().to_owned(), counter: None });
            }
        };
        Ok(Self { name: name.to_owned(), marked: marked.replace('#', "\u{1}").replace('@', "\u{2}"), counter: Some(counter) })
    }

    /// Readings with the server's time.
    pub(crate) fn plain(&self) -> Template {
        Template::compile(&self.marked)
    }

    /// Readings with the device's time.
    pub(crate) fn stamped(&self) -> Template {
        Template::compile(&format!(r#"{{"ts":{},"values":{}}}"#, mark(TIMESTAMP, 13), self.marked))
    }

    /// Readings with the device's time and a check value, and one reading at `fixed_ts` that every message overwrites.
    pub(crate) fn audited(&self, fixed_ts: u64) -> Template {
        let open = self.marked.trim_end().trim_end_matches('}');
        Template::compile(&format!(
            r#"[{{"ts":{},"values":{open},"{AUDIT_KEY}":1{}}}}},{{"ts":{fixed_ts},"values":{{"{AUDIT_LAST_KEY}":1{}}}}}]"#,
            mark(TIMESTAMP, 13),
            mark(CHECK, 14),
            mark(COUNTER, 12),
        ))
    }
}

fn mark(mark: char, width: usize) -> String {
    std::iter::repeat_n(mark, width).collect()
}

/// Sixty lines of a machine, as ThingsBoard's performance tests send them.
fn plc() -> String {
    let line = |number: usize| match number {
        1 => r#""line001":1@@@@@@@"#.to_owned(),
        _ if number.is_multiple_of(2) => format!(r#""line{number:03}":2##.#"#),
        _ => format!(r#""line{number:03}":1###"#),
    };
    let lines: Vec<String> = (1..=60).map(line).collect();
    format!("{{{}}}", lines.join(","))
}

fn check_object(text: &str) -> Result<(), String> {
    let object: Map<String, Value> = serde_json::from_str(text).map_err(|error| format!("must be a JSON object: {error}"))?;
    if object.is_empty() {
        return Err("must have at least one reading".to_owned());
    }
    let taken = [AUDIT_KEY, AUDIT_LAST_KEY].into_iter().find(|key| object.contains_key(*key));
    taken.map_or(Ok(()), |key| Err(format!("must not have the key \"{key}\", which audit mode adds")))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digits {
    Noise,
    Counter,
    Check,
    Timestamp,
}

impl Digits {
    fn of(mark: char) -> Option<Self> {
        match mark {
            NOISE => Some(Self::Noise),
            COUNTER => Some(Self::Counter),
            CHECK => Some(Self::Check),
            TIMESTAMP => Some(Self::Timestamp),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Field {
    at: usize,
    width: usize,
    digits: Digits,
}

/// A payload of fixed length and the digits in it that change.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    marked: String,
    text: Vec<u8>,
    fields: Vec<Field>,
}

/// Which message of which device.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Message {
    /// Differs from device to device.
    pub(crate) seed: u64,
    /// Rises by one per message of a device.
    pub(crate) number: u64,
    pub(crate) ts_ms: u64,
}

impl Template {
    /// Reads a text with marks; runs of one mark are one number.
    pub(crate) fn compile(marked: &str) -> Self {
        let mut text = Vec::with_capacity(marked.len());
        let mut fields: Vec<Field> = Vec::new();
        for char in marked.chars() {
            let Some(digits) = Digits::of(char) else {
                text.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            };
            match fields.last_mut().filter(|last| last.digits == digits && last.at + last.width == text.len()) {
                Some(last) => last.width += 1,
                None => fields.push(Field { at: text.len(), width: 1, digits }),
            }
            text.push(b'0');
        }
        Self { marked: marked.to_owned(), text, fields }
    }

    /// The text this was compiled from.
    pub(crate) fn marked(&self) -> &str {
        &self.marked
    }

    /// The payload of no message, to be patched.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Writes a message's digits into a copy of [`Self::text`].
    pub(crate) fn patch(&self, message: Message, text: &mut [u8]) {
        let mut noise = mixed(message.seed, message.number);
        for field in &self.fields {
            let Some(out) = text.get_mut(field.at..field.at + field.width) else { continue };
            let value = match field.digits {
                Digits::Noise => {
                    noise = noise.rotate_left(7);
                    noise >> 20
                }
                Digits::Counter => message.number,
                Digits::Check => mixed(message.seed, !message.number),
                Digits::Timestamp => message.ts_ms,
            };
            put_digits(value, out);
        }
    }

    /// The whole payload of a message.
    pub(crate) fn render(&self, message: Message) -> Vec<u8> {
        let mut text = self.text.clone();
        self.patch(message, &mut text);
        text
    }
}

/// Fills `out` with the last digits of `value`.
fn put_digits(mut value: u64, out: &mut [u8]) {
    for byte in out.iter_mut().rev() {
        *byte = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

/// SplitMix64's finaliser: neighbouring numbers and seeds give unlike values.
fn mixed(seed: u64, number: u64) -> u64 {
    let mut value = seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &[u8]) -> Value {
        serde_json::from_slice(text).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(text)))
    }

    #[test]
    fn built_in_payloads_have_the_readings_they_promise() {
        for (choice, readings) in [(Choice::Meter, 3), (Choice::Tracker, 5), (Choice::Plc, 60)] {
            let of = Readings::of(&choice).unwrap();
            for number in [0, 1, 9_999_999, 10_000_000, u64::MAX] {
                let message = Message { seed: 3, number, ts_ms: 1_700_000_000_000 };
                let plain = json(&of.plain().render(message));
                assert_eq!(plain.as_object().unwrap().len(), readings);
                let counter = plain[of.counter.unwrap()].as_u64().unwrap();
                assert_eq!(counter, COUNTER_BASE + number % COUNTER_BASE);
                let stamped = json(&of.stamped().render(message));
                assert_eq!((&stamped["ts"], &stamped["values"]), (&Value::from(1_700_000_000_000_u64), &plain));
            }
        }
        let bytes = Readings::of(&Choice::Tracker).unwrap().plain().text().len();
        assert!((80..=90).contains(&bytes), "{bytes} bytes");
    }

    #[test]
    fn audited_messages_carry_the_number_and_a_check() {
        let template = Readings::of(&Choice::Tracker).unwrap().audited(1_699_999_999_999);
        let at = |seed, number| json(&template.render(Message { seed, number, ts_ms: 1_700_000_000_000 + number }));
        let (first, second, other) = (at(1, 1), at(1, 2), at(2, 1));
        assert_eq!(first[0]["ts"], 1_700_000_000_001_u64);
        assert_eq!(first[1]["ts"], 1_699_999_999_999_u64);
        assert_eq!(first[1]["values"][AUDIT_LAST_KEY], AUDIT_LAST_BASE + 1);
        assert_eq!(second[1]["values"][AUDIT_LAST_KEY], AUDIT_LAST_BASE + 2);
        assert_eq!(first[0]["values"].as_object().unwrap().len(), 6);
        assert_ne!(first[0]["values"][AUDIT_KEY], second[0]["values"][AUDIT_KEY]);
        assert_ne!(first[0]["values"][AUDIT_KEY], other[0]["values"][AUDIT_KEY]);
        assert_eq!(at(1, 1), first, "the same message is the same text");
    }

    #[test]
    fn a_compiled_template_survives_a_ledger() {
        let template = Readings::of(&Choice::Meter).unwrap().audited(5);
        let kept = serde_json::to_string(template.marked()).unwrap();
        let back = Template::compile(&serde_json::from_str::<String>(&kept).unwrap());
        let message = Message { seed: 9, number: 77, ts_ms: 1_700_000_000_077 };
        assert_eq!(back.render(message), template.render(message));
    }

    #[test]
    fn a_file_is_used_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("payload.json");
        std::fs::write(&path, "{\"hash\": \"#@é\", \"n\": 1 }\n").unwrap();
        let readings = Readings::of(&Choice::File(path.clone())).unwrap();
        assert_eq!(json(&readings.plain().render(Message::default())), serde_json::json!({ "hash": "#@é", "n": 1 }));
        let message = Message { ts_ms: 1_700_000_000_000, ..Message::default() };
        let audited = json(&readings.audited(5).render(message));
        assert_eq!(audited[0]["values"]["n"], 1);
        assert!(audited[0]["values"][AUDIT_KEY].is_u64());
        for (text, rule) in [("[1]", "JSON object"), ("{}", "at least one"), ("{\"audit\":1}", "must not have the key")] {
            std::fs::write(&path, text).unwrap();
            let misuse = Readings::of(&Choice::File(path.clone())).unwrap_err().to_string();
            assert!(misuse.contains("--payload") && misuse.contains(rule), "{misuse}");
        }
    }
}
