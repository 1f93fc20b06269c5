//! The answer as a picture: the disk over time, and how busy the cores are at other rates. Computes nothing new.

use std::path::Path;

use anyhow::anyhow;
use plotters::prelude::*;

use super::costs::Costs;
use super::model::Answer;

const SIZE: (u32, u32) = (960, 840);
const STEPS: u32 = 200;

/// # Errors
/// The file cannot be written.
pub(crate) fn draw(path: &Path, answer: &Answer, costs: &Costs) -> anyhow::Result<()> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (upper, lower) = root.split_vertically(SIZE.1 / 2);
    disk(&upper, answer).map_err(|error| anyhow!("{error}"))?;
    load(&lower, answer, costs).map_err(|error| anyhow!("{error}"))?;
    root.present().map_err(|error| anyhow!("{error}"))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Rows fill the disk until the oldest are as old as the retention.
fn disk(area: &Area<'_>, answer: &Answer) -> Result<(), Box<dyn std::error::Error>> {
    let days = answer.question.retention_s / 86_400.0;
    let most = answer.disk_bytes / 1e9;
    let mut chart = ChartBuilder::on(area)
        .caption("disk of one data plane, rows", ("sans-serif", 22))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(84)
        .build_cartesian_2d(0.0..days * 1.25, 0.0..most * 1.15)?;
    chart.configure_mesh().x_desc("days since the first message").y_desc("GB").label_style(("sans-serif", 14)).draw()?;
    let at = |step: u32| days * 1.25 * f64::from(step) / f64::from(STEPS);
    let line = (0..=STEPS).map(|step| (at(step), most * (at(step) / days).min(1.0)));
    chart.draw_series(AreaSeries::new(line, 0.0, BLUE.mix(0.2)).border_style(BLUE.stroke_width(2)))?;
    let full = format!("{most:.0} GB after {days:.0} days");
    chart.draw_series(std::iter::once(Text::new(full, (days * 0.55, most * 1.08), ("sans-serif", 16))))?;
    Ok(())
}

/// How busy each of the cores is at other rates, and where this fleet is.
fn load(area: &Area<'_>, answer: &Answer, costs: &Costs) -> Result<(), Box<dyn std::error::Error>> {
    let shards = answer.shards;
    let percent = |rate: f64| costs.load(rate / shards, answer.alone_us) * 100.0;
    let most = costs.rate(1.0, answer.alone_us) * shards;
    let mut chart = ChartBuilder::on(area)
        .caption(format!("load of each of {shards} cores"), ("sans-serif", 22))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(84)
        .build_cartesian_2d(0.0..most, 0.0..110.0)?;
    let thousands = |rate: &f64| format!("{:.0}k", rate / 1e3);
    let mut mesh = chart.configure_mesh();
    mesh.x_desc("messages/s of one data plane").y_desc("%").x_label_formatter(&thousands);
    mesh.label_style(("sans-serif", 14)).draw()?;
    let rates = (0..=STEPS).map(|step| most * f64::from(step) / f64::from(STEPS));
    chart.draw_series(LineSeries::new(rates.map(|rate| (rate, percent(rate))), BLUE.stroke_width(2)))?;
    let allowed = answer.question.utilization * 100.0;
    chart.draw_series(LineSeries::new([(0.0, allowed), (most, allowed)], RED.mix(0.6)))?;
    let here = (answer.rate_per_node, percent(answer.rate_per_node));
    chart.draw_series(std::iter::once(Circle::new(here, 5, RED.filled())))?;
    let label = format!("this fleet: {:.0}/s, {:.0} %", here.0, here.1);
    chart.draw_series(std::iter::once(Text::new(label, (here.0 + most * 0.015, here.1 - 4.0), ("sans-serif", 16))))?;
    Ok(())
}
