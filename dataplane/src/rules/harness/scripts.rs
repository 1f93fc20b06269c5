//! Scripts that are simple, or nearly so: words in a random order that mostly is grammar.

use schemas::script::{Form, Language};

use super::Draw;

/// Keys, most of which messages have.
pub(super) const KEYS: [&str; 8] = ["t", "a", "b", "ts", "deviceName", "x", "scope", "gone"];

const NUMBERS: [&str; 14] =
    ["0", "1", "2", "20", "0.1", "0.2", "1e21", "5e-7", "1.5", "9007199254740993", "1e308", "123456789012345680000", "100", "3"];

const TEXTS: [&str; 16] = [
    "''",
    "'5'",
    "' 5 '",
    "'A'",
    "\"t\"",
    "'1e3'",
    "'0x10'",
    "'é'",
    "'😀'",
    "'\u{e000}'",
    "'Infinity'",
    "'-'",
    "'undefined'",
    "'don\\'t\\n'",
    "'.5'",
    "'true'",
];

/// Words that break what would be simple, or change what it means.
const STRAYS: [&str; 30] = [
    "\n", "?.", "[", "]", "(", ")", "{", "}", ";", ",", ":", "?", "++", "-", "**", "&", "//", "/*", "*/", "=", "==", "return",
    "msg", "metadata", "typeof", "null", "in", "new", "var x", "'a'",
];

pub(super) fn script(draw: &mut Draw<'_>) -> (Form, Language, String) {
    let form = [Form::Filter, Form::Switch, Form::Transform][usize::from(draw.below(3))];
    let language = if draw.below(4) == 0 { Language::Tbel } else { Language::Js };
    let mut words = Words { form, into: Vec::new(), locals: 0 };
    words.statements(draw, 0);
    words.answer(draw);
    let mut words = words.into;
    if draw.below(4) == 0 {
        for _ in 0..=draw.below(3) {
            let at = usize::from(draw.byte()) % words.len().max(1);
            match draw.below(3) {
                0 => words.insert(at, draw.one_of(&STRAYS).to_owned()),
                1 => drop(words.remove(at)),
                _ => words[at] = draw.one_of(&STRAYS).to_owned(),
            }
        }
    }
    (form, language, words.join(" "))
}

struct Words {
    form: Form,
    into: Vec<String>,
    locals: u8,
}

impl Words {
    fn say(&mut self, words: &[&str]) {
        self.into.extend(words.iter().map(|word| (*word).to_owned()));
    }

    fn statements(&mut self, draw: &mut Draw<'_>, depth: u8) {
        for _ in 0..draw.below(3) {
            match draw.below(4) {
                0 => {
                    let keyword = draw.one_of(&["var", "let", "const"]).to_owned();
                    let name = format!("v{}", self.locals);
                    self.say(&[&keyword, &name, "="]);
                    self.expression(draw, 0);
                    self.say(&[";"]);
                    self.locals += 1;
                }
                1 if depth < 2 => {
                    self.say(&["if", "("]);
                    self.expression(draw, 1);
                    self.say(&[")", "{"]);
                    let locals = self.locals;
                    self.statements(draw, depth + 1);
                    if draw.below(3) == 0 {
                        self.answer(draw);
                    }
                    self.say(&["}"]);
                    if draw.below(2) == 0 {
                        self.say(&["else", "{"]);
                        self.statements(draw, depth + 1);
                        self.say(&["}"]);
                    }
                    // Mostly out of scope, now and then named again.
                    self.locals = locals + draw.below(8);
                }
                _ if self.form == Form::Transform => {
                    let root = draw.one_of(&["msg", "metadata", "msg"]).to_owned();
                    self.say(&[&root]);
                    self.step(draw);
                    if root == "msg" && draw.below(4) == 0 {
                        self.step(draw);
                    }
                    self.say(&["="]);
                    self.expression(draw, 0);
                    self.say(&[draw.one_of(&[";", "\n", ";"])]);
                }
                _ => {}
            }
        }
    }

