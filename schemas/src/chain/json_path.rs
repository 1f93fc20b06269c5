//! A JSON path (RFC 9535) of a node, as far as what it costs grows with the data alone: it descends at most once, and filters look
//! only below what they judge. Never reads data by another way than the library's.

use serde_json::Value;
use serde_json_path as library;

use crate::config::NAME_BYTES_MAX;

/// Commas between selectors of one path: each may double what is found.
const COMMAS_MAX: usize = 3;

/// A path that was parsed and is cheap enough.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath {
    path: library::JsonPath,
    /// It leads to one place, if there is one.
    one: bool,
}

impl JsonPath {
    /// ThingsBoard's paths may lack the `$.` before them.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > NAME_BYTES_MAX {
            return Err(format!("expected a JSON path of 1 to {NAME_BYTES_MAX} bytes"));
        }
        let text = if text.starts_with('$') { text.to_owned() } else { format!("$.{text}") };
        let path = library::JsonPath::parse(&text).map_err(|error| format!("{text}: {error}"))?;
        let shape = Shape::of(&text);
        shape.check()?;
        Ok(Self { path, one: !shape.many })
    }

    /// What is there: the value of a path that leads to one place, an array of all values of any other.
    #[must_use]
    pub fn find(&self, data: &Value) -> Option<Value> {
        let found = self.path.query(data);
        if self.one { found.at_most_one().ok()?.cloned() } else { Some(found.all().into_iter().cloned().collect()) }
    }

    /// Whether it leads to all there is.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.path.to_string() == "$"
    }
}

/// What of a path costs.
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    many: bool,
    descents: usize,
    commas: usize,
    filters: bool,
    /// Something in a filter looks at the whole data, or descends.
    far: bool,
}

impl Shape {
    /// The text is a path.
    fn of(text: &str) -> Self {
        let mut shape = Self::default();
        let (mut quote, mut before) = (None, ' ');
        let mut letters = text.chars().skip(1);
        while let Some(letter) = letters.next() {
            match (quote, letter) {
                (Some(_), '\\') => drop(letters.next()),
                (Some(end), letter) if letter == end => quote = None,
                (Some(_), _) => {}
                (None, '\'' | '"') => quote = Some(letter),
                (None, '?') => (shape.filters, shape.many) = (true, true),
                (None, '*' | ':') => shape.many = true,
                (None, ',') => (shape.commas, shape.many) = (shape.commas + 1, true),
                (None, '$') => shape.far = true,
                (None, '.') if before == '.' => {
                    (shape.descents, shape.many) = (shape.descents + 1, true);
                    shape.far |= shape.filters;
                }
                (None, _) => {}
            }
            before = if quote.is_some() { ' ' } else { letter };
        }
        shape
    }

    fn check(self) -> Result<(), String> {
        if self.descents > 1 {
            return Err("at most one descent (..) is supported".to_owned());
        }
        if self.far {
            return Err("a filter that descends (..) or looks at the whole data ($) is not supported".to_owned());
        }
        if self.commas > COMMAS_MAX {
            return Err(format!("at most {} selectors in brackets are supported", COMMAS_MAX + 1));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(path: &str, expected: &Value) {
        let data =
            json!({ "a": { "b": [1, { "c": 2 }, 3], "x.y": "z" }, "c": null, "d": [{ "t": 5, "n": "a" }, { "t": 9, "n": "b" }] });
        let found = JsonPath::parse(path).expect("a path").find(&data);
        assert_eq!(found.as_ref(), (!expected.is_object()).then_some(expected), "{path}");
    }

    #[test]
    fn paths_to_one_place_are_its_value_and_others_are_arrays() {
        let nothing = json!({});
        check("$.a.b[1].c", &json!(2));
        check("a.b[0]", &json!(1));
        check("$['a']['x.y']", &json!("z"));
        check("$.c", &Value::Null);
        check("$.a.e", &nothing);
        check("$.a.b[7]", &nothing);
        check("$.a.b[-1]", &json!(3));
        check("$.a.b[0,2]", &json!([1, 3]));
        check("$.a.b[1:]", &json!([{ "c": 2 }, 3]));
        check("$..c", &json!([null, 2]));
        check("$..['no,*..?']", &json!([]));
        check("$['no,*..?']", &nothing);
        check("$.d[*].t", &json!([5, 9]));
        check("$.d[?(@.t > 6)].n", &json!(["b"]));
        check("$.d[?@.n == 'a,b..$']", &json!([]));
        check("$.e[*]", &json!([]));
        assert!(JsonPath::parse("$").expect("a path").is_root());
    }

    #[test]
    fn paths_that_cost_too_much_are_refused() {
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        let wrong = [
            "",
            &long,
            "$.",
            "$[",
            "$.a b",
            "$..a..b",
            "$[?@..a]",
            "$[?$.a == 1]",
            "$[?@.a == $.b]",
            "$[0,1,2,3,4]",
            "$[*,*][*,*][*,*][*,*]",
        ];
        for text in wrong {
            assert!(JsonPath::parse(text).is_err(), "{text}");
        }
        for text in ["$..a", "$[0,1,2,3]", "$[*,*][*,*][*,*]", "$..[?@.a]"] {
            assert!(JsonPath::parse(text).is_ok(), "{text}");
        }
    }
}
