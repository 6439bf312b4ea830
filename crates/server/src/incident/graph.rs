//! A chart as a picture that stands alone: in a post-mortem there is no style sheet.

use std::fmt::Write as _;

use crate::chart::{Chart, HEIGHT, WIDTH};

/// The colours of the lines that stand out, the worst first; they are told apart by their names beside the picture as well.
const COLOURS: [(&str, &str); 3] = [("worst-1", "#c02118"), ("worst-2", "#b26a00"), ("worst-3", "#6b4fc0")];

/// SVG.
pub(super) fn svg(chart: &Chart) -> String {
    let (left, below) = (60.0, 40.0);
    let (width, height) = (WIDTH + left + 20.0, HEIGHT + below + 40.0);
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" font-family="sans-serif" font-size="14" role="img"><title>{}</title><rect width="100%" height="100%" fill="#fff"/><g transform="translate({left} 30)" fill="none" stroke-width="2"><path d="M0 0H{WIDTH}M0 {}H{WIDTH}M0 {HEIGHT}H{WIDTH}" stroke="#d5dbe1" stroke-width="1"/>"##,
        escape(chart.title),
        HEIGHT / 2.0,
    );
    for line in &chart.lines {
        let colour =
            COLOURS.iter().find(|(class, _)| *class == line.class).map_or("#b4bec8", |(_, colour)| colour);
        let _ = write!(
            svg,
            r#"<path d="{}" stroke="{colour}"><title>{}</title></path>"#,
            line.path,
            escape(&line.subject)
        );
    }
    svg.push_str("</g>");
    let mut text = |x: f64, y: f64, anchor: &str, fill: &str, said: &str| {
        let _ = write!(
            svg,
            r#"<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{fill}">{}</text>"#,
            escape(said)
        );
    };
    text(left, 20.0, "start", "#333", chart.title);
    for (y, said) in [(0.0, chart.top.as_str()), (HEIGHT / 2.0, chart.middle.as_str()), (HEIGHT, "0")] {
        text(left - 6.0, y + 35.0, "end", "#555", said);
    }
    for ((x, anchor), at) in
        [(0.0, "start"), (WIDTH / 2.0, "middle"), (WIDTH, "end")].into_iter().zip(&chart.times)
    {
        text(left + x, HEIGHT + 52.0, anchor, "#555", at);
    }
    let mut x = left + WIDTH;
    for line in chart.named() {
        let colour =
            COLOURS.iter().find(|(class, _)| *class == line.class).map_or("#555", |(_, colour)| colour);
        text(x, 20.0, "end", colour, &line.subject);
        x -= 20.0 + 9.0 * f64::from(u16::try_from(line.subject.chars().count()).unwrap_or(u16::MAX));
    }
    svg.push_str("</svg>");
    svg
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;
    use store::fleets::Sample;

    use super::*;

    #[test]
    fn the_picture_stands_alone_and_no_name_breaks_out_of_it() {
        let at = |s: i64| Timestamp::from_timestamp(1_715_093_000 + s, 0).unwrap();
        let sample = |s, value| Sample { subject: "<b&\"x\">".into(), at: at(s), value };
        let chart = crate::chart::draw("Errors", &[sample(0, 0.0), sample(60, 0.4)], at(0), at(60)).unwrap();
        let svg = svg(&chart);
        assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>"));
        assert!(svg.contains("&lt;b&amp;&quot;x&quot;&gt;") && !svg.contains("<b&"), "{svg}");
        assert!(svg.contains("#c02118") && svg.contains("50 %"), "{svg}");
    }
}
