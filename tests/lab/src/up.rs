//! `lab up`: a stack that stands until ^C, to be looked at and broken by hand.
//! `lab break` and `lab heal` talk to it through a socket in its folder.

use anyhow::Result;
use clap::Args;

use crate::stack::{Mode, Stack};

#[derive(Debug, Args)]
pub struct UpArgs {}

pub fn up(_: &UpArgs) -> Result<()> {
    let began = std::time::Instant::now();
    let mut stack = Stack::start(Mode::Auto)?;
    println!("{:?} {}", began.elapsed(), stack.config().display());
    for line in std::io::stdin().lines() {
        let line = line?;
        let began = std::time::Instant::now();
        let done = match line.as_str() {
            "heal" => stack.heal(),
            name => match name.strip_prefix('-') {
                Some(name) => crate::fault::find(name).and_then(|f| f.heal(&mut stack)),
                None => crate::fault::find(name).and_then(|f| f.inject(&mut stack)),
            },
        };
        println!("{line}: {done:?} {:?}", began.elapsed());
    }
    Ok(())
}
