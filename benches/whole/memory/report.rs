//! The numbers for people: a line, a table, a plot, and both in `docs/benchmarks.md`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use plotters::prelude::*;

use super::Run;

/// What `write` replaces stands between these two lines of the document.
const BEGIN: &str = "<!-- memory: written by `make bench ONLY=memory` -->";
const END: &str = "<!-- memory: end -->";

/// Points of a curve; each is the greatest of its stretch.
const POINTS: usize = 240;

const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 90, 181), RGBColor(220, 50, 32), RGBColor(0, 135, 90), RGBColor(150, 90, 0)];

/// One run in a sentence, beside the first.
pub fn line(run: &Run, first: &Run) -> String {
    format!(
        "{}: {:.1} MiB of its own at most, {:+.1} MiB compared with {}; {:.1} s of processor time per hour of \
         sound: ratio {:.2}; {:.0} times real time",
        length(run.hours),
        run.peak_mib(),
        run.peak_mib() - first.peak_mib(),
        length(first.hours),
        run.cpu_s / run.hours,
        (run.cpu_s / run.hours) / (first.cpu_s / first.hours),
        run.hours * 3600.0 / run.wall_s,
    )
}

/// All runs, in Markdown.
pub fn table(runs: &[Run]) -> String {
    let mut out = String::from(
        "| Recording | Sentences | Peak memory | Beside the first | Processor time per hour | Wall time per hour | \
         Times off at the end |\n|---|---|---|---|---|---|---|\n",
    );
    for run in runs {
        let more = run.peak_mib() - runs[0].peak_mib();
        writeln!(
            out,
            "| {} | {} | {:.1} MiB | {more:+.1} MiB | {:.1} s | {:.1} s | at most {:.2} s |",
            length(run.hours),
            run.sentences,
            run.peak_mib(),
            run.cpu_s / run.hours,
            run.wall_s / run.hours,
            run.last_error_s,
        )
        .unwrap();
    }
    out
}

/// Writes the plot, and the table into the document.
pub fn write(runs: &[Run]) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    plot(runs, &docs.join("memory.svg"));
    let document: PathBuf = docs.join("benchmarks.md");
    let text = std::fs::read_to_string(&document).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the document has a place for the table");
    let (_, after) = rest.split_once(END).expect("the place has an end");
    let block =
        format!("{BEGIN}\n{}\n![memory over the course of each request](memory.svg)\n{END}", table(runs));
    std::fs::write(document, format!("{before}{block}{after}")).unwrap();
}

/// Memory over the course of each request, from the upload's first byte to the answer's last.
fn plot(runs: &[Run], path: &Path) {
    let highest = runs.iter().map(Run::peak_mib).fold(0.0, f64::max) * 1.25;
    let area = SVGBackend::new(path, (860, 380)).into_drawing_area();
    area.fill(&WHITE).unwrap();
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..100.0, 0.0..highest)
        .unwrap();
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("course of the request, %")
        .y_desc("memory of its own, MiB")
        .draw()
        .unwrap();
    for (run, colour) in runs.iter().zip(COLOURS.iter().cycle()) {
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(curve(&run.samples_mib), style))
            .unwrap()
            .label(length(run.hours))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()
        .unwrap();
    area.present().unwrap();
}

/// Percent of the course, and the most memory in that stretch.
fn curve(samples: &[f64]) -> Vec<(f64, f64)> {
    let per_point = samples.len().div_ceil(POINTS).max(1);
    let greatest = |stretch: &[f64]| stretch.iter().copied().fold(0.0, f64::max);
    let stretches = samples.chunks(per_point).zip(0_u32..);
    let share = |index: u32| f64::from(index) * per_point as f64 / samples.len() as f64 * 100.0;
    stretches.map(|(stretch, index)| (share(index), greatest(stretch))).collect()
}

fn length(hours: f64) -> String {
    if hours < 1.0 { format!("{:.0} min", hours * 60.0) } else { format!("{hours} h") }
}
