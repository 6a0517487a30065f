//! Figures out of costs: medians, spans, and ratios within rounds.

use std::io::{self, Write};

use serde::Serialize;

use gannet_benches::meter::Cost;

use crate::workload::{LIMIT, OURS, Workload};

/// One measured quantity of one contender over all rounds.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// What was done.
    pub workload: String,
    /// Who did it.
    pub contender: &'static str,
    /// What was measured, with its unit.
    pub figure: String,
    /// The middle one of the rounds.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How many there were.
    pub rounds: usize,
}

/// What to make of a cost.
struct Quantity {
    name: &'static str,
    of: fn(&Cost, Workload) -> f64,
}

const DOWNLOAD: &[Quantity] = &[
    Quantity { name: "Gbit/s", of: |cost, work| amount(work) * 8e-9 / cost.wall.as_secs_f64() },
    Quantity { name: "CPU-s/GiB", of: |cost, work| cost.cpu.as_secs_f64() / gib(work) },
    Quantity { name: "CPU-s/GiB receiver", of: |cost, work| cost.client_cpu.as_secs_f64() / gib(work) },
    Quantity {
        name: "CPU-s/GiB sender",
        of: |cost, work| cost.cpu.saturating_sub(cost.client_cpu).as_secs_f64() / gib(work),
    },
];

const REQUESTS: &[Quantity] = &[
    Quantity { name: "requests/s", of: |cost, work| amount(work) / cost.wall.as_secs_f64() },
    Quantity { name: "us CPU/request", of: |cost, work| cost.cpu.as_secs_f64() * 1e6 / amount(work) },
];

const DATAGRAMS: &[Quantity] = &[
    Quantity { name: "k datagrams/s", of: |cost, work| amount(work) * 1e-3 / cost.wall.as_secs_f64() },
    Quantity { name: "us CPU/datagram", of: |cost, work| cost.cpu.as_secs_f64() * 1e6 / amount(work) },
];

fn amount(workload: Workload) -> f64 {
    match workload {
        Workload::Download { bytes } => bytes as f64,
        Workload::Requests { count, .. } | Workload::Datagrams { count, .. } => count as f64,
    }
}

fn gib(workload: Workload) -> f64 {
    amount(workload) / f64::from(1 << 30)
}

/// The figures of one workload. `costs` has for each contender one cost per round, in the order of the rounds.
///
/// CPU and time are also given as multiples: those of one round are compared, then the median is taken.
pub fn figures(workload: Workload, costs: &[(&'static str, Vec<Cost>)]) -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut add = |contender, figure, mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (values.first(), values.last()) else { return };
        let (rounds, workload) = (values.len(), workload.name());
        figures.push(Figure { workload, contender, figure, median: median(&values), min, max, rounds });
    };
    let quantities = match workload {
        Workload::Download { .. } => DOWNLOAD,
        Workload::Requests { .. } => REQUESTS,
        Workload::Datagrams { .. } => DATAGRAMS,
    };
    for (contender, costs) in costs {
        for quantity in quantities {
            let values = costs.iter().map(|cost| (quantity.of)(cost, workload)).collect();
            add(contender, quantity.name.to_owned(), values);
        }
    }
    for (other, base) in costs {
        // Everybody over the limit, and ours over everybody.
        for (contender, costs) in costs
            .iter()
            .filter(|(contender, _)| contender != other && (*contender == OURS || *other == LIMIT))
        {
            let pairs = costs.iter().zip(base);
            let ratios = |of: fn(&Cost) -> f64| pairs.clone().map(|(a, b)| of(a) / of(b)).collect();
            add(contender, format!("CPU / {other}"), ratios(|cost| cost.cpu.as_secs_f64()));
            add(contender, format!("time / {other}"), ratios(|cost| cost.wall.as_secs_f64()));
        }
    }
    figures
}

fn median(sorted: &[f64]) -> f64 {
    let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    f64::midpoint(low, high)
}

/// One line of JSON per figure.
pub fn print_json(out: &mut impl Write, figures: &[Figure]) -> io::Result<()> {
    for figure in figures {
        serde_json::to_writer(&mut *out, figure)?;
        writeln!(out)?;
    }
    Ok(())
}

/// A table for people: a line per figure, median first.
pub fn print_table(out: &mut impl Write, figures: &[Figure]) -> io::Result<()> {
    let mut workload = "";
    for figure in figures {
        if figure.workload != workload {
            workload = &figure.workload;
            writeln!(out, "\n{workload} (median of {} rounds, min .. max)", figure.rounds)?;
        }
        let Figure { contender, figure, median, min, max, .. } = figure;
        writeln!(out, "  {contender:<18} {figure:<26} {median:>12.3}   {min:.3} .. {max:.3}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn cost(wall_ms: u64, cpu_ms: u64) -> Cost {
        let ms = Duration::from_millis;
        Cost { wall: ms(wall_ms), cpu: ms(cpu_ms), client_cpu: ms(cpu_ms / 2) }
    }

    #[test]
    fn figures_are_medians_and_ratios_are_of_one_round() {
        let work = Workload::Download { bytes: 1 << 30 };
        let costs = [
            (LIMIT, vec![cost(1000, 1000), cost(2000, 2000), cost(4000, 4000)]),
            (OURS, vec![cost(1000, 2000), cost(2000, 4000), cost(4000, 8000)]),
        ];
        let figures = figures(work, &costs);
        let value = |contender, name: &str| {
            let figure = figures.iter().find(|f| f.contender == contender && f.figure == name).unwrap();
            (figure.min, figure.median, figure.max)
        };
        assert_eq!(value(LIMIT, "CPU-s/GiB"), (1.0, 2.0, 4.0));
        assert_eq!(value(OURS, &format!("CPU / {LIMIT}")), (2.0, 2.0, 2.0), "the machine's drift cancels");
        assert_eq!(value(OURS, "CPU-s/GiB sender"), (1.0, 2.0, 4.0));
        assert_eq!(median(&[1.0, 2.0]), 1.5);
    }
}
