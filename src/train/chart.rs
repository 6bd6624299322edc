//! Line charts as SVG files, for loss and accuracy curves.

use crate::error::Result;
use crate::io::atomic;
use std::fmt::Write;
use std::path::Path;

/// A named line.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The name in the legend.
    pub name: String,
    /// Points (x, y), x ascending. Points that are not finite are left out.
    pub points: Vec<(f64, f64)>,
}

/// One set of axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// The heading.
    pub title: String,
    /// The lines.
    pub series: Vec<Series>,
    /// What is written behind the numbers of the y axis, such as `%`.
    pub unit: String,
}

/// Panels side by side, with a common name of the x axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// The heading.
    pub title: String,
    /// What x counts.
    pub x_label: String,
    /// From left to right.
    pub panels: Vec<Panel>,
}

const PANEL_WIDTH: f64 = 460.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 78.0;
const BOTTOM: f64 = 52.0;
/// The Okabe-Ito palette: distinct to colour-blind readers too.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

const STYLE: &str = "text{font-family:system-ui,'Segoe UI',Helvetica,Arial,sans-serif;font-size:12px;fill:#444}\
.title{font-size:16px;font-weight:600;fill:#111}.panel{font-size:13px;font-weight:600;fill:#222}\
.grid{stroke:#e6e6e6}.axis{stroke:#888}.line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}";

impl Chart {
    /// Writes the chart to an SVG file, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        atomic::write(path.as_ref(), self.to_svg().as_bytes())
    }

    /// The chart as an SVG document.
    pub fn to_svg(&self) -> String {
        let width = PANEL_WIDTH * self.panels.len().max(1) as f64;
        let mut svg = String::new();
        // Writing to a String cannot fail.
        let _ = write!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" width=\"{width}\" height=\"{HEIGHT}\" role=\"img\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             <text class=\"title\" x=\"{LEFT}\" y=\"28\">{title}</text>\n",
            title = escape(&self.title),
        );
        for (i, panel) in self.panels.iter().enumerate() {
            let _ = writeln!(svg, "<g transform=\"translate({} 0)\">", i as f64 * PANEL_WIDTH);
            draw(&mut svg, panel, &self.x_label);
            svg.push_str("</g>\n");
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// A linear axis: the data range widened to whole ticks, and where it lies in the picture.
struct Axis {
    low: f64,
    high: f64,
    step: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis for `values` with about `count` steps of 1, 2 or 5 times a power of ten, drawn from `from` to `to`.
    /// With `whole`, ends stay at the data and steps are at least 1.
    fn new(values: impl Iterator<Item = f64>, count: f64, whole: bool, from: f64, to: f64) -> Self {
        let (mut low, mut high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if high - low <= f64::EPSILON * high.abs().max(1.0) {
            let half = if whole { 0.5 } else { (high.abs() * 0.05).max(1e-3) };
            (low, high) = (low - half, high + half);
        }
        let rough = (high - low) / count;
        let power = 10f64.powf(rough.log10().floor());
        let mut step = [1.0, 2.0, 5.0, 10.0].iter().map(|m| m * power).find(|&s| s >= rough * 0.999).unwrap_or(10.0 * power);
        if whole {
            step = step.max(1.0);
        } else {
            low = (low / step).floor() * step;
            high = (high / step).ceil() * step;
        }
        Self { low, high, step, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// The ticks, with the digits that tell neighbours apart.
    fn ticks(&self) -> Vec<(f64, String)> {
        let decimals = (-(self.step.log10() + 1e-9).floor()).clamp(0.0, 12.0);
        let first = (self.low / self.step - 1e-6).ceil();
        let last = (self.high / self.step + 1e-6).floor();
        let mut ticks = Vec::new();
        let mut k = first;
        while k <= last && ticks.len() < 100 {
            // Adding 0 turns -0 into 0.
            let value = k * self.step + 0.0;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=12")]
            let text = format!("{value:.*}", decimals as usize);
            ticks.push((value, text));
            k += 1.0;
        }
        ticks
    }
}

fn draw(svg: &mut String, panel: &Panel, x_label: &str) {
    let finite = |s: &Series| s.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect::<Vec<_>>();
    let lines: Vec<(&str, Vec<(f64, f64)>)> = panel.series.iter().map(|s| (s.name.as_str(), finite(s))).collect();
    let points = || lines.iter().flat_map(|(_, p)| p.iter().copied());
    let (right, bottom) = (PANEL_WIDTH - RIGHT, HEIGHT - BOTTOM);
    let x = Axis::new(points().map(|p| p.0), 8.0, true, LEFT, right);
    let y = Axis::new(points().map(|p| p.1), 6.0, false, bottom, TOP);
    let _ = writeln!(svg, "<text class=\"panel\" x=\"{LEFT}\" y=\"54\">{}</text>", escape(&panel.title));
    for (value, text) in y.ticks() {
        let at = y.place(value);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}{}</text>",
            LEFT - 8.0,
            at + 4.0,
            escape(&panel.unit),
        );
    }
    for (value, text) in x.ticks() {
        let at = x.place(value);
        let _ = writeln!(
            svg,
            "<line class=\"axis\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{bottom}\" y2=\"{}\"/>\
             <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>",
            bottom + 5.0,
            bottom + 20.0,
        );
    }
    let _ = writeln!(
        svg,
        "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\"/>\
         <text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
        f64::midpoint(LEFT, right),
        bottom + 40.0,
        escape(x_label),
    );
    // The legend stands to the right of the heading, so that no line runs through it.
    let mut legend = right;
    for (i, (name, _)) in lines.iter().enumerate().rev() {
        let text_width = 7.0 * name.chars().count() as f64;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"54\">{}</text><line class=\"line\" stroke=\"{}\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"50\" y2=\"50\"/>",
            legend - text_width,
            escape(name),
            COLOURS[i % COLOURS.len()],
            legend - text_width - 24.0,
            legend - text_width - 6.0,
        );
        legend -= text_width + 40.0;
    }
    for (i, (_, points)) in lines.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let path: Vec<String> = points.iter().map(|&(px, py)| format!("{:.1},{:.1}", x.place(px), y.place(py))).collect();
        let _ = writeln!(svg, "<polyline class=\"line\" stroke=\"{colour}\" points=\"{}\"/>", path.join(" "));
        // Dots show where the measurements are, unless they would run together.
        if points.len() <= 40 {
            for &(px, py) in points {
                let _ = write!(svg, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\" fill=\"{colour}\"/>", x.place(px), y.place(py));
            }
            svg.push('\n');
        }
    }
}

