//! A picture of the figures with a limit: each as a part of its limit.

use std::fmt::Write;

use crate::report::Limited;

const ROW: usize = 24;
const TOP: usize = 46;
const LABELS: usize = 520;
/// The length of a limit. A longer bar is a missed limit.
const LIMIT: f64 = 260.0;
const WIDTH: usize = 1050;
const STYLE: &str = ".back{fill:#ffffff} text{fill:#1f2933} .kept{fill:#2f7d4f} .missed{fill:#b3261e} .limit{stroke:#1f2933} \
     @media (prefers-color-scheme: dark){.back{fill:#0d1117} text{fill:#e6edf3} .kept{fill:#3f9d66} .missed{fill:#ff8a80} \
     .limit{stroke:#e6edf3}}";

/// An SVG with one bar for each figure, for a light and a dark page. It needs no other file.
pub fn svg(figures: &[Limited]) -> String {
    let height = TOP + ROW * figures.len() + 20;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\" role=\"img\" aria-label=\"Figures of the benchmark as parts of their limits\">\n\
         <style>{STYLE}</style>\n\
         <rect class=\"back\" width=\"100%\" height=\"100%\"/>\n\
         <text x=\"12\" y=\"22\" font-size=\"15\">make bench: each figure as a part of its limit</text>\n"
    );
    let limit_at = LABELS as f64 + LIMIT;
    for (row, figure) in figures.iter().enumerate() {
        let y = TOP + ROW * row;
        let part = if figure.limit > 0.0 { figure.value / figure.limit } else { f64::from(figure.value > 0.0) * 1.4 };
        let (length, class) = (part.min(1.4) * LIMIT, if figure.is_kept { "kept" } else { "missed" });
        // Writing to a String cannot fail.
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LABELS}\" y=\"{y}\" width=\"{:.1}\" height=\"15\" class=\"{class}\"/>\
             <text x=\"{:.1}\" y=\"{}\">{} of {}</text>",
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
        "<line x1=\"{limit_at}\" y1=\"{}\" x2=\"{limit_at}\" y2=\"{}\" class=\"limit\" stroke-dasharray=\"3 3\"/>\
         <text x=\"{limit_at}\" y=\"38\" text-anchor=\"middle\">limit</text>\n</svg>",
        TOP - 4,
        height - 14,
    );
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
