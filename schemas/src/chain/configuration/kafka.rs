//! The configuration of the Kafka node, whose properties are those of ThingsBoard's Java client. They become librdkafka's; what is not
//! known here is refused by name, since some of them read files or load code.

use serde_json::Value;

use super::Reader;
use crate::chain::external::{Charset, KafkaPublish};

const BROKERS_MAX: usize = 16;
const TEXT_BYTES_MAX: usize = 255;
/// What ThingsBoard's configurations begin with, and the most that is taken.
const BATCH_BYTES: (u64, u64) = (16_384, 1_000_000);
const LINGER_MS_MAX: u64 = 10_000;
const BUFFER_BYTES: (u64, u64) = (32 << 20, 1 << 40);
/// What waits in this process for one node's cluster; the outbox is what waits for long.
const BUFFER_KIB_MAX: u64 = 8 << 10;
const ALLOWED: &str = "client.id, compression.type, enable.idempotence, max.in.flight.requests.per.connection, request.timeout.ms, \
                       retry.backoff.ms, sasl.jaas.config, sasl.mechanism, security.protocol";
const PLAIN_LOGIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";

type Properties = Vec<(&'static str, String)>;

impl Reader<'_> {
    pub(super) fn kafka_publish(&mut self) -> Option<KafkaPublish> {
        let (topic, key) = (self.text("topicPattern", "a topic"), self.optional_text("keyPattern"));
        let (brokers, acks) = (self.brokers(), self.acks());
        let retries = self.number_up_to("retries", 1_000);
        let batch = self.number_up_to("batchSize", BATCH_BYTES.1);
        let (linger, buffer) = (self.number_up_to("linger", LINGER_MS_MAX), self.number_up_to("bufferMemory", BUFFER_BYTES.1));
        let headers = match self.flag("addMetadataKeyValuesAsKafkaHeaders") {
            Some(true) => self.charset().map(Some),
            Some(false) => Some(None),
            None => None,
        };
        let others = self.other_properties();
        let (retries, acks, mut properties) = (retries?, acks?, others?);
        if properties.contains(&("enable.idempotence", "true".to_owned())) && (acks != "all" || retries == 0) {
            self.problem("otherProperties", "enable.idempotence: true needs acks \"all\" and retries of at least 1");
            return None;
        }
        let some = |number: u64, usual: u64| if number == 0 { usual } else { number };
        properties.extend([
            ("bootstrap.servers", brokers?),
            ("acks", acks.to_owned()),
            ("message.send.max.retries", retries.to_string()),
            ("batch.size", some(batch?, BATCH_BYTES.0).to_string()),
            ("linger.ms", linger?.to_string()),
            ("queue.buffering.max.kbytes", (some(buffer?, BUFFER_BYTES.0) >> 10).clamp(1, BUFFER_KIB_MAX).to_string()),
        ]);
        Some(KafkaPublish { topic: topic?, key: key?, headers: headers?, properties })
    }

    fn brokers(&mut self) -> Option<String> {
        let address = |text: &str| {
            let (host, port) = text.rsplit_once(':')?;
            let host_fits =
                !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
            (host_fits && port.parse::<u16>().is_ok_and(|port| port > 0)).then_some(())
        };
        let expected = format!("1 to {BROKERS_MAX} of host:port with commas between");
        self.required("bootstrapServers", &expected, |value| {
            let brokers: Vec<&str> = value.as_str()?.split(',').map(str::trim).collect();
            let fit = brokers.len() <= BROKERS_MAX && brokers.iter().all(|broker| address(broker).is_some());
            fit.then(|| brokers.join(","))
        })
    }

    fn acks(&mut self) -> Option<&'static str> {
        if self.value("acks").is_none() {
            return Some("all");
        }
        self.required("acks", "all, -1, 0 or 1", |value| {
            match value.as_str().map_or_else(|| value.to_string(), str::to_owned).as_str() {
                "all" | "-1" => Some("all"),
                "1" => Some("1"),
                "0" => Some("0"),
                _ => None,
            }
        })
    }

    fn charset(&mut self) -> Option<Charset> {
        if self.value("kafkaHeadersCharset").is_none() {
            return Some(Charset::Utf8);
        }
        let names = format!("one of {}", Charset::ALL.map(Charset::name).join(", "));
        self.required("kafkaHeadersCharset", &names, |value| value.as_str().and_then(Charset::parse))
    }

    /// All problems at once, each with the property's name.
    fn other_properties(&mut self) -> Option<Properties> {
        let given: Vec<(String, String)> = match self.value("otherProperties") {
            None => Vec::new(),
            Some(Value::Object(others)) => {
                let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                others.iter().map(|(name, value)| (name.clone(), text(value))).collect()
            }
            Some(_) => {
                self.problem("otherProperties", "expected an object of names and values");
                return None;
            }
        };
        let (mut properties, mut fine) = (Properties::new(), true);
        for (name, value) in given {
            match property(&name, &value) {
                Ok(of_it) => properties.extend(of_it),
                Err(rule) => {
                    self.problem("otherProperties", format!("{name}: {rule}"));
                    fine = false;
                }
            }
        }
        let has = |name: &str| properties.iter().any(|(known, _)| *known == name);
        let together = [has("sasl.mechanism"), has("sasl.username"), has("security.protocol")];
        if fine && together.contains(&true) && together.contains(&false) {
            self.problem(
                "otherProperties",
                "security.protocol SASL_PLAINTEXT, sasl.mechanism and sasl.jaas.config belong together",
            );
            fine = false;
        }
        fine.then_some(properties)
    }
}