    fn answer(&mut self, draw: &mut Draw<'_>) {
        self.say(&["return"]);
        match self.form {
            Form::Switch if draw.below(2) == 0 => {
                self.say(&["["]);
                for n in 0..draw.below(3) {
                    if n > 0 {
                        self.say(&[","]);
                    }
                    self.text(draw);
                }
                self.say(&["]"]);
            }
            Form::Switch => self.text(draw),
            Form::Transform => self.message(draw),
            _ => {
                // Something that is true or false.
                if draw.below(3) > 0 {
                    self.say(&["!", "("]);
                    self.expression(draw, 0);
                    self.say(&[")"]);
                } else {
                    self.expression(draw, 0);
                }
            }
        }
        self.say(&[draw.one_of(&[";", ""])]);
    }

    /// Something that mostly is a text.
    fn text(&mut self, draw: &mut Draw<'_>) {
        self.say(&[draw.one_of(&TEXTS), "+", "("]);
        self.expression(draw, 1);
        self.say(&[")"]);
    }

    fn message(&mut self, draw: &mut Draw<'_>) {
        self.say(&["{"]);
        for (n, part) in ["msg", "metadata"].into_iter().enumerate() {
            if n > 0 {
                self.say(&[","]);
            }
            match draw.below(4) {
                0 => {
                    self.say(&[part, ":", "{"]);
                    self.say(&[draw.one_of(&KEYS), ":"]);
                    self.expression(draw, 1);
                    self.say(&[",", "'more'", ":"]);
                    self.expression(draw, 2);
                    self.say(&["}"]);
                }
                _ => self.say(&[part, ":", part]),
            }
        }
        match draw.below(3) {
            0 => {
                self.say(&[",", "msgType", ":"]);
                self.expression(draw, 2);
            }
            1 => self.say(&[",", "msgType", ":", "msgType"]),
            _ => {}
        }
        self.say(&["}"]);
    }

    fn step(&mut self, draw: &mut Draw<'_>) {
        let key = draw.one_of(&KEYS).to_owned();
        match draw.below(4) {
            0 => self.say(&["[", &format!("'{key}'"), "]"]),
            _ => self.say(&[".", &key]),
        }
    }

    fn expression(&mut self, draw: &mut Draw<'_>, depth: u8) {
        let operators = ["+", "-", "*", "/", "%", "<", "<=", ">", ">=", "==", "!=", "===", "!==", "&&", "||", "==", "+"];
        match draw.below(if depth > 3 { 4 } else { 9 }) {
            0 => self.say(&[draw.one_of(&NUMBERS)]),
            1 => self.say(&[draw.one_of(&TEXTS)]),
            2 => self.leaf(draw),
            3 => {
                self.say(&[draw.one_of(&["msg", "metadata", "msg"])]);
                self.step(draw);
                match draw.below(6) {
                    0 => self.step(draw),
                    1 => self.say(&["?.", draw.one_of(&KEYS)]),
                    _ => {}
                }
            }
            4 => {
                self.say(&[draw.one_of(&["!", "-", "+", "typeof"])]);
                self.expression(draw, depth + 1);
            }
            5 => {
                self.say(&["("]);
                self.expression(draw, depth + 1);
                self.say(&["?"]);
                self.expression(draw, depth + 1);
                self.say(&[":"]);
                self.expression(draw, depth + 1);
                self.say(&[")"]);
            }
            6 => {
                self.say(&["("]);
                self.expression(draw, depth + 1);
                self.say(&[")"]);
            }
            _ => {
                self.expression(draw, depth + 1);
                self.say(&[draw.one_of(&operators)]);
                self.expression(draw, depth + 1);
            }
        }
    }

    fn leaf(&mut self, draw: &mut Draw<'_>) {
        match draw.below(4) {
            0 if self.locals > 0 => {
                let name = format!("v{}", draw.below(self.locals));
                self.say(&[&name]);
            }
            1 => self.say(&["msgType"]),
            _ => self.say(&[draw.one_of(&["undefined", "null", "true", "false", "msg", "metadata"])]),
        }
    }
}