/// Text that may stand in XML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> Chart {
        let series = vec![Series { name: "train <a&b>".into(), points }, Series { name: "test".into(), points: vec![] }];
        Chart {
            title: "T".into(),
            x_label: "epoch".into(),
            panels: vec![Panel { title: "loss".into(), series, unit: "%".into() }],
        }
    }

    #[test]
    fn every_input_gives_a_document_with_finite_numbers() {
        let rows = [
            vec![],
            vec![(1.0, 2.0)],
            vec![(0.0, 0.0), (1.0, 0.0)],
            vec![(1.0, f64::NAN), (2.0, 0.5), (3.0, f64::INFINITY)],
            (0..200).map(|i| (f64::from(i), 1e6 / (1.0 + f64::from(i)))).collect(),
            vec![(1.0, 1e-9), (2.0, 2e-9)],
        ];
        for points in rows {
            let svg = chart(points.clone()).to_svg();
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"), "{points:?}");
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{points:?}: {svg}");
            assert!(svg.contains("train &lt;a&amp;b&gt;"));
            assert_eq!(svg.matches("<g ").count(), svg.matches("</g>").count());
        }
    }

    #[test]
    fn ticks_are_round_numbers() {
        let labels = |low: f64, high: f64, whole| {
            Axis::new([low, high].into_iter(), 6.0, whole, 0.0, 1.0).ticks().into_iter().map(|t| t.1).collect::<Vec<_>>()
        };
        assert_eq!(labels(0.0, 3.0, false), ["0.0", "0.5", "1.0", "1.5", "2.0", "2.5", "3.0"]);
        assert_eq!(labels(1.0, 5.0, true), ["1", "2", "3", "4", "5"]);
        assert_eq!(labels(91.3, 98.2, false), ["90", "92", "94", "96", "98", "100"]);
        assert_eq!(labels(0.011, 0.034, false), ["0.010", "0.015", "0.020", "0.025", "0.030", "0.035"]);
    }
}
