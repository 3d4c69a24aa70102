//! A command as it is typed again: without --plan, and by the same configuration.

use std::time::Duration;

use super::recover::RecoverArgs;
use super::tree::Global;
use crate::diagnosis::{Risk, shell_word};

/// The same command without --plan: what is copied from it acts on the same, by the same rules.
pub fn again(args: &RecoverArgs, global: &Global) -> String {
    let mut words = vec!["mcp-ir recover".to_owned()];
    words.extend(args.scenario.clone());
    words.extend(args.service.iter().map(|s| format!("--service {}", shell_word(s))));
    words.extend(args.max_size.map(|n| format!("--max-size {n}")));
    let wait = (args.wait.0 != Duration::from_secs(60))
        .then(|| format!("--wait {}", shell_word(&args.wait.to_string())));
    words.extend(wait);
    words.extend(args.allow.map(|a| format!("--allow {}", Risk::from(a).word())));
    words.extend(
        args.reason.as_ref().map(|r| format!("--reason {}", shell_word(&crate::config::mask::text(r)))),
    );
    let flags = [
        (args.persist, "--persist"),
        (args.anyway, "--anyway"),
        (args.force_cooldown, "--force-cooldown"),
        (args.private_state, "--private-state"),
    ];
    words.extend(flags.iter().filter(|(set, _)| *set).map(|(_, flag)| (*flag).to_owned()));
    words.extend(args.asks.words());
    words.extend(of_all(global));
    words.join(" ")
}

/// The options of all commands that decide what is looked at.
pub fn of_all(global: &Global) -> Vec<String> {
    let config = global.config.as_ref().map(|c| format!("--config {}", shell_word(&c.to_string_lossy())));
    config
        .into_iter()
        .chain(global.timeout.map(|t| format!("--timeout {}", shell_word(&t.to_string()))))
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::tree::{Cli, Verb};

    /// `1h 30m` is one word.
    #[test]
    fn a_time_of_two_units_is_one_word() {
        let cli = Cli::try_parse_from(["mcp-ir", "recover", "db", "--wait", "90m"]).unwrap();
        let Verb::Recover(args) = &cli.verb else { panic!() };
        let command = again(args, &cli.global);
        assert!(command.contains("--wait '1h 30m'"), "{command}");
        assert_eq!(args.wait.0, Duration::from_secs(5400));
    }

    #[test]
    fn what_is_copied_from_a_plan_acts_on_the_same() {
        for typed in [
            "mcp-ir recover pool --service a --max-size 40 --wait 5m --allow safe --reason the_load \
             --persist --anyway --force-cooldown --private-state --config /x/y.toml --timeout 2s",
            "mcp-ir recover server --free-port --grace 30s",
            "mcp-ir recover memory --memory-max 2147483648",
            "mcp-ir recover latency --flush-cache mcp:cache:",
            "mcp-ir recover server --flush-db redis/3",
            "mcp-ir recover pool --max-connections 300",
            "mcp-ir recover pool --kill-idle 10m --terminate-older-than 30m",
            "mcp-ir recover db --start",
            "mcp-ir recover latency --restart",
            "mcp-ir recover server --restart-dependencies --grace 45s",
            "mcp-ir recover server --reset-state",
            "mcp-ir recover db --drop-slot old_standby",
            "mcp-ir recover pool --rollback-prepared -1_c2FnYQ==_transfer --service postgres",
            "mcp-ir recover latency --env MALLOC_ARENA_MAX=2 --env WORKERS=4 --log-level WARNING",
        ] {
            let cli = Cli::try_parse_from(typed.split_whitespace()).unwrap();
            let Verb::Recover(args) = &cli.verb else { panic!() };
            let command = again(args, &cli.global);
            let mut all: Vec<&str> = typed.split_whitespace().collect();
            let mut said: Vec<&str> = command.split_whitespace().collect();
            all.sort_unstable();
            said.sort_unstable();
            assert_eq!(said, all, "{command}");
        }
    }
}
