//! A message as somebody wanted to see it at a node (ThingsBoard's debug events), and a failure that no edge led on from. Texts, cut;
//! made only where a node's settings ask for it, and only if the world has room. Never keeps anything.

use std::io;

use schemas::chain::EntityType;
use schemas::id::{ChainId, EntityId};
use uuid::Uuid;

use crate::limits::SIGHTING_TEXT_CHARS_MAX;
use crate::message::Message;
use crate::rules::carried::Changed;

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// A message that came to a node, or left it.
    AtNode(Box<AtNode>),
    /// A node of the chain failed, and nothing led on from there.
    Unled { chain: ChainId, node: String, reason: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtNode {
    pub node: Uuid,
    pub name: String,
    /// Else it came in.
    pub left: bool,
    pub originator: EntityId,
    pub originator_type: EntityType,
    /// The same for a message at all its nodes. One that waited for a fact has another one behind its wait.
    pub message: Uuid,
    pub kind: String,
    /// The label by which it came or left; `None` where the message entered a chain.
    pub label: Option<String>,
    /// JSON, cut.
    pub data: String,
    /// JSON, cut.
    pub metadata: String,
    /// Why the node failed.
    pub error: Option<String>,
}

impl Sighting {
    pub(super) fn at_node(
        message: &Message<'_>,
        id: Uuid,
        (node, name): (Uuid, &str),
        (left, label): (bool, Option<&str>),
        said: &Changed,
        error: Option<&str>,
    ) -> Self {
        Self::AtNode(Box::new(AtNode {
            node,
            name: cut(name).to_owned(),
            left,
            originator: message.originator,
            originator_type: message.originator_type,
            message: id,
            kind: cut(said.kind.name()).to_owned(),
            label: label.map(|label| cut(label).to_owned()),
            data: first(|into| serde_json::to_writer(into, &said.data)),
            metadata: first(|into| serde_json::to_writer(into, &said.metadata)),
            error: error.map(|error| cut(error).to_owned()),
        }))
    }

    pub(super) fn unled(chain: ChainId, node: &str, reason: &str) -> Self {
        Self::Unled { chain, node: cut(node).to_owned(), reason: cut(reason).to_owned() }
    }

    /// Whether it was seen at this node, of this message, or in this chain.
    #[must_use]
    pub fn is_of(&self, of: Uuid) -> bool {
        match self {
            Self::AtNode(seen) => seen.node == of || seen.message == of,
            Self::Unled { chain, .. } => chain.0 == of,
        }
    }

    /// About what it takes of memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let texts = match self {
            Self::AtNode(seen) => {
                let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
                size_of::<AtNode>()
                    + seen.name.len()
                    + seen.kind.len()
                    + seen.data.len()
                    + seen.metadata.len()
                    + text(&seen.label)
                    + text(&seen.error)
            }
            Self::Unled { node, reason, .. } => node.len() + reason.len(),
        };
        size_of::<Self>() + texts
    }
}

/// The first characters of a text.
fn cut(text: &str) -> &str {
    match text.char_indices().nth(SIGHTING_TEXT_CHARS_MAX) {
        Some((end, _)) => text.get(..end).unwrap_or_default(),
        None => text,
    }
}

/// The first characters of JSON; what comes behind them is not written.
fn first(write: impl FnOnce(&mut First) -> serde_json::Result<()>) -> String {
    let mut first = First(Vec::new());
    // It ends with an error where the text is cut.
    let _cut = write(&mut first);
    let text = match String::from_utf8(first.0) {
        Ok(text) => text,
        Err(error) => {
            let whole = error.utf8_error().valid_up_to();
            let mut bytes = error.into_bytes();
            bytes.truncate(whole);
            String::from_utf8(bytes).unwrap_or_default()
        }
    };
    match cut(&text) {
        short if short.len() < text.len() => short.to_owned(),
        _ => text,
    }
}

/// Takes as many bytes as so many characters can have.
struct First(Vec<u8>);

impl io::Write for First {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = (SIGHTING_TEXT_CHARS_MAX * 4).saturating_sub(self.0.len());
        if room == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.0.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        for (character, more) in [("a", 1), ("é", 2), ("😀", 4)] {
            for beyond in [0, 1, 7] {
                let text = character.repeat(SIGHTING_TEXT_CHARS_MAX - 1 + beyond);
                assert_eq!(cut(&text).len(), text.len().min(SIGHTING_TEXT_CHARS_MAX * more), "{character} {beyond}");
                let written = first(|into| serde_json::to_writer(into, &text));
                assert_eq!(
                    written.chars().count(),
                    (text.chars().count() + 2).min(SIGHTING_TEXT_CHARS_MAX),
                    "{character} {beyond}"
                );
                assert!(json!(text).to_string().starts_with(&written));
            }
        }
        let deep = json!({ "a": vec!["😀"; SIGHTING_TEXT_CHARS_MAX] });
        assert_eq!(first(|into| serde_json::to_writer(into, &deep)).chars().count(), SIGHTING_TEXT_CHARS_MAX);
    }
}