/// What one of the Java client's properties is for librdkafka.
fn property(name: &str, value: &str) -> Result<Properties, String> {
    let number = |name: &'static str, most: u64| {
        let read = value.parse::<u64>().ok().filter(|number| (1..=most).contains(number));
        read.map(|number| vec![(name, number.to_string())]).ok_or_else(|| format!("{value}: expected a number from 1 to {most}"))
    };
    let one_of = |name: &'static str, known: &[&str]| match known.contains(&value) {
        true => Ok(vec![(name, value.to_owned())]),
        false => Err(format!("{value} is not supported yet; supported are {}", known.join(", "))),
    };
    match name {
        "client.id" if (1..=TEXT_BYTES_MAX).contains(&value.len()) && !value.contains('\0') => {
            Ok(vec![("client.id", value.to_owned())])
        }
        "client.id" => Err(format!("expected 1 to {TEXT_BYTES_MAX} bytes")),
        "compression.type" => one_of("compression.type", &["none", "snappy", "lz4"]),
        "enable.idempotence" => one_of("enable.idempotence", &["true", "false"]),
        "max.in.flight.requests.per.connection" => number("max.in.flight.requests.per.connection", 5),
        "request.timeout.ms" => number("request.timeout.ms", 60_000),
        "retry.backoff.ms" => number("retry.backoff.ms", 10_000),
        "security.protocol" => match value {
            "PLAINTEXT" => Ok(Vec::new()),
            "SASL_PLAINTEXT" => Ok(vec![("security.protocol", "sasl_plaintext".to_owned())]),
            "SSL" | "SASL_SSL" => Err(format!("{value}: TLS is not supported yet")),
            _ => Err(format!("{value}: expected PLAINTEXT or SASL_PLAINTEXT")),
        },
        "sasl.mechanism" => one_of("sasl.mechanism", &["PLAIN"]),
        "sasl.jaas.config" => {
            let expected = format!("expected {PLAIN_LOGIN} required username=\"…\" password=\"…\";");
            let (user, password) = login(value).ok_or(expected)?;
            Ok(vec![("sasl.username", user), ("sasl.password", password)])
        }
        _ => Err(format!("is not supported; supported are {ALLOWED}")),
    }
}

/// The name and password that a JAAS configuration says. Neither may have a quotation mark.
fn login(jaas: &str) -> Option<(String, String)> {
    let options = jaas.trim().strip_prefix(PLAIN_LOGIN)?.trim_start().strip_prefix("required")?.trim().strip_suffix(';')?;
    let option = |name: &str| {
        let begin = options.find(&format!("{name}=\""))? + name.len() + 2;
        let rest = options.get(begin..)?;
        let value = rest.get(..rest.find('"')?)?;
        ((1..=TEXT_BYTES_MAX).contains(&value.len()) && !value.contains(['\\', '\0'])).then(|| value.to_owned())
    };
    Some((option("username")?, option("password")?))
}
