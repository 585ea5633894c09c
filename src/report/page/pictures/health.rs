//! Whether training was well: gradient norms and speed.

use super::super::gathered::Gathered;
use super::{Drawn, Picture, chart, line, runs_legend, steps_axis};
use crate::report::run::derived::{bin_width, means};
use crate::report::run::record::Step;
use crate::report::{Axis, Data, Numbers, Panel, Scale};

/// One panel of means over steps; `None` where the logs tell nothing of it.
fn of_steps(
    g: &Gathered,
    title: &str,
    y: Axis,
    of: impl Fn(&Step) -> f64,
) -> Option<crate::report::Chart> {
    let longest = g.runs.iter().map(|r| r.last_step()).max()?;
    let width = bin_width(longest);
    let mut chart = chart(title, String::new(), steps_axis(g));
    let keyed = g.runs.iter().enumerate();
    let series: Vec<_> = keyed
        .map(|(key, run)| line(g, key, means(&run.steps, width, &of)))
        .collect();
    let told = |p: &[f64; 2]| p[1].is_finite();
    if !series
        .iter()
        .any(|s| matches!(&s.data, Data::Line(l) if l.iter().any(told)))
    {
        return None;
    }
    chart.panels.push(Panel {
        y,
        height: 200.0,
        rows: 10,
        series,
    });
    chart.legend = runs_legend(g);
    Some(chart)
}

pub(super) fn gradient(g: &Gathered) -> Option<Picture> {
    let y = Axis {
        scale: Scale::Log,
        ..Axis::linear("gradient norm, before clipping", Numbers::Plain)
    };
    Some(Picture {
        id: "gradient",
        heading: "Gradient norm".into(),
        caption: "Global norm of the gradient before clipping, means over steps.".into(),
        drawn: Drawn::Chart(of_steps(g, "Gradient norm", y, |s| s.grad_norm)?),
        small: true,
    })
}

pub(super) fn speed(g: &Gathered) -> Option<Picture> {
    let y = Axis::linear("tokens a second", Numbers::Count);
    let mut chart = of_steps(g, "Speed", y, |s| s.tokens_per_second)?;
    let all = chart
        .panels
        .iter()
        .flat_map(|p| &p.series)
        .flat_map(|s| s.ys());
    let most = all.filter(|v| v.is_finite()).fold(0.0, f64::max);
    if most > 0.0 {
        chart.panels[0].y.range = Some((0.0, most * 1.08));
    }
    Some(Picture {
        id: "speed",
        heading: "Throughput".into(),
        caption: "Tokens a second while stepping, means over steps; evaluations and checkpoints do not count.".into(),
        drawn: Drawn::Chart(chart),
        small: true,
    })
}
