//! The newest values of many entities at once, for lists: a few questions whatever their number. Never asks for every key.

use futures_util::{StreamExt, TryStreamExt, stream};
use schemas::{generated::query as wire, telemetry::Scope};

use crate::telemetry::{
    Attribute, Client, Entity, Series, Unanswered,
    client::{READ_TIMEOUT, attribute, scope_to_wire, series, to_wire, within},
};

/// Entities of one question, and questions under way.
const ENTITIES_PER_QUESTION: usize = 500;
const QUESTIONS_MAX: usize = 4;

/// An attribute that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeKey {
    /// `None`: every scope that has the key.
    pub scope: Option<Scope>,
    pub key: String,
}

/// What one entity has of what was asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latest {
    pub series: Vec<Series>,
    pub attributes: Vec<Attribute>,
}

impl Client {
    /// The newest points of `keys` and the `attributes` of each of `entities`, in their order.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn latest_of(
        &self,
        entities: &[Entity],
        keys: &[String],
        attributes: &[AttributeKey],
    ) -> Result<Vec<Latest>, Unanswered> {
        let attributes: Vec<wire::AttributeKey> =
            attributes.iter().map(|one| wire::AttributeKey { scope: scope_to_wire(one.scope), key: one.key.clone() }).collect();
        let questions: Vec<wire::LatestOfRequest> = entities
            .chunks(ENTITIES_PER_QUESTION)
            .map(|entities| wire::LatestOfRequest {
                entities: entities.iter().map(to_wire).collect(),
                series: keys.to_vec(),
                attributes: attributes.clone(),
            })
            .collect();
        let answers = stream::iter(questions).map(|question| self.ask(question)).buffered(QUESTIONS_MAX);
        Ok(answers.try_collect::<Vec<Vec<Latest>>>().await?.into_iter().flatten().collect())
    }

    async fn ask(&self, question: wire::LatestOfRequest) -> Result<Vec<Latest>, Unanswered> {
        let asked = question.entities.len();
        let mut stub = self.0.clone();
        let reply = within(READ_TIMEOUT, stub.latest_of(question)).await?;
        if reply.entities.len() != asked {
            return Err(Unanswered::Refused(format!("{} entities were answered of {asked}", reply.entities.len())));
        }
        let latest = |one: wire::LatestOf| Latest {
            series: one.series.into_iter().map(series).collect(),
            attributes: one.attributes.into_iter().filter_map(attribute).collect(),
        };
        Ok(reply.entities.into_iter().map(latest).collect())
    }
}
