//! `tidegate-capacity`: what a fleet needs. Says what to do; the arithmetic is in `model`, the measured costs in `costs`.

mod calibrate;
mod chart;
mod costs;
mod model;
mod options;
mod show;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use costs::Costs;
use options::{Format, Options};

/// The whole program: 0 when it answered, 1 when it failed or a prediction did not hold, 2 for arguments.
#[must_use]
pub fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            show::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<bool> {
    let costs = match (&options.calibrate, &options.calibration) {
        (Some(path), _) => {
            let costs = calibrate::calibrate()?;
            let text = serde_json::to_string_pretty(&costs)?;
            std::fs::write(path, text + "\n").with_context(|| format!("--calibrate {}", path.display()))?;
            costs
        }
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("--calibration {}", path.display()))?;
            serde_json::from_str(&text).with_context(|| format!("--calibration {}", path.display()))?
        }
        (None, None) => Costs::built_in(),
    };
    if options.prove {
        let proof = calibrate::prove(&costs)?;
        show::proof(&proof);
        return Ok(proof.holds());
    }
    let answer = model::answer(&options.question(), &costs);
    match options.format {
        Format::Text => show::text(&answer),
        Format::Json => show::json(&answer)?,
    }
    if let Some(path) = &options.chart {
        chart::draw(path, &answer, &costs).with_context(|| format!("--chart {}", path.display()))?;
    }
    Ok(true)
}
