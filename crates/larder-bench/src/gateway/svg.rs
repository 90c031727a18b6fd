//! Svg: CPU time per request as bars, for a page that may be light or dark.

use super::{
    contestant::Who,
    figure::{Figure, Unit},
};

const TITLE: &str = "CPU time per request: shorter is better";
const WIDTH: f64 = 760.0;
const LABELS: f64 = 150.0;
/// Room for the figure beside a bar.
const FIGURES: f64 = 190.0;
const BAR: f64 = 15.0;
const GAP: f64 = 4.0;
const HEADING: f64 = 26.0;

/// A group for each case. Its bars are to one scale, that of its longest: cases differ by a hundredfold.
pub(crate) fn chart(figures: &[Figure]) -> String {
    let mut groups: Vec<Vec<&Figure>> = Vec::new();
    for figure in figures {
        if figure.unit != Unit::Microseconds || figure.case.contains('.') {
            continue;
        }
        match groups.last_mut() {
            Some(group) if group[0].case == figure.case => group.push(figure),
            _ => groups.push(vec![figure]),
        }
    }
    let mut drawn = String::new();
    let mut y = 30.0;
    for group in &groups {
        y += HEADING;
        drawn += &format!(
            "<text class=\"heading\" x=\"8\" y=\"{:.1}\">{}</text>\n",
            y - 8.0,
            escape(&group[0].label)
        );
        let longest =
            group.iter().map(|figure| figure.spread.median).fold(f64::MIN_POSITIVE, f64::max);
        for figure in group {
            let length = figure.spread.median / longest * (WIDTH - LABELS - FIGURES);
            let class = match figure.who {
                Who::Limit => "limit",
                Who::Larder => "larder",
                _ => "rival",
            };
            let ratio = match (figure.who, figure.times_limit, figure.times_nginx) {
                (Who::Limit, ..) => String::new(),
                (_, Some(ratio), _) => format!(" · {ratio:.2} × limit"),
                (_, None, Some(ratio)) => format!(" · {ratio:.2} × nginx"),
                (_, None, None) => String::new(),
            };
            let middle = y + BAR / 2.0 + 4.0;
            drawn += &format!(
                "<text x=\"{:.1}\" y=\"{middle:.1}\" text-anchor=\"end\">{}</text>\
                 <rect class=\"{class}\" x=\"{LABELS:.1}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"2\"/>\
                 <text x=\"{:.1}\" y=\"{middle:.1}\">{:.2} µs{ratio}</text>\n",
                LABELS - 8.0,
                escape(figure.who.name()),
                LABELS + length + 6.0,
                figure.spread.median,
            );
            y += BAR + GAP;
        }
    }
    let height = y + 8.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" \
         aria-labelledby=\"title\">\n<title id=\"title\">{TITLE}</title>\n\
         <style>\n\
         text {{ font: 12px system-ui, sans-serif; fill: #24292f }}\n\
         .heading {{ font-weight: 600; font-size: 13px }}\n\
         .larder {{ fill: #0a7d4f }} .rival {{ fill: #8c959f }} .limit {{ fill: #c9d1d9 }}\n\
         @media (prefers-color-scheme: dark) {{\n\
         text {{ fill: #e6edf3 }}\n\
         .larder {{ fill: #3fb950 }} .rival {{ fill: #6e7681 }} .limit {{ fill: #444c56 }}\n\
         }}\n</style>\n\
         <text class=\"heading\" x=\"8\" y=\"22\">{TITLE}</text>\n{drawn}</svg>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::figure::{Samples, figures};

    #[test]
    fn each_contestant_has_a_bar_and_the_longest_has_the_full_length() {
        let seen = |who, value| Samples { who, samples: vec![value], note: None };
        let seen = vec![seen(Who::Limit, 4.0), seen(Who::Nginx, 8.0)];
        let mut all = figures("hit", "hit, < 1 kB", Unit::Microseconds, seen);
        all.extend(figures(
            "idle",
            "idle",
            Unit::Bytes,
            vec![Samples { who: Who::Larder, samples: vec![9.0], note: None }],
        ));
        let chart = chart(&all);
        assert_eq!(chart.matches("<rect").count(), 2);
        assert!(chart.contains("width=\"210.0\"") && chart.contains("width=\"420.0\""), "{chart}");
        assert!(chart.contains("hit, &lt; 1 kB") && chart.contains("8.00 µs · 2.00 × limit"));
        assert!(chart.contains("prefers-color-scheme: dark"));
    }
}
