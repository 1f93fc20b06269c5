//! The answer as a table or as JSON, and the outcome of a proof. Computes nothing.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool speaks here and nowhere else")]

use super::calibrate::Proof;
use super::model::Answer;

pub(crate) fn text(answer: &Answer) {
    let question = &answer.question;
    println!(
        "{} devices, {} readings ({} bytes of JSON) every {} s, QoS {}, kept {:.1} days, {} tenants, {} data planes\n",
        question.devices,
        question.readings,
        question.payload_bytes,
        question.every_s,
        question.qos,
        question.retention_s / 86_400.0,
        question.tenants,
        question.nodes
    );
    println!("{:<32} {:>12} {:>12} {:<8} why", "", "per node", "total", "");
    for figure in &answer.figures {
        let total = if figure.unit == "%" { "-".to_owned() } else { number(figure.total) };
        println!("{:<32} {:>12} {total:>12} {:<8} {}", figure.name, number(figure.per_node), figure.unit, figure.why);
    }
    println!("\nbounds of one shard:");
    for (name, bytes) in &answer.memory_terms {
        println!("  {name:<30} {:>9.1} MiB", *bytes as f64 / f64::from(1 << 20));
    }
    println!("\nassumptions:");
    for assumption in &answer.assumptions {
        println!("  {} ({})", assumption.what, assumption.source);
    }
    for warning in &answer.warnings {
        println!("\nnote: {warning}");
    }
}

fn number(value: f64) -> String {
    let digits = if value >= 100.0 || value.fract() == 0.0 { 0 } else { 2 };
    format!("{value:.digits$}")
}

/// # Errors
/// Never, for the types of an answer.
pub(crate) fn json(answer: &Answer) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(answer)?);
    Ok(())
}

pub(crate) fn proof(proof: &Proof) {
    println!("{}", proof.load);
    for (what, predicted, measured, tolerance) in proof.rows() {
        let off = (predicted / measured - 1.0) * 100.0;
        println!(
            "  {what}: predicted {predicted:.2}, measured {measured:.2}, {off:+.1} % (tolerance {:.0} %)",
            tolerance * 100.0
        );
    }
    println!("  {}", if proof.holds() { "the prediction HOLDS" } else { "the prediction DOES NOT HOLD" });
}

pub(crate) fn progress(line: &str) {
    eprintln!("{line}");
}

pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("tidegate-capacity: {error:#}");
}
