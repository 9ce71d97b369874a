//! A picture of the figures with a limit: each as a part of its limit.

use std::fmt::Write;

use crate::report::Limited;

const ROW: usize = 24;
const TOP: usize = 46;
const LABELS: usize = 520;
/// The length of a limit. A longer bar is a missed limit.
const LIMIT: f64 = 260.0;
const WIDTH: usize = 1050;

/// An SVG with one bar for each figure. It needs no other file: light background, plain fonts.
pub fn svg(figures: &[Limited]) -> String {
    let height = TOP + ROW * figures.len() + 20;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\" role=\"img\" aria-label=\"Figures of the benchmark as parts of their limits\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"22\" font-size=\"15\" fill=\"#1f2933\">make bench: each figure as a part of its limit</text>\n"
    );
    let limit_at = LABELS as f64 + LIMIT;
    for (row, figure) in figures.iter().enumerate() {
        let y = TOP + ROW * row;
        let part = if figure.limit > 0.0 { figure.value / figure.limit } else { f64::from(figure.value > 0.0) * 1.4 };
        let (length, colour) = (part.min(1.4) * LIMIT, if figure.is_kept { "#2f7d4f" } else { "#b3261e" });
        // Writing to a String cannot fail.
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#1f2933\">{}</text>\
             <rect x=\"{LABELS}\" y=\"{y}\" width=\"{:.1}\" height=\"15\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{}\" fill=\"#1f2933\">{} of {}</text>",
            LABELS - 8,
            y + 12,
            escaped(&figure.what),
            length.max(1.0),
            limit_at.max(LABELS as f64 + length) + 10.0,
            y + 12,
            escaped(&figure.value_text),
            escaped(&figure.limit_text),
        );
    }
    let _ = writeln!(
        svg,
        "<line x1=\"{limit_at}\" y1=\"{}\" x2=\"{limit_at}\" y2=\"{}\" stroke=\"#1f2933\" stroke-dasharray=\"3 3\"/>\
         <text x=\"{limit_at}\" y=\"38\" text-anchor=\"middle\" fill=\"#52606d\">limit</text>\n</svg>",
        TOP - 4,
        height - 14,
    );
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
