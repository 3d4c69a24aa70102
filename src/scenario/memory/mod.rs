//! Memory and descriptors run short, slowly: of the host, of a unit's limit, of one process. What rises is
//! told by totals: of two looks, or by the kernel's own average of the last ten seconds.

mod descriptors;
mod host;
mod leak;
mod limit;
mod pace;
mod remedy;
mod who;

use super::against::Against::Named;
use super::registry::Scenario;
use crate::diagnosis::{Cause, Finding, Severity, Stand};
use crate::snapshot::{Again, Looks};
pub use remedy::request;

use crate::config::Config;

pub static SCENARIO: Scenario = Scenario {
    name: "memory",
    alias: "memory",
    severity: Severity::P2,
    title: "Memory and descriptors",
    first_action: "keep the evidence, before a restart",
    causes: &[
        &host::HOST_LOW,
        &leak::LEAK,
        &limit::NEAR_LIMIT,
        &host::SWAP_THRASH,
        &descriptors::FD_EXHAUSTION,
    ],
    detect: |looks, config| {
        let of_host = [host::low(looks, config), host::thrash(looks, config)];
        let of = |w: who::Who| {
            [leak::judge(&w, looks), limit::judge(&w, looks, config), descriptors::judge(&w, looks, config)]
        };
        of_host.into_iter().chain(who::all(config).flat_map(of)).filter_map(Result::ok).collect()
    },
    // Whether it does its work is told by the others: what runs short is no symptom yet.
    symptoms: |_, _| Vec::new(),
    again,
    plan: remedy::plan,
    recovered: remedy::recovered,
    why_not: &[
        (
            &host::HOST_LOW,
            Named(|looks, config| vec![(host::subject(looks), stand(host::low(looks, config)))]),
        ),
        (
            &host::SWAP_THRASH,
            Named(|looks, config| vec![(host::subject(looks), stand(host::thrash(looks, config)))]),
        ),
        (&leak::LEAK, Named(|looks, config| each(looks, config, |w, l, _| leak::judge(w, l)))),
        (&limit::NEAR_LIMIT, Named(|looks, config| each(looks, config, limit::judge))),
        (&descriptors::FD_EXHAUSTION, Named(|looks, config| each(looks, config, descriptors::judge))),
    ],
};

/// Where it is high, only what rises tells whether that is a trouble.
fn again(looks: &Looks, config: &Config, asked: bool) -> Vec<Again> {
    let of = |w: who::Who| limit::is_high(&w, looks, config).then(|| Again::Taken(w.name.to_owned()));
    let host = (asked || host::is_short(looks, config)).then_some(Again::Memory);
    host.into_iter().chain(who::all(config).filter_map(of)).collect()
}

/// Whether a longer look would tell it.
pub fn undecided(looks: &Looks, config: &Config) -> bool {
    host::undecided(looks, config)
}

/// A finding, or what speaks against it: one rule says both.
type Judged = Result<Finding, Stand>;

fn stand(judged: Judged) -> Stand {
    judged.map_or_else(|stand| stand, |_| Stand::Holds)
}

fn each(
    looks: &Looks,
    config: &Config,
    rule: fn(&who::Who, &Looks, &Config) -> Judged,
) -> Vec<(String, Stand)> {
    who::all(config).map(|w| (w.name.to_owned(), stand(rule(&w, looks, config)))).collect()
}

const fn cause(
    name: &'static str,
    title: &'static str,
    explains: &'static [(&'static str, crate::diagnosis::Relation)],
) -> Cause {
    Cause { name, severity: Severity::P2, title, explains }
}

/// `512 MiB`, `1.5 GiB`
fn size(bytes: u64) -> String {
    const GIB: f64 = (1_u64 << 30) as f64;
    match bytes as f64 {
        b if b >= 10.0 * GIB => format!("{:.0} GiB", b / GIB),
        b if b >= GIB => format!("{:.1} GiB", b / GIB),
        b => format!("{:.0} MiB", b / (1_u64 << 20) as f64),
    }
}
