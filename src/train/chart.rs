//! Line charts as SVG files, for loss and accuracy curves.

use crate::atomic;
use crate::error::Result;
use crate::math::portable::{log10, pow};
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
    /// What is written after the numbers of the y axis, such as `%`.
    pub unit: String,
    /// Whether the y axis is logarithmic, as suits losses that fall by orders of magnitude. Values that are not above 0 are then
    /// left out.
    pub log: bool,
}

/// Panels side by side, three in a row at most, with a common label of the x axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// The heading.
    pub title: String,
    /// What x counts.
    pub x_label: String,
    /// From left to right, row by row.
    pub panels: Vec<Panel>,
}

const PANEL_WIDTH: f64 = 460.0;
/// Height of the plotting area.
const PLOT: f64 = 230.0;
const IN_A_ROW: usize = 3;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 78.0;
const BOTTOM: f64 = 52.0;
/// Height of the chart's own heading.
const TITLE: f64 = 32.0;
/// Baseline of a panel's heading.
const HEADING: f64 = 54.0;
const LEGEND_ROW: f64 = 18.0;
/// Length of a line in the legend with the space after it, and the space after a name.
const MARK: f64 = 24.0;
const GAP: f64 = 16.0;
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
    #[track_caller]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        atomic::write(path.as_ref(), self.to_svg().as_bytes())
    }

    /// The chart as an SVG document.
    pub fn to_svg(&self) -> String {
        let rows = self.panels.len().div_ceil(IN_A_ROW).max(1);
        let columns = self.panels.len().div_ceil(rows).max(1);
        let legend_rows = self.panels.iter().map(|p| Legend::new(p).rows).max().unwrap_or(0);
        let top = TOP + LEGEND_ROW * legend_rows as f64;
        let panel_height = PLOT + top + BOTTOM - TITLE;
        let (width, height) = (PANEL_WIDTH * columns as f64, TITLE + panel_height * rows as f64);
        let mut svg = String::new();
        // Writing to a String cannot fail.
        let _ = write!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             <text class=\"title\" x=\"{LEFT}\" y=\"28\">{title}</text>\n",
            title = escape(&self.title),
        );
        for (i, panel) in self.panels.iter().enumerate() {
            let (x, y) = ((i % columns) as f64 * PANEL_WIDTH, (i / columns) as f64 * panel_height);
            let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
            draw(&mut svg, panel, &self.x_label, top);
            svg.push_str("</g>\n");
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// Where the names of the lines are: beside the heading if there is room, else in rows below it, where no line of the plot
/// runs through them.
struct Legend {
    /// Rows below the heading.
    rows: usize,
    /// Where each name's mark begins: x, and the text's baseline.
    places: Vec<(f64, f64)>,
}

impl Legend {
    fn new(panel: &Panel) -> Self {
        let widths: Vec<f64> = panel.series.iter().map(|s| MARK + text_width(&s.name) + GAP).collect();
        let total = widths.iter().sum::<f64>() - GAP;
        let right = PANEL_WIDTH - RIGHT;
        let beside = right - total;
        let fits = beside >= LEFT + 1.2 * text_width(&panel.title) + GAP;
        let (mut x, mut rows) = if fits { (beside, 0) } else { (LEFT, 1) };
        let mut places = Vec::new();
        for width in widths {
            if !fits && x > LEFT && x + width - GAP > right {
                (x, rows) = (LEFT, rows + 1);
            }
            places.push((x, HEADING + LEGEND_ROW * rows as f64));
            x += width;
        }
        Self { rows, places }
    }
}

/// About how wide a text of 12 pixels is.
fn text_width(text: &str) -> f64 {
    6.6 * text.chars().count() as f64
}

/// An axis: the data range widened to whole ticks, and where it is in the picture.
struct Axis {
    low: f64,
    high: f64,
    step: f64,
    /// The ticks of a logarithmic axis; `low` and `high` are logarithms then.
    log: Option<Vec<f64>>,
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
        let power = pow(10.0, log10(rough).floor());
        let mut step = [1.0, 2.0, 5.0, 10.0].iter().map(|m| m * power).find(|&s| s >= rough * 0.999).unwrap_or(10.0 * power);
        if whole {
            step = step.max(1.0);
        } else {
            low = (low / step).floor() * step;
            high = (high / step).ceil() * step;
        }
        Self { low, high, step, log: None, from, to }
    }

    /// A logarithmic axis for `values`, with ticks at 1, 2 and 5 times powers of ten, or at powers of ten only if there are many.
    fn log(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let logs = Self::new(values.map(log10), 6.0, true, from, to);
        #[allow(clippy::cast_possible_truncation, reason = "clamped")]
        let power = |log: f64| log.clamp(-307.0, 307.0) as i32;
        let (least, most) = (power(logs.low.floor()), power(logs.high.ceil()));
        let all: Vec<f64> = (least..=most).flat_map(|k| [1.0, 2.0, 5.0].map(|m| m * pow(10.0, f64::from(k)))).collect();
        let first = all.iter().rposition(|v| log10(*v) <= logs.low + 1e-9).unwrap_or(0);
        let last = all.iter().position(|v| log10(*v) >= logs.high - 1e-9).unwrap_or(all.len() - 1);
        let (low, high) = (log10(all[first]), log10(all[last]));
        let many = last - first > 8;
        let ticks = (first..=last).filter(|i| !many || i.is_multiple_of(3)).map(|i| all[i]).collect();
        Self { low, high, log: Some(ticks), ..logs }
    }

    fn place(&self, value: f64) -> f64 {
        let value = if self.log.is_some() { log10(value) } else { value };
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// The ticks, with the digits that tell neighbours apart.
    fn ticks(&self) -> Vec<(f64, String)> {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=12")]
        let text = |value: f64, step: f64| format!("{value:.*}", (-(log10(step) + 1e-9).floor()).clamp(0.0, 12.0) as usize);
        if let Some(ticks) = &self.log {
            return ticks.iter().map(|&value| (value, text(value, value))).collect();
        }
        let first = (self.low / self.step - 1e-6).ceil();
        let last = (self.high / self.step + 1e-6).floor();
        let mut ticks = Vec::new();
        let mut k = first;
        while k <= last && ticks.len() < 100 {
            // Adding 0 turns -0 into 0.
            let value = k * self.step + 0.0;
            ticks.push((value, text(value, self.step)));
            k += 1.0;
        }
        ticks
    }
}

fn draw(svg: &mut String, panel: &Panel, x_label: &str, top: f64) {
    let drawn = |&(x, y): &(f64, f64)| x.is_finite() && y.is_finite() && (y > 0.0 || !panel.log);
    let finite = |s: &Series| s.points.iter().copied().filter(drawn).collect::<Vec<_>>();
    let lines: Vec<(&str, Vec<(f64, f64)>)> = panel.series.iter().map(|s| (s.name.as_str(), finite(s))).collect();
    let points = || lines.iter().flat_map(|(_, p)| p.iter().copied());
    let (right, bottom) = (PANEL_WIDTH - RIGHT, top + PLOT);
    let x = Axis::new(points().map(|p| p.0), 8.0, true, LEFT, right);
    let values = points().map(|p| p.1);
    let y = if panel.log { Axis::log(values, bottom, top) } else { Axis::new(values, 6.0, false, bottom, top) };
    let _ = writeln!(svg, "<text class=\"panel\" x=\"{LEFT}\" y=\"{HEADING}\">{}</text>", escape(&panel.title));
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
    for (i, ((name, _), (x, y))) in lines.iter().zip(Legend::new(panel).places).enumerate() {
        let _ = writeln!(
            svg,
            "<line class=\"line\" stroke=\"{}\" x1=\"{x:.1}\" x2=\"{:.1}\" y1=\"{mark}\" y2=\"{mark}\"/>\
             <text x=\"{:.1}\" y=\"{y}\">{}</text>",
            COLOURS[i % COLOURS.len()],
            x + MARK - 6.0,
            x + MARK,
            escape(name),
            mark = y - 4.0,
        );
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

/// Text that is safe in XML.
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
            panels: vec![Panel { title: "loss".into(), series, unit: "%".into(), log: false }],
        }
    }

    #[test]
    fn logarithmic_axes_have_round_ticks() {
        let labels =
            |values: &[f64]| Axis::log(values.iter().copied(), 0.0, 1.0).ticks().into_iter().map(|t| t.1).collect::<Vec<_>>();
        assert_eq!(labels(&[0.0004, 2.0]), ["0.001", "0.01", "0.1", "1"]);
        assert_eq!(labels(&[0.3, 0.5]), ["0.2", "0.5"]);
        assert_eq!(labels(&[0.07, 2.1]), ["0.05", "0.1", "0.2", "0.5", "1", "2", "5"]);
        assert_eq!(labels(&[20.0, 20.0]), ["5", "10", "20", "50", "100"]);
        assert_eq!(labels(&[]), ["1", "2", "5", "10"]);
        assert!(labels(&[f64::MIN_POSITIVE, f64::MAX]).len() > 2);
        let axis = Axis::log([0.01, 1.0].into_iter(), 0.0, 1.0);
        assert!((axis.place(0.1) - 0.5).abs() < 1e-12);
        // 0 has no logarithm.
        let mut chart = chart(vec![(1.0, 1.0), (2.0, 0.0), (3.0, -1.0), (4.0, 0.01)]);
        chart.panels[0].log = true;
        let svg = chart.to_svg();
        assert_eq!((svg.matches("<circle").count(), svg.contains("NaN")), (2, false), "{svg}");
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
    fn names_that_do_not_fit_beside_the_heading_go_below_it() {
        let panel = |names: &[&str]| Panel {
            title: "Train loss".into(),
            series: names.iter().map(|&n| Series { name: n.into(), points: vec![(0.0, 1.0)] }).collect(),
            unit: String::new(),
            log: false,
        };
        // names, rows below the heading
        let rows: [(&[&str], usize); 4] = [
            (&[], 0),
            (&["train", "test"], 0),
            (&["none", "dropout", "augmentation", "all of these"], 1),
            (&["none", "dropout", "weight decay", "augmentation", "all"], 2),
        ];
        for (names, expected) in rows {
            let legend = Legend::new(&panel(names));
            assert_eq!(legend.rows, expected, "{names:?}: {:?}", legend.places);
            for (name, (x, _)) in names.iter().zip(&legend.places) {
                assert!(*x >= LEFT && x + MARK + text_width(name) <= PANEL_WIDTH - RIGHT + 0.1, "{name} at {x}");
            }
        }
        // panels, width and height in pixels
        for (n, width, height) in [(0, 460, 360), (2, 920, 360), (3, 1380, 360), (4, 920, 688), (6, 1380, 688), (7, 1380, 1016)] {
            let panels = vec![panel(&["a"]); n];
            let svg = Chart { title: "T".into(), x_label: "epoch".into(), panels }.to_svg();
            assert!(svg.contains(&format!("width=\"{width}\" height=\"{height}\"")), "{n} panels: {}", &svg[..120]);
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
